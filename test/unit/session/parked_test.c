/* Commands that wait until a far topic is live here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "session/aside.h"
#include "session/parked.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

static void open_all(struct rig *r, struct fake *f, struct client *c)
{
    rig_open(r, 1, rig_limits());
    fake_open(f, r);
    client_open2(r, 0, c, 0);
}

static void close_all(struct rig *r, struct fake *f, struct client *c)
{
    if (c)
        client_drop(r, c);
    fake_close(f);
    assert_int_equal(r->shop.workers[0].parked_bytes, 0);
    rig_close(r);
}

static void ask(struct client *c, const char *topic)
{
    char text[128];
    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"%s\"}", topic);
    feed_text(c->session, text);
}

/* Seen to fail with session_obey in on_message whether or not the session is parked. */
static void a_subscribe_waits_until_the_topic_is_live_and_what_is_behind_it_too(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c);
    add_text(&b, "{\"type\":\"subscribe\",\"topic\":\"t\",\"id\":\"a\"}");
    add_text(&b, "{\"type\":\"ping\",\"id\":1}");
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":2}");
    add_text(&b, "{\"type\":\"unsubscribe\",\"topic\":\"t\",\"id\":3}");
    feed(c.session, &b);
    assert_true(c.session->parked);
    struct errand *e = fake_take(&f, ERRAND_FOLLOW, "t");
    assert_false(e->watches);
    client_expect_nothing(&r, &c);
    fake_follow(&f, e, 6);
    client_expect_just(&r, &c,
        "{\"type\":\"ack_subscribe\",\"topic\":\"t\",\"message\":\"Successfully subscribed to "
        "t\",\"epoch\":\"" FAKE_EPOCH_TEXT "\",\"offset\":6,\"id\":\"a\"}");
    client_expect(&r, &c, "{\"type\":\"pong\"");
    client_expect_nothing(&r, &c);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "t"), 7, 0);
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\"");
    client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"t\",\"offset\":7");
    client_expect(&r, &c, "{\"type\":\"ack_unsubscribe\"");
    assert_false(c.session->parked);
    assert_int_equal(rig_metric(&r, METRIC_commands_total), 4);
    client_expect_nothing(&r, &c);
    ask(&c, "t"); /* it is live still */
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    fake_expect_nothing(&f);
    close_all(&r, &f, &c);
}

/* Seen to fail without looking ahead. */
static void what_is_behind_is_followed_meanwhile(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c);
    add_text(&b, "{\"type\":\"subscribe\",\"topic\":\"a\"}");
    add_text(&b, "{\"type\":\"subscribe\",\"topics\":[\"b\",\"c\"]}");
    add_text(&b, "{\"type\":\"subscribe\",\"pattern\":\"d:*\"}");
    feed(c.session, &b);
    struct errand *all[4] = {
        fake_take(&f, ERRAND_FOLLOW, "a"),
        fake_take(&f, ERRAND_FOLLOW, "b"),
        fake_take(&f, ERRAND_FOLLOW, "c"),
        fake_take(&f, ERRAND_PATTERN, "d:*"),
    };
    fake_return(&f, all[3], ERRAND_DONE);
    fake_follow(&f, all[2], 0);
    fake_follow(&f, all[1], 0);
    client_expect_nothing(&r, &c);
    fake_follow(&f, all[0], 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"b\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"c\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"pattern\":\"d:*\"");
    fake_expect_nothing(&f);
    assert_int_equal(c.session->subscriber.count, 4);
    close_all(&r, &f, &c);
}

/* Broken by joining all the same: what comes by it may have been let go of. */
static void a_pattern_whose_turn_comes_late_is_asked_for_again(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    ask(&c, "a");
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"d:*\"}");
    struct errand *a = fake_take(&f, ERRAND_FOLLOW, "a");
    struct errand *d = fake_take(&f, ERRAND_PATTERN, "d:*");
    uint64_t early = clock_ms() - PATTERN_STAYS_MS - 1;
    d->offset = early;
    fake_return(&f, d, ERRAND_DONE);
    fake_follow(&f, a, 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    client_expect_nothing(&r, &c);
    assert_int_equal(c.session->subscriber.count, 1);
    fake_return(&f, fake_take(&f, ERRAND_PATTERN, "d:*"), ERRAND_DONE);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"pattern\":\"d:*\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"e:*\"}");
    for (int i = 0; i < 4; i++) { /* not for ever */
        struct errand *e = fake_take(&f, ERRAND_PATTERN, "e:*");
        e->offset = early;
        fake_return(&f, e, ERRAND_DONE);
    }
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    fake_expect_nothing(&f);
    assert_int_equal(c.session->subscriber.count, 2);
    close_all(&r, &f, &c);
}

/* In several rounds, for there is a limit to what is asked for at once. */
static void many_topics_take_few_rounds(void **state)
{
    (void)state;
    enum { COUNT = 700 };
    for (int how = 0; how < 2; how++) {
        struct rig r;
        struct fake f;
        struct client c;
        struct buf b = {0}, names = {0};
        open_all(&r, &f, &c);
        for (int i = 0; i < COUNT; i++) {
            char text[64];
            snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"t:%d\"}", i);
            if (how == 0)
                add_text(&b, text);
            buf_appendf(&names, "%s\"t:%d\"", i ? "," : "{\"type\":\"subscribe\",\"topics\":[", i);
        }
        buf_appendf(&names, "]}%c", 0);
        if (how == 1)
            add_text(&b, names.data);
        feed(c.session, &b);
        int rounds = 0, got = 0;
        while (c.session->subscriber.count < COUNT && rounds < 50) {
            struct errand *e;
            rounds++;
            rig_settle(&r);
            struct errand *all[COUNT];
            int count = 0;
            while ((e = fake_try(&f)) != NULL)
                all[count++] = e;
            assert_in_range(count, 1, 512);
            while (count > 0)
                fake_follow(&f, all[--count], 0);
            rig_settle(&r);
        }
        assert_in_range(rounds, 2, 5);
        for (; got < COUNT; got++) {
            char text[64];
            snprintf(text, sizeof text, "{\"type\":\"ack_subscribe\",\"topic\":\"t:%d\"", got);
            client_expect(&r, &c, text);
        }
        client_expect_nothing(&r, &c);
        assert_int_equal(c.session->subscriber.count, COUNT);
        buf_fini(&names);
        close_all(&r, &f, &c);
    }
}

/* Seen to fail when the outcome is not looked at: the command waits for ever. */
static void what_cannot_be_followed_is_unavailable_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    feed_text(c.session, "{\"type\":\"subscribe\",\"topics\":[\"a\",\"b\",\"c\"],\"id\":1}");
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "a"), 0);
    fake_return(&f, fake_take(&f, ERRAND_FOLLOW, "b"), ERRAND_UNAVAILABLE);
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "c"), 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"c\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"a:*\"}");
    fake_return(&f, fake_take(&f, ERRAND_PATTERN, "a:*"), ERRAND_UNAVAILABLE);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    client_expect_nothing(&r, &c);
    assert_int_equal(c.session->subscriber.count, 2);
    close_all(&r, &f, &c);
}

/* Seen to go on for ever without TRIES. */
static void a_topic_that_goes_each_time_is_unavailable_in_the_end(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    ask(&c, "t");
    int rounds = 0;
    for (; c.session->parked && rounds < 10; rounds++) {
        fake_return(&f, fake_take(&f, ERRAND_FOLLOW, "t"), ERRAND_DONE); /* and not live */
        rig_settle(&r);
    }
    assert_in_range(rounds, 2, 5);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    close_all(&r, &f, &c);
}

static void level_1_waits_as_well(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c, one;
    open_all(&r, &f, &c);
    client_open(&r, 0, &one, 0);
    ask(&one, "a\\\"b");
    ask(&one, "c");
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "a\"b"), 0);
    fake_return(&f, fake_take(&f, ERRAND_FOLLOW, "c"), ERRAND_UNAVAILABLE);
    client_expect_just(&r, &one,
        "{\"type\":\"ack_subscribe\",\"topic\":\"a\\\"b\",\"message\":\"Successfully subscribed "
        "to a\\\"b\"}");
    client_expect_just(&r, &one, "{\"type\":\"error\",\"message\":\"%s\"}", HERMES_TEXT_ALONE);
    fake_relay(&f, "a\"b", 1, "5");
    client_expect_just(&r, &one, "5");
    client_drop(&r, &one);
    close_all(&r, &f, &c);
}

/* A topic may be live without anybody here who watches it. */
static void who_watches_waits_for_that(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct rule rule = rig_keeps("t", 0);
    rule.presence = true;
    open_all(&r, &f, &c);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    ask(&c, "t");
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "t"), 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"topic\":\"t\",\"presence\":true}");
    struct errand *e = fake_take(&f, ERRAND_FOLLOW, "t");
    assert_true(e->watches);
    client_expect_nothing(&r, &c);
    fake_follow(&f, e, 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"topic\":\"t\",\"presence\":true}");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    fake_expect_nothing(&f);
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"t\"}");
    e = fake_take(&f, ERRAND_PATTERN, "t");
    assert_false(e->watches);
    fake_return(&f, e, ERRAND_DONE);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"t\",\"presence\":true}");
    e = fake_take(&f, ERRAND_PATTERN, "t");
    assert_true(e->watches);
    fake_return(&f, e, ERRAND_DONE);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    close_all(&r, &f, &c);
}

/* Seen to fail (under AddressSanitizer) without session_forget_parked. */
static void a_session_may_end_while_it_waits(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct rig r;
        struct fake f;
        struct client c;
        struct buf b = {0};
        open_all(&r, &f, &c);
        ask(&c, "a");
        ask(&c, "b");
        struct errand *e = fake_take(&f, ERRAND_FOLLOW, "a");
        if (how == 0) {
            add_frame(&b, PEER_CLOSE, "\x03\xe8", 2);
            feed(c.session, &b);
            client_expect_nothing(&r, &c);
        } else if (how == 1) { /* what it waited for is there */
            fake_follow(&f, e, 0);
            fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "b"), 0);
            mailbox_take(&r.shop.workers[0].box, &r.shop.workers[0].tray);
            worker_deliver(&r.shop.workers[0]);
            assert_false(list_empty(&r.shop.workers[0].resumable));
            session_end(c.session, CLOSE_LOST, true);
            assert_true(list_empty(&r.shop.workers[0].resumable));
        }
        client_drop(&r, &c);
        if (how != 1)
            fake_follow(&f, e, 0);
        close_all(&r, &f, NULL);
    }
}

/* So a pong is the sign that all before it is done. */
static void pings_are_answered_behind_it(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    const char *payload;
    size_t len;
    open_all(&r, &f, &c);
    ask(&c, "a");
    add_frame(&b, PEER_PING, "x", 1);
    feed(c.session, &b);
    client_expect_nothing(&r, &c);
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "a"), 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    assert_int_equal(client_next(&r, &c, &payload, &len), PEER_PONG);
    close_all(&r, &f, &c);
}

/* Seen to fail (more than that is kept) without `held`. */
static void who_sends_too_much_meanwhile_is_not_read_from(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    struct rig r;
    struct fake f;
    struct client c;
    char large[2000];
    open_all(&r, &f, &c);
    ask(&c, "a");
    snprintf(large, sizeof large, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":\"%01900d\"}", 0);
    for (int i = 0; i < COUNT; i++) {
        assert_true(peer_sendf(&c.peer, "%s", large));
        rig_turn(&r);
    }
    rig_settle(&r);
    assert_true(c.session->held);
    assert_in_range(c.session->aside->parked_bytes, PARKED_MOST, PARKED_MOST + 8192);
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "a"), 0);
    unsigned count = 0;
    for (int i = 0; i < 100 && count < COUNT; i++) {
        struct errand *e;
        rig_settle(&r);
        while ((e = fake_try(&f)) != NULL) {
            assert_int_equal(e->kind, ERRAND_PUBLISH);
            count += e->message->count;
            fake_number(&f, e, count, 0);
        }
    }
    assert_int_equal(count, COUNT);
    assert_false(c.session->held);
    close_all(&r, &f, &c);
}

static int count_of(const struct client *c, const char *text)
{
    const char *end = c->peer.bytes + c->peer.len;
    int count = 0;
    for (const char *at = c->peer.bytes; at; count++) {
        at = memmem(at, (size_t)(end - at), text, strlen(text));
        if (!at)
            break;
        at++;
    }
    return count;
}

/* What is named twice is joined once. */
static void events_wait_as_well(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct rig r;
        struct fake f;
        struct client c;
        rig_open(&r, 1, rig_limits());
        fake_open(&f, &r);
        client_connect(&r, 0, &c, 0, REFUSAL_NONE);
        char request[] = "GET /sse?topic=a&topic=b&topic=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_true(peer_send_bytes(&c.peer, request, sizeof request - 1));
        struct errand *a = fake_take(&f, ERRAND_FOLLOW, "a");
        struct errand *b = fake_take(&f, ERRAND_FOLLOW, "b");
        struct errand *again = fake_take(&f, ERRAND_FOLLOW, "a");
        fake_follow(&f, a, 0);
        if (how == 0)
            fake_follow(&f, b, 0);
        else
            fake_return(&f, b, ERRAND_UNAVAILABLE);
        fake_follow(&f, again, 0);
        rig_settle(&r);
        assert_int_equal(peer_fill(&c.peer, false), 1);
        if (how == 0) {
            assert_int_equal(count_of(&c, "\"type\":\"ack_subscribe\""), 2);
            assert_int_equal(c.session->subscriber.count, 2);
        } else { /* nobody can ask for it again */
            assert_int_equal(count_of(&c, "\"type\":\"ack_subscribe\""), 1);
            assert_int_equal(count_of(&c, "\"code\":\"unavailable\""), 1);
            assert_int_equal(rig_metric(&r, METRIC_sessions), 0);
            assert_int_equal(rig_metric(&r, METRIC_closed_alone_total), 1);
        }
        client_drop(&r, &c);
        fake_close(&f);
        rig_close(&r);
    }
}

/* Seen to fail (they are asked for) without the look at the limit, at each of its three places. */
static void what_there_is_no_room_for_is_not_asked_of_the_cluster(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    r.shop.limits.subscriptions = 3;
    ask(&c, "a");
    struct errand *a = fake_take(&f, ERRAND_FOLLOW, "a");
    feed_text(c.session, "{\"type\":\"subscribe\",\"topics\":[\"b\",\"c\",\"d\"]}");
    ask(&c, "e");
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"p:*\"}");
    ask(&c, "b");
    ask(&c, "c");
    struct errand *b = fake_take(&f, ERRAND_FOLLOW, "b");
    struct errand *d = fake_take(&f, ERRAND_FOLLOW, "c");
    fake_expect_nothing(&f);
    fake_follow(&f, b, 0);
    fake_follow(&f, d, 0);
    fake_follow(&f, a, 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"too_many_subscriptions\"");
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "e"), 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"e\"");
    fake_return(&f, fake_take(&f, ERRAND_PATTERN, "p:*"), ERRAND_DONE);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"pattern\":\"p:*\"");
    for (int i = 0; i < 2; i++)
        client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"too_many_subscriptions\"");
    ask(&c, "g");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"too_many_subscriptions\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"pattern\":\"q:*\"}");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"too_many_subscriptions\"");
    ask(&c, "a");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    fake_expect_nothing(&f);
    close_all(&r, &f, &c);
}

/* Seen to fail (it is asked for) without the look at it. */
static void what_may_not_be_watched_is_not_asked_of_the_cluster(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct rule rule = rig_keeps("t", 0);
    rule.presence = false;
    open_all(&r, &f, &c);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    ask(&c, "a");
    struct errand *a = fake_take(&f, ERRAND_FOLLOW, "a");
    feed_text(c.session, "{\"type\":\"subscribe\",\"topic\":\"t\",\"presence\":true}");
    fake_expect_nothing(&f);
    fake_follow(&f, a, 0);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"forbidden\"");
    fake_expect_nothing(&f);
    close_all(&r, &f, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscribe_waits_until_the_topic_is_live_and_what_is_behind_it_too),
        cmocka_unit_test(what_is_behind_is_followed_meanwhile),
        cmocka_unit_test(a_pattern_whose_turn_comes_late_is_asked_for_again),
        cmocka_unit_test(many_topics_take_few_rounds),
        cmocka_unit_test(what_cannot_be_followed_is_unavailable_and_the_rest_goes_on),
        cmocka_unit_test(a_topic_that_goes_each_time_is_unavailable_in_the_end),
        cmocka_unit_test(level_1_waits_as_well),
        cmocka_unit_test(who_watches_waits_for_that),
        cmocka_unit_test(a_session_may_end_while_it_waits),
        cmocka_unit_test(pings_are_answered_behind_it),
        cmocka_unit_test(who_sends_too_much_meanwhile_is_not_read_from),
        cmocka_unit_test(events_wait_as_well),
        cmocka_unit_test(what_there_is_no_room_for_is_not_asked_of_the_cluster),
        cmocka_unit_test(what_may_not_be_watched_is_not_asked_of_the_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
