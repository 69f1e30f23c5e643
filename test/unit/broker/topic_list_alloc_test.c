/* A listing whose n-th allocation fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/topic_list.h"
#include "support/failing_alloc.h"

enum { TOPICS = 2000, LIMIT = 600, NAME_ROOM = 48 };

static void a_list_without_memory_is_no_list(void **state)
{
    struct registry *r = aligned_alloc(64, sizeof *r);
    (void)state;
    assert_non_null(r);
    registry_init(r, 1, 0);
    struct registry_topic *topics[TOPICS];
    for (int i = 0; i < TOPICS; i++) {
        char string[NAME_ROOM];
        snprintf(string, sizeof string, "topics:with:rather:long:names:%d", i);
        struct text name = text_of(string);
        uint64_t hash = registry_hash(r, name);
        struct stripe *stripe = registry_stripe(r, hash);
        lock_take(&stripe->lock);
        topics[i] = registry_make(r, stripe, hash, name);
        assert_non_null(topics[i]);
        registry_join(stripe, topics[i], 0, false);
        lock_give(&stripe->lock);
    }
    unsigned fail_at = 0;
    bool failed;
    do {
        struct topic_list list;
        alloc_fail(++fail_at);
        bool taken = topic_list_take(&list, r, TEXT(""), TEXT(""), TEXT("*:*:*:*:*:>"), LIMIT);
        failed = alloc_failed();
        assert_int_equal(taken, !failed);
        assert_int_equal(list.count, taken ? LIMIT : 0);
        assert_int_equal(list.next.at != NULL, taken);
        if (!taken) {
            assert_null(list.rows);
            assert_null(list.names);
        }
        topic_list_fini(&list);
    } while (failed);
    /* The rows, what is read ahead, and the names in pieces; one each would be many more. */
    assert_in_range(fail_at, 6, 12);
    for (int i = 0; i < TOPICS; i++) {
        struct stripe *stripe = registry_stripe(r, topics[i]->hash);
        lock_take(&stripe->lock);
        assert_true(registry_leave(r, stripe, topics[i], 0, true, false));
        lock_give(&stripe->lock);
    }
    registry_fini(r);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_without_memory_is_no_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
