/* TLS whose n-th allocation fails, for every n: the library's too, which --wrap does not reach. */
#include "net/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "net/tls_client.h"
#include "unit/net/tls_scene.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
/* Sanitizers have an allocator of their own: then all there is to see is a life with memory. */
#if defined(__GLIBC__) && !defined(SANITIZED)
#define FAILS 1
#else
#define FAILS 0
#endif

enum { ROOM = 65536 };

static struct {
    bool counting;
    unsigned calls;
    unsigned fail_at; /* this call fails; 0: none */
} allocations;

static struct scenery all;
static char buffer[ROOM + CONN_READ_MORE];

#if FAILS
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static bool may_allocate(void)
{
    return !allocations.counting || ++allocations.calls != allocations.fail_at;
}

/* A program's own come before those of the libraries that it uses, where they are seen. */
__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    return may_allocate() ? __libc_calloc(count, size) : NULL;
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
    return may_allocate() ? __libc_realloc(old, size) : NULL;
}
#endif

/* Only what is ours counts: the peer lives in the same process. */
#define OURS(call) (allocations.counting = true, result = (call), allocations.counting = false)

static enum tls_step shake(struct scene *s, struct tls_config *config)
{
    enum tls_step result = TLS_WANT_READ;
    int theirs = MBEDTLS_ERR_SSL_WANT_READ;
    while (result != TLS_DONE && result != TLS_FAILED) {
        if (theirs == MBEDTLS_ERR_SSL_WANT_READ)
            theirs = mbedtls_ssl_handshake(&s->peer.ssl);
        OURS(tls_handshake(&s->conn, config, &s->fault));
    }
    while (result == TLS_DONE && theirs == MBEDTLS_ERR_SSL_WANT_READ)
        theirs = mbedtls_ssl_handshake(&s->peer.ssl);
    /* Without memory 2.28 may end with a digest that the peer does not take. */
    return theirs == 0 ? result : TLS_FAILED;
}

static void talk(struct scene *s)
{
    ssize_t result;
    OURS(scene_write(s, "hello", 5));
    assert_true(result == 5 || result == CONN_BROKEN);
    if (result != 5)
        return;
    peer_read(s, buffer, 5);
    peer_write(s, "hello", 5);
    scene_wait_for(s->conn.fd, POLLIN);
    OURS(conn_read(&s->conn, buffer, ROOM));
    assert_true(result == 5 || result == CONN_BROKEN);
}

/* A server's life; whether the allocation that was to fail was asked for. */
static bool serve(unsigned fail_at, const struct tls_paths *paths)
{
    struct tls_config *config = NULL;
    struct tls_report report;
    struct scene s;
    bool result;
    allocations.calls = 0;
    allocations.fail_at = fail_at;
    OURS(tls_config_load(paths, &config, 1, &report));
    assert_int_equal(result, !report.error[0]);
    if (result) {
        struct certificate theirs;
        certificate_make(&theirs, &all.ca, &(struct certificate_wish){.name = "CN=alice"});
        scene_open(&s, all.ca.pem, 0);
        tls_peer_own(&s.peer, theirs.pem, theirs.key);
        tls_peer_start(&s.peer, "localhost");
        if (shake(&s, config) == TLS_DONE)
            talk(&s);
        scene_close(&s);
        tls_config_drop(config);
    }
    return allocations.fail_at != 0 && allocations.calls >= allocations.fail_at;
}

static void a_server_without_memory_refuses_and_goes_on(void **state)
{
    (void)state;
    unsigned count = 0;
    for (int asking = 0; asking < 2; asking++) {
        const struct tls_paths *paths = asking ? &all.asking : &all.paths;
        unsigned n = 1;
        /* There are thousands, most of them in the arithmetic of the keys. */
        while (FAILS && serve(n, paths))
            n += n < 150 ? 1 : n / 50;
        count += n;
        assert_false(serve(0, paths));
    }
    assert_true(!FAILS || count > 100);
}

/* A client's beginning, without a server. */
static bool call(unsigned fail_at)
{
    struct tls_report report;
    struct tls_trust *trust;
    struct tls_client *client = NULL;
    enum tls_client_problem problem;
    allocations.calls = 0;
    allocations.fail_at = fail_at;
    allocations.counting = true;
    trust = tls_trust_load(&(struct tls_client_paths){.ca = all.ca_path}, &report);
    if (trust)
        client = tls_client_new(trust, "localhost");
    int state = client ? tls_client_shake(client) : 0;
    bool fed = client && tls_client_feed(client, "\x16\x03\x03", 3);
    allocations.counting = false;
    if (!trust)
        assert_string_not_equal(report.error, "");
    if (client && state == TLS_CLIENT_BROKEN)
        assert_string_not_equal(tls_client_problem(client, &problem), "");
    else if (client && fed)
        assert_int_equal(state, TLS_CLIENT_AGAIN);
    tls_client_free(client);
    tls_trust_drop(trust);
    return fail_at != 0 && allocations.calls >= fail_at;
}

static void a_client_without_memory_says_so(void **state)
{
    (void)state;
    unsigned n = 1;
    while (FAILS && call(n))
        n++;
    assert_false(call(0));
    assert_true(!FAILS || n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_without_memory_refuses_and_goes_on),
        cmocka_unit_test(a_client_without_memory_says_so),
    };
    scenery_open(&all);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scenery_close(&all);
    return failed;
}
