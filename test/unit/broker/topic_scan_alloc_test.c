/* Scans, ranks and rates whose n-th allocation fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/topic_rates.h"
#include "broker/topic_top.h"
#include "support/failing_alloc.h"

enum { TOPICS = 1500, MOST = 200, NAME_ROOM = 48 };

struct scene {
    struct registry *registry;
    struct registry_topic *topics[TOPICS];
};

static void scene_open(struct scene *s)
{
    s->registry = aligned_alloc(64, sizeof *s->registry);
    assert_non_null(s->registry);
    registry_init(s->registry, 1, 0);
    for (int i = 0; i < TOPICS; i++) {
        char string[NAME_ROOM];
        snprintf(string, sizeof string, "topics:with:rather:long:names:%d", i);
        struct text name = text_of(string);
        uint64_t hash = registry_hash(s->registry, name);
        struct stripe *stripe = registry_stripe(s->registry, hash);
        lock_take(&stripe->lock);
        s->topics[i] = registry_make(s->registry, stripe, hash, name);
        assert_non_null(s->topics[i]);
        registry_join(stripe, s->topics[i], 0, false);
        lock_give(&stripe->lock);
    }
}

static void scene_close(struct scene *s)
{
    for (int i = 0; i < TOPICS; i++) {
        struct stripe *stripe = registry_stripe(s->registry, s->topics[i]->hash);
        lock_take(&stripe->lock);
        assert_true(registry_leave(s->registry, stripe, s->topics[i], 0, true, false));
        lock_give(&stripe->lock);
    }
    registry_fini(s->registry);
    free(s->registry);
}

/* Returns whether there was memory for all of it. */
static bool rank(struct scene *s, size_t *count)
{
    struct topic_scan scan;
    struct topic_top top;
    *count = 0;
    if (!topic_top_init(&top, MOST))
        return false;
    bool ok = true;
    topic_scan_begin(&scan, s->registry, TEXT(""));
    while (ok && topic_scan_next(&scan))
        for (size_t i = 0; i < scan.count && ok; i++)
            ok = topic_top_offer(&top, &scan.rows[i], (double)scan.rows[i].epoch);
    ok = ok && !scan.failed;
    topic_scan_fini(&scan);
    topic_top_sort(&top);
    *count = top.count;
    topic_top_fini(&top);
    return ok;
}

static void a_ranking_without_memory_fails_and_leaves_nothing(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    unsigned fail_at = 0;
    bool failed;
    do {
        size_t count;
        alloc_fail(++fail_at);
        bool ok = rank(&s, &count);
        failed = alloc_failed();
        assert_int_equal(ok, !failed);
        if (ok)
            assert_int_equal(count, MOST);
    } while (failed);
    assert_true(fail_at > MOST);
    scene_close(&s);
}

static bool sample(struct scene *s, struct topic_rates *rates, uint64_t now_ns)
{
    struct topic_scan scan;
    topic_scan_begin(&scan, s->registry, TEXT(""));
    topic_rates_begin(rates);
    while (topic_scan_next(&scan))
        topic_rates_take(rates, &scan, now_ns);
    bool ok = !scan.failed;
    topic_scan_fini(&scan);
    if (ok)
        topic_rates_end(rates);
    else
        topic_rates_forget(rates);
    return ok;
}

/* Without memory some topics have no rate. None has a wrong one. */
static void a_rate_without_memory_is_not_known(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    unsigned fail_at = 0;
    bool failed;
    do {
        struct topic_rates rates;
        size_t known = 0;
        topic_rates_init(&rates);
        alloc_fail(++fail_at);
        for (uint64_t i = 1; i <= 3; i++)
            sample(&s, &rates, i * 1000000000);
        failed = alloc_failed();
        for (int i = 0; i < TOPICS; i++) {
            double rate = topic_rates_find(&rates, s.topics[i]->epoch);
            assert_true(rate <= 0);
            known += rate == 0;
        }
        if (!failed)
            assert_int_equal(known, TOPICS);
        topic_rates_forget(&rates);
    } while (failed);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ranking_without_memory_fails_and_leaves_nothing),
        cmocka_unit_test(a_rate_without_memory_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
