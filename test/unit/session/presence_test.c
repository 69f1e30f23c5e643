/* Who is on a topic, and who comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "support/worker_harness.h"

static void ask(struct client *c, const char *topic, const char *id)
{
    assert_true(
        peer_sendf(&c->peer, "{\"type\":\"presence\",\"topic\":\"%s\",\"id\":\"%s\"}", topic, id));
}

static bool names(const char *text, const struct client *c)
{
    char id[24];
    snprintf(id, sizeof id, "\"%016llx\"", (unsigned long long)c->session->client);
    return strstr(text, id) != NULL;
}

/* The answer lists exactly those `count` clients of `all` whose bit is set. */
static void assert_lists(const char *text, struct client *all, size_t count, unsigned bits)
{
    size_t listed = 0;
    for (const char *at = strstr(text, "\"clients\":["); *at && *at != ']'; at++)
        listed += *at == '"';
    assert_int_equal((listed - 2) / 2, __builtin_popcount(bits)); /* two are of the key */
    for (size_t i = 0; i < count; i++)
        assert_int_equal(names(text, &all[i]), bits >> i & 1);
}

static void expect_list(struct rig *r, struct client *c, const char *topic, const char *id,
    struct client *all, size_t count, unsigned bits)
{
    char text[1024], start[128], end[64];
    client_take(r, c, text, sizeof text);
    int len = snprintf(
        start, sizeof start, "{\"type\":\"presence\",\"topic\":\"%s\",\"clients\":[", topic);
    assert_memory_equal(text, start, (size_t)len);
    snprintf(end, sizeof end, "],\"id\":\"%s\"}", id);
    assert_string_equal(text + strlen(text) - strlen(end), end);
    assert_lists(text, all, count, bits);
}

/* --- questions -------------------------------------------------------------------------------- */

enum { CLIENTS = 6 };

/* Of level 1 and 2, on both workers, by name, by pattern, by both. Broken by a question that goes
 * to the asker's worker only, by one that leaves out patterns, and by one that counts whoever has
 * both twice: fails. */
static void everyone_who_subscribes_is_listed_once(void **state)
{
    (void)state;
    struct rig r;
    struct client c[CLIENTS];
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < CLIENTS; i++)
        (i == 1 ? client_open : client_open2)(&r, i % 2, &c[i], 0);
    ask(&c[0], "stock:A", "nobody");
    expect_list(&r, &c[0], "stock:A", "nobody", c, CLIENTS, 0);
    client_subscribe(&r, &c[1], "stock:A");
    client_subscribe(&r, &c[2], "stock:A");
    client_subscribe_pattern(&r, &c[2], "stock:*");
    client_subscribe_pattern(&r, &c[2], ">");
    client_subscribe_pattern(&r, &c[3], "stock:*");
    client_subscribe(&r, &c[4], "stock:B");
    client_subscribe_pattern(&r, &c[5], "sensor:>");
    ask(&c[0], "stock:A", "1");
    expect_list(&r, &c[0], "stock:A", "1", c, CLIENTS, 1 << 1 | 1 << 2 | 1 << 3);
    ask(&c[3], "stock:B", "2"); /* who asks is listed too, if it subscribes */
    expect_list(&r, &c[3], "stock:B", "2", c, CLIENTS, 1 << 2 | 1 << 3 | 1 << 4);
    ask(&c[3], "nobody:publishes:here", "3");
    expect_list(&r, &c[3], "nobody:publishes:here", "3", c, CLIENTS, 1 << 2);
    client_drop(&r, &c[2]); /* without a word */
    ask(&c[5], "stock:A", "4");
    c[2] = c[0]; /* who is gone is not looked for by its id */
    expect_list(&r, &c[5], "stock:A", "4", c, CLIENTS, 1 << 1 | 1 << 3);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (i != 2)
            client_drop(&r, &c[i]);
    rig_close(&r);
}

/* Many at once, while the other worker does not turn. */
static void questions_wait_for_the_slowest_worker_and_not_for_each_other(void **state)
{
    (void)state;
    struct rig r;
    struct client c[3];
    char id[16];
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &c[0], 0);
    client_open2(&r, 1, &c[1], 0);
    client_open2(&r, 0, &c[2], 0);
    client_subscribe(&r, &c[1], "far");
    client_subscribe(&r, &c[2], "near");
    struct worker *w = &r.shop.workers[0];
    for (int i = 0; i < 16; i++) {
        snprintf(id, sizeof id, "%d", i);
        ask(&c[0], i % 2 ? "far" : "near", id);
    }
    for (int i = 0; i < 8; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT); /* not the other one */
    assert_false(list_empty(&w->waiting));
    for (int i = 0; i < 16; i += 2) {
        char text[1024], end[32];
        const char *payload;
        size_t len;
        assert_int_equal(peer_try(&c[0].peer, &payload, &len), PEER_TEXT);
        memcpy(text, payload, len);
        text[len] = '\0';
        snprintf(end, sizeof end, "],\"id\":\"%d\"}", i);
        assert_string_equal(text + len - strlen(end), end);
    }
    for (int i = 1; i < 16; i += 2) {
        snprintf(id, sizeof id, "%d", i);
        expect_list(&r, &c[0], "far", id, c, 3, 1 << 1);
    }
    assert_true(list_empty(&w->waiting));
    for (int i = 0; i < 3; i++)
        client_drop(&r, &c[i]);
    rig_close(&r);
}

/* Broken by questions that are not counted when they are answered: fails. */
static void nobody_has_more_than_some_questions_under_way(void **state)
{
    (void)state;
    enum { MOST = 16 /* as in presence.c */ };
    struct rig r;
    struct client c, there;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_open2(&r, 1, &there, 0);
    client_subscribe(&r, &there, "t");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MOST + 2; i++)
            feed_text(c.session, "{\"type\":\"presence\",\"topic\":\"t\",\"id\":1}");
        for (int i = 0; i < 2; i++)
            client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"rate_limited\"");
        for (int i = 0; i < MOST; i++)
            client_expect(&r, &c, "{\"type\":\"presence\"");
        client_expect_nothing(&r, &c);
    }
    client_drop(&r, &c);
    client_drop(&r, &there);
    rig_close(&r);
}

/* Seen to fail (a use after free) without session_forget_waiting. */
static void who_asked_may_end_before_the_answer_comes(void **state)
{
    (void)state;
    struct rig r;
    struct client asks, there, later;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &asks, 0);
    client_open2(&r, 1, &there, 0);
    client_subscribe(&r, &there, "t");
    struct worker *w = &r.shop.workers[0];
    feed_text(asks.session, "{\"type\":\"presence\",\"topic\":\"t\"}");
    feed_text(asks.session, "{\"type\":\"presence\",\"topic\":\"t\"}");
    assert_false(list_empty(&w->waiting));
    peer_drop(&asks.peer, false);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_true(list_empty(&w->waiting));
    assert_int_equal(w->sessions.used, 0);
    client_open2(&r, 0, &later, 0); /* it may have the other's place */
    rig_settle(&r);
    client_expect_nothing(&r, &later);
    client_drop(&r, &there);
    client_drop(&r, &later);
    rig_close(&r);
}

/* Seen to fail (a leak) without presence_abandon. */
static void questions_that_are_under_way_when_the_workers_end_are_given_back(void **state)
{
    (void)state;
    for (int turned = 0; turned < 3; turned++) {
        struct rig r;
        struct client asks, there;
        rig_open(&r, 2, rig_limits());
        client_open2(&r, 0, &asks, 0);
        client_open2(&r, 1, &there, 0);
        client_subscribe(&r, &there, "t");
        client_subscribe(&r, &asks, "t");
        for (int i = 0; i < 3; i++)
            feed_text(asks.session, "{\"type\":\"presence\",\"topic\":\"t\"}");
        if (turned > 0) /* the one has answered, and the other not; then the answer is on its way */
            uv_run(&r.shop.workers[turned - 1].loop, UV_RUN_NOWAIT);
        peer_drop(&asks.peer, false);
        peer_drop(&there.peer, false);
        /* As when all end: nobody works off what comes after its last turn. */
        for (unsigned i = 0; i < 2; i++) {
            struct worker *w = &r.shop.workers[i];
            slab_each(&w->sessions, rig_end_session, NULL);
            w->draining = true;
        }
        rig_close(&r);
    }
}

static void a_rule_may_forbid_to_ask(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct rule rules[2] = {rig_keeps("secret:*", 0), rig_keeps("closed:*", 0)};
    rules[0].presence = false;
    rules[1].subscribe = ACCESS_TOKEN;
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, rules, 2);
    rig_settle(&r);
    client_open2(&r, 0, &c, 0);
    static const char *const topics[] = {"secret:a", "closed:a"};
    for (int i = 0; i < 2; i++) {
        ask(&c, topics[i], "q");
        client_expect_just(&r, &c,
            "{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"" HERMES_TEXT_NO_PRESENCE
            "\",\"topic\":\"%s\",\"id\":\"q\"}",
            topics[i]);
    }
    assert_true(list_empty(&r.shop.workers[0].waiting));
    client_drop(&r, &c);
    rig_close(&r);
}

/* --- comings and goings ----------------------------------------------------------------------- */

static void expect_event(
    struct rig *r, struct client *c, const char *type, const char *topic, uint64_t client)
{
    client_expect_just(r, c, "{\"type\":\"%s\",\"topic\":\"%s\",\"client\":\"%016llx\"}", type,
        topic, (unsigned long long)client);
}

/* Broken by an event to all subscribers, by one to the client itself, and by one that is not told
 * when a connection breaks: fails. */
static void who_watches_is_told_who_comes_and_goes(void **state)
{
    (void)state;
    struct rig r;
    struct client watches, looks_on, plain, comes;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &watches, 0);
    client_open2(&r, 0, &looks_on, 0);
    client_open(&r, 1, &plain, 0);
    client_open2(&r, 1, &comes, 0);
    client_subscribe_with(&r, &watches, "topic", "t", ",\"presence\":true");
    client_subscribe(&r, &looks_on, "t");
    expect_event(&r, &watches, "join", "t", looks_on.session->client);
    client_subscribe(&r, &plain, "t");
    expect_event(&r, &watches, "join", "t", plain.session->client);
    client_subscribe_with(&r, &comes, "topic", "t", ",\"presence\":true");
    expect_event(&r, &watches, "join", "t", comes.session->client);
    uint64_t gone = looks_on.session->client;
    client_expect_nothing(&r, &looks_on);
    client_expect_nothing(&r, &plain);
    client_drop(&r, &looks_on);
    expect_event(&r, &watches, "leave", "t", gone);
    expect_event(&r, &comes, "leave", "t", gone);
    assert_true(peer_sendf(&comes.peer, "{\"type\":\"unsubscribe\",\"topic\":\"t\"}"));
    client_expect(&r, &comes, "{\"type\":\"ack_unsubscribe\"");
    expect_event(&r, &watches, "leave", "t", comes.session->client);
    client_expect_nothing(&r, &comes);
    assert_int_equal(rig_publish_text(&r, "t", "1").offset, 1); /* events have no offset */
    client_expect_just(
        &r, &watches, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1}");
    client_drop(&r, &watches);
    client_drop(&r, &plain);
    client_drop(&r, &comes);
    assert_int_equal(atomic_load(&r.shop.route.patterns.watchers), 0);
    rig_close(&r);
}

/* A subscription by pattern is no join of any topic. Who watches by name and by pattern is told
 * once. */
static void who_watches_by_pattern_is_told_of_all_topics(void **state)
{
    (void)state;
    struct rig r;
    struct client watches, comes;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &watches, 0);
    client_open2(&r, 1, &comes, 0);
    client_subscribe_with(&r, &watches, "pattern", "stock:*", ",\"presence\":true");
    client_subscribe_with(&r, &watches, "pattern", ">", ",\"presence\":true");
    client_subscribe_with(&r, &watches, "topic", "stock:A", ",\"presence\":true");
    assert_int_equal(atomic_load(&r.shop.route.patterns.watchers), 2);
    client_subscribe_pattern(&r, &comes, "stock:*");
    client_expect_nothing(&r, &watches);
    client_subscribe(&r, &comes, "stock:A");
    expect_event(&r, &watches, "join", "stock:A", comes.session->client);
    client_subscribe(&r, &comes, "sensor:1");
    expect_event(&r, &watches, "join", "sensor:1", comes.session->client);
    client_drop(&r, &comes);
    char text[2][256];
    for (int i = 0; i < 2; i++) {
        client_take(&r, &watches, text[i], sizeof text[i]);
        assert_non_null(strstr(text[i], "{\"type\":\"leave\""));
    }
    bool stock_first = strstr(text[0], "\"stock:A\"") != NULL; /* in whatever order */
    assert_non_null(strstr(text[!stock_first], "\"stock:A\""));
    assert_non_null(strstr(text[stock_first], "\"sensor:1\""));
    client_expect_nothing(&r, &watches);
    client_drop(&r, &watches);
    assert_int_equal(atomic_load(&r.shop.route.patterns.watchers), 0);
    rig_close(&r);
}

/* Seen to fail without route_watch in session_change. */
static void who_subscribes_again_may_begin_to_watch(void **state)
{
    (void)state;
    struct rig r;
    struct client watches, comes;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &watches, 0);
    client_open2(&r, 1, &comes, 0);
    client_subscribe(&r, &watches, "t");
    client_subscribe_pattern(&r, &watches, "p:*");
    client_subscribe(&r, &comes, "t");
    client_expect_nothing(&r, &watches);
    for (int i = 0; i < 2; i++) { /* twice is once */
        client_subscribe_with(&r, &watches, "topic", "t", ",\"presence\":true");
        client_subscribe_with(&r, &watches, "pattern", "p:*", ",\"presence\":true");
    }
    client_subscribe(&r, &comes, "p:1");
    expect_event(&r, &watches, "join", "p:1", comes.session->client);
    assert_int_equal(atomic_load(&r.shop.route.patterns.watchers), 1);
    uint64_t gone = comes.session->client;
    assert_true(peer_sendf(&comes.peer, "{\"type\":\"unsubscribe\",\"topic\":\"t\"}"));
    expect_event(&r, &watches, "leave", "t", gone);
    client_drop(&r, &watches);
    assert_int_equal(atomic_load(&r.shop.route.patterns.watchers), 0);
    client_drop(&r, &comes);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyone_who_subscribes_is_listed_once),
        cmocka_unit_test(questions_wait_for_the_slowest_worker_and_not_for_each_other),
        cmocka_unit_test(nobody_has_more_than_some_questions_under_way),
        cmocka_unit_test(who_asked_may_end_before_the_answer_comes),
        cmocka_unit_test(questions_that_are_under_way_when_the_workers_end_are_given_back),
        cmocka_unit_test(a_rule_may_forbid_to_ask),
        cmocka_unit_test(who_watches_is_told_who_comes_and_goes),
        cmocka_unit_test(who_watches_by_pattern_is_told_of_all_topics),
        cmocka_unit_test(who_subscribes_again_may_begin_to_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
