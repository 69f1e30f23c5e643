#include "net/tls_library.h"

#include <errno.h>
#include <sys/random.h>

#include <mbedtls/ssl_ciphersuites.h>

#if TLS_LIBRARY_3
#include <psa/crypto.h>
#endif

/* Ours first: what a processor of today does fastest. */
static const int suites[] = {
#if TLS_LIBRARY_3
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    0,
};

#if TLS_LIBRARY_3
static const uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};
/* For clients. Left alone the library offers PSS first, which 3.6.6 refuses in TLS 1.2, and most
 * servers take the first that they can. In TLS 1.3 PKCS1 does not count. */
static const uint16_t signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
    MBEDTLS_TLS1_3_SIG_NONE,
};
#else
static const mbedtls_ecp_group_id groups[] = {
    MBEDTLS_ECP_DP_SECP256R1,
    MBEDTLS_ECP_DP_CURVE25519,
    MBEDTLS_ECP_DP_SECP384R1,
    MBEDTLS_ECP_DP_SECP521R1,
    MBEDTLS_ECP_DP_NONE,
};
/* No SHA-1. */
static const int hashes[] = {
    MBEDTLS_MD_SHA256,
    MBEDTLS_MD_SHA384,
    MBEDTLS_MD_SHA512,
    MBEDTLS_MD_NONE,
};
#endif

/* To be offered one by one, ours first. */
static const char *protocols[] = {"http/1.1", NULL};

int tls_random(void *unused, unsigned char *bytes, size_t len)
{
    (void)unused;
    while (len > 0) {
        ssize_t got = getrandom(bytes, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
        bytes += got;
        len -= (size_t)got;
    }
    return 0;
}

bool tls_library_start(void)
{
#if TLS_LIBRARY_3
    return psa_crypto_init() == PSA_SUCCESS;
#else
    return true;
#endif
}

int tls_common_config(mbedtls_ssl_config *config, int endpoint)
{
    int code = mbedtls_ssl_config_defaults(
        config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (code != 0)
        return code;
    mbedtls_ssl_conf_rng(config, tls_random, NULL);
    mbedtls_ssl_conf_ciphersuites(config, suites);
#if TLS_LIBRARY_3
    mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_groups(config, groups);
    if (endpoint == MBEDTLS_SSL_IS_CLIENT)
        mbedtls_ssl_conf_sig_algs(config, signatures);
#if !defined(MBEDTLS_THREADING_C)
    /* All of TLS 1.3 goes through the library's one store of keys. */
    mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
    /* A ticket alone would give keys that whoever has the ticket's key can compute later on. */
    mbedtls_ssl_conf_tls13_key_exchange_modes(
        config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
#endif
#else
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_curves(config, groups);
    mbedtls_ssl_conf_sig_hashes(config, hashes);
#endif
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
    return mbedtls_ssl_conf_alpn_protocols(config, protocols);
}

int tls_parse_key(mbedtls_pk_context *key, const unsigned char *pem, size_t len)
{
#if TLS_LIBRARY_3
    return mbedtls_pk_parse_key(key, pem, len, NULL, 0, tls_random, NULL);
#else
    return mbedtls_pk_parse_key(key, pem, len, NULL, 0);
#endif
}

int tls_check_pair(mbedtls_pk_context *public, mbedtls_pk_context *private)
{
#if TLS_LIBRARY_3
    return mbedtls_pk_check_pair(public, private, tls_random, NULL);
#else
    return mbedtls_pk_check_pair(public, private);
#endif
}
