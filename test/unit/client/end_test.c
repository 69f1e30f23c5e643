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

static void drop_at_once(struct fake_conn *conn)
{
    fake_drop(conn);
}

static void a_client_can_be_closed_before_it_is_connected(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.events.on_close = world_done_close;
    world_client(&w);
    hermes_client_close(w.client, 1000, NULL);
    assert_int_equal(world_publish(&w, "a", "1"), HERMES_CLIENT_OK);
    world_open_client(&w);
    hermes_client_close(w.client, 1000, NULL);
    world_run(&w);
    world_open_client(&w);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    hermes_client_close(w.client, 1000, NULL);
    world_run(&w);
    world_log_is(&w, "close 1006 closed before it was connected\n"
                     "close 1006 closed before it was connected\n");
    assert_int_equal(hermes_client_queued_texts(w.client), 1);
    world_close(&w);
}

static void options_that_may_not_be_are_refused(void **state)
{
    (void)state;
    struct world w;
    struct hermes_client *c = (struct hermes_client *)&w;
    world_open(&w);
    struct hermes_client_options o = w.options;
    o.url = "http://h";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_URL);
    assert_null(c);
    o.url = NULL;
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_URL);
    o.url = "https://h";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_URL);
    o.url = "ws://h";
    o.tls_key = "x";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_OPTION);
    o.tls_key = NULL;
    o.source = "localhost";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_OPTION);
    o.source = NULL;
    o.subprotocol = "a b\r\n";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_OPTION);
    world_close(&w);
}

static void free_it(struct hermes_client *c, void *user)
{
    struct world *w = user;
    hermes_client_free(c);
    w->client = NULL;
    w->done = true;
}

static void free_on_message(struct hermes_client *c, char *text, size_t len, void *user)
{
    (void)text;
    (void)len;
    free_it(c, user);
}

static void free_on_data(struct hermes_client *c, const char *text, size_t len, void *user)
{
    (void)text;
    (void)len;
    free_it(c, user);
}

static void free_on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    (void)answer;
    free_it(c, user);
}

static void free_on_confirm(struct hermes_client *c, uint64_t token, void *user)
{
    (void)token;
    free_it(c, user);
}

static void free_on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    (void)why;
    free_it(c, user);
}

static void confirm_on_open(struct hermes_client *c, void *user)
{
    (void)user;
    assert_int_equal(hermes_client_confirm(c, 5), HERMES_CLIENT_OK);
}

static void a_client_may_be_freed_in_any_callback(void **state)
{
    (void)state;
    for (int which = 0; which < 9; which++) {
        for (int slowly = 0; slowly < 2; slowly++) {
            struct world w;
            world_open(&w);
            w.fake.slowly = slowly;
            w.fake.text = world_serve;
            w.events.on_open = which == 0 ? free_it : which == 4 ? confirm_on_open : NULL;
            w.events.on_message = which == 1 ? free_on_message : NULL;
            w.events.on_data = which == 2 ? free_on_data : NULL;
            w.events.on_answer = which == 3 ? free_on_answer : NULL;
            w.events.on_confirm = which == 4 ? free_on_confirm : NULL;
            w.events.on_drain = which == 5 ? free_it : NULL;
            w.events.on_close = which >= 6 ? free_on_close : NULL;
            w.fake.opened = which == 6 ? drop_at_once : NULL;
            w.fake.answer = which == 7 ? "HTTP/1.1 404 x\r\n\r\n" : NULL;
            if (which == 8)
                w.options.url = "ws://127.0.0.1:1";
            world_client(&w);
            assert_int_equal(world_publish(&w, "a", "1"), HERMES_CLIENT_OK);
            world_open_client(&w);
            world_run(&w);
            world_close(&w);
        }
    }
}

static void text_and_a_half(struct fake_conn *conn)
{
    fake_bytes(conn,
        "\x81\x01"
        "1"
        "\x81\x05half",
        9);
}

static void publish_on_data(struct hermes_client *c, const char *data, size_t len, void *user)
{
    (void)data;
    (void)len;
    (void)user;
    assert_int_equal(hermes_client_publish(c, "a", 1, "1", 1), HERMES_CLIENT_OK);
}

static void a_client_may_be_freed_with_half_a_frame(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.fake.opened = text_and_a_half;
    w.events.on_data = publish_on_data;
    w.events.on_drain = free_it;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_close(&w);
}

/* Wherever a connection stands when its client goes, nothing is left and nothing comes. */
static void a_client_may_be_freed_at_any_moment(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct world w;
        world_open(&w);
        w.fake.deaf = turns % 2;
        if (turns % 3 == 0)
            w.options.url = "ws://localhost:1";
        world_client(&w);
        for (int i = 0; i < 100000; i++)
            assert_int_equal(world_publish(&w, "a", "1234567890"), HERMES_CLIENT_OK);
        world_open_client(&w);
        for (int i = 0; i < turns; i++)
            uv_run(&w.loop, UV_RUN_NOWAIT);
        hermes_client_free(w.client);
        w.client = NULL;
        size_t told = w.log.len;
        uv_run(&w.loop, UV_RUN_NOWAIT);
        assert_int_equal(w.log.len, told);
        world_close(&w);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_can_be_closed_before_it_is_connected),
        cmocka_unit_test(options_that_may_not_be_are_refused),
        cmocka_unit_test(a_client_may_be_freed_in_any_callback),
        cmocka_unit_test(a_client_may_be_freed_with_half_a_frame),
        cmocka_unit_test(a_client_may_be_freed_at_any_moment),
    };
    return WORLD_RUN_BOTH_WAYS(tests);
}
