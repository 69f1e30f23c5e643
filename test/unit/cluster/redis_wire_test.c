/* One connection after another to a server's addresses, plain and through TLS. */
#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "cluster/redis_wire.h"
#include "net/tls_client.h"
#include "unit/cluster/fake_redis.h"

static void logs(struct scene *s, const char *reason)
{
    char logged[4000] = "";
    while (s->fake.accepted < 2)
        uv_run(&s->loop, UV_RUN_ONCE);
    scene_logged(s, logged, sizeof logged);
    if (!strstr(logged, reason))
        fail_msg("%s is not in %s", reason, logged);
    assert_int_equal(s->ups + s->downs, 0);
}

/* Names of the test's own: this stands before libuv's. */
struct own_lookup {
    uv_timer_t timer;
    uv_getaddrinfo_t *request;
    uv_getaddrinfo_cb found;
    struct addrinfo *list;
};

static unsigned own_lookups;

static void own_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void own_found(uv_timer_t *timer)
{
    struct own_lookup *own = timer->data;
    own->found(own->request, 0, own->list);
    uv_close((uv_handle_t *)timer, own_closed);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb found,
    const char *host, const char *port, const struct addrinfo *hints)
{
    /* Tried from the last one on; the fake listens at the first. */
    static const char *const addresses[] = {"127.0.0.1", "::1", "127.0.0.3", "127.0.0.2"};
    if (strcmp(host, "several") != 0) {
        int (*libuv)(uv_loop_t *, uv_getaddrinfo_t *, uv_getaddrinfo_cb, const char *, const char *,
            const struct addrinfo *);
        *(void **)&libuv = dlsym(RTLD_NEXT, "uv_getaddrinfo");
        return libuv(loop, request, found, host, port, hints);
    }
    struct own_lookup *own = calloc(1, sizeof *own);
    assert_non_null(own);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct addrinfo *one;
        assert_int_equal(getaddrinfo(addresses[i], port, hints, &one), 0);
        assert_null(one->ai_next);
        one->ai_next = own->list;
        own->list = one;
    }
    own_lookups++;
    own->request = request;
    own->found = found;
    uv_timer_init(loop, &own->timer);
    own->timer.data = own;
    return uv_timer_start(&own->timer, own_found, 0, 0);
}

static void a_name_is_looked_up_anew_and_tried_at_each_of_its_addresses(void **state)
{
    struct scene s;
    char url[80];
    (void)state;
    scene_open(&s);
    snprintf(url, sizeof url, "redis://several:%s", s.url->port);
    scene_url(&s, url);
    own_lookups = 0;
    scene_link(&s);
    scene_until(&s, "up\n");
    assert_int_equal(own_lookups, 1); /* it did not come up at a second attempt */
    fake_hang_up(&s);
    scene_until(&s, "down: ");
    scene_until(&s, "up\n");
    assert_int_equal(own_lookups, 2);
    scene_close(&s);
}

static void a_name_that_nobody_knows_is_told(void **state)
{
    struct scene s;
    char logged[4000] = "";
    (void)state;
    scene_open(&s);
    scene_url(&s, "redis://no-such-host.invalid:1");
    scene_link(&s);
    while (!*logged) {
        uv_run(&s.loop, UV_RUN_ONCE);
        scene_logged(&s, logged, sizeof logged);
    }
    assert_non_null(strstr(logged, "server=no-such-host.invalid:1"));
    scene_close(&s);
}

static void a_server_that_is_not_there_is_tried_until_it_is(void **state)
{
    struct scene s;
    struct scene later;
    char logged[4000] = "";
    char url[80];
    (void)state;
    scene_open(&s);
    scene_open(&later); /* a port on which nobody listens any more */
    snprintf(url, sizeof url, "redis://127.0.0.1:%s", later.url->port);
    scene_close(&later);
    scene_url(&s, url);
    scene_link(&s);
    while (!*logged) {
        uv_run(&s.loop, UV_RUN_ONCE);
        scene_logged(&s, logged, sizeof logged);
    }
    assert_non_null(strstr(logged, "connection refused"));
    struct sockaddr_in at;
    uv_ip4_addr("127.0.0.1", atoi(s.url->port), &at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    int got = -1;
    while (got < 0) {
        uv_run(&s.loop, UV_RUN_ONCE);
        got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    close(got);
    close(fd);
    scene_close(&s);
}

static void tls_is_spoken_where_the_url_says_so(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_tls(&s, FAKE_GOOD);
    s.settings.silence_ms = 400;
    scene_link(&s);
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "ECHO hello", "echo"));
    scene_until(&s, "echo: hello\n");
    fake_hang_up(&s);
    scene_until(&s, "down: the server ended the connection\n");
    scene_until(&s, "up\n");
    scene_close(&s);
}

static void a_certificate_that_is_no_good_is_told(void **state)
{
    static const struct {
        enum fake_certificate which;
        const char *reason;
    } bad[] = {{FAKE_EXPIRED, "expired"}, {FAKE_STRANGER, "trust"}, {FAKE_OTHER_HOST, "host"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct scene s;
        scene_open(&s);
        scene_tls(&s, bad[i].which);
        scene_link(&s);
        logs(&s, bad[i].reason);
        scene_close(&s);
    }
}

static void a_server_without_tls_is_not_spoken_to_through_it(void **state)
{
    struct scene s;
    char url[80];
    (void)state;
    scene_open(&s);
    scene_tls(&s, FAKE_GOOD);
    s.settings.silence_ms = 60; /* nobody says anything */
    snprintf(url, sizeof url, "redis://127.0.0.1:%s", s.url->port);
    scene_url(&s, url);
    scene_link(&s);
    logs(&s, "");
    scene_close(&s);
}

static void a_handshake_that_nobody_answers_ends(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_tls(&s, FAKE_GOOD);
    s.fake.deaf = true;
    s.settings.silence_ms = 60;
    scene_link(&s);
    logs(&s, "no answer to the TLS handshake");
    scene_close(&s);
}

static void what_comes_through_tls_may_be_longer_than_a_read(void **state)
{
    static char said[300000];
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_tls(&s, FAKE_GOOD);
    scene_link(&s);
    scene_until(&s, "up\n");
    memset(said, 'y', sizeof said);
    memcpy(said, "+", 1);
    memcpy(said + sizeof said - 3, "\r\n", 3);
    s.fake.instead = said;
    for (int i = 0; i < 5; i++)
        assert_true(scene_send(&s, "GET x", "get"));
    for (int i = 0; i < 5; i++) {
        scene_until(&s, "get: yyyy");
        scene_until(&s, "y\n");
    }
    assert_int_equal(s.downs, 0);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_looked_up_anew_and_tried_at_each_of_its_addresses),
        cmocka_unit_test(a_name_that_nobody_knows_is_told),
        cmocka_unit_test(a_server_that_is_not_there_is_tried_until_it_is),
        cmocka_unit_test(tls_is_spoken_where_the_url_says_so),
        cmocka_unit_test(a_certificate_that_is_no_good_is_told),
        cmocka_unit_test(a_server_without_tls_is_not_spoken_to_through_it),
        cmocka_unit_test(a_handshake_that_nobody_answers_ends),
        cmocka_unit_test(what_comes_through_tls_may_be_longer_than_a_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
