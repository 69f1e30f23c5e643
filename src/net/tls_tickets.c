#include "net/tls_tickets.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <mbedtls/ssl_ticket.h>

/* The library has a lock of its own only where it was built for threads. */
struct tls_tickets {
    pthread_mutex_t lock;
    mbedtls_ssl_ticket_context context;
    atomic_uint users;
};

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    mbedtls_ssl_ticket_init(&t->context);
    atomic_init(&t->users, 1);
    if (mbedtls_ssl_ticket_setup(
            &t->context, tls_random, NULL, MBEDTLS_CIPHER_AES_256_GCM, TLS_TICKET_SECONDS) != 0) {
        tls_tickets_drop(t);
        return NULL;
    }
    return t;
}

void tls_tickets_hold(struct tls_tickets *t)
{
    atomic_fetch_add(&t->users, 1);
}

void tls_tickets_drop(struct tls_tickets *t)
{
    if (!t || atomic_fetch_sub(&t->users, 1) != 1)
        return;
    mbedtls_ssl_ticket_free(&t->context);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static int write_ticket(void *of, const mbedtls_ssl_session *session, unsigned char *start,
    const unsigned char *end, size_t *len, uint32_t *lifetime)
{
    struct tls_tickets *t = of;
    pthread_mutex_lock(&t->lock);
    int code = mbedtls_ssl_ticket_write(&t->context, session, start, end, len, lifetime);
    pthread_mutex_unlock(&t->lock);
    return code;
}

static int read_ticket(void *of, mbedtls_ssl_session *session, unsigned char *bytes, size_t len)
{
    struct tls_tickets *t = of;
    pthread_mutex_lock(&t->lock);
    int code = mbedtls_ssl_ticket_parse(&t->context, session, bytes, len);
    pthread_mutex_unlock(&t->lock);
    return code;
}

void tls_tickets_use(struct tls_tickets *t, mbedtls_ssl_config *config)
{
    mbedtls_ssl_conf_session_tickets_cb(config, write_ticket, read_ticket, t);
}
