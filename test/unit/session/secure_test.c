#include "session/secure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/bearer.h"
#include "support/worker_harness.h"
#include "unit/net/tls_scene.h"

struct tls_client {
    struct client client;
    struct tls_peer peer;
};

static struct scenery scenery;

static void use(struct rig *r, const struct tls_paths *paths)
{
    struct tls_config *config = config_load(paths);
    tls_box_put(&r->shop.tls, &config, 1);
    worker_take_tls(&r->shop.workers[0]);
    assert_non_null(r->shop.workers[0].tls);
}

static void open_rig(struct rig *r, const struct tls_paths *paths)
{
    rig_open(r, 1, rig_limits());
    use(r, paths);
}

static void open_client(struct rig *r, struct tls_client *c)
{
    struct worker *w = &r->shop.workers[0];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    memset(c, 0, sizeof *c);
    c->client.peer.fd = fds[1];
    atomic_fetch_add(&r->shop.connections, 1);
    session_open(w, &(struct connection){.fd = fds[0], .tls = true});
    struct rig_search search = {.fd = fds[0]};
    slab_each(&w->sessions, rig_is_it, &search);
    c->client.session = search.found;
    tls_peer_open(&c->peer, fds[1], scenery.ca.pem);
}

static void close_client(struct tls_client *c)
{
    tls_peer_close(&c->peer);
    close(c->client.peer.fd);
}

static int shake(struct tls_client *c)
{
    return mbedtls_ssl_handshake(&c->peer.ssl);
}

/* Its first message is on its way. */
static void greet(struct tls_client *c)
{
    tls_peer_start(&c->peer, "localhost");
    assert_int_equal(shake(c), MBEDTLS_ERR_SSL_WANT_READ);
}

static void let_in(struct rig *r, struct tls_client *c)
{
    int code;
    for (int i = 0; (code = shake(c)) == MBEDTLS_ERR_SSL_WANT_READ && i < 100; i++)
        rig_turn(r);
    assert_int_equal(code, 0);
    rig_settle(r);
}

/* What comes until that text is in it. */
static void expect(struct rig *r, struct tls_client *c, const char *text)
{
    static char all[65536];
    size_t len = 0;
    for (int i = 0; i < 100; i++) {
        int got = tls_peer_read(&c->peer, all + len, sizeof all - 1 - len);
        len += got > 0 ? (size_t)got : 0;
        all[len] = '\0';
        for (size_t k = 0; k < len; k++)
            if (strncmp(all + k, text, strlen(text)) == 0)
                return;
        rig_turn(r);
    }
    fail_msg("no %s", text);
}

static void upgrade(struct rig *r, struct tls_client *c)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_int_equal(
        mbedtls_ssl_write(&c->peer.ssl, (const unsigned char *)request, sizeof request - 1),
        sizeof request - 1);
    expect(r, c, "\"type\":\"info\"");
    assert_int_equal(c->client.session->state, SESSION_OPEN);
}

static void whoever_is_let_in_through_tls_is_a_session_like_any_other(void **state)
{
    struct rig r;
    struct tls_client c;
    (void)state;
    open_rig(&r, &scenery.paths);
    open_client(&r, &c);
    tls_peer_start(&c.peer, "localhost");
    let_in(&r, &c);
    assert_false(c.client.session->unsecured);
    assert_null(c.client.session->arrears);
    assert_null(c.client.session->catch_ups);
    upgrade(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_tls_handshakes_total), 1);
    close_client(&c);
    rig_close(&r);
}

/* And of those that have not, the newest. Broken by one queue for both: fails. */
static void a_handshake_that_has_begun_goes_before_one_that_has_not(void **state)
{
    struct rig r;
    struct tls_client first;
    struct tls_client second;
    (void)state;
    open_rig(&r, &scenery.paths);
    struct worker *w = &r.shop.workers[0];
    open_client(&r, &first);
    open_client(&r, &second);
    greet(&first);
    greet(&second);
    session_secure(second.client.session);
    session_secure(first.client.session); /* the newest */
    /* A slice of no time is one step. */
    assert_false(worker_secure(w, 0));
    assert_non_null(first.client.session->conn.tls);
    assert_null(second.client.session->conn.tls);
    unsigned steps = 1;
    for (; !list_empty(&first.client.session->securing); steps++) {
        assert_null(second.client.session->conn.tls);
        assert_false(worker_secure(w, 0));
    }
    assert_true(steps > 1);
    let_in(&r, &second);
    let_in(&r, &first);
    close_client(&first);
    close_client(&second);
    rig_close(&r);
}

static void what_is_left_of_a_slice_is_gone_on_with(void **state)
{
    enum { CLIENTS = 40 };
    static struct tls_client clients[CLIENTS];
    struct rig r;
    (void)state;
    open_rig(&r, &scenery.paths);
    for (int i = 0; i < CLIENTS; i++) {
        open_client(&r, &clients[i]);
        greet(&clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        let_in(&r, &clients[i]);
    assert_int_equal(rig_metric(&r, METRIC_tls_handshakes_total), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        upgrade(&r, &clients[i]);
        close_client(&clients[i]);
    }
    rig_close(&r);
}

/* Until its turn comes a poll that tells of it again and again would be for nothing. */
static void who_waits_in_the_queue_is_not_watched(void **state)
{
    struct rig r;
    struct tls_client c;
    (void)state;
    open_rig(&r, &scenery.paths);
    open_client(&r, &c);
    greet(&c);
    session_secure(c.client.session);
    assert_int_equal(c.client.session->conn.watched, CONN_READABLE);
    session_secure(c.client.session);
    assert_int_equal(c.client.session->conn.watched, 0);
    while (!worker_secure(&r.shop.workers[0], 0))
        ;
    assert_int_equal(c.client.session->conn.watched, CONN_READABLE);
    let_in(&r, &c);
    upgrade(&r, &c);
    close_client(&c);
    rig_close(&r);
}

static void who_ends_in_the_queue_is_in_none(void **state)
{
    struct rig r;
    struct tls_client c;
    (void)state;
    open_rig(&r, &scenery.paths);
    struct worker *w = &r.shop.workers[0];
    open_client(&r, &c);
    greet(&c);
    session_secure(c.client.session);
    session_end(c.client.session, CLOSE_LOST, true);
    assert_true(list_empty(&w->insecure));
    assert_true(worker_secure(w, 0));
    close_client(&c);
    open_client(&r, &c);
    greet(&c);
    session_secure(c.client.session);
    assert_false(worker_secure(w, 0));
    assert_false(list_empty(&w->securing));
    session_end(c.client.session, CLOSE_LOST, true);
    assert_true(list_empty(&w->securing));
    close_client(&c);
    rig_close(&r);
}

static void who_speaks_plainly_is_told_so(void **state)
{
    struct rig r;
    struct tls_client c;
    char answer[4096];
    (void)state;
    open_rig(&r, &scenery.paths);
    open_client(&r, &c);
    client_request(&c.client, "/");
    rig_settle(&r);
    ssize_t got = recv(c.client.peer.fd, answer, sizeof answer - 1, 0);
    assert_true(got > 0);
    answer[got] = '\0';
    assert_memory_equal(answer, "HTTP/1.1 400 ", 13);
    assert_non_null(strstr(answer, "wss://"));
    assert_int_equal(rig_metric(&r, METRIC_refused_plain_total), 1);
    close_client(&c);
    rig_close(&r);
}

static void a_failure_is_counted_by_its_cause(void **state)
{
    struct rig r;
    struct tls_client c;
    (void)state;
    open_rig(&r, &scenery.paths);
    open_client(&r, &c);
    assert_int_equal(send(c.client.peer.fd, "\x16garbage that is no TLS at all", 31, 0), 31);
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_tls_failed_record_total) +
                         rig_metric(&r, METRIC_tls_failed_version_total) +
                         rig_metric(&r, METRIC_tls_failed_protocol_total),
        1);
    assert_int_equal(rig_metric(&r, METRIC_closed_tls_total), 1);
    close_client(&c);
    /* Whoever goes without a word has only gone. */
    open_client(&r, &c);
    close_client(&c);
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_tls_failed_gone_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_closed_tls_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 1);
    rig_close(&r);
}

static void a_certificate_makes_its_name_the_user(void **state)
{
    struct rig r;
    struct tls_client c;
    struct certificate own;
    struct certificate_wish wish = {.name = "CN=Ada"};
    (void)state;
    certificate_make(&own, &scenery.ca, &wish);
    open_rig(&r, &scenery.asking);
    open_client(&r, &c);
    tls_peer_own(&c.peer, own.pem, own.key);
    tls_peer_start(&c.peer, "localhost");
    let_in(&r, &c);
    const struct bearer *bearer = c.client.session->bearer;
    assert_non_null(bearer);
    assert_true(text_equal(bearer->claims->user, TEXT("Ada")));
    assert_true(bearer_may(bearer, GRANT_SUBSCRIBE, ACCESS_AUTHENTICATED, TEXT("t")));
    assert_false(bearer_may(bearer, GRANT_SUBSCRIBE, ACCESS_TOKEN, TEXT("t")));
    assert_false(bearer_may(bearer, GRANT_SUBSCRIBE, ACCESS_NOBODY, TEXT("t")));
    assert_true(session_may_see(c.client.session));
    upgrade(&r, &c);
    close_client(&c);
    rig_close(&r);
}

static void a_session_keeps_the_certificate_it_began_with(void **state)
{
    struct rig r;
    struct tls_client before;
    struct tls_client after;
    (void)state;
    open_rig(&r, &scenery.paths);
    open_client(&r, &before);
    tls_peer_start(&before.peer, "localhost");
    let_in(&r, &before);
    struct tls_config *old = r.shop.workers[0].tls;
    use(&r, &scenery.paths);
    assert_ptr_not_equal(r.shop.workers[0].tls, old);
    open_client(&r, &after);
    tls_peer_start(&after.peer, "localhost");
    let_in(&r, &after);
    upgrade(&r, &before);
    upgrade(&r, &after);
    close_client(&before);
    close_client(&after);
    rig_close(&r);
}

static void nothing_new_in_the_box_changes_nothing(void **state)
{
    struct rig r;
    (void)state;
    open_rig(&r, &scenery.paths);
    struct tls_config *config = r.shop.workers[0].tls;
    worker_take_tls(&r.shop.workers[0]);
    assert_ptr_equal(r.shop.workers[0].tls, config);
    /* Those that no worker takes are freed with the box, or by those that come after them. */
    config = config_load(&scenery.paths);
    tls_box_put(&r.shop.tls, &config, 1);
    config = config_load(&scenery.paths);
    tls_box_put(&r.shop.tls, &config, 1);
    rig_close(&r);
}

static int set_up(void **state)
{
    (void)state;
    scenery_open(&scenery);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scenery_close(&scenery);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_is_let_in_through_tls_is_a_session_like_any_other),
        cmocka_unit_test(a_handshake_that_has_begun_goes_before_one_that_has_not),
        cmocka_unit_test(what_is_left_of_a_slice_is_gone_on_with),
        cmocka_unit_test(who_waits_in_the_queue_is_not_watched),
        cmocka_unit_test(who_ends_in_the_queue_is_in_none),
        cmocka_unit_test(who_speaks_plainly_is_told_so),
        cmocka_unit_test(a_failure_is_counted_by_its_cause),
        cmocka_unit_test(a_certificate_makes_its_name_the_user),
        cmocka_unit_test(a_session_keeps_the_certificate_it_began_with),
        cmocka_unit_test(nothing_new_in_the_box_changes_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
