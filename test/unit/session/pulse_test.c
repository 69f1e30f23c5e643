#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "base/clock.h"
#include "broker/message.h"
#include "session/pulse.h"

static uint64_t count(const struct pulse *p, enum histogram_name which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
        sum += atomic_load(&p->histograms[which].counts[i]);
    return sum;
}

struct beating {
    uv_loop_t loop;
    struct pulse pulse;
};

static void start(struct beating *b, bool wanted)
{
    *b = (struct beating){0};
    assert_int_equal(uv_loop_init(&b->loop), 0);
    pulse_open(&b->pulse, &b->loop, wanted);
}

static void end(struct beating *b)
{
    pulse_close(&b->pulse);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

/* Waits for the timer, which nobody reads meanwhile, and hears it. */
static void hear(struct beating *b)
{
    struct pollfd timer = {.fd = b->pulse.fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&timer, 1, 60000);
    while (ready < 0 && errno == EINTR);
    assert_int_equal(ready, 1);
    uv_run(&b->loop, UV_RUN_NOWAIT);
}

static void a_worker_that_works_is_heard_and_one_that_rests_is_left_to(void **state)
{
    struct beating b;
    (void)state;
    start(&b, true);
    assert_true(b.pulse.resting);
    pulse_turn(&b.pulse);
    assert_false(b.pulse.resting);
    for (uint64_t i = 1; i <= 3; i++) {
        pulse_turn(&b.pulse);
        pulse_turn(&b.pulse);
        hear(&b);
        assert_true(count(&b.pulse, HISTOGRAM_loop_lag_seconds) >= i);
        assert_false(b.pulse.resting);
    }
    pulse_turn(&b.pulse); /* the one that the beat itself woke it for, and no other */
    hear(&b);
    assert_true(b.pulse.resting);
    assert_int_equal(atomic_load(&b.pulse.lag_ns), 0);
    pulse_turn(&b.pulse); /* for the beat's sake again: it rests */
    assert_true(b.pulse.resting);
    pulse_turn(&b.pulse); /* for the sake of something else */
    assert_false(b.pulse.resting);
    end(&b);
}

static void a_stall_counts_for_as_long_as_it_lasts(void **state)
{
    struct beating b;
    (void)state;
    start(&b, true);
    pulse_turn(&b.pulse);
    pulse_turn(&b.pulse);
    b.pulse.due_ns -= UINT64_C(1000000000); /* as if the timer had been due a second ago already */
    hear(&b);
    assert_true(count(&b.pulse, HISTOGRAM_loop_lag_seconds) >= 1);
    assert_true(atomic_load(&b.pulse.lag_ns) >= UINT64_C(1000000000));
    assert_true(atomic_load(&b.pulse.histograms[HISTOGRAM_loop_lag_seconds].sum_ns) >=
                UINT64_C(1000000000));
    end(&b);
}

static void one_message_in_a_while_is_stamped(void **state)
{
    struct beating b;
    (void)state;
    start(&b, true);
    struct message m = {.references = 1};
    uv_update_time(&b.loop);
    pulse_publish(&b.pulse, &m, &b.loop);
    assert_int_not_equal(m.stamp, 0);
    m.stamp = 0;
    pulse_publish(&b.pulse, &m, &b.loop); /* the loop's time is the same */
    assert_int_equal(m.stamp, 0);
    b.pulse.stamp_ms = uv_now(&b.loop);
    pulse_publish(&b.pulse, &m, &b.loop);
    assert_int_not_equal(m.stamp, 0);
    end(&b);
}

static void a_sample_ends_when_all_that_it_touched_is_flushed(void **state)
{
    struct beating b;
    (void)state;
    start(&b, true);
    struct message m = {.references = 1};
    uv_update_time(&b.loop);
    pulse_publish(&b.pulse, &m, &b.loop);
    pulse_deliver(&b.pulse, m.stamp, 10);
    pulse_flush(&b.pulse, 9);
    assert_int_equal(count(&b.pulse, HISTOGRAM_publish_to_write_seconds), 0);
    pulse_shift(&b.pulse, 6);
    pulse_flush(&b.pulse, 3);
    assert_int_equal(count(&b.pulse, HISTOGRAM_publish_to_write_seconds), 0);
    pulse_deliver(&b.pulse, m.stamp, 100); /* one at a time */
    pulse_flush(&b.pulse, 4);
    assert_int_equal(count(&b.pulse, HISTOGRAM_publish_to_write_seconds), 1);
    assert_true(atomic_load(&b.pulse.histograms[HISTOGRAM_publish_to_write_seconds].sum_ns) <
                UINT64_C(60000000000)); /* and not all of an hour */
    pulse_flush(&b.pulse, 200);
    assert_int_equal(count(&b.pulse, HISTOGRAM_publish_to_write_seconds), 1);
    end(&b);
}

static void where_nobody_asks_nothing_is_taken(void **state)
{
    struct beating b;
    (void)state;
    start(&b, false);
    struct message m = {.references = 1};
    for (int i = 0; i < 5; i++)
        pulse_turn(&b.pulse);
    assert_false(b.pulse.resting);
    pulse_publish(&b.pulse, &m, &b.loop);
    assert_int_equal(m.stamp, 0);
    pulse_deliver(&b.pulse, 5, 0); /* of another worker's */
    pulse_flush(&b.pulse, 1);
    assert_int_equal(count(&b.pulse, HISTOGRAM_publish_to_write_seconds), 0);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_works_is_heard_and_one_that_rests_is_left_to),
        cmocka_unit_test(a_stall_counts_for_as_long_as_it_lasts),
        cmocka_unit_test(one_message_in_a_while_is_stamped),
        cmocka_unit_test(a_sample_ends_when_all_that_it_touched_is_flushed),
        cmocka_unit_test(where_nobody_asks_nothing_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
