/* The shape of the tree, and how much of it a topic looks at. What it answers is in
 * patterns_test.c. */
#include "broker/pattern_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "broker/patterns.h"
#include "support/dying.h"
#include "support/random.h"

enum { LONGEST = 1100 };

/* What the tree is given for a pattern; the tree itself only touches `next`. */
static struct pattern nobody;

struct shape {
    size_t nodes; /* without the root */
    size_t thin;  /* that should be one with their child, or should not be there */
    size_t seen;  /* that the last match came to */
};

static void measure(struct shape *shape, struct pattern_node *node, bool is_root)
{
    struct pattern_node *child;
    size_t at = 0;
    uint32_t children = node->children.literal.count + (node->children.star != NULL);
    if (!is_root) {
        shape->nodes++;
        shape->thin += children < 2 && !node->exact && !node->rest;
        shape->seen += node->topic != NULL;
        node->topic = NULL;
    }
    if (node->children.star)
        measure(shape, node->children.star, false);
    while ((child = map_next(&node->children.literal, &at)))
        measure(shape, child, false);
}

static struct shape shape_of(struct pattern_tree *t)
{
    struct shape shape = {0};
    measure(&shape, &t->root, true);
    return shape;
}

static void add(struct pattern_tree *t, struct text text)
{
    char *copy = malloc(text.len); /* the caller's bytes need not stay */
    assert_non_null(copy);
    memcpy(copy, text.at, text.len);
    assert_null(pattern_tree_find(t, (struct text){copy, text.len}));
    assert_true(pattern_tree_add(t, (struct text){copy, text.len}, &nobody));
    memset(copy, '?', text.len);
    free(copy);
    assert_ptr_equal(pattern_tree_find(t, text), &nobody);
}

/* The n-th row of `len` segments, each a star or not by a bit of n, and a tail. */
static struct text mixed(char *out, unsigned n, int len, const char *tail)
{
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        out[at++] = n >> i & 1 ? '*' : 'a';
        out[at++] = ':';
    }
    strcpy(out + at, tail);
    return (struct text){out, at + strlen(tail)};
}

static void patterns_that_begin_alike_share_nodes(void **state)
{
    (void)state;
    struct pattern_tree t;
    pattern_tree_init(&t);
    add(&t, TEXT("a:b:c:d"));
    assert_int_equal(shape_of(&t).nodes, 1);
    add(&t, TEXT("a:b:x:d")); /* a:b, c:d, x:d */
    assert_int_equal(shape_of(&t).nodes, 3);
    add(&t, TEXT("a:b:>")); /* ends where there is a node */
    add(&t, TEXT("a:b"));
    assert_int_equal(shape_of(&t).nodes, 3);
    add(&t, TEXT("a:b:*:d"));
    add(&t, TEXT("a:b:c:>")); /* a:b, c, d, x:d, *:d */
    assert_int_equal(shape_of(&t).nodes, 5);
    add(&t, TEXT("a:bb:c")); /* a, b, c, d, x:d, *:d, bb:c */
    assert_int_equal(shape_of(&t).nodes, 7);
    pattern_tree_remove(&t, TEXT("a:bb:c"));
    assert_int_equal(shape_of(&t).nodes, 5);
    pattern_tree_remove(&t, TEXT("a:b:c:>"));
    pattern_tree_remove(&t, TEXT("a:b:*:d"));
    pattern_tree_remove(&t, TEXT("a:b:>"));
    pattern_tree_remove(&t, TEXT("a:b:x:d"));
    assert_ptr_equal(pattern_tree_find(&t, TEXT("a:b:c:d")), &nobody);
    assert_int_equal(shape_of(&t).nodes, 2); /* a:b, c:d */
    pattern_tree_remove(&t, TEXT("a:b"));
    assert_int_equal(shape_of(&t).nodes, 1);
    pattern_tree_remove(&t, TEXT("a:b:c:d"));
    assert_int_equal(shape_of(&t).nodes, 0);
    assert_null(t.root.children.literal.slots);
    pattern_tree_fini(&t);
}

/* Broken by a split or a removal that does not unite: fails. */
static void there_are_fewer_than_two_nodes_a_pattern_however_long_they_are(void **state)
{
    (void)state;
    enum { PATTERNS = 300, STEPS = 20000 };
    static struct {
        char text[LONGEST];
        size_t len; /* 0: not there */
    } patterns[PATTERNS];
    struct random random = {11};
    struct pattern_tree t;
    size_t count = 0;
    pattern_tree_init(&t);
    for (int step = 0; step < STEPS; step++) {
        size_t i = random_below(&random, PATTERNS);
        if (patterns[i].len > 0) {
            pattern_tree_remove(&t, (struct text){patterns[i].text, patterns[i].len});
            patterns[i].len = 0;
            count--;
        } else {
            char *out = patterns[i].text;
            size_t len = 0;
            for (uint64_t left = 1 + random_below(&random, 12); left > 0; left--) {
                out[len++] = "aab*"[random_below(&random, 4)];
                out[len++] = ':';
            }
            struct text text = {out, len - 1};
            if (random_below(&random, 4) == 0) {
                out[len] = '>';
                text.len = len + 1;
            }
            if (!pattern_tree_find(&t, text)) {
                add(&t, text);
                patterns[i].len = text.len;
                count++;
            }
        }
        if (step % 16 == 0) {
            struct shape shape = shape_of(&t);
            assert_int_equal(shape.thin, 0);
            assert_true(shape.nodes <= 2 * count);
        }
    }
    for (size_t i = 0; i < PATTERNS; i++)
        if (patterns[i].len > 0)
            pattern_tree_remove(&t, (struct text){patterns[i].text, patterns[i].len});
    assert_int_equal(shape_of(&t).nodes, 0);
    pattern_tree_fini(&t);
}

/* Every mixture of stars and letters matches the first twelve segments, and none the whole topic;
 * a walk that went to a node once for each way there would take 2^400 steps. */
static void patterns_made_to_multiply_are_looked_at_once_each(void **state)
{
    (void)state;
    enum { BITS = 12, SEGMENTS = 400 };
    static char topic[2 * SEGMENTS];
    static char tail[2 * SEGMENTS];
    char text[LONGEST];
    struct pattern_tree t;
    pattern_tree_init(&t);
    for (size_t i = 0; i < 2 * (SEGMENTS - BITS); i++)
        tail[i] = i % 2 ? ':' : '*';
    tail[2 * (SEGMENTS - BITS) - 2] = 'z';
    tail[2 * (SEGMENTS - BITS) - 1] = '\0';
    for (unsigned n = 0; n < 1u << BITS; n++)
        add(&t, mixed(text, n, BITS, tail));
    for (size_t i = 0; i < sizeof topic; i++)
        topic[i] = i % 2 ? ':' : 'a';
    assert_null(pattern_tree_match(&t, (struct text){topic, sizeof topic - 1}));
    struct shape shape = shape_of(&t);
    assert_in_range(shape.seen, 1u << BITS, 2u << BITS);

    /* A topic of few segments looks at few nodes, whatever there is for longer ones. */
    for (int segments = 1; segments <= 6; segments++) {
        assert_null(pattern_tree_match(&t, (struct text){topic, 2 * (size_t)segments - 1}));
        assert_in_range(shape_of(&t).seen, 1, 2u << segments);
    }
    for (unsigned n = 0; n < 1u << BITS; n++)
        pattern_tree_remove(&t, mixed(text, n, BITS, tail));
    pattern_tree_fini(&t);
}

/* Without a limit on names strangers choose how deep it goes. */
static void a_pattern_of_a_million_segments_needs_no_stack(void **state)
{
    (void)state;
    enum { LEN = 2000001, SEGMENTS_ENDS = 64 };
    char *text = malloc(LEN);
    struct pattern_tree t;
    assert_non_null(text);
    pattern_tree_init(&t);
    for (size_t i = 0; i < LEN; i++)
        text[i] = i % 2 ? ':' : i % 6 ? 'a' : '*';
    struct text whole = {text, LEN};
    for (size_t i = 1; i <= SEGMENTS_ENDS; i++) /* a long row of nodes too */
        add(&t, (struct text){text, LEN / SEGMENTS_ENDS / 2 * 2 * i - 1});
    add(&t, whole);
    assert_ptr_equal(pattern_tree_match(&t, whole), &nobody);
    assert_int_equal(shape_of(&t).seen, SEGMENTS_ENDS + 1);
    pattern_tree_remove(&t, whole);
    assert_null(pattern_tree_match(&t, whole));
    for (size_t i = 1; i <= SEGMENTS_ENDS; i++)
        pattern_tree_remove(&t, (struct text){text, LEN / SEGMENTS_ENDS / 2 * 2 * i - 1});
    pattern_tree_fini(&t);
    free(text);
}

static void two_trees_hash_differently(void **state)
{
    (void)state;
    struct pattern_tree a, b;
    pattern_tree_init(&a);
    pattern_tree_init(&b);
    assert_true(hash_bytes(a.key, "stock", 5) != hash_bytes(b.key, "stock", 5));
    pattern_tree_fini(&a);
    pattern_tree_fini(&b);
}

static void remove_what_is_not_there(void *with)
{
    pattern_tree_remove(with, TEXT("a:x"));
}

static void end_with_a_pattern(void *with)
{
    pattern_tree_fini(with);
}

static void misuse_is_our_own_bug(void **state)
{
    (void)state;
    struct pattern_tree t;
    pattern_tree_init(&t);
    add(&t, TEXT("a:b"));
    assert_true(dies(remove_what_is_not_there, &t));
    assert_true(dies(end_with_a_pattern, &t));
    pattern_tree_remove(&t, TEXT("a:b"));
    add(&t, TEXT(">"));
    assert_true(dies(end_with_a_pattern, &t));
    pattern_tree_remove(&t, TEXT(">"));
    pattern_tree_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_that_begin_alike_share_nodes),
        cmocka_unit_test(there_are_fewer_than_two_nodes_a_pattern_however_long_they_are),
        cmocka_unit_test(patterns_made_to_multiply_are_looked_at_once_each),
        cmocka_unit_test(a_pattern_of_a_million_segments_needs_no_stack),
        cmocka_unit_test(two_trees_hash_differently),
        cmocka_unit_test(misuse_is_our_own_bug),
    };
    return cmocka_run_group_tests_name("pattern_tree", tests, NULL, NULL);
}
