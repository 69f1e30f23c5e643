/* Against a sorted array: random adds, removes and walks, and trees of the worst shape. */
#include "broker/topic_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "broker/registry.h"
#include "support/random.h"

enum { MANY = 400, NAME_ROOM = 8 };

struct scene {
    struct registry registry; /* no more of it than the names need */
    struct topic_order order;
    struct registry_topic *topics[MANY]; /* in name order */
    bool added[MANY];
};

static struct scene *scene_open(void)
{
    struct scene *s = aligned_alloc(64, sizeof *s);
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    s->registry.worker_words = 1;
    for (int i = 0; i < MANY; i++) {
        s->topics[i] = calloc(1, sizeof *s->topics[i] + sizeof(uint64_t) + NAME_ROOM);
        assert_non_null(s->topics[i]);
        char name[NAME_ROOM];
        s->topics[i]->name_len = (uint32_t)snprintf(name, sizeof name, "t%04d", i);
        memcpy(s->topics[i]->workers + 1, name, s->topics[i]->name_len);
    }
    return s;
}

static void scene_close(struct scene *s)
{
    for (int i = 0; i < MANY; i++)
        free(s->topics[i]);
    free(s);
}

static void add(struct scene *s, int i)
{
    topic_order_add(&s->order, &s->registry, s->topics[i]);
    s->added[i] = true;
}

static void take_out(struct scene *s, int i)
{
    topic_order_remove(&s->order, &s->registry, s->topics[i]);
    s->added[i] = false;
}

/* Walks from `name` on, which lies right before the first topic at `at`, or is it. */
static void assert_walk(struct scene *s, struct text name, bool inclusive, int at)
{
    struct topic_walk walk;
    topic_walk_begin(&walk, &s->order, &s->registry, name, inclusive);
    for (; at < MANY; at++)
        if (s->added[at])
            assert_ptr_equal(topic_walk_next(&walk), s->topics[at]);
    for (int i = 0; i < 2; i++)
        assert_null(topic_walk_next(&walk));
}

static void assert_walks(struct scene *s, int at)
{
    struct text name = registry_name(&s->registry, s->topics[at]);
    assert_walk(s, TEXT(""), false, 0);
    assert_walk(s, name, true, at);
    assert_walk(s, name, false, at + 1);
    assert_walk(s, (struct text){name.at, name.len - 1}, true, at - at % 10);
    assert_walk(s, TEXT("u"), true, MANY);
}

static void a_walk_shows_what_is_there_in_order(void **state)
{
    (void)state;
    struct scene *s = scene_open();
    struct random r = {3};
    for (int i = 0; i < MANY; i++)
        s->topics[i]->hash = random_next(&r);
    for (int round = 0; round < 200; round++) {
        bool adds = random_below(&r, 2);
        for (uint64_t n = random_below(&r, MANY / 2); n > 0; n--) {
            int i = (int)random_below(&r, MANY);
            if (adds && !s->added[i])
                add(s, i);
            else if (!adds && s->added[i])
                take_out(s, i);
        }
        assert_walks(s, (int)random_below(&r, MANY));
    }
    for (int i = 0; i < MANY; i++)
        if (s->added[i])
            take_out(s, i);
    assert_null(s->order.root);
    scene_close(s);
}

/* Fails when what lies further up than a walk remembers is forgotten. */
static void a_tree_of_any_depth_is_walked(void **state)
{
    (void)state;
    struct scene *s = scene_open();
    for (int shape = 0; shape < 4; shape++) {
        for (int i = 0; i < MANY; i++) {
            uint64_t outer = (uint64_t)(i < MANY / 2 ? 2 * i : 2 * (MANY - 1 - i) + 1);
            s->topics[i]->hash = shape == 0   ? (uint64_t)i          /* a chain to the left */
                                 : shape == 1 ? (uint64_t)(MANY - i) /* to the right */
                                 : shape == 2 ? outer                /* both from the middle */
                                              : MANY - outer;        /* zigzag */
            add(s, i);
        }
        for (int i = 0; i < MANY; i += 13)
            assert_walks(s, i);
        for (int i = 0; i < MANY; i++)
            take_out(s, (i * 7) % MANY);
        assert_null(s->order.root);
    }
    scene_close(s);
}

static uint64_t hash_of(const struct order_node *node)
{
    return ((const struct registry_topic *)(const void *)((const char *)node -
                                                          offsetof(struct registry_topic, order)))
        ->hash;
}

/* How deep it is; and nobody lies below one of a smaller hash. */
static int assert_shape(const struct order_node *root)
{
    struct {
        const struct order_node *node;
        int depth;
    } stack[MANY] = {{root, 1}};
    int deepest = 0;
    for (int left = 1; left > 0;) {
        const struct order_node *node = stack[--left].node;
        const struct order_node *sides[2] = {node->left, node->right};
        int depth = stack[left].depth;
        deepest = depth > deepest ? depth : deepest;
        for (int i = 0; i < 2; i++)
            if (sides[i]) {
                assert_true(hash_of(sides[i]) <= hash_of(node));
                stack[left].node = sides[i];
                stack[left++].depth = depth + 1;
            }
    }
    return deepest;
}

/* Names in order are what a plain tree makes a chain of. */
static void a_tree_is_not_deep_whatever_the_names_are(void **state)
{
    (void)state;
    struct scene *s = scene_open();
    struct random r = {5};
    for (int i = 0; i < MANY; i++) {
        s->topics[i]->hash = random_next(&r);
        add(s, i);
    }
    assert_in_range(assert_shape(s->order.root), 9, 30);
    for (int i = 0; i < MANY; i++)
        if (i % 4)
            take_out(s, i);
    assert_in_range(assert_shape(s->order.root), 7, 25);
    scene_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_shows_what_is_there_in_order),
        cmocka_unit_test(a_tree_of_any_depth_is_walked),
        cmocka_unit_test(a_tree_is_not_deep_whatever_the_names_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
