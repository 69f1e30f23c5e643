#include "broker/topic_order.h"

#include <string.h>

#include "broker/registry.h"

static const struct registry_topic *topic_of(const struct order_node *node)
{
    return (const struct registry_topic *)(const void *)((const char *)node -
                                                         offsetof(struct registry_topic, order));
}

static struct text name_of(const struct registry *r, const struct order_node *node)
{
    return registry_name(r, topic_of(node));
}

/* Who is nearer to the root: any order of two topics will do that strangers cannot choose. */
static bool is_above(const struct order_node *a, const struct order_node *b)
{
    return topic_of(a)->hash > topic_of(b)->hash;
}

void topic_order_add(struct topic_order *o, const struct registry *r, struct registry_topic *topic)
{
    struct order_node *node = &topic->order;
    struct text name = registry_name(r, topic);
    struct order_node **at = &o->root;
    while (*at && !is_above(node, *at))
        at = text_compare(name, name_of(r, *at)) < 0 ? &(*at)->left : &(*at)->right;

    /* It takes this place, and what was there is split into those before and those behind it. */
    struct order_node *rest = *at;
    struct order_node **before = &node->left;
    struct order_node **behind = &node->right;
    *at = node;
    while (rest) {
        if (text_compare(name, name_of(r, rest)) < 0) {
            *behind = rest;
            behind = &rest->left;
            rest = rest->left;
        } else {
            *before = rest;
            before = &rest->right;
            rest = rest->right;
        }
    }
    *before = NULL;
    *behind = NULL;
}

void topic_order_remove(
    struct topic_order *o, const struct registry *r, struct registry_topic *topic)
{
    struct order_node *node = &topic->order;
    struct text name = registry_name(r, topic);
    struct order_node **at = &o->root;
    while (*at != node)
        at = text_compare(name, name_of(r, *at)) < 0 ? &(*at)->left : &(*at)->right;

    /* Its place goes to its two sides, zipped together. */
    struct order_node *left = node->left;
    struct order_node *right = node->right;
    while (left && right) {
        if (is_above(left, right)) {
            *at = left;
            at = &left->right;
            left = left->right;
        } else {
            *at = right;
            at = &right->left;
            right = right->left;
        }
    }
    *at = left ? left : right;
}

static void push(struct topic_walk *w, const struct order_node *node)
{
    if (w->depth == TOPIC_WALK_MOST) {
        memmove(w->path, w->path + 1, (TOPIC_WALK_MOST - 1) * sizeof w->path[0]);
        w->depth--;
        w->cut = true;
    }
    w->path[w->depth++] = node;
}

void topic_walk_begin(struct topic_walk *w, const struct topic_order *o, const struct registry *r,
    struct text name, bool inclusive)
{
    w->order = o;
    w->registry = r;
    w->depth = 0;
    w->cut = false;
    for (const struct order_node *node = o->root; node;) {
        int order = text_compare(name_of(r, node), name);
        if (order > 0 || (order == 0 && inclusive)) {
            push(w, node);
            node = node->left;
        } else {
            node = node->right;
        }
    }
}

const struct registry_topic *topic_walk_next(struct topic_walk *w)
{
    if (w->depth == 0)
        return NULL;
    const struct order_node *found = w->path[--w->depth];
    for (const struct order_node *node = found->right; node; node = node->left)
        push(w, node);
    if (w->depth == 0 && w->cut)
        topic_walk_begin(w, w->order, w->registry, name_of(w->registry, found), false);
    return topic_of(found);
}
