#include "session/marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/random.h"

static struct mark mark_of(uint64_t topic, uint64_t start)
{
    return (struct mark){
        .start = start, .last = start, .end = start + 10, .topic = topic, .count = 1};
}

static struct mark mark_at(uint64_t start)
{
    return mark_of(7, start);
}

/* Where the mark with that number begins; 0: there is none. */
static uint64_t start_of(const struct marks *m, uint64_t number)
{
    return number < marks_end(m) ? marks_at(m, number)->start : 0;
}

static void the_first_mark_behind_a_position_is_found(void **state)
{
    (void)state;
    struct marks m = {0};
    assert_int_equal(marks_from(&m, 0), marks_end(&m));
    assert_int_equal(marks_behind(&m, 0), 0);
    marks_add(&m, mark_at(100));
    marks_add(&m, mark_at(110)); /* side by side */
    marks_add(&m, mark_at(200));
    static const struct {
        uint64_t position;
        uint64_t start; /* 0: none */
        size_t behind;
    } rows[] = {{0, 100, 3}, {100, 100, 3}, {109, 100, 3}, {110, 110, 2}, {119, 110, 2},
        {120, 200, 1}, {205, 200, 1}, {209, 200, 1}, {210, 0, 0}, {UINT64_MAX, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(start_of(&m, marks_from(&m, rows[i].position)) == rows[i].start);
        assert_int_equal(marks_behind(&m, rows[i].position), rows[i].behind);
    }
    marks_fini(&m);
}

static void a_mark_stays_until_the_log_begins_behind_it(void **state)
{
    (void)state;
    struct marks m = {0};
    marks_add(&m, mark_at(100));
    marks_add(&m, mark_at(300));
    marks_trim(&m, 109);
    assert_int_equal(m.count, 2);
    marks_trim(&m, 110);
    assert_int_equal(m.count, 1);
    assert_true(start_of(&m, marks_from(&m, 0)) == 300);
    marks_trim(&m, 310);
    assert_int_equal(m.count, 0);
    assert_int_equal(m.newest.count, 0);
    marks_fini(&m);
}

/* Seen to fail without blocks_free, and without map_remove in marks_trim. */
static void a_peak_of_marks_is_not_kept_for_ever(void **state)
{
    (void)state;
    enum { MANY = 100000, BLOCK = MARKS_BLOCK * sizeof(struct mark) };
    struct marks m = {0};
    for (uint64_t i = 0; i < MANY; i++)
        marks_add(&m, mark_of(i % (MANY / 2), i * 10));
    assert_int_equal(m.newest.count, MANY / 2);
    assert_in_range(marks_size(&m), MANY * sizeof(struct mark), 2 * MANY * sizeof(struct mark));
    marks_trim(&m, (MANY - 100) * 10);
    assert_int_equal(m.count, 100);
    assert_int_equal(m.newest.count, 100);
    assert_true(start_of(&m, marks_from(&m, 0)) == (MANY - 100) * 10);
    assert_in_range(marks_size(&m), 1, 3 * BLOCK);
    marks_trim(&m, MANY * 10);
    assert_in_range(marks_size(&m), 1, 2 * BLOCK);
    marks_fini(&m);
}

/* What a batch adds beyond the last must not be a step that closes somebody. */
static void they_grow_by_a_block_at_a_time(void **state)
{
    (void)state;
    struct marks m = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        size_t before = marks_size(&m);
        marks_add(&m, mark_at(i * 10));
        assert_in_range(marks_size(&m) - before, 0, 2 * MARKS_BLOCK * sizeof(struct mark));
    }
    marks_fini(&m);
}

/* Seen to fail with `ahead` not set, and with the newest forgotten when an older one is trimmed. */
static void each_knows_the_next_one_of_its_topic(void **state)
{
    (void)state;
    enum { MANY = 20000, TOPICS = 40 };
    static uint64_t topics[MANY];
    struct random r = {.state = 4};
    struct marks m = {0};
    size_t trimmed = 0;
    for (size_t i = 0; i < MANY; i++) {
        topics[i] = 16 * random_below(&r, 1 + random_below(&r, TOPICS)); /* which meet in a table */
        marks_add(&m, mark_of(topics[i], i * 10));
        if (random_below(&r, 2000) == 0)
            marks_trim(&m, (trimmed += (size_t)random_below(&r, i + 1 - trimmed)) * 10);
    }
    assert_int_equal(m.count, MANY - trimmed);
    size_t next[TOPICS] = {0};
    for (size_t i = MANY; i-- > trimmed;) {
        const struct mark *mark = marks_at(&m, marks_from(&m, i * 10));
        size_t topic = (size_t)topics[i] / 16;
        assert_true(mark->start == i * 10);
        assert_int_equal(mark->ahead, next[topic] ? next[topic] - i : 0);
        next[topic] = i;
    }
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
            marks_add(&m, mark_at(starts[count++]));
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
            assert_true(start_of(&m, marks_from(&m, 0)) == starts[head]);
            size_t some = head + (size_t)random_below(&r, count - head);
            assert_true(start_of(&m, marks_from(&m, starts[some])) == starts[some]);
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
        cmocka_unit_test(they_grow_by_a_block_at_a_time),
        cmocka_unit_test(each_knows_the_next_one_of_its_topic),
        cmocka_unit_test(marks_are_as_a_row_of_their_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
