#include "session/marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/random.h"

static struct mark mark_at(uint64_t start, uint64_t len)
{
    return (struct mark){.start = start, .last = start, .end = start + len, .count = 1};
}

static void the_first_mark_behind_a_position_is_found(void **state)
{
    (void)state;
    struct marks m = {0};
    assert_null(marks_from(&m, 0));
    assert_int_equal(marks_behind(&m, 0), 0);
    marks_add(&m, mark_at(100, 10));
    marks_add(&m, mark_at(110, 10)); /* side by side */
    marks_add(&m, mark_at(200, 10));
    static const struct {
        uint64_t position;
        uint64_t start; /* 0: none */
        size_t behind;
    } rows[] = {{0, 100, 3}, {100, 100, 3}, {109, 100, 3}, {110, 110, 2}, {119, 110, 2},
        {120, 200, 1}, {205, 200, 1}, {209, 200, 1}, {210, 0, 0}, {UINT64_MAX, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct mark *mark = marks_from(&m, rows[i].position);
        assert_true((mark ? mark->start : 0) == rows[i].start);
        assert_int_equal(marks_behind(&m, rows[i].position), rows[i].behind);
    }
    const struct mark *mark = marks_from(&m, 0);
    mark = marks_next(&m, mark);
    assert_true(mark->start == 110);
    mark = marks_next(&m, mark);
    assert_true(mark->start == 200);
    assert_null(marks_next(&m, mark));
    marks_fini(&m);
}

static void a_mark_stays_until_the_log_begins_behind_it(void **state)
{
    (void)state;
    struct marks m = {0};
    marks_add(&m, mark_at(100, 10));
    marks_add(&m, mark_at(300, 10));
    marks_trim(&m, 109);
    assert_int_equal(m.count, 2);
    marks_trim(&m, 110);
    assert_int_equal(m.count, 1);
    assert_true(marks_from(&m, 0)->start == 300);
    marks_trim(&m, 310);
    assert_int_equal(m.count, 0);
    marks_fini(&m);
}

/* Seen to fail without shrink, and with the head left where it was when the list moves. */
static void a_peak_of_marks_is_not_kept_for_ever(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct marks m = {0};
    for (uint64_t i = 0; i < MANY; i++)
        marks_add(&m, mark_at(i * 10, 10));
    assert_in_range(marks_size(&m), MANY * sizeof(struct mark), 3 * MANY * sizeof(struct mark));
    marks_trim(&m, (MANY - 100) * 10);
    assert_int_equal(m.count, 100);
    assert_true(marks_from(&m, 0)->start == (MANY - 100) * 10);
    assert_in_range(marks_size(&m), 1, 1024 * sizeof(struct mark));
    marks_fini(&m);
}

/* Against a plain row of which everything behind `base` counts. */
static void marks_are_as_a_row_of_their_positions(void **state)
{
    (void)state;
    enum { MANY = 50000 };
    static uint64_t starts[MANY];
    struct random r = {.state = 3};
    struct marks m = {0};
    uint64_t end = 0;
    size_t head = 0;
    size_t count = 0;
    while (count < MANY) {
        for (uint64_t i = random_below(&r, 40); i > 0 && count < MANY; i--) {
            starts[count] = end + random_below(&r, 3) * 5;
            end = starts[count] + 10;
            marks_add(&m, mark_at(starts[count++], 10));
        }
        if (random_below(&r, 3) == 0) {
            size_t to = head + (size_t)random_below(&r, random_below(&r, 20) ? 30 : 30000);
            while (head < to && head < count)
                head++;
            if (head > 0)
                marks_trim(&m, starts[head - 1] + 10);
        }
        assert_int_equal(m.count, count - head);
        if (head < count) {
            assert_true(marks_from(&m, 0)->start == starts[head]);
            size_t some = head + (size_t)random_below(&r, count - head);
            assert_true(marks_from(&m, starts[some])->start == starts[some]);
            assert_int_equal(marks_behind(&m, starts[some]), count - some);
        }
    }
    marks_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_mark_behind_a_position_is_found),
        cmocka_unit_test(a_mark_stays_until_the_log_begins_behind_it),
        cmocka_unit_test(a_peak_of_marks_is_not_kept_for_ever),
        cmocka_unit_test(marks_are_as_a_row_of_their_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
