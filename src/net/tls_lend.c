#include "net/tls_lend.h"

#include <string.h>

#include "base/die.h"

#define KNOWN                                                                                      \
    ((MBEDTLS_VERSION_NUMBER >= 0x021c0000 && MBEDTLS_VERSION_NUMBER < 0x021d0000) ||              \
        (MBEDTLS_VERSION_NUMBER >= 0x03060000 && MBEDTLS_VERSION_NUMBER < 0x03070000))

#if KNOWN && !defined(MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH)

#define IN(ssl, member) ((ssl)->TLS_PRIVATE(in_##member))
#define OUT(ssl, member) ((ssl)->TLS_PRIVATE(out_##member))

/* The pointers into a buffer, the buffer itself first. */
struct pointers {
    unsigned char **base;
    unsigned char **into[LEND_POINTERS];
    unsigned count;
};

static struct pointers in_pointers(mbedtls_ssl_context *ssl)
{
    struct pointers p = {.base = &IN(ssl, buf)};
    p.into[p.count++] = &IN(ssl, ctr);
    p.into[p.count++] = &IN(ssl, hdr);
    p.into[p.count++] = &IN(ssl, len);
    p.into[p.count++] = &IN(ssl, iv);
    p.into[p.count++] = &IN(ssl, msg);
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID)
    p.into[p.count++] = &IN(ssl, cid);
#endif
    return p;
}

static struct pointers out_pointers(mbedtls_ssl_context *ssl)
{
    struct pointers p = {.base = &OUT(ssl, buf)};
    p.into[p.count++] = &OUT(ssl, ctr);
    p.into[p.count++] = &OUT(ssl, hdr);
    p.into[p.count++] = &OUT(ssl, len);
    p.into[p.count++] = &OUT(ssl, iv);
    p.into[p.count++] = &OUT(ssl, msg);
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID)
    p.into[p.count++] = &OUT(ssl, cid);
#endif
    return p;
}

/* The library's own function, since only that knows how long they are; it wipes them, too. */
static void free_buffers(unsigned char *in, unsigned char *out)
{
    mbedtls_ssl_context holder;
    mbedtls_ssl_init(&holder);
    IN(&holder, buf) = in;
    OUT(&holder, buf) = out;
    mbedtls_ssl_free(&holder);
}

/* A context of the library is made for its buffers. */
static bool make_spares(struct tls_lender *l, const mbedtls_ssl_config *config)
{
    mbedtls_ssl_context maker;
    mbedtls_ssl_init(&maker);
    bool made = mbedtls_ssl_setup(&maker, config) == 0;
    if (made && l->in_count == 0) {
        l->in[l->in_count++] = IN(&maker, buf);
        IN(&maker, buf) = NULL;
    }
    if (made && l->out_count == 0) {
        l->out[l->out_count++] = OUT(&maker, buf);
        OUT(&maker, buf) = NULL;
    }
    mbedtls_ssl_free(&maker);
    return made;
}

static void put_in(struct tls_place *place, struct pointers p, unsigned char *buffer)
{
    *p.base = buffer;
    memcpy(buffer, place->counter, LEND_COUNTER);
    for (unsigned i = 0; i < p.count; i++)
        *p.into[i] = buffer + place->offsets[i];
    place->away = false;
}

static unsigned char *take_out(struct tls_place *place, struct pointers p)
{
    unsigned char *buffer = *p.base;
    memcpy(place->counter, buffer, LEND_COUNTER);
    for (unsigned i = 0; i < p.count; i++) {
        size_t offset = (size_t)(*p.into[i] - buffer);
        MUST_DEBUG(offset <= UINT8_MAX);
        place->offsets[i] = (uint8_t)offset;
        *p.into[i] = NULL;
    }
    *p.base = NULL;
    place->away = true;
    return buffer;
}

bool tls_lend(
    struct tls_lender *l, struct tls_places *p, mbedtls_ssl_context *ssl, enum tls_lending what)
{
    bool in = p->in.away && what == LEND_BOTH;
    if (((in && l->in_count == 0) || (p->out.away && l->out_count == 0)) &&
        !make_spares(l, ssl->TLS_PRIVATE(conf)))
        return false;
    if (in)
        put_in(&p->in, in_pointers(ssl), l->in[--l->in_count]);
    if (p->out.away)
        put_in(&p->out, out_pointers(ssl), l->out[--l->out_count]);
    return true;
}

void tls_return(struct tls_lender *l, struct tls_places *p, mbedtls_ssl_context *ssl)
{
    unsigned char *in = NULL;
    unsigned char *out = NULL;
    if (!p->in.away && IN(ssl, left) == 0 && !IN(ssl, offt) && IN(ssl, hslen) == 0 &&
        !ssl->TLS_PRIVATE(keep_current_message))
        in = take_out(&p->in, in_pointers(ssl));
    if (!p->out.away && OUT(ssl, left) == 0)
        out = take_out(&p->out, out_pointers(ssl));
    if (in && l->in_count < LEND_SPARES) {
        l->in[l->in_count++] = in;
        in = NULL;
    }
    if (out && l->out_count < LEND_SPARES) {
        l->out[l->out_count++] = out;
        out = NULL;
    }
    if (in || out)
        free_buffers(in, out);
}

void tls_lender_fini(struct tls_lender *l)
{
    while (l->in_count > 0)
        free_buffers(l->in[--l->in_count], NULL);
    while (l->out_count > 0)
        free_buffers(NULL, l->out[--l->out_count]);
}

#else

bool tls_lend(
    struct tls_lender *l, struct tls_places *p, mbedtls_ssl_context *ssl, enum tls_lending what)
{
    (void)l, (void)p, (void)ssl, (void)what;
    return true;
}

void tls_return(struct tls_lender *l, struct tls_places *p, mbedtls_ssl_context *ssl)
{
    (void)l, (void)p, (void)ssl;
}

void tls_lender_fini(struct tls_lender *l)
{
    (void)l;
}

#endif
