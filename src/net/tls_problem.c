#include <stdio.h>

#include "net/tls_trust.h"

enum { ALERT_CERTIFICATE_REQUIRED = 116 };

static int broken(struct tls_client *c, enum tls_client_problem kind, const char *problem)
{
    c->broken = true;
    c->kind = kind;
    snprintf(c->problem, TLS_PROBLEM_TEXT, "%s", problem);
    return TLS_CLIENT_BROKEN;
}

static int distrusted(struct tls_client *c)
{
    uint32_t flags = mbedtls_ssl_get_verify_result(&c->ssl);
    if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        return broken(c, TLS_PROBLEM_NAME, "the server's certificate is for another host");
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
        return broken(c, TLS_PROBLEM_STRANGER,
            "the server's certificate is not from an authority that is trusted here");
    if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
        return broken(c, TLS_PROBLEM_DATES, "the server's certificate has expired");
    if (flags & MBEDTLS_X509_BADCERT_FUTURE)
        return broken(c, TLS_PROBLEM_DATES, "the server's certificate is not valid yet");
    if (flags &
        (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY))
        return broken(c, TLS_PROBLEM_WEAK,
            "the server's certificate has a key or a signature that is too weak");
    return broken(c, TLS_PROBLEM_WEAK, "the server's certificate is not one for a server");
}

static bool has_own(const struct tls_client *c)
{
    return mbedtls_pk_get_type(&c->trust->key) != MBEDTLS_PK_NONE;
}

static int refused_ours(struct tls_client *c)
{
    return broken(c, TLS_PROBLEM_OWN,
        has_own(c) ? "the server does not accept the client's certificate"
                   : "the server wants a certificate of the client");
}

/* What the server said before it hung up. Which alert says that a certificate is missing, and
 * which that it is not liked, differs from one server to the next. */
static int alerted(struct tls_client *c)
{
    int alert = c->ssl.TLS_PRIVATE(in_msg)[1];
    char text[TLS_PROBLEM_TEXT];
    switch (alert) {
    case MBEDTLS_SSL_ALERT_MSG_NO_CERT:
    case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
    case MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT:
    case MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED:
    case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED:
    case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN:
    case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA:
    case MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED:
    case ALERT_CERTIFICATE_REQUIRED:
        return refused_ours(c);
    case MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE:
        if (c->ssl.TLS_PRIVATE(state) > MBEDTLS_SSL_SERVER_HELLO)
            return refused_ours(c);
        return broken(
            c, TLS_PROBLEM_REFUSED, "the server has no TLS cipher in common with this client");
    case MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION:
        return broken(c, TLS_PROBLEM_REFUSED, "the server speaks neither TLS 1.2 nor 1.3");
    case MBEDTLS_SSL_ALERT_MSG_UNRECOGNIZED_NAME:
        return broken(c, TLS_PROBLEM_REFUSED, "the server knows no host of that name");
    case MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL:
        return broken(c, TLS_PROBLEM_REFUSED, "the server speaks no HTTP/1.1 there");
    default:
        snprintf(text, sizeof text, "the server ended TLS with alert %d", alert);
        return broken(c, TLS_PROBLEM_OTHER, text);
    }
}

int tls_client_broke(struct tls_client *c, int code)
{
    char text[TLS_PROBLEM_TEXT];
    switch (code) {
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return distrusted(c);
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return alerted(c);
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        /* There are servers that say nothing when they are not given a certificate. */
        if (c->asked && !has_own(c))
            return refused_ours(c);
        return broken(
            c, TLS_PROBLEM_CLOSED, "the server closed the connection during the TLS handshake");
    case MBEDTLS_ERR_SSL_INVALID_MAC:
        /* mbedTLS encrypts what it has to say about a certificate of TLS 1.3 with a key that the
         * client has just given up. */
        if (c->asked && !c->heard)
            return refused_ours(c);
        return broken(c, TLS_PROBLEM_OTHER, "what the server sent was changed on the way");
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
        if (c->shaken)
            return broken(c, TLS_PROBLEM_OTHER, "what the server sent is not TLS");
        return broken(c, TLS_PROBLEM_PLAIN, "the server does not speak TLS there");
    default:
        snprintf(text, sizeof text, "TLS failed (mbedTLS -0x%04x)", (unsigned)-code);
        return broken(c, TLS_PROBLEM_OTHER, text);
    }
}

const char *tls_client_problem(const struct tls_client *c, enum tls_client_problem *kind)
{
    if (kind)
        *kind = c->kind;
    return c->problem;
}
