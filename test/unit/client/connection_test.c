#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "unit/client/world.h"

#define INFO "info Connected to HERMES WebSocket server. Hi.\n"

/* Handshake, info, answers, deliveries of every length form, confirmations, close. */
static void it_makes_no_difference_how_the_bytes_come(void **state)
{
    (void)state;
    static char big[70000];
    memset(big, 'x', sizeof big - 1);
    big[0] = big[sizeof big - 2] = '"';
    struct buf logs[2] = {{0}, {0}};
    for (int slowly = 0; slowly < 2; slowly++) {
        struct world w;
        world_open(&w);
        w.fake.slowly = slowly;
        w.fake.text = world_serve;
        w.events.on_open = world_done_open;
        w.events.on_close = world_done_final;
        world_client(&w);
        world_subscribe(&w, "a");
        assert_int_equal(world_publish(&w, "b", "[1, 2.50]"), HERMES_CLIENT_OK);
        world_open_client(&w);
        world_run(&w);
        world_unsubscribe(&w, "c");
        assert_int_equal(world_publish(&w, "big", big), HERMES_CLIENT_OK);
        assert_int_equal(hermes_client_send_text(w.client, big, 300), HERMES_CLIENT_OK);
        assert_int_equal(hermes_client_confirm(w.client, 0x0102030405060708), HERMES_CLIENT_OK);
        hermes_client_close(w.client, 1000, "bye");
        world_run(&w);
        buf_append(&logs[slowly], w.log.data, w.log.len);
        buf_append_char(&logs[slowly], 0);
        world_close(&w);
    }
    assert_in_range(logs[0].len, 70000, 71000);
    assert_string_equal(logs[0].data, logs[1].data);
    static const char first[] =
        "open\n" INFO "subscribed a\ndata {\"topic\":\"b\",\"data\":[1, 2.50]}\nnot subscribed c\n";
    static const char last[] = "\nconfirm 72623859790382856\nclose 1000 opened clean \n";
    assert_memory_equal(logs[0].data, first, sizeof first - 1);
    assert_string_equal(logs[0].data + logs[0].len - sizeof last, last);
    buf_fini(&logs[0]);
    buf_fini(&logs[1]);
}

static void end_first(struct fake_conn *conn, const char *text, size_t len)
{
    world_serve(conn, text, len);
    if (conn->number < 3 && memmem(text, len, "subscribe", 9))
        conn->number == 1 ? fake_drop(conn) : fake_reset(conn);
}

static void a_lost_connection_is_made_again_with_its_subscriptions(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.text = end_first;
    world_client(&w);
    world_subscribe(&w, "a");
    world_open_client(&w);
    while (w.fake.connections < 3 || !hermes_client_is_open(w.client))
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(world_publish(&w, "done", "1"), HERMES_CLIENT_OK);
    world_run(&w);
    world_seen_is(&w, "1 {\"type\":\"subscribe\",\"topic\":\"a\"}\n"
                      "2 {\"type\":\"subscribe\",\"topic\":\"a\"}\n"
                      "3 {\"type\":\"subscribe\",\"topic\":\"a\"}\n"
                      "3 {\"topic\":\"done\",\"data\":1}\n");
    assert_true(w.last.opened && w.last.will_retry && !w.last.clean);
    assert_int_equal(w.last.code, HERMES_CLOSE_LOST);
    world_close(&w);
}

static void end_with(struct fake_conn *conn)
{
    struct world *w = conn->fake->user;
    fake_end(conn, *(int *)w->more, "because");
}

static void the_close_code_says_whether_to_come_back(void **state)
{
    (void)state;
    static const struct {
        int code;
        bool retry;
    } rows[] = {{1000, true}, {1001, true}, {1002, false}, {1003, false}, {1007, false},
        {1008, true}, {1009, true}, {1011, true}, {1012, true}, {1013, true}, {3000, true},
        {4001, false}, {4008, true}, {4499, true}, {4500, false}, {4999, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        int code = rows[i].code;
        world_open(&w);
        w.more = &code;
        w.fake.opened = end_with;
        w.events.on_close = world_done_close;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        assert_int_equal(w.last.code, code);
        assert_int_equal(w.last.will_retry, rows[i].retry);
        assert_true(w.last.opened);
        assert_false(w.last.clean);
        char log[128];
        snprintf(log, sizeof log, "open\n" INFO "close %d opened %sbecause\n", code,
            rows[i].retry ? "retry " : "");
        world_log_is(&w, log);
        world_close(&w);
    }
}

static void other_code(struct fake_conn *conn, int code, const char *reason, size_t len)
{
    struct world *w = conn->fake->user;
    buf_appendf(&w->seen, "close %d %.*s\n", code, (int)len, reason);
    if (w->more) {
        fake_end(conn, 1001, "");
        fake_drop(conn);
    }
}

/* Only the echo of our own close says that all before it was read. */
static void a_close_that_meets_one_of_the_server_is_not_clean(void **state)
{
    (void)state;
    for (int crossing = 0; crossing < 2; crossing++) {
        struct world w;
        world_open(&w);
        w.more = crossing ? &w : NULL;
        w.fake.close = other_code;
        w.events.on_open = world_done_open;
        w.events.on_close = world_done_close;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        hermes_client_close(w.client, 3001, "\xc3\xa4");
        assert_false(hermes_client_is_open(w.client));
        world_run(&w);
        world_seen_is(&w, "close 3001 \xc3\xa4\n");
        world_log_is(&w, crossing ? "open\n" INFO "close 1001 opened \n"
                                  : "open\n" INFO "close 3001 opened clean \n");
        world_close(&w);
    }
}

static void pong_seen(struct fake_conn *conn, const char *payload, size_t len)
{
    struct world *w = conn->fake->user;
    world_note(&w->seen, "pong ", payload, len);
    w->done = true;
}

static void ping_now(struct fake_conn *conn)
{
    fake_frame(conn, WS_PING, "are you there", 13);
}

static void a_ping_is_answered_with_its_payload(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.opened = ping_now;
    w.fake.pong = pong_seen;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_seen_is(&w, "pong are you there\n");
    world_close(&w);
}

static void ping_seen(struct fake_conn *conn, const char *payload, size_t len)
{
    struct world *w = conn->fake->user;
    world_note(&w->seen, "ping", payload, len);
}

static void a_server_that_answers_no_ping_is_given_up(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.connect_ms = HERMES_CLIENT_NEVER;
    w.options.ping_ms = 1;
    w.options.pong_ms = 1;
    w.fake.no_pong = true;
    w.fake.ping = ping_seen;
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_log_is(&w, "open\n" INFO "close 1006 opened retry the server does not answer pings\n");
    world_seen_is(&w, "ping\n");
    world_close(&w);
}

static void count_pings(struct fake_conn *conn, const char *payload, size_t len)
{
    struct world *w = conn->fake->user;
    world_note(&w->seen, "ping", payload, len);
    w->done = w->seen.len == 3 * 5;
}

static void a_server_that_answers_pings_is_kept(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.connect_ms = HERMES_CLIENT_NEVER;
    w.options.ping_ms = 1;
    w.options.pong_ms = 1000; /* the next ping comes no earlier */
    w.fake.ping = count_pings;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_log_is(&w, "open\n" INFO);
    world_close(&w);
}

static void a_close_that_is_not_answered_ends_too(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.close_ms = 1;
    w.fake.no_close = true;
    w.events.on_open = world_done_open;
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    hermes_client_close(w.client, 1000, NULL);
    world_run(&w);
    world_log_is(&w, "open\n" INFO "close 1006 opened the server does not answer the close\n");
    world_close(&w);
}

static void frames_that_may_not_be_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *log;
    } rows[] = {
        {"\x82\x01x", 3, "the server sent a binary frame"},
        {"\x81\x81xxxxx", 7, "the server violated the WebSocket protocol"},
        {"\xc1\x01x", 3, "the server violated the WebSocket protocol"},
        {"\x81\x01\xff", 3, "the server sent text that is not UTF-8"},
        {"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 10,
            "the server sent a message over the limit"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        char log[200];
        world_open(&w);
        w.fake.close = other_code;
        w.fake.no_close = true;
        w.events.on_open = world_done_open;
        w.events.on_close = world_done_close;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        fake_bytes(w.fake.all, rows[i].bytes, rows[i].len);
        world_run(&w);
        snprintf(log, sizeof log, "open\n" INFO "close 1006 opened retry %s\n", rows[i].log);
        world_log_is(&w, log);
        while (w.seen.len == 0)
            uv_run(&w.loop, UV_RUN_ONCE);
        static const char *const codes[] = {
            "close 1003 \n", "close 1002 \n", "close 1002 \n", "close 1007 \n", "close 1009 \n"};
        world_seen_is(&w, codes[i]);
        world_close(&w);
    }
}

static void drop_at_once(struct fake_conn *conn)
{
    fake_drop(conn);
}

static void without_retry_the_end_is_the_end(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.options.retry_ms = HERMES_CLIENT_NEVER;
    w.fake.opened = drop_at_once;
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    assert_int_equal(hermes_client_open(w.client), HERMES_CLIENT_BUSY);
    world_run(&w);
    world_log_is(
        &w, "open\n" INFO "close 1006 opened the server ended the connection without a word\n");
    world_open_client(&w);
    world_run(&w);
    assert_int_equal(w.fake.connections, 2);
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_makes_no_difference_how_the_bytes_come),
        cmocka_unit_test(a_lost_connection_is_made_again_with_its_subscriptions),
        cmocka_unit_test(the_close_code_says_whether_to_come_back),
        cmocka_unit_test(a_close_that_meets_one_of_the_server_is_not_clean),
        cmocka_unit_test(a_ping_is_answered_with_its_payload),
        cmocka_unit_test(a_server_that_answers_no_ping_is_given_up),
        cmocka_unit_test(a_server_that_answers_pings_is_kept),
        cmocka_unit_test(a_close_that_is_not_answered_ends_too),
        cmocka_unit_test(frames_that_may_not_be_end_the_connection),
        cmocka_unit_test(without_retry_the_end_is_the_end),
    };
    return WORLD_RUN_BOTH_WAYS(tests);
}
