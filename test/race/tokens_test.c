/* Verifiers of many threads on the same keys, which are reloaded meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>

#include "unit/auth/pairs.h"

enum { THREADS = 4, ROUNDS = 20 };

struct scene {
    pthread_mutex_t lock;
    struct auth_keys *keys; /* those in force */
    struct file public_file;
    struct buf by_pair;
    struct buf by_secret;
};

static struct auth_keys *keys_load(const struct scene *s)
{
    char error[200];
    struct auth_keys *keys;
    struct auth_settings settings = {.secret = SECRET, .public_key_file = s->public_file.path};
    if (auth_keys_load(&settings, &keys, error, sizeof error) != AUTH_LOADED)
        abort();
    return keys;
}

static struct auth_keys *keys_take(struct scene *s)
{
    pthread_mutex_lock(&s->lock);
    struct auth_keys *keys = s->keys;
    auth_keys_hold(keys);
    pthread_mutex_unlock(&s->lock);
    return keys;
}

/* As each worker does it. */
static void *work(void *user)
{
    struct scene *s = user;
    struct claims *claims;
    size_t held = 0;
    for (size_t i = 0; i < ROUNDS; i++) {
        struct auth_keys *keys = keys_take(s);
        struct verifier *v = verifier_new(keys);
        auth_keys_drop(keys);
        for (size_t k = 0; k < 2 * 2; k++) {
            held += verifier_check(
                        v, buf_text(k % 2 ? &s->by_pair : &s->by_secret), NOW, &claims) == AUTH_OK;
            claims_drop(claims);
        }
        verifier_free(v);
    }
    return (void *)held;
}

static void tokens_hold_on_every_thread_whatever_is_reloaded(void **state)
{
    struct pair pair;
    struct scene s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];
    (void)state;
    pair_make(&pair, MBEDTLS_ECP_DP_SECP256R1);
    s.public_file = file_of(pair.public);
    pair_sign(&pair, NULL, &s.by_pair);
    token_good(&s.by_secret, "{\"sub\":\"alice\"}");
    s.keys = keys_load(&s);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &s), 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        struct auth_keys *keys = keys_load(&s);
        pthread_mutex_lock(&s.lock);
        struct auth_keys *old = s.keys;
        s.keys = keys;
        pthread_mutex_unlock(&s.lock);
        auth_keys_drop(old);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *held;
        pthread_join(threads[i], &held);
        assert_int_equal((size_t)held, ROUNDS * 2 * 2);
    }
    assert_int_equal(s.keys->references, 1);
    auth_keys_drop(s.keys);
    buf_fini(&s.by_pair);
    buf_fini(&s.by_secret);
    close(s.public_file.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_hold_on_every_thread_whatever_is_reloaded),
    };
    json_object_seed(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
