/* Pairs of keys, made for one test. */
#ifndef HERMES_TEST_UNIT_AUTH_PAIRS_H
#define HERMES_TEST_UNIT_AUTH_PAIRS_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>

#include "auth/make.h"
#include "unit/auth/tokens.h"

struct pair {
    char public[2048]; /* PEM, both */
    char private[4096];
};

#define PAIR_RSA_1024 MBEDTLS_ECP_DP_NONE

static inline void pair_make(struct pair *p, mbedtls_ecp_group_id curve)
{
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    int error = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
    if (curve == PAIR_RSA_1024) {
        error |= mbedtls_pk_setup(&pk, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA));
        error |=
            mbedtls_rsa_gen_key(mbedtls_pk_rsa(pk), mbedtls_ctr_drbg_random, &random, 1024, 65537);
    } else {
        error |= mbedtls_pk_setup(&pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
        error |= mbedtls_ecp_gen_key(curve, mbedtls_pk_ec(pk), mbedtls_ctr_drbg_random, &random);
    }
    error |= mbedtls_pk_write_pubkey_pem(&pk, (unsigned char *)p->public, sizeof p->public);
    error |= mbedtls_pk_write_key_pem(&pk, (unsigned char *)p->private, sizeof p->private);
    mbedtls_pk_free(&pk);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
    if (error)
        abort();
}

/* A token of claims that hold, signed by the pair. */
static inline void pair_sign(const struct pair *p, const char *name, struct buf *token)
{
    char error[200];
    struct token_key key;
    struct file file = file_of(p->private);
    struct auth_source source = {file.path, error, sizeof error};
    struct token_wish wish = {.name = name, .user = "alice", .issued = NOW, .expires = NOW + 60};
    buf_clear(token);
    if (token_key_read_private(&key, &source) != AUTH_LOADED || token_make(&key, &wish, token))
        abort();
    token_key_fini(&key);
    close(file.fd);
}

#endif
