#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "support/failing_alloc.h"
#include "support/worker_harness.h"

/* Seen to fail with `s->blocked` alone in touch_reserved (it is never cut), and without
 * `s->unremembered = true` in deliver_messages (a message is missing in silence). */
static void who_could_not_be_remembered_a_message_is_cut_off(void **state)
{
    (void)state;
    struct rig r;
    struct client slow;
    struct client other;
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    client_open(&r, 0, &slow, SMALL_BUFFER);
    client_open(&r, 0, &other, 0);
    client_subscribe(&r, &slow, "a");
    client_subscribe(&r, &other, "b");
    block(slow.session, '0', 20000);
    rig_publish_text(&r, "b", "1");
    rig_publish_text(&r, "a", "2"); /* does not lie beside what is unsent: a second span */
    mailbox_take(&w->box, &w->tray);
    alloc_fail(1);
    worker_deliver(w);
    assert_true(alloc_failed());
    assert_true(slow.session->unremembered);
    rig_turn(&r); /* though its socket takes nothing */
    assert_int_equal(slow.session->state, SESSION_CLOSING);
    client_expect(&r, &other, "1");
    client_expect(&r, &slow, "0");
    client_expect_close(&r, &slow, 1011);
    assert_int_equal(rig_metric(&r, METRIC_closed_no_memory_total), 1);
    client_drop(&r, &slow);
    client_drop(&r, &other);
    rig_close(&r);
}

/* Seen to fail without the route_unsubscribe in session_join. */
static void a_join_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    unsigned n = 1;
    enum join_result result;
    for (;; n++) {
        alloc_fail(n);
        result = client_join(&c, "t");
        if (!alloc_failed())
            break;
        assert_int_equal(result, JOIN_NO_MEMORY);
        assert_int_equal(c.session->subscriber.count, 0);
        assert_int_equal(rig_publish_text(&r, "t", "1").offset, 0);
        assert_int_equal(rig_metric(&r, METRIC_subscriptions), 0);
    }
    assert_int_equal(result, JOIN_OK);
    assert_true(n > 2);
    rig_publish_text(&r, "t", "2");
    client_expect(&r, &c, "2");
    client_drop(&r, &c);
    rig_close(&r);
}

#define LONG                                                                                       \
    "\"0123456789............................................................................\""

/* Seen to fail with one error for all that was gathered. */
static void each_publish_without_memory_is_answered(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    rig_settle(&r);
    unsigned n = 1;
    unsigned rounds = 0;
    for (bool failed = true; failed; n++) {
        struct buf b = {0};
        int published = 0, refused = 0;
        const char *payload;
        size_t len;
        for (int i = 0; i < 4; i++)
            add_text(&b, "{\"topic\":\"t\",\"data\":" LONG "}");
        alloc_fail(n);
        session_receive(c.session, b.data, b.len);
        failed = alloc_failed();
        buf_fini(&b);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(client_next(&r, &c, &payload, &len), PEER_TEXT);
            published += peer_is(payload, len, "\"0123456789");
            refused += peer_is(
                payload, len, "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_NOT_PUBLISHED);
        }
        assert_int_equal(published + refused, 4);
        assert_true(failed || refused == 0);
        rounds += refused > 0;
        client_expect_nothing(&r, &c);
        if (failed) { /* as on a worker that has published nothing yet */
            buf_fini(&r.shop.workers[0].gathered.topic);
            r.shop.workers[0].gathered.usual = 0;
        }
    }
    assert_int_equal(rounds, 3); /* the topic, the message, more room; giving room back may fail */
    client_drop(&r, &c);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_could_not_be_remembered_a_message_is_cut_off),
        cmocka_unit_test(a_join_without_memory_changes_nothing),
        cmocka_unit_test(each_publish_without_memory_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
