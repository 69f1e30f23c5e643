#include "net/tls_client.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_trust.h"

enum { NAME_ADDRESS = 7, RECORD_HEAD = 5, KEPT_MOST = 128 << 10 };

/* --- bytes, as the library sees them ---------------------------------------------------------- */

/* A buffer has memory only while bytes are in it. */
static void keep(struct buf *b, struct buf *spare, const void *bytes, size_t len)
{
    if (b->cap == 0 && spare->cap > 0) {
        *b = *spare;
        *spare = (struct buf){0};
    }
    buf_append(b, bytes, len);
}

static void kept_enough(struct buf *b, size_t *at, struct buf *spare)
{
    if (*at < b->len)
        return;
    *at = b->len = 0;
    if (spare->cap == 0 && b->cap <= KEPT_MOST) {
        *spare = *b;
        *b = (struct buf){0};
    } else {
        buf_fini(b);
    }
}

static int receive(void *of, unsigned char *bytes, size_t len)
{
    struct tls_client *c = of;
    size_t left = c->in.len - c->in_at;
    if (left == 0)
        return c->in_ended ? 0 : MBEDTLS_ERR_SSL_WANT_READ;
    size_t part = len < left ? len : left;
    memcpy(bytes, c->in.data + c->in_at, part);
    c->in_at += part;
    kept_enough(&c->in, &c->in_at, &c->trust->spare_in);
    return (int)part;
}

/* TLS 1.2 shows it; with 1.3 it is what goes out encrypted ahead of the last message. */
static void look_for_certificate(struct tls_client *c, const unsigned char *bytes, size_t len)
{
    if (len <= RECORD_HEAD)
        return;
    if (bytes[0] == MBEDTLS_SSL_MSG_HANDSHAKE && bytes[RECORD_HEAD] == MBEDTLS_SSL_HS_CERTIFICATE)
        c->asked = true;
    if (bytes[0] == MBEDTLS_SSL_MSG_APPLICATION_DATA && ++c->hidden > 1)
        c->asked = true;
}

static int transmit(void *of, const unsigned char *bytes, size_t len)
{
    struct tls_client *c = of;
    if (!c->shaken)
        look_for_certificate(c, bytes, len);
    keep(&c->out, &c->trust->spare_out, bytes, len);
    return c->out.failed ? MBEDTLS_ERR_SSL_ALLOC_FAILED : (int)len;
}

/* --- the connection --------------------------------------------------------------------------- */

/* The library checks names only (2.28), or tells the server an address as if it were one (3.6). */
static int check_address(void *of, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    const struct tls_client *c = of;
    if (depth != 0)
        return 0;
    for (const mbedtls_x509_sequence *one = &certificate->subject_alt_names; one; one = one->next)
        if ((one->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == NAME_ADDRESS &&
            one->buf.len == c->address_len && memcmp(one->buf.p, c->address, c->address_len) == 0)
            return 0;
    *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
}

static bool set_host(struct tls_client *c, const char *host)
{
    if (inet_pton(AF_INET, host, c->address) == 1)
        c->address_len = 4;
    else if (inet_pton(AF_INET6, host, c->address) == 1)
        c->address_len = 16;
    if (c->address_len == 0)
        return mbedtls_ssl_set_hostname(&c->ssl, host) == 0;
    mbedtls_ssl_set_verify(&c->ssl, check_address, c);
    return mbedtls_ssl_set_hostname(&c->ssl, NULL) == 0;
}

struct tls_client *tls_client_new(struct tls_trust *trust, const char *host)
{
    struct tls_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->trust = trust;
    trust->users++;
    mbedtls_ssl_init(&c->ssl);
    if (mbedtls_ssl_setup(&c->ssl, &trust->ssl) != 0 || !set_host(c, host)) {
        tls_client_free(c);
        return NULL;
    }
    mbedtls_ssl_set_bio(&c->ssl, c, transmit, receive, NULL);
    return c;
}

void tls_client_free(struct tls_client *c)
{
    if (!c)
        return;
    mbedtls_ssl_free(&c->ssl);
    buf_fini(&c->in);
    buf_fini(&c->out);
    tls_trust_drop(c->trust);
    free(c);
}

bool tls_client_feed(struct tls_client *c, const void *bytes, size_t len)
{
    if (len == 0)
        c->in_ended = true;
    else
        keep(&c->in, &c->trust->spare_in, bytes, len);
    return !c->in.failed;
}

int tls_client_shake(struct tls_client *c)
{
    if (c->broken)
        return TLS_CLIENT_BROKEN;
    int code = mbedtls_ssl_handshake(&c->ssl);
    if (code == MBEDTLS_ERR_SSL_WANT_READ)
        return TLS_CLIENT_AGAIN;
    if (code != 0)
        return tls_client_broke(c, code);
    c->shaken = true;
    tls_return(&c->trust->lender, &c->places, &c->ssl);
    return 0;
}

static ssize_t read_lent(struct tls_client *c, void *bytes, size_t len)
{
    for (;;) {
        int got = mbedtls_ssl_read(&c->ssl, bytes, len);
        if (got > 0)
            return got;
#if TLS_LIBRARY_3
        if (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
            continue;
#endif
        if (got == MBEDTLS_ERR_SSL_CONN_EOF && c->asked && !c->heard)
            return tls_client_broke(c, got);
        if (got == 0 || got == MBEDTLS_ERR_SSL_CONN_EOF || got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
            return 0;
        if (got != MBEDTLS_ERR_SSL_WANT_READ)
            return tls_client_broke(c, got);
        if (c->in.len == 0 && !c->in_ended)
            return TLS_CLIENT_AGAIN;
    }
}

ssize_t tls_client_read(struct tls_client *c, void *bytes, size_t len)
{
    if (c->broken)
        return TLS_CLIENT_BROKEN;
    if (!tls_lend(&c->trust->lender, &c->places, &c->ssl, LEND_BOTH))
        return tls_client_broke(c, MBEDTLS_ERR_SSL_ALLOC_FAILED);
    ssize_t got = read_lent(c, bytes, len);
    c->heard |= got > 0;
    tls_return(&c->trust->lender, &c->places, &c->ssl);
    return got;
}

bool tls_client_write(struct tls_client *c, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    if (c->broken)
        return false;
    if (!tls_lend(&c->trust->lender, &c->places, &c->ssl, LEND_OUT)) {
        tls_client_broke(c, MBEDTLS_ERR_SSL_ALLOC_FAILED);
        return false;
    }
    while (len > 0 && !c->broken) {
        int wrote = mbedtls_ssl_write(&c->ssl, at, len);
        if (wrote <= 0) {
            tls_client_broke(c, wrote);
            break;
        }
        at += wrote;
        len -= (size_t)wrote;
    }
    tls_return(&c->trust->lender, &c->places, &c->ssl);
    return !c->broken;
}

size_t tls_client_record(const struct tls_client *c)
{
    int most = mbedtls_ssl_get_max_out_record_payload(&c->ssl);
    return most > 0 ? (size_t)most : 1;
}

void tls_client_finish(struct tls_client *c)
{
    if (c->broken || !tls_lend(&c->trust->lender, &c->places, &c->ssl, LEND_OUT))
        return;
    mbedtls_ssl_close_notify(&c->ssl);
    tls_return(&c->trust->lender, &c->places, &c->ssl);
}

struct text tls_client_output(const struct tls_client *c)
{
    return (struct text){c->out.data + c->out_at, c->out.len - c->out_at};
}

void tls_client_sent(struct tls_client *c, size_t len)
{
    c->out_at += len;
    kept_enough(&c->out, &c->out_at, &c->trust->spare_out);
}
