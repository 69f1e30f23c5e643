#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/client.h"
#include "unit/client/world2.h"

static void a_lost_connection_goes_on_behind_the_last_message(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":2",
            {ACK("t", "1", "e1", "7", ""), MESSAGE("t", "6", "6"), MESSAGE("t", "7", "7"),
                MESSAGE("t", "8", "8"), "-"}},
        /* All are there, and one more comes live. */
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e1\",\"offset\":8}",
            {ACK("t", "2", "e1", "10", ",\"recovered\":true"), MESSAGE("t", "9", "9"),
                MESSAGE("t", "10", "10"), MESSAGE("t", "11", "11"), "-"}},
        /* Some are not. */
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e1\",\"offset\":11}",
            {ACK("t", "3", "e1", "99", ",\"recovered\":false"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e1\",\"offset\":99}",
            {ACK("t", "4", "e2", "1", ",\"recovered\":false"), MESSAGE("t", "2", "2"), "-"}},
        /* Cut in the midst of a replay. */
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":2}",
            {ACK("t", "5", "e2", "5", ",\"recovered\":true"), MESSAGE("t", "3", "3"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":3}",
            {"."}},
    };
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_subscribe(&w, "t", &(struct hermes_subscribe_options){.replay = 2, .token = 5});
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e1 offset=7 token=5\nt 6 6\nt 7 7\nt 8 8\n"
                     "subscribed topic=t epoch=e1 offset=10 recovered token=5\nt 9 9\nt 10 10\n"
                     "t 11 11\n"
                     "subscribed topic=t epoch=e1 offset=99 not recovered token=5\n"
                     "subscribed topic=t epoch=e2 offset=1 not recovered token=5\nt 2 2\n"
                     "subscribed topic=t epoch=e2 offset=5 recovered token=5\nt 3 3\n");
    world_close(&w);
}

static void what_was_seen_is_not_told_twice(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e", "7", ",\"recovered\":true"), MESSAGE("t", "5", "5"),
                MESSAGE("t", "6", "6"), MESSAGE("t", "6", "6"), MESSAGE("t", "7", "7"),
                " " MESSAGE("t", "7", "7"), BY("t", "0", "3", "*"), MESSAGE("t", "8", "8")}},
        {NULL, {MESSAGE("other", "7", "7"), MESSAGE("t", "8", "8"), MESSAGE("t", "9", "9")}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world2_subscribe(
        &w, "t", &(struct hermes_subscribe_options){.epoch = "e", .epoch_len = 1, .offset = 5});
    world2_until_told(&w, "t 8 8");
    world2_ok(world_publish(&w, "x", "1"));
    world2_until_told(&w, "t 9 9");
    world_log_is(&w, "subscribed topic=t epoch=e offset=7 recovered\nt 6 6\nt 7 7\nt 3 0 by *\n"
                     "t 8 8\nother 7 7\nt 9 9\n");
    world_close(&w);
}

static void what_a_gap_told_is_not_asked_for_again(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e", "2", ""), MESSAGE("t", "3", "3"),
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":4,\"to\":9}",
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":2}", "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e\",\"offset\":9}",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world_subscribe(&w, "t");
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_close(&w);
}

static void offsets_that_start_anew_are_gone_on_from(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e1", "7", ""), MESSAGE("t", "8", "8"),
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":3,\"epoch\":\"e2\"}",
                MESSAGE("t", "3", "3"), MESSAGE("t", "4", "4"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":4}",
            {ACK("t", "2", "e2", "4", ",\"recovered\":true"),
                /* None is known to be missing; told twice, and of another topic. */
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":0,\"epoch\":\"e3\"}",
                MESSAGE("t", "1", "1"),
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":0,\"epoch\":\"e3\"}",
                MESSAGE("t", "1", "1"),
                "{\"type\":\"gap\",\"topic\":\"u\",\"from\":1,\"to\":9,\"epoch\":\"e9\"}",
                MESSAGE("t", "2", "2"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e3\",\"offset\":2}",
            {ACK("t", "3", "e3", "2", ",\"recovered\":true"),
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":5,\"epoch\":\"e4\"}", "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e4\",\"offset\":5}",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world_subscribe(&w, "t");
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e1 offset=7\nt 8 8\n"
                     "gap t 1-3 of e2\nt 4 4\n"
                     "subscribed topic=t epoch=e2 offset=4 recovered\n"
                     "gap t 1-0 of e3\nt 1 1\ngap t 1-0 of e3\ngap u 1-9 of e9\nt 2 2\n"
                     "subscribed topic=t epoch=e3 offset=2 recovered\ngap t 1-5 of e4\n");
    world_close(&w);
}

static void a_gap_by_pattern_moves_no_topic(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e", "2", ""), "{\"type\":\"gap\",\"pattern\":\"t\"}",
                "{\"type\":\"gap\",\"pattern\":\"x:\\u003e\"}", MESSAGE("t", "3", "3"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e\",\"offset\":3}",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world_subscribe(&w, "t");
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e offset=2\ngap by t\ngap by x:>\nt 3 3\n");
    world_close(&w);
}

/* A pattern that is subscribed first would bring what the replay of a topic brings too. */
static void topics_are_subscribed_before_patterns(void **state)
{
    (void)state;
    struct world w;
    struct play p = {0};
    world2_open(&w, &p);
    for (char name[] = "a"; *name <= 'h'; ++*name) {
        world2_ok(hermes_client_subscribe_pattern(w.client, name, 1, NULL));
        world_subscribe(&w, name);
    }
    world2_ok(world_publish(&w, "done", "1"));
    world2_until_open(&w);
    world2_until_seen(&w, "done");
    buf_append_char(&w.seen, 0);
    unsigned topics = 0;
    const char *at = w.seen.data;
    for (; (at = strstr(at, "\"subscribe\",\"topic\"")) != NULL; at++)
        topics++;
    assert_int_equal(topics, 8);
    at = strstr(w.seen.data, "\"pattern\"");
    assert_non_null(at);
    assert_null(strstr(at, "\"subscribe\",\"topic\""));
    for (topics = 0; (at = strstr(at, "\"subscribe\",\"pattern\"")) != NULL; at++)
        topics++;
    assert_int_equal(topics, 7); /* all but the first, which `at` was within */
    w.seen.len--;
    world_close(&w);
}

static void subscribing_again_replays_nothing_and_keeps_the_place(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":3,\"id\":\"#1\"}",
            {ACK("t", "1", "e", "4", ""), MESSAGE("t", "5", "5")}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"policy\":\"latest\",\"id\":\"#2\"}",
            {MESSAGE("t", "6", "6"), ACK("t", "2", "e", "6", ""), MESSAGE("t", "7", "7"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e\",\"offset\":7},"
         "\"policy\":"
         "\"latest\"",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world2_subscribe(&w, "t", &(struct hermes_subscribe_options){.replay = 3});
    world2_until_told(&w, "t 5 5");
    world2_subscribe(&w, "t",
        &(struct hermes_subscribe_options){
            .replay = 100, .policy = HERMES_SLOW_LATEST, .token = 9});
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e offset=4\nt 5 5\nt 6 6\n"
                     "subscribed topic=t epoch=e offset=6 token=9\nt 7 7\n");
    world_close(&w);
}

/* The first acknowledgement is of a subscription that is no more. */
static void an_answer_to_an_earlier_life_counts_for_nothing(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"subscribe\"", {0}},
        {"{\"type\":\"unsubscribe\"", {0}},
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e1", "50", ""), MESSAGE("t", "51", "51"),
                "{\"type\":\"ack_unsubscribe\",\"topic\":\"t\",\"message\":\"m\",\"id\":\"#2\"}",
                ACK("t", "3", "e2", "0", ""), MESSAGE("t", "1", "1"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":1}",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world_subscribe(&w, "t");
    world_unsubscribe(&w, "t");
    world_subscribe(&w, "t");
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e1 offset=50\nt 51 51\nunsubscribed topic=t\n"
                     "subscribed topic=t epoch=e2\nt 1 1\n");
    world_close(&w);
}

/* A subscription that was begun anew from a place of its own keeps that place. */
static void an_earlier_life_does_not_move_the_place(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"subscribe\"", {0}},
        {"{\"type\":\"unsubscribe\"", {0}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\"",
            {ACK("t", "1", "e", "50", ""), ACK("t", "3", "e", "51", ",\"recovered\":true"),
                MESSAGE("t", "41", "41"), "."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world_subscribe(&w, "t");
    world_unsubscribe(&w, "t");
    world2_subscribe(
        &w, "t", &(struct hermes_subscribe_options){.epoch = "e", .epoch_len = 1, .offset = 40});
    world2_until_told(&w, "t 41 41");
    world_close(&w);
}

static void questions_end_with_their_connection(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"presence\"", {"-"}},
        {NULL, {"{\"type\":\"presence\",\"topic\":\"a\",\"clients\":[],\"id\":\"#1\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world2_ok(hermes_client_presence(w.client, "a", 1, 7));
    while (w.fake.connections < 2 || !hermes_client_is_open(w.client))
        uv_run(&w.loop, UV_RUN_ONCE);
    world2_ok(world_publish(&w, "a", "1"));
    world2_until_told(&w, "presence");
    world_log_is(&w, "presence topic=a\n");
    world_close(&w);
}

static void a_subscription_that_was_refused_is_asked_for_again_as_it_was(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":3",
            {"{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"m\",\"topic\":\"t\",\"id\":"
             "\"#1\"}",
                "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":3", {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_subscribe(&w, "t", &(struct hermes_subscribe_options){.replay = 3, .token = 6});
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "error topic=t code=forbidden token=6\n");
    world_close(&w);
}

static void note_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct world *w = user;
    (void)c;
    w->last = *why;
    buf_appendf(&w->log, "again in %u\n", why->retry_ms);
    buf_append_char(&w->log, '\0'); /* to be searched */
    w->log.len--;
}

static void who_is_told_when_comes_back_then(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {"{\"type\":\"reconnect\",\"after_ms\":400}", "-"}},
        {NULL, {"{\"type\":\"reconnect\",\"after_ms\":99999999999}", "-"}}, /* but within limits */
        {NULL, {"-"}},                                                      /* that was for once */
        {NULL, {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    w.events.on_close = note_close;
    hermes_client_free(w.client);
    w.options.retry_ms = 1;
    w.options.retry_max_ms = 500;
    world_client(&w);
    world2_subscribe(&w, "t", &(struct hermes_subscribe_options){.token = 1});
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    /* Some of it may have passed between the frame and the end. */
    unsigned first, second;
    const char *told = strstr(w.log.data, "again in ");
    assert_non_null(told);
    assert_int_equal(sscanf(told, "again in %u\n", &first), 1);
    told = strstr(told + 1, "again in ");
    assert_non_null(told);
    assert_int_equal(sscanf(told, "again in %u\n", &second), 1);
    assert_in_range(first, 9, 400);
    assert_in_range(second, 9, 500);
    assert_in_range(w.last.retry_ms, 0, 8); /* the third in a row */
    world_close(&w);
}

/* As if it had been served for four seconds more. */
static void long_served(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    (void)answer;
    (void)user;
    c->told_at -= 4000;
}

static void note_target(struct fake_conn *conn)
{
    struct world *w = conn->fake->user;
    const char *end = memchr(conn->head.data, '\r', conn->head.len);
    assert_non_null(end);
    buf_append(&w->seen, conn->head.data, (size_t)(end - conn->head.data));
    buf_append_char(&w->seen, '\n');
}

/* Seen to fail with a time that begins at the close. */
static void the_time_that_is_told_runs_while_the_connection_lasts(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {"{\"type\":\"reconnect\",\"after_ms\":10000}", "-"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    w.events.on_close = world_done_close;
    w.events.on_answer = long_served;
    hermes_client_free(w.client);
    w.options.retry_ms = 1;
    w.options.retry_max_ms = 60000;
    world_client(&w);
    world2_subscribe(&w, "t", &(struct hermes_subscribe_options){.token = 1});
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    assert_in_range(w.last.retry_ms, 1, 6000);
    world_close(&w);
}

/* Seen to fail with a flag that is never set, and with one that is set from the beginning. */
static void who_comes_back_says_so_in_the_request(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {"-"}}, {NULL, {"-"}}, {NULL, {"."}}};
    static const char *const targets[][2] = {{"", "?resume=1"}, {"?a=b", "?a=b&resume=1"}};
    for (size_t i = 0; i < 2; i++) {
        struct play p = PLAY(acts);
        struct world w;
        char url[128];
        char expected[256];
        world2_open(&w, &p);
        w.fake.opened = note_target;
        hermes_client_free(w.client);
        snprintf(url, sizeof url, "%s%s", w.fake.url, targets[i][0]);
        w.options.url = url;
        w.options.retry_ms = 1;
        world_client(&w);
        world2_subscribe(&w, "t", &(struct hermes_subscribe_options){.token = 1});
        world2_ok(hermes_client_open(w.client));
        world_run(&w);
        snprintf(expected, sizeof expected,
            "GET /x%s HTTP/1.1\n1 {\"type\":\"subscribe\",\"topic\":\"t\",\"id\":\"#1\"}\n"
            "GET /x%s HTTP/1.1\n2 {\"type\":\"subscribe\",\"topic\":\"t\",\"id\":\"#2\"}\n"
            "GET /x%s HTTP/1.1\n3 {\"type\":\"subscribe\",\"topic\":\"t\",\"id\":\"#3\"}\n",
            targets[i][0], targets[i][1], targets[i][1]);
        world_seen_is(&w, expected);
        world_close(&w);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_connection_goes_on_behind_the_last_message),
        cmocka_unit_test(what_was_seen_is_not_told_twice),
        cmocka_unit_test(what_a_gap_told_is_not_asked_for_again),
        cmocka_unit_test(offsets_that_start_anew_are_gone_on_from),
        cmocka_unit_test(a_gap_by_pattern_moves_no_topic),
        cmocka_unit_test(topics_are_subscribed_before_patterns),
        cmocka_unit_test(subscribing_again_replays_nothing_and_keeps_the_place),
        cmocka_unit_test(an_answer_to_an_earlier_life_counts_for_nothing),
        cmocka_unit_test(an_earlier_life_does_not_move_the_place),
        cmocka_unit_test(questions_end_with_their_connection),
        cmocka_unit_test(a_subscription_that_was_refused_is_asked_for_again_as_it_was),
        cmocka_unit_test(who_is_told_when_comes_back_then),
        cmocka_unit_test(the_time_that_is_told_runs_while_the_connection_lasts),
        cmocka_unit_test(who_comes_back_says_so_in_the_request),
    };
    return WORLD_RUN_BOTH_WAYS(tests);
}
