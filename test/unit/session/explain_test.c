#include "session/explain.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "session/facts.h"
#include "session/verdict.h"
#include "support/random.h"
#include "support/worker_harness.h"

enum { LARGE = 100 * 1000 };

/* What the workers say now, of which no loop turns meanwhile; with a zero behind it. */
static struct buf explain(struct rig *r, uint64_t client, const char *topic, uint64_t offset)
{
    struct buf text = {0};
    const struct buf *members;
    struct explain *e = explain_new(&r->shop, NULL, client, text_of(topic), offset);
    assert_non_null(e);
    assert_true(e->worker < r->shop.count);
    struct worker *w = &r->shop.workers[e->worker];
    while (!e->inquiry.look(&e->inquiry, w, &e->inquiry.parts[e->worker]))
        if (e->inquiry.parts[e->worker].count > 0)
            break; /* it has said all, and wants a turn for the mail */
    assert_true(explain_answer(e, &members));
    assert_false(members->failed);
    buf_append_text(&text, buf_text(members));
    buf_append_char(&text, '\0');
    explain_free(e);
    return text;
}

/* `words`: that are among those it says, or NULL. */
static void expect_id(struct rig *r, uint64_t client, const char *topic, uint64_t offset,
    const char *verdict, const char *words)
{
    char start[64];
    struct buf text = explain(r, client, topic, offset);
    snprintf(start, sizeof start, "\"verdict\":\"%s\",", verdict);
    if (strncmp(text.data, start, strlen(start)) != 0 || (words && !strstr(text.data, words)))
        fail_msg("%s is not %s (%s)", text.data, verdict, words ? words : "");
    buf_fini(&text);
}

static void expect(struct rig *r, const struct client *c, const char *topic, uint64_t offset,
    const char *verdict, const char *words)
{
    expect_id(r, c->session->client, topic, offset, verdict, words);
}

/* Delivered, but not sent. */
static void deliver(struct rig *r)
{
    struct worker *w = &r->shop.workers[0];
    mailbox_take(&w->box, &w->tray);
    worker_deliver(w);
}

/* Throws away what has come to it. */
static void read_all(struct rig *r, struct client *c)
{
    const char *payload;
    size_t len;
    while (client_next(r, c, &payload, &len) == PEER_TEXT)
        ;
}

/* --- who subscribed when ---------------------------------------------------------------------- */

static void when_a_client_was_subscribed_decides(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client stays;
    rig_open(&r, 2, rig_limits());
    client_open(&r, 1, &stays, 0);
    client_open2(&r, 0, &c, 0);
    client_subscribe(&r, &stays, "t");
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    expect(&r, &c, "t", 1, "not_subscribed", NULL);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "2");
    rig_settle(&r);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    rig_publish_text(&r, "t", "3");
    rig_settle(&r);
    expect(&r, &c, "t", 3, "left", "\"what\":\"unsubscribed\",\"delivered_up_to\":2}");
    read_all(&r, &c);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "4");
    rig_settle(&r);
    expect(&r, &c, "t", 1, "subscribed_later", "\"from\":2,");
    expect(&r, &c, "t", 2, "delivered", "before it unsubscribed");
    expect(&r, &c, "t", 3, "left", NULL);
    expect(&r, &c, "t", 4, "delivered", "written to its socket.");
    expect(&r, &c, "t", 5, "not_published", "newest one is 4");
    expect(&r, &stays, "t", 1, "delivered", NULL);
    expect(&r, &c, "other", 1, "epoch_ended", NULL);
    expect_id(&r, 12345, "t", 1, "unknown_client", NULL);
    uint64_t id = c.session->client;
    client_drop(&r, &c);
    rig_publish_text(&r, "t", "5");
    rig_settle(&r);
    expect_id(&r, id, "t", 4, "delivered", "before its connection ended");
    expect_id(&r, id, "t", 5, "closed", "\"reason\":\"connection lost\"");
    client_drop(&r, &stays);
    expect_id(&r, id, "t", 4, "delivered", NULL);
    expect_id(&r, id, "t", 9, "epoch_ended", NULL);
    rig_close(&r);
}

/* Seen to fail with epochs left out of is_of. */
static void offsets_of_an_earlier_epoch_are_others(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client other;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    client_open(&r, 0, &other, 0);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    client_subscribe(&r, &other, "t");
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    expect(&r, &c, "t", 1, "not_subscribed", "\"delivered_up_to\":1");
    client_drop(&r, &c);
    client_drop(&r, &other);
    rig_close(&r);
}

/* Seen to fail with epochs left out of is_of_topic. */
static void facts_of_an_earlier_epoch_tell_nothing_of_this_one(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client other;
    struct client third;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_open(&r, 0, &other, 0);
    client_open(&r, 0, &third, 0);
    client_subscribe(&r, &other, "a:b");
    for (int i = 0; i < 3; i++)
        rig_publish_text(&r, "a:b", "1");
    assert_int_equal(client_leave(&other, "a:b"), LEAVE_OK);
    client_subscribe_pattern(&r, &c, "a:*");
    assert_int_equal(session_leave(c.session, TEXT("a:*"), true), LEAVE_OK);
    assert_int_equal(client_join(&other, "a:b"), JOIN_OK);
    rig_publish_text(&r, "a:b", "1");
    rig_settle(&r);
    assert_int_equal(client_join(&third, "a:b"), JOIN_OK); /* it had got to 1 by then */
    client_subscribe_pattern(&r, &c, "a:*"); /* so that the pattern has a text again */
    expect(&r, &c, "a:b", 1, "left", NULL);
    client_drop(&r, &third);
    client_drop(&r, &c);
    client_drop(&r, &other);
    rig_close(&r);
}

/* Seen to fail with a `look` that is done while there is mail in the tray: the worker would sleep.
 */
static void a_message_in_the_mail_is_on_its_way(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    rig_publish_text(&r, "t", "2");
    expect(&r, &c, "t", 1, "delivered", NULL);
    expect(&r, &c, "t", 2, "on_its_way", NULL);
    struct worker *w = &r.shop.workers[0];
    struct explain *e = explain_new(&r.shop, NULL, c.session->client, TEXT("t"), 2);
    assert_non_null(e);
    assert_int_equal(w->tray.count - w->tray.at, 1);
    assert_false(e->inquiry.look(&e->inquiry, w, &e->inquiry.parts[0]));
    assert_true(e->inquiry.look(&e->inquiry, w, &e->inquiry.parts[0]));
    explain_free(e);
    client_expect(&r, &c, "1");
    client_expect(&r, &c, "2"); /* though its mail was looked at */
    expect(&r, &c, "t", 2, "delivered", NULL);
    client_drop(&r, &c);
    rig_close(&r);
}

static void who_was_refused_is_told_so(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client spy;
    struct rule rule = rig_keeps("secret:>", 10);
    rule.subscribe = ACCESS_NOBODY;
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    client_open2(&r, 0, &c, 0);
    client_open2(&r, 0, &spy, 0);
    client_subscribe_pattern(&r, &spy, "secret:*");
    rig_publish_text(&r, "secret:x", "1");
    rig_settle(&r);
    expect(&r, &c, "secret:x", 1, "not_subscribed", "may not subscribe");
    assert_true(peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"topic\":\"secret:x\"}"));
    client_expect(&r, &c, "{\"type\":\"error\"");
    expect(&r, &c, "secret:x", 1, "refused", "\"error\":\"forbidden\"");
    expect(&r, &spy, "secret:x", 1, "not_subscribed", "may not subscribe"); /* by no pattern */
    client_drop(&r, &c);
    client_drop(&r, &spy);
    rig_close(&r);
}

static void what_a_client_published_and_did_not_want_is_its_own(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    assert_true(peer_sendf(
        &c.peer, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"echo\":false,\"id\":1}"));
    client_expect(&r, &c, "{\"type\":\"ack_publish\"");
    rig_publish_text(&r, "t", "2");
    rig_settle(&r);
    expect(&r, &c, "t", 1, "own", "\"from\":1,\"to\":1");
    expect(&r, &c, "t", 2, "delivered", NULL);
    client_drop(&r, &c);
    rig_close(&r);
}

/* --- patterns --------------------------------------------------------------------------------- */

static void by_pattern_it_is_known_where_facts_of_the_topic_lie_around_it(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client named;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_open(&r, 0, &named, 0);
    client_subscribe(&r, &named, "a:b");
    rig_publish_text(&r, "a:b", "1");
    rig_settle(&r);
    client_subscribe_pattern(&r, &c, "a:*");
    rig_publish_text(&r, "a:b", "2");
    rig_settle(&r);
    expect(&r, &c, "a:b", 1, "forgotten", "by the pattern a:*");
    read_all(&r, &c);
    client_subscribe(&r, &c, "a:b"); /* the topic had got to 2 */
    rig_publish_text(&r, "a:b", "3");
    rig_settle(&r);
    expect(&r, &c, "a:b", 1, "forgotten", NULL);
    expect(&r, &c, "a:b", 2, "forgotten", NULL);
    expect(&r, &c, "a:b", 3, "delivered", NULL);
    assert_int_equal(session_leave(c.session, TEXT("a:*"), true), LEAVE_OK);
    assert_int_equal(client_leave(&c, "a:b"), LEAVE_OK);
    rig_publish_text(&r, "a:b", "4");
    rig_settle(&r);
    expect(&r, &c, "a:b", 4, "left", NULL);
    read_all(&r, &c);
    client_subscribe_pattern(&r, &c, "a:>");
    client_subscribe_pattern(&r, &c, "b:>");
    rig_publish_text(&r, "a:b", "5");
    rig_settle(&r);
    assert_int_equal(client_leave(&named, "a:b"), LEAVE_OK); /* the topic had got to 5 */
    expect(&r, &c, "a:b", 4, "forgotten", "\"pattern\":\"a:>\"");
    client_drop(&r, &c);
    client_drop(&r, &named);
    rig_close(&r);
}

/* Seen to fail with facts of patterns left out that nobody has any more. */
static void a_pattern_that_nobody_has_any_more_may_have_matched(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client stays;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_open(&r, 0, &stays, 0);
    client_subscribe(&r, &stays, "a:b");
    client_subscribe(&r, &c, "a:b");
    assert_int_equal(client_leave(&c, "a:b"), LEAVE_OK);
    client_subscribe_pattern(&r, &c, "b:*"); /* which it keeps, and which does not match */
    rig_publish_text(&r, "a:b", "1");
    rig_settle(&r);
    expect(&r, &c, "a:b", 1, "left", NULL);
    client_subscribe_pattern(&r, &c, "a:*");
    rig_publish_text(&r, "a:b", "2");
    rig_settle(&r);
    read_all(&r, &c);
    assert_int_equal(session_leave(c.session, TEXT("a:*"), true), LEAVE_OK);
    expect(&r, &c, "a:b", 2, "forgotten", "by a pattern whose name is not known any more at ");
    assert_int_equal(client_leave(&stays, "a:b"), LEAVE_OK); /* the topic had got to 2 */
    assert_int_equal(client_join(&stays, "a:b"), JOIN_OK);
    client_subscribe_pattern(&r, &c, "a:>");
    uint64_t id = c.session->client;
    rig_publish_text(&r, "a:b", "1");
    rig_settle(&r);
    client_drop(&r, &c);
    expect_id(&r, id, "a:b", 1, "forgotten", "Whether it matches the topic");
    client_drop(&r, &stays);
    rig_close(&r);
}

/* --- who is slow ------------------------------------------------------------------------------ */

/* Seen to fail with the first `offset` of a frame, which may be one of the data. */
static void what_is_in_the_queue_is_found_there(void **state)
{
    (void)state;
    struct rig r;
    struct client two;
    struct client one;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &two, SMALL_BUFFER);
    client_open(&r, 0, &one, SMALL_BUFFER);
    client_subscribe(&r, &two, "t");
    client_subscribe(&r, &one, "t");
    rig_publish_text(&r, "t", "1");
    client_expect(&r, &two, "{\"type\":\"message\"");
    client_expect(&r, &one, "1");
    block(two.session, '0', LARGE);
    block(one.session, '0', LARGE);
    rig_publish_text(&r, "t", "{\"a\":0,\"offset\":1}");
    rig_publish_text(&r, "t", "3");
    deliver(&r);
    /* A frame is begun, and may be that one. */
    expect(&r, &two, "t", 1, "queued_or_delivered", "cannot be told");
    expect(&r, &two, "t", 2, "queued", "is among them");
    expect(&r, &two, "t", 3, "queued", "is among them");
    expect(&r, &one, "t", 3, "queued_or_delivered", "cannot be told");
    client_expect(&r, &two, "0");
    client_expect(&r, &one, "0");
    rig_settle(&r);
    for (uint64_t offset = 1; offset <= 3; offset++) {
        expect(&r, &two, "t", offset, "delivered", NULL);
        expect(&r, &one, "t", offset, "delivered", NULL);
    }
    client_drop(&r, &two);
    client_drop(&r, &one);
    rig_close(&r);
}

enum { MANY = 25000, FRAMES_A_TURN = 1000 };

/* It has read the first two messages of "t", and there are so many more in its queue, behind a
 * frame that is begun: the first one of "large". */
static void fill(struct rig *r, struct client *c)
{
    client_open2(r, 0, c, SMALL_BUFFER);
    client_subscribe(r, c, "t");
    client_subscribe(r, c, "large");
    rig_publish_text(r, "t", "1");
    rig_publish_text(r, "t", "2");
    client_expect(r, c, "{\"type\":\"message\"");
    client_expect(r, c, "{\"type\":\"message\"");
    assert_int_equal(rig_publish_large(r, "large", '1', LARGE).offset, 1);
    deliver(r);
    session_flush(c->session);
    assert_true(c->session->blocked);
    for (int i = 0; i < MANY; i++) {
        rig_publish_text(r, "t", "3");
        if (i % 100 == 99)
            deliver(r);
    }
    deliver(r);
}

/* Seen to fail with a part of the queue looked at only, and with a begun frame that is not. */
static void what_was_read_is_not_said_to_be_queued_however_long_the_queue_is(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    fill(&r, &c);
    expect(&r, &c, "t", 2, "delivered", NULL);
    expect(&r, &c, "t", 3, "queued", "is among them");
    expect(&r, &c, "t", MANY + 2, "queued", "is among them");
    expect(&r, &c, "large", 1, "queued_or_delivered", NULL);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with all of it in one. */
static void a_long_queue_is_looked_at_in_turns_and_the_client_may_go_meanwhile(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    fill(&r, &c);
    struct worker *w = &r.shop.workers[0];
    for (int gone = 0; gone < 2; gone++) {
        const struct buf *members;
        unsigned turns = 1;
        struct explain *e = explain_new(&r.shop, NULL, c.session->client, TEXT("t"), MANY + 2);
        assert_non_null(e);
        while (!e->inquiry.look(&e->inquiry, w, &e->inquiry.parts[0])) {
            if (gone && turns == 3)
                client_drop(&r, &c);
            turns++;
        }
        assert_true(gone || turns >= MANY / FRAMES_A_TURN);
        assert_true(explain_answer(e, &members));
        assert_true(text_starts_with(buf_text(members),
            gone ? TEXT("\"verdict\":\"cut_off\"") : TEXT("\"verdict\":\"queued\"")));
        explain_free(e);
    }
    rig_close(&r);
}

/* The newest message stands before the others then. Seen to fail when the first one of the topic
 * with a greater offset ends the search. */
static void what_was_given_again_is_found_behind_newer_ones(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct rule rule = rig_keeps("t", 10);
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    for (int i = 0; i < 3; i++)
        rig_publish_text(&r, "t", "1");
    client_open2(&r, 0, &c, SMALL_BUFFER);
    client_subscribe(&r, &c, "t");
    block(c.session, '0', LARGE);
    rig_publish_text(&r, "t", "4");
    deliver(&r);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    assert_true(peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":2}"));
    rig_settle(&r);
    expect(&r, &c, "t", 3, "queued", "is among them");
    client_drop(&r, &c);
    rig_close(&r);
}

static void what_a_policy_dropped_is_told_with_the_policy(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, SMALL_BUFFER);
    client_subscribe_with(&r, &c, "topic", "t", ",\"policy\":\"latest\"");
    block(c.session, '0', LARGE);
    for (int i = 0; i < 3; i++) {
        rig_publish_text(&r, "t", "1");
        deliver(&r);
    }
    session_flush(c.session); /* conflates */
    expect(&r, &c, "t", 1, "dropped", "by the policy latest messages 1 to 2");
    expect(&r, &c, "t", 2, "dropped", "still in its queue");
    expect(&r, &c, "t", 3, "queued", NULL);
    client_expect(&r, &c, "0");
    client_expect(&r, &c, "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":2}");
    expect(&r, &c, "t", 2, "dropped", "told it so");
    client_expect(&r, &c, "{\"type\":\"message\"");
    expect(&r, &c, "t", 3, "delivered", NULL);
    client_drop(&r, &c);
    rig_close(&r);
}

static void who_was_cut_off_is_told_why_and_that_messages_were_thrown_away(void **state)
{
    (void)state;
    struct rig r;
    enum { MESSAGES = 3000 };
    struct client c;
    struct client left;
    struct client stays;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, SMALL_BUFFER);
    client_open2(&r, 0, &left, SMALL_BUFFER);
    client_open(&r, 0, &stays, 0);
    client_subscribe(&r, &c, "t");
    client_subscribe(&r, &left, "t");
    client_subscribe(&r, &stays, "t");
    uint64_t id = c.session->client;
    uint64_t left_id = left.session->client;
    for (int i = 1; i < MESSAGES; i++)
        rig_publish_text(&r, "t", "1");
    read_all(&r, &stays);
    read_all(&r, &left);
    read_all(&r, &c);
    block(c.session, '0', LARGE);
    block(left.session, '0', LARGE);
    rig_publish_text(&r, "t", "1");
    deliver(&r);
    expect(&r, &c, "t", MESSAGES, "queued", NULL);
    expect(&r, &c, "t", 1, "delivered", NULL);
    assert_int_equal(client_leave(&left, "t"), LEAVE_OK);
    expect(&r, &left, "t", MESSAGES, "queued", NULL);
    expect(&r, &left, "t", 1, "delivered", NULL);
    session_close(left.session, CLOSE_TOO_SLOW);
    session_close(c.session, CLOSE_TOO_SLOW);
    rig_publish_text(&r, "t", "2");
    rig_settle(&r);
    expect_id(&r, id, "t", MESSAGES, "cut_off", "too slow (code 4008)");
    expect_id(&r, id, "t", MESSAGES + 1, "closed", "\"code\":4008,\"reason\":\"too slow\"");
    expect_id(&r, left_id, "t", MESSAGES, "cut_off", "too slow (code 4008)");
    expect_id(&r, left_id, "t", MESSAGES + 1, "left", NULL);
    /* So many came behind it that it was written. */
    expect_id(&r, id, "t", 1, "delivered", NULL);
    expect_id(&r, left_id, "t", 1, "delivered", NULL);
    client_drop(&r, &left);
    client_drop(&r, &c);
    client_drop(&r, &stays);
    rig_close(&r);
}

/* Seen to fail without session_note_given_up, and with its offset taken for how far the topic had
 * got. */
static void who_catches_up_gets_it_later(void **state)
{
    (void)state;
    enum { MESSAGES = 10, BYTES = 60 * 1000 };
    struct rig r;
    struct client c;
    struct client leaves;
    struct client watches;
    struct rule rule = rig_keeps("t", MESSAGES);
    struct session_limits limits = rig_limits();
    limits.backlog_bytes = 16 * LOG_CHUNK;
    rig_open(&r, 1, limits);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    for (int i = 0; i < MESSAGES; i++)
        assert_true(rig_publish_large(&r, "t", '1', BYTES).offset > 0);
    client_open2(&r, 0, &c, SMALL_BUFFER);
    client_open2(&r, 0, &watches, 0);
    client_subscribe_pattern(&r, &watches, "*");
    assert_true(peer_sendf(
        &c.peer, "{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":%d}", MESSAGES - 1));
    rig_settle(&r);
    assert_int_equal(c.session->catching, 1);
    expect(&r, &c, "t", 1, "subscribed_later", NULL);
    expect(&r, &c, "t", 2, "queued_or_delivered", NULL); /* it is begun */
    expect(&r, &c, "t", MESSAGES, "catching_up", NULL);
    client_open2(&r, 0, &leaves, SMALL_BUFFER);
    assert_true(peer_sendf(
        &leaves.peer, "{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":%d}", MESSAGES));
    rig_settle(&r);
    assert_int_equal(client_leave(&leaves, "t"), LEAVE_OK);
    expect(&r, &leaves, "t", MESSAGES, "left", NULL);
    expect(&r, &leaves, "t", 1, "queued_or_delivered", NULL); /* and not thrown away */
    expect(&r, &watches, "t", MESSAGES, "forgotten", NULL);
    client_drop(&r, &leaves);
    /* The history forgets what it has not been given yet. */
    for (int i = 0; i < MESSAGES; i++)
        assert_true(rig_publish_large(&r, "t", '2', BYTES).offset > 0);
    for (int i = 0; i < 100 && (c.session->catching > 0 || c.session->blocked); i++)
        read_all(&r, &c);
    assert_int_equal(c.session->catching, 0);
    expect(&r, &c, "t", MESSAGES, "history_gone", "\"what\":\"history_gone\"");
    expect(&r, &c, "t", 2 * (uint64_t)MESSAGES, "delivered", NULL);
    client_drop(&r, &watches);
    client_drop(&r, &c);
    rig_close(&r);
}

/* --- what is forgotten ------------------------------------------------------------------------ */

/* Seen to fail with a place_by_offset that takes a forgotten begin for one before all. */
static void what_the_facts_do_not_tell_any_more_is_said_to_be_forgotten(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client other;
    struct client never;
    rig_open(&r, 1, rig_limits());
    struct facts *facts = &r.shop.workers[0].facts;
    client_open2(&r, 0, &c, 0);
    client_open2(&r, 0, &other, 0);
    client_open2(&r, 0, &never, 0);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    expect(&r, &c, "t", 1, "delivered", NULL);
    for (uint64_t i = 0; i < FACTS_KEPT; i++)
        facts_add(facts, (struct fact){.client = i, .hash = 1, .kind = FACT_SUBSCRIBED});
    expect(&r, &c, "t", 1, "forgotten", "as far back as is remembered");
    expect(&r, &never, "t", 1, "forgotten", NULL);
    /* Another's fact tells that later ones came after all that is forgotten. */
    client_subscribe(&r, &other, "t");
    rig_publish_text(&r, "t", "2");
    rig_settle(&r);
    expect(&r, &c, "t", 1, "forgotten", NULL);
    expect(&r, &c, "t", 2, "delivered", NULL);
    expect(&r, &never, "t", 2, "not_subscribed", NULL);
    client_drop(&r, &c);
    client_drop(&r, &other);
    client_drop(&r, &never);
    rig_close(&r);
}

/* Seen to fail without losses_known. */
static void losses_that_may_be_forgotten_are_not_denied(void **state)
{
    (void)state;
    struct rig r;
    struct client lenient;
    struct client strict;
    rig_open(&r, 1, rig_limits());
    struct facts *facts = &r.shop.workers[0].facts;
    client_open2(&r, 0, &lenient, 0);
    client_open2(&r, 0, &strict, 0);
    client_subscribe_with(&r, &lenient, "topic", "t", ",\"policy\":\"drop_oldest\"");
    client_subscribe(&r, &strict, "t");
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    expect(&r, &lenient, "t", 1, "delivered", NULL);
    for (uint64_t i = 0; i <= FACTS_KEPT; i++)
        facts_add(facts, (struct fact){.client = i,
                             .hash = 1,
                             .count = 1,
                             .kind = FACT_DROPPED,
                             .ms = uv_now(&r.shop.workers[0].loop) + 1});
    expect(&r, &lenient, "t", 1, "forgotten", "dropped later");
    expect(&r, &strict, "t", 1, "delivered", NULL);
    client_drop(&r, &lenient);
    client_drop(&r, &strict);
    rig_close(&r);
}

/* --- times ------------------------------------------------------------------------------------ */

/* Seen to fail without the SLACK_MS, and without the time at all. */
static void the_time_of_publication_tells_what_came_behind_a_fact(void **state)
{
    (void)state;
    struct facts facts;
    struct reason reasons[] = {{.name = TEXT("a:b"), .hash = 1},
        {.name = TEXT("a:*"), .hash = 2, .is_pattern = true, .now = true}};
    struct verdict_case c = {.client = 7,
        .offset = 5,
        .known = true,
        .open = true,
        .epoch = 3,
        .newest = 9,
        .by_pattern = true,
        .reasons = reasons,
        .reason_count = 2,
        .facts = &facts};
    assert_true(facts_init(&facts));
    facts_add(&facts,
        (struct fact){
            .client = 7, .hash = 2, .is_pattern = true, .ms = 1000, .kind = FACT_SUBSCRIBED});
    assert_int_equal(verdict_find(&c).kind, VERDICT_FORGOTTEN);
    c.published_ms = 1500;
    assert_int_equal(verdict_find(&c).kind, VERDICT_DELIVERED);
    c.published_ms = 1040;
    assert_int_equal(verdict_find(&c).kind, VERDICT_FORGOTTEN);
    facts_fini(&facts);
}

/* Seen to fail with losses of earlier subscriptions counted. */
static void what_was_lost_before_is_given_by_a_replay(void **state)
{
    (void)state;
    struct facts facts;
    struct reason reason = {.name = TEXT("t"), .hash = 1, .now = true};
    struct verdict_case c = {.client = 7,
        .offset = 5,
        .known = true,
        .open = true,
        .epoch = 3,
        .newest = 9,
        .reasons = &reason,
        .reason_count = 1,
        .facts = &facts};
    assert_true(facts_init(&facts));
    facts_add(&facts,
        (struct fact){
            .client = 7, .hash = 1, .epoch = 3, .offset = 1, .ms = 10, .kind = FACT_SUBSCRIBED});
    facts_add(&facts,
        (struct fact){
            .client = 7, .hash = 1, .offset = 4, .count = 3, .ms = 20, .kind = FACT_DROPPED});
    assert_int_equal(verdict_find(&c).kind, VERDICT_DROPPED);
    facts_add(
        &facts, (struct fact){
                    .client = 7, .hash = 1, .epoch = 3, .offset = 9, .ms = 30, .kind = FACT_LEFT});
    assert_int_equal(verdict_find(&c).kind, VERDICT_DROPPED);
    facts_add(&facts, (struct fact){.client = 7,
                          .hash = 1,
                          .epoch = 3,
                          .offset = 4,
                          .count = 6,
                          .ms = 40,
                          .kind = FACT_SUBSCRIBED});
    assert_int_equal(verdict_find(&c).kind, VERDICT_DELIVERED);
    facts_fini(&facts);
}

/* Seen to fail with a `next` that is not moved on. */
static void a_history_knows_when_what_it_keeps_was_published(void **state) NO_THREAD_SAFETY_ANALYSIS
{
    (void)state;
    enum { KEPT = 40, PUBLISHED = 100 };
    struct history_budget budget = {0};
    struct history h;
    history_init(&h, (struct history_limits){.messages = KEPT}, &budget, 1);
    for (uint64_t offset = 1; offset <= PUBLISHED; offset++) {
        size_t len = offset % 7 == 0 ? 200 * 1000 : 100; /* large ones are held, not copied */
        uint8_t head[WS_HEAD_MAX];
        size_t head_len = ws_head(head, WS_TEXT, len);
        struct message *m = message_new(head_len + len);
        assert_non_null(m);
        memset(m->frames, 'x', m->len);
        memcpy(m->frames, head, head_len);
        m->offset = offset;
        assert_true(history_add(&h, m, 1000 * offset));
        message_drop(m);
        uint64_t oldest = offset > KEPT ? offset - KEPT + 1 : 1;
        for (uint64_t each = 1; each <= offset + 1; each++)
            assert_int_equal(
                history_when_us(&h, each), each < oldest || each > offset ? 0 : 1000 * each);
    }
    history_fini(&h);
}

/* Nanoseconds of this thread, of the quickest of several times: whatever else the machine does only
 * makes the others longer. */
static uint64_t cost_of(const struct verdict_case *c)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 15; i++) {
        struct timespec from, to;
        struct buf out = {0};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        struct verdict v = verdict_find(c);
        verdict_write(&out, c, &v);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        assert_int_equal(v.kind, VERDICT_NOT_SUBSCRIBED);
        buf_fini(&out);
        uint64_t ns =
            (uint64_t)((to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec);
        least = ns < least ? ns : least;
    }
    return least;
}

/* 200 times the reasons take at most 16 times as long: the facts are gone through once for all of
 * them. Seen to fail with a verdict_reason that goes through all reasons, and with a pass over the
 * facts for each. */
static void many_reasons_and_facts_take_one_pass(void **state)
{
    (void)state;
    enum { FEW = 3, LOTS = 200 * FEW, GROWTH_MOST = 16 };
    struct facts facts;
    static struct reason reasons[LOTS];
    struct verdict_case c = {.client = 7,
        .offset = 5,
        .known = true,
        .epoch = 3,
        .newest = 9,
        .reasons = reasons,
        .by_pattern = true,
        .facts = &facts};
    for (unsigned i = 0; i < LOTS; i++) { /* in order, and spread as hashes are */
        uint64_t hash = (uint64_t)(i + 1) << 32 | i * 7919 % 1024;
        reasons[i] = (struct reason){.name = TEXT("t"), .hash = hash, .is_pattern = i > 0};
    }
    assert_true(facts_init(&facts));
    for (unsigned i = 0; i < FACTS_KEPT; i++) {
        facts_add(&facts,
            (struct fact){.client = 7, .hash = i % 9, .is_pattern = true, .kind = FACT_SUBSCRIBED});
        facts_add(&facts,
            (struct fact){.client = 7, .hash = i % 9, .is_pattern = true, .kind = FACT_REFUSED});
    }
    c.reason_count = FEW;
    uint64_t few = cost_of(&c);
    c.reason_count = LOTS;
    uint64_t many = cost_of(&c);
    if (many > GROWTH_MOST * few)
        fail_msg("%" PRIu64 " ns for %d, and %" PRIu64 " for %d", many, LOTS, few, FEW);
    facts_fini(&facts);
}

/* --- all together ----------------------------------------------------------------------------- */

enum { CLIENTS = 4, TOPICS = 3, MESSAGES_MOST = 400 };

struct world {
    struct rig r;
    struct client c[CLIENTS];
    bool got[CLIENTS][TOPICS][MESSAGES_MOST];
    uint64_t newest[TOPICS];
};

static void take_frames(struct world *w, unsigned client)
{
    const char *payload;
    size_t len;
    while (client_next(&w->r, &w->c[client], &payload, &len) == PEER_TEXT) {
        char frame[256];
        assert_true(len < sizeof frame);
        memcpy(frame, payload, len);
        frame[len] = '\0';
        unsigned topic;
        const char *offset = strstr(frame, "\"offset\":");
        if (sscanf(frame, "{\"type\":\"message\",\"topic\":\"t:%u\"", &topic) == 1 && offset)
            w->got[client][topic][strtoull(offset + 9, NULL, 10)] = true;
    }
}

static void change(struct world *w, struct random *random)
{
    unsigned client = (unsigned)random_below(random, CLIENTS);
    char name[16];
    snprintf(name, sizeof name, "t:%u", (unsigned)random_below(random, TOPICS));
    bool pattern = random_below(random, 6) == 0;
    const char *key = pattern ? "pattern" : "topic";
    const char *type = random_below(random, 2) ? "subscribe" : "unsubscribe";
    const char *more = !pattern && random_below(random, 4) == 0 ? ",\"replay\":2" : "";
    assert_true(peer_sendf(&w->c[client].peer, "{\"type\":\"%s\",\"%s\":\"%s\"%s}", type, key,
        pattern ? "t:*" : name, more));
}

/* No verdict is wrong, and few are open. Seen to fail with bounds that take `reached` for one more
 * or one less. */
static void verdicts_agree_with_what_clients_got(void **state)
{
    (void)state;
    static struct world w;
    struct random random = {.state = 7};
    struct rule rule = rig_keeps("t:*", 5);
    unsigned asked = 0, open = 0;
    rig_open(&w.r, 1, rig_limits());
    rig_use_rules(&w.r, &rule, 1);
    rig_settle(&w.r);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_open2(&w.r, 0, &w.c[i], 0);
    for (unsigned i = 0; i < TOPICS; i++) {
        char name[16];
        snprintf(name, sizeof name, "t:%u", i);
        w.newest[i] = rig_publish_text(&w.r, name, "0").offset; /* it stays, by its history */
    }
    for (int step = 0; step < 700; step++) {
        unsigned topic = (unsigned)random_below(&random, TOPICS);
        char name[16];
        snprintf(name, sizeof name, "t:%u", topic);
        if (random_below(&random, 3) == 0)
            change(&w, &random);
        else
            w.newest[topic] = rig_publish_text(&w.r, name, "1").offset;
        if (random_below(&random, 2))
            rig_settle(&w.r);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        take_frames(&w, i);
    for (unsigned i = 0; i < CLIENTS; i++)
        for (unsigned k = 0; k < TOPICS; k++)
            for (uint64_t offset = 1; offset <= w.newest[k]; offset++) {
                char name[16];
                snprintf(name, sizeof name, "t:%u", k);
                struct buf text = explain(&w.r, w.c[i].session->client, name, offset);
                bool forgotten = strstr(text.data, "\"verdict\":\"forgotten\"") != NULL;
                bool delivered = strstr(text.data, "\"verdict\":\"delivered\"") != NULL;
                if (!forgotten && delivered != w.got[i][k][offset])
                    fail_msg("client %u, %s, offset %u: %s: %s", i, name, (unsigned)offset,
                        delivered ? "it did not get it" : "it got it", text.data);
                open += forgotten;
                asked++;
                buf_fini(&text);
            }
    assert_true(asked > 1000);
    assert_true(open < asked / 4);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_drop(&w.r, &w.c[i]);
    rig_close(&w.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_a_client_was_subscribed_decides),
        cmocka_unit_test(offsets_of_an_earlier_epoch_are_others),
        cmocka_unit_test(facts_of_an_earlier_epoch_tell_nothing_of_this_one),
        cmocka_unit_test(a_message_in_the_mail_is_on_its_way),
        cmocka_unit_test(who_was_refused_is_told_so),
        cmocka_unit_test(what_a_client_published_and_did_not_want_is_its_own),
        cmocka_unit_test(by_pattern_it_is_known_where_facts_of_the_topic_lie_around_it),
        cmocka_unit_test(a_pattern_that_nobody_has_any_more_may_have_matched),
        cmocka_unit_test(many_reasons_and_facts_take_one_pass),
        cmocka_unit_test(what_is_in_the_queue_is_found_there),
        cmocka_unit_test(what_was_read_is_not_said_to_be_queued_however_long_the_queue_is),
        cmocka_unit_test(a_long_queue_is_looked_at_in_turns_and_the_client_may_go_meanwhile),
        cmocka_unit_test(what_was_given_again_is_found_behind_newer_ones),
        cmocka_unit_test(what_a_policy_dropped_is_told_with_the_policy),
        cmocka_unit_test(who_was_cut_off_is_told_why_and_that_messages_were_thrown_away),
        cmocka_unit_test(who_catches_up_gets_it_later),
        cmocka_unit_test(what_the_facts_do_not_tell_any_more_is_said_to_be_forgotten),
        cmocka_unit_test(losses_that_may_be_forgotten_are_not_denied),
        cmocka_unit_test(the_time_of_publication_tells_what_came_behind_a_fact),
        cmocka_unit_test(what_was_lost_before_is_given_by_a_replay),
        cmocka_unit_test(a_history_knows_when_what_it_keeps_was_published),
        cmocka_unit_test(verdicts_agree_with_what_clients_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
