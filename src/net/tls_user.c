/* Who a client's certificate names. */
#include <string.h>

#include <mbedtls/oid.h>

#include "base/utf8.h"
#include "net/conn.h"
#include "net/tls.h"
#include "net/tls_state.h"

/* The kinds of alternative names (RFC 5280, 4.2.1.6) that name somebody. */
enum { NAME_MAIL = 1, NAME_DNS = 2 };

static bool is_text(int tag)
{
    return tag == MBEDTLS_ASN1_UTF8_STRING || tag == MBEDTLS_ASN1_PRINTABLE_STRING ||
           tag == MBEDTLS_ASN1_IA5_STRING;
}

/* A name that can be shown and compared: UTF-8 without control characters. */
static bool take(const unsigned char *from, size_t len, char *name, size_t size)
{
    if (len == 0 || len >= size || !utf8_valid(from, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if (from[i] < 0x20 || from[i] == 0x7f)
            return false;
    memcpy(name, from, len);
    name[len] = 0;
    return true;
}

/* NULL: there is none. */
static const mbedtls_x509_buf *common_name(const mbedtls_x509_crt *certificate)
{
    for (const mbedtls_x509_name *one = &certificate->subject; one; one = one->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &one->oid) == 0)
            return &one->val;
    return NULL;
}

bool tls_user(const struct conn *c, char *name, size_t size)
{
    const mbedtls_x509_crt *certificate = c->tls ? mbedtls_ssl_get_peer_cert(&c->tls->ssl) : NULL;
    if (!certificate)
        return false;
    const mbedtls_x509_buf *common = common_name(certificate);
    if (common)
        return is_text(common->tag) && take(common->p, common->len, name, size);
    for (const mbedtls_x509_sequence *one = &certificate->subject_alt_names; one; one = one->next) {
        int kind = one->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
        if (kind == NAME_MAIL || kind == NAME_DNS)
            return take(one->buf.p, one->buf.len, name, size);
    }
    return false;
}
