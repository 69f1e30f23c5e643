/* The token that a client shows: when, to whom, and when no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "unit/client/world2.h"

/* Writes down what the handshake said of a token. */
static void note_token(struct fake_conn *conn)
{
    struct world *w = conn->fake->user;
    const char *at = memmem(conn->head.data, conn->head.len, "Authorization", 13);
    const char *end = at ? memchr(at, '\r', conn->head.len - (size_t)(at - conn->head.data)) : NULL;
    world_note(&w->seen, "", at ? at : "none", at ? (size_t)(end - at) : 4);
}

static void note_and_expire(struct fake_conn *conn)
{
    note_token(conn);
    fake_end(conn, HERMES_CLOSE_TOKEN_EXPIRED, "expired");
}

static void a_handshake_carries_the_newest_token(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.token = "first.one";
    w.fake.opened = note_token;
    w.events.on_open = world_done_open;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world2_ok(hermes_client_auth(w.client, "second.one and more", 10, 0));
    w.events.on_close = world_done_close;
    hermes_client_close(w.client, HERMES_CLOSE_NORMAL, NULL);
    world_run(&w);
    world_open_client(&w);
    world_run(&w);
    world_seen_is(&w, "Authorization: Bearer first.one\nAuthorization: Bearer second.one\n");
    world_close(&w);
}

static void without_one_there_is_no_header(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.opened = note_token;
    w.events.on_open = world_done_open;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_seen_is(&w, "none\n");
    world_close(&w);
}

static void what_no_header_may_have_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a b", "a\r\nX: y", "a\n", "\x7f", "\xc3\xa4"};
    struct world w;
    struct hermes_client *c;
    char large[8194];
    world_open(&w);
    world_client(&w);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        w.options.token = bad[i];
        assert_int_equal(hermes_client_new(&c, w.group, &w.options), HERMES_CLIENT_BAD_OPTION);
        assert_null(c);
        assert_int_equal(
            hermes_client_auth(w.client, bad[i], strlen(bad[i]), 0), HERMES_CLIENT_BAD_OPTION);
    }
    assert_int_equal(hermes_client_auth(w.client, "a\0b", 3, 0), HERMES_CLIENT_BAD_OPTION);
    memset(large, 'x', sizeof large);
    assert_int_equal(hermes_client_auth(w.client, large, 8193, 0), HERMES_CLIENT_BAD_OPTION);
    world2_ok(hermes_client_auth(w.client, large, 8192, 0));
    world_close(&w);
}

static void an_expired_token_is_not_shown_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.token = "old";
    w.fake.opened = note_and_expire;
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    assert_int_equal(w.last.code, HERMES_CLOSE_TOKEN_EXPIRED);
    assert_false(w.last.will_retry);
    world_seen_is(&w, "Authorization: Bearer old\n");
    world_close(&w);
}

static void renew(struct hermes_client *c, void *user)
{
    struct world *w = user;
    if (w->fake.connections == 1)
        world2_ok(hermes_client_auth(c, "new", 3, 0));
}

/* The server had closed before it could have read of it. */
static void a_newer_one_is_shown_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.token = "old";
    w.fake.opened = note_and_expire;
    w.events.on_open = renew;
    w.events.on_close = world_done_final;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_seen_is(&w, "Authorization: Bearer old\nAuthorization: Bearer new\n");
    world_close(&w);
}

static void auth_is_answered_with_its_token(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"auth\"",
            {"{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"m\",\"topic\":\"t\"}",
                "{\"type\":\"ack_auth\",\"expires\":1700000000,\"id\":\"#1\"}"}},
        {"{\"type\":\"auth\"",
            {"{\"type\":\"error\",\"code\":\"unauthorized\",\"message\":\"m\",\"id\":\"#2\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world2_ok(hermes_client_auth(w.client, "to\"ken", 6, 77));
    world2_until_told(&w, "77");
    world2_ok(hermes_client_auth(w.client, "other", 5, 78));
    world2_until_told(&w, "78");
    world_seen_is(&w, "1 {\"type\":\"auth\",\"token\":\"to\\\"ken\",\"id\":\"#1\"}\n"
                      "1 {\"type\":\"auth\",\"token\":\"other\",\"id\":\"#2\"}\n");
    world_log_is(&w, "error topic=t code=forbidden\n"
                     "authenticated token=77\n"
                     "error code=unauthorized token=78\n");
    world_close(&w);
}

static void expire(struct fake_conn *conn, const char *text, size_t len)
{
    (void)text;
    (void)len;
    note_token(conn);
    fake_text(conn, "{\"type\":\"ack_auth\",\"id\":\"#1\"}");
    fake_end(conn, HERMES_CLOSE_TOKEN_EXPIRED, "expired");
}

/* The server has had it: this is the one that has expired. */
static void one_that_was_accepted_is_no_newer_one(void **state)
{
    (void)state;
    struct play p = {0};
    struct world w;
    world2_open(&w, &p);
    w.fake.text = expire;
    w.events.on_close = world_done_final;
    world2_until_open(&w);
    world2_ok(hermes_client_auth(w.client, "new", 3, 0));
    world_run(&w);
    assert_int_equal(w.last.code, HERMES_CLOSE_TOKEN_EXPIRED);
    world_seen_is(&w, "none\n");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_carries_the_newest_token),
        cmocka_unit_test(without_one_there_is_no_header),
        cmocka_unit_test(what_no_header_may_have_is_refused),
        cmocka_unit_test(an_expired_token_is_not_shown_again),
        cmocka_unit_test(a_newer_one_is_shown_once),
        cmocka_unit_test(auth_is_answered_with_its_token),
        cmocka_unit_test(one_that_was_accepted_is_no_newer_one),
    };
    return WORLD_RUN_BOTH_WAYS(tests);
}
