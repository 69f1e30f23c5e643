#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/client/world2.h"

static void a_publish_that_asks_for_it_is_answered(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {0}}, {NULL, {0}}, {NULL, {0}},
        {NULL,
            {"{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":3,\"subscribers\":4,\"id\":"
             "\"#1\"}",
                "{\"type\":\"error\",\"code\":\"too_large\",\"message\":\"m\",\"topic\":\"a\","
                "\"id\":\"#2\"}",
                "{\"type\":\"error\",\"code\":\"rate_limited\",\"message\":\"m\"}",
                "{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":4,\"subscribers\":4,\"id\":"
                "\"#4\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    for (uint64_t token = 101; token <= 104; token++)
        world2_publish(&w, "a", token);
    world2_until_told(&w, "104");
    /* The third had no answer of its own. */
    world_log_is(&w, "published 101 accepted 3 4 \npublished 102 refused 0 0 too_large\n"
                     "error code=rate_limited\n"
                     "published 103 refused 0 0 \npublished 104 accepted 4 4 \n");
    world_close(&w);
}

static void a_publish_without_an_answer_is_told_before_the_end(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"topic\"", {0}}, {NULL, {0}}, {NULL, {"-"}},
        {"{\"id\":\"#3\"", {"{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":1,"
                            "\"subscribers\":0,\"id\":\"#3\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    w.events.on_close = world_done_close;
    /* What waits for a connection is sent on the first one; nothing is told of it meanwhile. */
    world2_ok(world_publish(&w, "a", "0"));
    world2_publish(&w, "a", 1);
    world2_publish(&w, "a", 2);
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "published 1 unknown 0 0 \npublished 2 unknown 0 0 \n"
                     "close 1006 opened retry the server ended the connection without a word\n");
    buf_clear(&w.log);
    world2_publish(&w, "a", 3);
    world2_until_told(&w, "published");
    world_log_is(&w, "published 3 accepted 1 0 \n");
    world_close(&w);
}

/* The server reads nothing, then goes away: what was handed over is unknown, the rest is sent on
 * the next connection and answered there. */
static void acknowledge(struct fake_conn *conn, const char *text, size_t len)
{
    char id[32];
    char answer[128];
    static const char start[] = "{\"id\":\"";
    if (len < sizeof start || memcmp(text, start, sizeof start - 1) != 0)
        return;
    snprintf(id, sizeof id, "%.*s", (int)strcspn(text + sizeof start - 1, "\""),
        text + sizeof start - 1);
    snprintf(answer, sizeof answer,
        "{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":1,\"subscribers\":0,\"id\":\"%s\"}",
        id);
    fake_text(conn, answer);
}

struct outcomes {
    uint64_t next;
    uint64_t unknown;
};

static void count_outcome(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct outcomes *o = ((struct world *)user)->more;
    (void)c;
    assert_int_equal(p->token, o->next++);
    if (p->outcome == HERMES_PUBLISH_UNKNOWN)
        o->unknown++;
    else
        assert_int_equal(p->outcome, HERMES_PUBLISH_ACCEPTED);
}

static void answers_to_what_is_sent_later_come_later(void **state)
{
    (void)state;
    struct world w;
    struct outcomes o = {0};
    enum { MESSAGES = 3000, BYTES = 20000 };
    char *data = malloc(BYTES);
    world2_open(&w, NULL);
    w.more = &o;
    w.fake.text = acknowledge;
    w.fake.deaf = true;
    w.events.on_published = count_outcome;
    w.events.on_close = world_done_close;
    hermes_client_free(w.client);
    w.options.max_queued_bytes = (size_t)MESSAGES * (BYTES + 100);
    world_client(&w);
    world2_until_open(&w);
    memset(data, 'x', BYTES);
    data[0] = data[BYTES - 1] = '"';
    for (uint64_t i = 0; i < MESSAGES; i++)
        world2_ok(hermes_client_publish_with(w.client, "a", 1, data, BYTES,
            &(struct hermes_publish_options){.ack = true, .token = i}));
    free(data);
    for (int i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    w.fake.deaf = false;
    fake_reset(w.fake.all);
    world_run(&w);
    size_t texts = hermes_client_queued_texts(w.client);
    assert_in_range(texts, 1, MESSAGES - 1);
    assert_int_equal(o.next, MESSAGES - texts);
    assert_int_equal(o.unknown, MESSAGES - texts);
    while (o.next < MESSAGES)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(o.unknown, MESSAGES - texts);
    world_close(&w);
}

static void what_the_queue_refuses_is_not_answered(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"id\":\"#1\"", {"{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":1,"
                            "\"subscribers\":0,\"id\":\"#1\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    char data[100];
    struct hermes_publish_options o = {.ack = true, .token = 1};
    world2_open(&w, &p);
    hermes_client_free(w.client);
    w.options.max_queued_bytes = 100;
    world_client(&w);
    memset(data, '1', sizeof data);
    assert_int_equal(hermes_client_publish_with(w.client, "a", 1, data, sizeof data, &o),
        HERMES_CLIENT_TOO_LARGE);
    world2_publish(&w, "a", 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            hermes_client_publish_with(w.client, "a", 1, data, 50, &o), HERMES_CLIENT_FULL);
    assert_int_equal(
        hermes_client_publish_with(w.client, "a", 1, "x", 1, &o), HERMES_CLIENT_NOT_JSON);
    world2_ok(hermes_client_open(w.client));
    world2_until_told(&w, "published");
    world_log_is(&w, "published 2 accepted 1 0 \n");
    world_close(&w);
}

static void free_at_publish(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct world *w = user;
    (void)p;
    assert_int_equal(hermes_client_open(c), HERMES_CLIENT_BUSY);
    assert_false(hermes_client_is_open(c));
    hermes_client_free(c);
    w->client = NULL;
    w->done = true;
}

static void a_client_may_be_freed_while_it_tells_what_was_lost(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {0}}, {NULL, {"-"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    w.events.on_published = free_at_publish;
    w.events.on_close = world_done_close;
    world2_publish(&w, "a", 1);
    world2_publish(&w, "a", 2);
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "");
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publish_that_asks_for_it_is_answered),
        cmocka_unit_test(a_publish_without_an_answer_is_told_before_the_end),
        cmocka_unit_test(answers_to_what_is_sent_later_come_later),
        cmocka_unit_test(what_the_queue_refuses_is_not_answered),
        cmocka_unit_test(a_client_may_be_freed_while_it_tells_what_was_lost),
    };
    return WORLD_RUN_BOTH_WAYS(tests);
}
