/* The wheel on a loop of libuv's. */
#include "loop/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { DEADLINES = 20 };

struct scene {
    uv_loop_t loop;
    struct wheel wheel;
    struct deadline deadlines[DEADLINES];
    uint64_t due[DEADLINES];
    uint32_t last;
    unsigned met;
};

static void note(struct deadline *d, void *user)
{
    struct scene *s = user;
    size_t i = (size_t)(d - s->deadlines);
    assert_true(uv_now(&s->loop) >= s->due[i]);
    assert_true(d->due >= s->last); /* no later tick was met before */
    s->last = d->due;
    s->met++;
    if (i == 3) {
        wheel_unset(&s->wheel, &s->deadlines[4]);
        wheel_unset(&s->wheel, &s->deadlines[DEADLINES - 1]);
    }
    if (i == 5 && s->met < DEADLINES) {
        s->due[i] = uv_now(&s->loop) + 70;
        wheel_set(&s->wheel, d, 70);
    }
}

static void the_loop_ends_by_itself_when_all_are_met(void **state)
{
    (void)state;
    static struct scene s;
    memset(&s, 0, sizeof s);
    assert_int_equal(uv_loop_init(&s.loop), 0);
    assert_int_equal(wheel_open(&s.wheel, &s.loop, note, &s), 0);
    assert_false(uv_loop_alive(&s.loop));
    for (size_t i = 0; i < DEADLINES; i++) {
        uint64_t ms = (i * 7 % DEADLINES) * 20;
        deadline_init(&s.deadlines[i]);
        s.due[i] = uv_now(&s.loop) + ms;
        wheel_set(&s.wheel, &s.deadlines[i], ms);
    }
    /* Number 3 comes at 20 ms, 4 at 160, the last at 260. */
    assert_int_equal(uv_run(&s.loop, UV_RUN_DEFAULT), 0);
    assert_in_range(s.met, DEADLINES - 2, DEADLINES + 2);
    assert_int_equal(s.wheel.count, 0);
    wheel_close(&s.wheel, NULL);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loop_ends_by_itself_when_all_are_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
