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

static void what_waits_goes_out_behind_the_subscriptions(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.text = world_serve;
    world_client(&w);
    assert_int_equal(world_publish(&w, "a", "1"), HERMES_CLIENT_OK);
    world_subscribe(&w, "a");
    world_subscribe(&w, "a");
    world_subscribe(&w, "b");
    world_unsubscribe(&w, "b");
    assert_int_equal(world_publish(&w, "done", "2"), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_queued_texts(w.client), 2);
    world_open_client(&w);
    world_run(&w);
    world_seen_is(&w, "1 {\"type\":\"subscribe\",\"topic\":\"a\"}\n1 {\"topic\":\"a\",\"data\":1}\n"
                      "1 {\"topic\":\"done\",\"data\":2}\n");
    world_close(&w);
}

/* Publishes numbers until the queue refuses one. */
static unsigned fill(struct world *w, unsigned from)
{
    for (;; from++) {
        char data[32];
        snprintf(data, sizeof data, "%u", from);
        int code = world_publish(w, "n", data);
        if (code == HERMES_CLIENT_FULL)
            return from;
        assert_int_equal(code, HERMES_CLIENT_OK);
    }
}

static void count_up(struct fake_conn *conn, const char *text, size_t len)
{
    struct world *w = conn->fake->user;
    unsigned *next = w->more;
    static const char start[] = "{\"topic\":\"n\",\"data\":";
    assert_true(len > sizeof start && text[len - 1] == '}');
    assert_memory_equal(text, start, sizeof start - 1);
    unsigned number = (unsigned)strtoul(text + sizeof start - 1, NULL, 10);
    if (conn->number > 1 && *next == 0)
        *next = number; /* the first that this connection brings */
    assert_int_equal(number, *next);
    ++*next;
}

static void set_done(struct hermes_client *c, void *user)
{
    (void)c;
    ((struct world *)user)->done = true;
}

static void a_full_queue_refuses_and_says_when_it_has_room(void **state)
{
    (void)state;
    struct world w;
    unsigned next = 0;
    world_open(&w);
    w.more = &next;
    w.fake.text = count_up;
    w.events.on_open = world_done_open;
    w.events.on_drain = set_done;
    w.options.max_queued_bytes = 100000;
    world_client(&w);
    char *large = malloc(100001);
    memset(large, '1', 100000);
    large[100000] = 0;
    assert_int_equal(world_publish(&w, "n", large), HERMES_CLIENT_TOO_LARGE);
    assert_int_equal(hermes_client_send_text(w.client, large, 100000), HERMES_CLIENT_TOO_LARGE);
    free(large);
    unsigned total = fill(&w, 0);
    assert_int_equal(hermes_client_queued_texts(w.client), total);
    assert_in_range(hermes_client_queued_bytes(w.client), 99000, 100000);
    world_open_client(&w);
    world_run(&w);
    for (int i = 0; i < 20; i++) {
        world_run(&w);
        assert_int_equal(hermes_client_queued_bytes(w.client), 0);
        total = fill(&w, total);
    }
    while (next < total)
        uv_run(&w.loop, UV_RUN_ONCE);
    world_close(&w);
}

/* The server reads nothing, then goes away. What the client says is still queued comes on the next
 * connection, in order, from the first that is. */
static void what_was_not_handed_over_comes_on_the_next_connection(void **state)
{
    (void)state;
    struct world w;
    unsigned next = 0;
    world_open(&w);
    w.more = &next;
    w.fake.text = count_up;
    w.fake.deaf = true;
    w.events.on_open = world_done_open;
    w.events.on_close = world_done_close;
    w.options.max_queued_bytes = 4 << 20;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    unsigned total = 0;
    size_t before;
    do {
        before = hermes_client_queued_bytes(w.client);
        total = fill(&w, total);
        for (int i = 0; i < 10; i++)
            uv_run(&w.loop, UV_RUN_NOWAIT);
    } while (hermes_client_queued_bytes(w.client) < before || before == 0);
    /* What is too little room for a publish may do for a few of these. */
    int code = HERMES_CLIENT_OK;
    for (int i = 0; i < 3 && code == HERMES_CLIENT_OK; i++)
        code = hermes_client_confirm(w.client, 1);
    assert_int_equal(code, HERMES_CLIENT_FULL);
    w.fake.deaf = false;
    fake_reset(w.fake.all);
    world_run(&w);
    size_t texts = hermes_client_queued_texts(w.client);
    assert_in_range(texts, 1, total);
    assert_false(w.last.left_out);
    next = 0;
    while (next < total)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(w.fake.connections, 2);
    assert_int_equal(hermes_client_queued_bytes(w.client), 0);
    world_close(&w);
}

/* A server that refuses a size without being able to say so must not be asked for ever. */
static void a_text_that_is_cut_twice_is_left_out(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.deaf = true;
    w.events.on_open = world_done_open;
    w.events.on_close = world_done_close;
    w.options.max_queued_bytes = 64 << 20;
    world_client(&w);
    size_t len = 60 << 20;
    char *large = malloc(len + 1);
    memset(large, 'x', len);
    large[0] = large[len - 1] = '"';
    large[len] = 0;
    assert_int_equal(world_publish(&w, "n", large), HERMES_CLIENT_OK);
    assert_int_equal(world_publish(&w, "n", "1"), HERMES_CLIENT_OK);
    free(large);
    world_open_client(&w);
    for (int i = 0; i < 2; i++) {
        world_run(&w);
        for (int j = 0; j < 10; j++)
            uv_run(&w.loop, UV_RUN_NOWAIT);
        fake_reset(w.fake.all);
        world_run(&w);
        assert_int_equal(w.last.left_out, i == 1);
        assert_int_equal(hermes_client_queued_texts(w.client), 2 - i);
    }
    w.fake.deaf = false;
    w.fake.text = world_serve;
    world_run(&w);
    assert_int_equal(world_publish(&w, "done", "2"), HERMES_CLIENT_OK);
    world_run(&w);
    world_seen_is(&w, "3 {\"topic\":\"n\",\"data\":1}\n3 {\"topic\":\"done\",\"data\":2}\n");
    world_close(&w);
}

static void while_paused_nothing_is_read(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.text = world_serve;
    w.options.ping_ms = w.options.pong_ms = 1;
    w.events.on_open = world_done_open;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    hermes_client_pause(w.client);
    buf_clear(&w.log);
    assert_int_equal(world_publish(&w, "a", "1"), HERMES_CLIENT_OK);
    assert_int_equal(world_publish(&w, "done", "1"), HERMES_CLIENT_OK);
    world_run(&w);
    for (int i = 0; i < 20; i++)
        uv_run(&w.loop, UV_RUN_ONCE); /* liveness goes on, but does not count */
    world_log_is(&w, "");
    hermes_client_resume(w.client);
    while (!memmem(w.log.data, w.log.len, "data", 4))
        uv_run(&w.loop, UV_RUN_ONCE);
    world_close(&w);
}

static void what_may_not_be_sent_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_client(&w);
    assert_int_equal(world_publish(&w, "", "1"), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(world_publish(&w, "a\nb", "1"), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(world_publish(&w, "\x7f", "1"), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(world_publish(&w, "\xc2\x80", "1"), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(world_publish(&w, "\xff", "1"), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(world_publish(&w, "a", ""), HERMES_CLIENT_NOT_JSON);
    assert_int_equal(world_publish(&w, "a", "hello"), HERMES_CLIENT_NOT_JSON);
    assert_int_equal(world_publish(&w, "a", "1}"), HERMES_CLIENT_NOT_JSON);
    assert_int_equal(world_publish(&w, "a", "\"\xff\""), HERMES_CLIENT_NOT_JSON);
    assert_int_equal(hermes_client_subscribe(w.client, "", 0), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(hermes_client_unsubscribe(w.client, "", 0), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(hermes_client_send_text(w.client, "\xff", 1), HERMES_CLIENT_NOT_UTF8);
    assert_int_equal(hermes_client_topics(w.client, NULL, 0, NULL, 0, 0), HERMES_CLIENT_NOT_OPEN);
    assert_int_equal(hermes_client_confirm(w.client, 0), HERMES_CLIENT_NOT_OPEN);
    assert_int_equal(hermes_client_queued_bytes(w.client), 0);
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_goes_out_behind_the_subscriptions),
        cmocka_unit_test(a_full_queue_refuses_and_says_when_it_has_room),
        cmocka_unit_test(what_was_not_handed_over_comes_on_the_next_connection),
        cmocka_unit_test(a_text_that_is_cut_twice_is_left_out),
        cmocka_unit_test(while_paused_nothing_is_read),
        cmocka_unit_test(what_may_not_be_sent_is_refused),
    };
    return WORLD_RUN_BOTH_WAYS(tests);
}
