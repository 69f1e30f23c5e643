/* A history whose n-th allocation fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "broker/history.h"
#include "support/failing_alloc.h"

enum { MESSAGES = 200, LARGE = 6000, KEPT = 20 };

/* Now and then one that is held and not copied. */
static size_t data_len(uint64_t offset)
{
    return offset % 17 == 0 ? LARGE : 50;
}

static bool add(struct history *h, uint64_t offset)
{
    size_t len = data_len(offset);
    size_t head = len < 126 ? 2 : 4;
    struct message *m = __real_malloc(sizeof *m + LARGE + 4);
    assert_non_null(m);
    *m = (struct message){.references = 1, .count = 1, .offset = offset};
    m->len = (uint32_t)(head + len);
    m->frames[1] = (char)(len < 126 ? len : 126);
    m->frames[2] = (char)(len >> 8);
    m->frames[3] = (char)len;
    memset(m->frames + head, (char)offset, len);
    bool added = history_add(h, m, offset);
    message_drop(m);
    return added;
}

static void assert_shows(struct history_view *v, uint64_t first, uint64_t last)
{
    uint64_t offset;
    struct text data;
    for (uint64_t i = first; i <= last; i++) {
        assert_true(history_view_next(v, &offset, &data));
        assert_int_equal(offset, i);
        assert_int_equal(data.len, data_len(i));
        assert_int_equal(data.at[data.len - 1], (char)i);
    }
    assert_false(history_view_next(v, &offset, &data));
    history_view_fini(v);
}

static void a_message_without_memory_leaves_no_gap(void **state)
{
    unsigned fail_at = 0;
    bool failed;
    (void)state;
    do {
        struct history_budget budget = {0};
        struct history h;
        uint64_t first = 1;
        alloc_fail(++fail_at);
        history_init(&h, (struct history_limits){.messages = KEPT}, &budget, 1);
        for (uint64_t offset = 1; offset <= MESSAGES; offset++) {
            struct history_view before = history_view(&h, 0, UINT32_MAX, false);
            uint64_t before_first = h.oldest;
            if (!add(&h, offset)) {
                first = offset + 1;
                assert_int_equal(h.count, 0);
                assert_int_equal(h.oldest, first);
                assert_int_equal(atomic_load(&budget.used), 0);
            }
            assert_shows(&before, before_first, offset - 1);
            uint64_t oldest = offset < first + KEPT ? first : offset - KEPT + 1;
            assert_int_equal(h.oldest, oldest);
            assert_int_equal(h.count, offset + 1 - oldest);
            struct history_view all = history_view(&h, 0, UINT32_MAX, false);
            assert_shows(&all, oldest, offset);
        }
        failed = alloc_failed();
        assert_int_equal(failed, first > 1);
        history_fini(&h);
        assert_int_equal(atomic_load(&budget.used), 0);
    } while (failed);
    assert_in_range(fail_at, 20, MESSAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_without_memory_leaves_no_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
