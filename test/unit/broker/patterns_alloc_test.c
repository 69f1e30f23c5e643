/* Patterns without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/patterns.h"
#include "support/failing_alloc.h"

static const struct text there[] = {
    {"a:b:c", 5}, {"a:b:>", 5}, {"a:*:c:d", 7}, {"x:y:z", 5}, {"q:r:s:t", 7}, {"q:r:*", 5}};

enum { THERE = sizeof there / sizeof there[0] };

static struct pattern *join(struct patterns *p, struct text text)
{
    return patterns_join(p, text.len, text, 0, false);
}

static void leave(struct patterns *p, struct pattern *pattern)
{
    patterns_leave(p, pattern, 0, true, false);
}

static uint32_t count_matches(struct patterns *p, struct text topic)
{
    struct match_set *set;
    uint64_t generation;
    assert_true(patterns_match(p, topic, &set, &generation));
    uint32_t count = set ? set->count : 0;
    match_set_drop(set);
    return count;
}

static size_t count_nodes(const struct pattern_node *node)
{
    size_t count = 1;
    size_t at = 0;
    const struct pattern_node *child;
    if (node->children.star)
        count += count_nodes(node->children.star);
    while ((child = map_next(&node->children.literal, &at)))
        count += count_nodes(child);
    return count;
}

/* Every way for a pattern to come: to the root, to a node that is there, to a map that is full, as
 * a star, and through labels that are cut, with one end or two. */
static void a_join_without_memory_changes_nothing(void **state)
{
    static const struct text news[] = {{"n", 1}, {"a:b", 3}, {"a:b:n", 5}, {"a:b:*:n", 7}, {"*", 1},
        {"x", 1}, {"x:>", 3}, {"x:n:o", 5}, {"x:y:*", 5}, {"x:*", 3}, {"q:r:s:>", 7},
        {"q:r:*:n", 7}, {">", 1}};
    (void)state;
    for (size_t n = 0; n < sizeof news / sizeof news[0]; n++) {
        struct pattern *patterns[THERE];
        struct patterns p;
        struct pattern *pattern;
        patterns_init(&p, 1);
        for (size_t i = 0; i < THERE; i++)
            patterns[i] = join(&p, there[i]);
        uint64_t generation = patterns_generation(&p);
        size_t nodes = count_nodes(&p.tree.root);
        unsigned fail_at = 0;
        bool failed;
        do {
            alloc_fail(++fail_at);
            pattern = join(&p, news[n]);
            failed = alloc_failed();
            assert_int_equal(pattern == NULL, failed);
            assert_int_equal(atomic_load(&p.count), THERE + !failed);
            assert_int_equal(patterns_generation(&p) == generation, failed);
            assert_true(!failed || count_nodes(&p.tree.root) == nodes);
            for (size_t i = 0; failed && i < THERE; i++)
                assert_in_range(count_matches(&p, there[i]), 1, 2);
        } while (failed);
        assert_in_range(fail_at, 2, 6);
        leave(&p, pattern);
        for (size_t i = 0; i < THERE; i++)
            leave(&p, patterns[i]);
        patterns_fini(&p);
    }
}

/* Nodes that could not be united again stay, and go with what hangs from them. */
static void leaving_needs_no_memory(void **state)
{
    enum { DEEP = 6 };
    static const char text[] = "a:b:c:d:e:f:";
    struct pattern *row[DEEP];
    struct patterns p;
    (void)state;
    patterns_init(&p, 1);
    for (size_t i = 0; i < DEEP; i++)
        row[i] = join(&p, (struct text){text, 2 * i + 1});
    for (size_t i = 0; i + 1 < DEEP; i++) {
        alloc_fail(1);
        leave(&p, row[i]);
        assert_true(alloc_failed()); /* it was asked for, and went without */
        assert_int_equal(count_matches(&p, (struct text){text, 2 * i + 1}), 0);
        assert_int_equal(count_matches(&p, (struct text){text, 2 * DEEP - 1}), 1);
    }
    struct pattern *beside = join(&p, TEXT("a:b:c:x"));
    assert_int_equal(count_matches(&p, (struct text){text, 2 * DEEP - 1}), 1);
    assert_int_equal(count_matches(&p, TEXT("a:b:c:x")), 1);
    leave(&p, row[DEEP - 1]);
    assert_int_equal(count_matches(&p, TEXT("a:b:c:x")), 1);
    leave(&p, beside);
    patterns_fini(&p);
}

static void a_match_without_memory_is_told_and_can_be_asked_again(void **state)
{
    struct patterns p;
    struct match_set *set = NULL;
    uint64_t generation;
    (void)state;
    patterns_init(&p, 1);
    struct pattern *star = join(&p, TEXT("*"));
    struct pattern *rest = join(&p, TEXT(">"));
    alloc_fail(1);
    assert_false(patterns_match(&p, TEXT("t"), &set, &generation));
    assert_true(alloc_failed());
    assert_null(set);
    alloc_fail(1);
    assert_true(patterns_match(&p, TEXT("t:u:"), &set, &generation) == false);
    assert_true(alloc_failed());
    leave(&p, rest);
    alloc_fail(1);
    assert_true(patterns_match(&p, TEXT("t:u:"), &set, &generation)); /* none: none is needed */
    assert_false(alloc_failed());
    assert_null(set);
    assert_int_equal(count_matches(&p, TEXT("t")), 1);
    leave(&p, star);
    patterns_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_without_memory_changes_nothing),
        cmocka_unit_test(leaving_needs_no_memory),
        cmocka_unit_test(a_match_without_memory_is_told_and_can_be_asked_again),
    };
    return cmocka_run_group_tests_name("patterns_alloc", tests, NULL, NULL);
}
