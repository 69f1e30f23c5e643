/* Answers that nobody waits for are left in the socket until the loop is awake anyway; but not for
 * long, and nothing else is late for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/redis_link_state.h"
#include "unit/cluster/fake_redis.h"

static void opened(struct scene *s)
{
    scene_open(s);
    scene_link(s);
    scene_until(s, "up\n");
    buf_clear(&s->fake.heard);
}

/* Writes "ECHO a" and "ECHO b" with no time between them. */
static void leave_two(struct scene *s)
{
    s->unhurried = true;
    assert_true(scene_send(s, "ECHO a", "a"));
    redis_link_flush(s->link);
    assert_true(scene_send(s, "ECHO b", "b"));
    redis_link_flush(s->link);
    s->unhurried = false;
}

static void stay_away(struct scene *s)
{
    assert_true(s->link->leaves);
    uv_timer_stop(&s->link->late);
    scene_until_heard(s, "ECHO b\n");
    scene_turns(s, 20);
    assert_int_equal(s->log.len, 0);
}

static void they_are_there_when_somebody_looks(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    leave_two(&s);
    stay_away(&s);
    s.settled = 0;
    redis_link_look(s.link);
    assert_int_equal(s.settled, 1);
    scene_until(&s, "a: a\nb: b\n");
    scene_close(&s);
}

static void through_tls_as_well(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_tls(&s, FAKE_GOOD);
    scene_link(&s);
    scene_until(&s, "up\n");
    buf_clear(&s.fake.heard);
    leave_two(&s);
    stay_away(&s);
    redis_link_look(s.link);
    scene_until(&s, "a: a\nb: b\n");
    scene_close(&s);
}

static void they_are_read_soon_when_nobody_looks(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    leave_two(&s);
    assert_true(uv_is_active((uv_handle_t *)&s.link->late));
    scene_until(&s, "a: a\nb: b\n");
    while (s.link->leaves)
        uv_run(&s.loop, UV_RUN_ONCE);
    scene_close(&s);
}

static void one_that_somebody_waits_for_brings_those_before_it(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    leave_two(&s);
    stay_away(&s);
    assert_true(scene_send(&s, "ECHO c", "c"));
    redis_link_flush(s.link);
    assert_false(s.link->leaves);
    scene_until(&s, "a: a\nb: b\nc: c\n");
    scene_close(&s);
}

static void they_are_not_left_behind_one_that_somebody_waits_for(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    assert_true(scene_send(&s, "ECHO first", "first"));
    leave_two(&s);
    assert_false(s.link->leaves);
    scene_until(&s, "first: first\na: a\nb: b\n");
    scene_close(&s);
}

static void a_single_one_is_not_left(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    s.link->wrote_at = 0;
    s.unhurried = true;
    assert_true(scene_send(&s, "ECHO a", "a"));
    redis_link_flush(s.link);
    assert_false(s.link->leaves);
    scene_until(&s, "a: a\n");
    scene_close(&s);
}

static void many_are_not_left(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    leave_two(&s);
    assert_true(s.link->leaves);
    s.unhurried = true;
    for (int i = 0; i < 300; i++)
        assert_true(scene_send(&s, "ECHO x", "x"));
    redis_link_flush(s.link);
    assert_false(s.link->leaves);
    for (int i = 0; i < 300; i++)
        scene_until(&s, "x: x\n");
    scene_close(&s);
}

static void an_end_is_seen_all_the_same(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    s.fake.mute = true;
    leave_two(&s);
    assert_true(s.link->leaves);
    scene_until_heard(&s, "ECHO b\n");
    fake_hang_up(&s);
    s.fake.mute = false;
    scene_until(&s, "a: lost\nb: lost\ndown: the server ended the connection\n");
    scene_until(&s, "up\n");
    assert_false(s.link->leaves);
    assert_true(scene_send(&s, "ECHO next", "next"));
    scene_until(&s, "next: next\n");
    scene_close(&s);
}

static void an_end_that_is_seen_by_looking(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    s.fake.mute = true;
    leave_two(&s);
    stay_away(&s);
    fake_hang_up(&s);
    scene_turns(&s, 20);
    assert_int_equal(s.downs, 0);
    redis_link_look(s.link);
    assert_int_equal(s.downs, 0); /* told in the loop's next turn */
    s.fake.mute = false;
    scene_until(&s, "a: lost\nb: lost\ndown: the server ended the connection\n");
    scene_close(&s);
}

static void a_link_is_closed_while_answers_are_left(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    leave_two(&s);
    scene_drop_link(&s);
    scene_until(&s, "a: lost\nb: lost\n");
    scene_close(&s);
}

static void a_link_that_is_paused_stays_so(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    leave_two(&s);
    redis_link_pause(s.link, true);
    redis_link_pause(s.link, false);
    assert_true(s.link->leaves);
    scene_until(&s, "a: a\nb: b\n");
    scene_close(&s);
}

/* Nothing is left to be written: the poll may sleep. */
static void a_flush_leaves_nothing_to_be_done_in_the_next_turn(void **state)
{
    struct scene s;
    (void)state;
    opened(&s);
    assert_true(scene_send(&s, "ECHO a", "a"));
    assert_true(uv_is_active((uv_handle_t *)&s.link->turn));
    redis_link_flush(s.link);
    assert_false(uv_is_active((uv_handle_t *)&s.link->turn));
    scene_until(&s, "a: a\n");
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_there_when_somebody_looks),
        cmocka_unit_test(through_tls_as_well),
        cmocka_unit_test(they_are_read_soon_when_nobody_looks),
        cmocka_unit_test(one_that_somebody_waits_for_brings_those_before_it),
        cmocka_unit_test(they_are_not_left_behind_one_that_somebody_waits_for),
        cmocka_unit_test(a_single_one_is_not_left),
        cmocka_unit_test(many_are_not_left),
        cmocka_unit_test(an_end_is_seen_all_the_same),
        cmocka_unit_test(an_end_that_is_seen_by_looking),
        cmocka_unit_test(a_link_is_closed_while_answers_are_left),
        cmocka_unit_test(a_link_that_is_paused_stays_so),
        cmocka_unit_test(a_flush_leaves_nothing_to_be_done_in_the_next_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
