/* Large replays, which come in pieces, beside what else happens on the worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/catch_up.h"
#include "support/worker_harness.h"

/* PIECE, in catch_up.c, is less than all there is. */
enum { COUNT = 800, SIZE = 1000 };

static void open_full(struct rig *r, struct client *c)
{
    struct rule rule = rig_keeps("kept", 10 * COUNT);
    struct session_limits limits = rig_limits();
    limits.backlog_bytes = 16 * LOG_CHUNK;
    rig_open(r, 2, limits);
    rig_use_rules(r, &rule, 1);
    rig_settle(r);
    client_open2(r, 0, c, 0);
    for (int i = 0; i < COUNT; i++)
        rig_publish_large(r, "kept", '1', SIZE);
}

static void begin(struct client *c, const char *more)
{
    char text[128];
    snprintf(
        text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"kept\",\"replay\":100000%s}", more);
    feed_text(c->session, text);
    assert_int_equal(c->session->catching, 1);
}

/* The next message of the topic has that offset. */
static void expect_offset(struct rig *r, struct client *c, int n)
{
    const char *payload;
    size_t len;
    char offset[32];
    assert_int_equal(client_next(r, c, &payload, &len), PEER_TEXT);
    assert_true(peer_is(payload, len, "{\"type\":\"message\",\"topic\":\"kept\""));
    snprintf(offset, sizeof offset, ",\"offset\":%d}", n);
    assert_memory_equal(payload + len - strlen(offset), offset, strlen(offset));
}

static void expect_offsets(struct rig *r, struct client *c, int first, int last)
{
    for (int n = first; n <= last; n++)
        expect_offset(r, c, n);
}

/* Seen to fail without catch_up_needs in leave(), and without it in session_join. */
static void the_last_other_subscriber_may_leave_meanwhile(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct rig r;
        struct client c, other;
        open_full(&r, &c);
        client_open2(&r, 0, &other, 0);
        client_subscribe(&r, &other, "kept");
        begin(&c, "");
        rig_turn(&r);
        if (how == 0)
            assert_int_equal(client_leave(&other, "kept"), LEAVE_OK);
        else if (how == 1)
            session_end(other.session, CLOSE_LOST, true);
        assert_int_equal(c.session->catching, 1);
        rig_publish_large(&r, "kept", '2', SIZE);
        client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
        expect_offsets(&r, &c, 1, COUNT + 1);
        assert_int_equal(c.session->catching, 0);
        assert_int_equal(rig_publish_text(&r, "kept", "3").subscribers, how == 2 ? 2 : 1);
        expect_offsets(&r, &c, COUNT + 2, COUNT + 2);
        client_expect_nothing(&r, &c);
        client_drop(&r, &c);
        client_drop(&r, &other);
        assert_int_equal(rig_publish_text(&r, "kept", "4").subscribers, 0);
        rig_close(&r);
    }
}

/* Who gets something else in every turn is brought on all the same. Seen to fail with pieces for
 * those alone who have nothing left to be sent. */
static void a_busy_session_catches_up_too(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    const char *payload;
    size_t len;
    open_full(&r, &c);
    client_subscribe(&r, &c, "busy");
    begin(&c, "");
    int turns = 0;
    for (; c.session->catching > 0 && turns < 1000; turns++) {
        rig_publish_text(&r, "busy", "1");
        rig_turn(&r);
        while (peer_try(&c.peer, &payload, &len) == PEER_TEXT)
            ;
    }
    assert_in_range(turns, 2, 100);
    client_drop(&r, &c);
    rig_close(&r);
}

/* As another thread may do it. Seen to fail (one comes twice) when the mail that is taken with the
 * last piece is not delivered before the session joins, and when it is not taken. */
static void what_is_published_just_before_the_last_piece_comes_once(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    int published = COUNT, got = 0;
    const char *payload;
    size_t len;
    open_full(&r, &c);
    struct worker *w = &r.shop.workers[0];
    begin(&c, "");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    while (c.session->catching > 0 && published < 2 * COUNT) {
        rig_publish_large(&r, "kept", '2', SIZE);
        published++;
        worker_catch_up(w);
        /* No turn, in which the mail would be taken before. */
        while (!outbox_empty(&c.session->out)) {
            worker_untouch(w, c.session);
            session_flush(c.session);
            while (peer_try(&c.peer, &payload, &len) == PEER_TEXT)
                got++;
        }
    }
    assert_int_equal(c.session->catching, 0);
    expect_offsets(&r, &c, got + 1, published);
    client_expect_nothing(&r, &c);
    client_drop(&r, &c);
    rig_close(&r);
}

/* It has begun, and is as good as subscribed: once, and to be left. */
static void it_may_be_left_before_it_is_over(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    const char *payload;
    size_t len;
    open_full(&r, &c);
    begin(&c, "");
    assert_int_equal(rig_publish_text(&r, "kept", "2").subscribers, 1);
    assert_int_equal(client_join(&c, "kept"), JOIN_UNDER_WAY);
    assert_int_equal(client_leave(&c, "kept"), LEAVE_OK);
    assert_int_equal(client_leave(&c, "kept"), LEAVE_NOT_SUBSCRIBED);
    assert_int_equal(c.session->catching, 0);
    assert_int_equal(rig_publish_text(&r, "kept", "3").subscribers, 0);
    while (client_next(&r, &c, &payload, &len) == PEER_TEXT)
        ;
    assert_int_equal(client_join(&c, "kept"), JOIN_OK);
    rig_publish_text(&r, "kept", "4");
    expect_offset(&r, &c, COUNT + 3);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Two at once, of one session and of two; one ends amid it. */
static void many_catch_up_each_for_itself(void **state)
{
    (void)state;
    struct rig r;
    struct client c[3];
    open_full(&r, &c[0]);
    for (int i = 1; i < 3; i++)
        client_open2(&r, 0, &c[i], 0);
    for (int i = 0; i < 3; i++)
        begin(&c[i], "");
    rig_turn(&r);
    assert_int_equal(r.shop.workers[0].catching_count, 3);
    session_end(c[1].session, CLOSE_LOST, true);
    assert_int_equal(r.shop.workers[0].catching_count, 2);
    for (int i = 0; i < 3; i += 2) {
        client_expect(&r, &c[i], "{\"type\":\"ack_subscribe\"");
        expect_offsets(&r, &c[i], 1, COUNT);
        client_expect_nothing(&r, &c[i]);
    }
    assert_int_equal(r.shop.workers[0].catching_count, 0);
    assert_int_equal(rig_publish_text(&r, "kept", "2").subscribers, 2);
    for (int i = 0; i < 3; i += 2)
        expect_offset(&r, &c[i], COUNT + 1);
    for (int i = 0; i < 3; i++)
        client_drop(&r, &c[i]);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_other_subscriber_may_leave_meanwhile),
        cmocka_unit_test(a_busy_session_catches_up_too),
        cmocka_unit_test(what_is_published_just_before_the_last_piece_comes_once),
        cmocka_unit_test(it_may_be_left_before_it_is_over),
        cmocka_unit_test(many_catch_up_each_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
