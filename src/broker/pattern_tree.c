#include "broker/pattern_tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/pattern.h"
#include "broker/patterns.h"

/* What is left of a path has `at` NULL when nothing is. */

/* The segments without a final `>`. */
static struct text path_of(struct text text, bool *rest)
{
    *rest = text.at[text.len - 1] == '>';
    if (!*rest)
        return text;
    return text.len == 1 ? (struct text){NULL, 0} : (struct text){text.at, text.len - 2};
}

static struct text path_behind(struct text path, size_t len)
{
    if (path.len == len)
        return (struct text){NULL, 0};
    return (struct text){path.at + len + 1, path.len - len - 1};
}

static bool segment_ends(struct text path, size_t at)
{
    return at == path.len || path.at[at] == ':';
}

/* The bytes of the segments that two paths with the same first segment begin with. */
static size_t shared_len(struct text a, struct text b)
{
    size_t len = 0;
    while (len < a.len && len < b.len && a.at[len] == b.at[len])
        len++;
    if (segment_ends(a, len) && segment_ends(b, len))
        return len;
    while (a.at[len - 1] != ':')
        len--;
    return len - 1;
}

static struct text label_of(const struct pattern_node *node)
{
    return (struct text){node->label, node->label_len};
}

/* --- children --------------------------------------------------------------------------------- */

static bool begins_with(const void *item, const void *wanted)
{
    const struct text *segment = wanted;
    struct text label = label_of(item);
    return text_starts_with(label, *segment) && segment_ends(label, segment->len);
}

static struct pattern_node *literal_child(
    const struct pattern_tree *t, const struct pattern_node *node, struct text segment)
{
    if (node->children.literal.count == 0)
        return NULL;
    uint64_t hash = hash_bytes(t->key, segment.at, segment.len);
    return map_find(&node->children.literal, hash, begins_with, &segment);
}

/* The child that begins with the path's first segment. */
static struct pattern_node *child_for(
    const struct pattern_tree *t, const struct pattern_node *node, struct text path)
{
    struct text segment = segment_take(&path);
    return segment_is_star(segment) ? node->children.star : literal_child(t, node, segment);
}

static bool children_add(
    const struct pattern_tree *t, struct pattern_children *children, struct pattern_node *child)
{
    struct text rest = label_of(child);
    struct text segment = segment_take(&rest);
    if (!segment_is_star(segment))
        return map_add(&children->literal, hash_bytes(t->key, segment.at, segment.len), child);
    children->star = child;
    return true;
}

static void children_remove(
    const struct pattern_tree *t, struct pattern_children *children, struct pattern_node *child)
{
    struct text rest = label_of(child);
    struct text segment = segment_take(&rest);
    if (child == children->star)
        children->star = NULL;
    else
        map_remove(&children->literal, hash_bytes(t->key, segment.at, segment.len), child);
}

static uint32_t children_count(const struct pattern_children *children)
{
    return children->literal.count + (children->star != NULL);
}

static struct pattern_node *only_child(const struct pattern_children *children)
{
    size_t at = 0;
    if (children_count(children) != 1)
        return NULL;
    return children->star ? children->star : map_next(&children->literal, &at);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct pattern_node *node_new(struct text label)
{
    struct pattern_node *node = malloc(sizeof *node + label.len);
    if (!node)
        return NULL;
    *node = (struct pattern_node){.label_len = (uint32_t)label.len, .label = (char *)(node + 1)};
    memcpy(node->label, label.at, label.len);
    return node;
}

static void label_free(struct pattern_node *node)
{
    if (node->label != (char *)(node + 1))
        free(node->label);
}

static void node_free(struct pattern_node *node)
{
    label_free(node);
    free(node);
}

static bool has_pattern(const struct pattern_node *node)
{
    return node->exact || node->rest;
}

/* Cuts a label in two: what hung from the node hangs from a new one below it, so that whoever
 * points to the node need not know. */
static bool split(const struct pattern_tree *t, struct pattern_node *node, size_t len)
{
    struct pattern_children children = {{0}, NULL};
    struct pattern_node *lower = node_new(path_behind(label_of(node), len));
    if (!lower)
        return false;
    if (!children_add(t, &children, lower)) {
        node_free(lower);
        return false;
    }
    lower->children = node->children;
    lower->exact = node->exact;
    lower->rest = node->rest;
    node->children = children;
    node->exact = node->rest = NULL;
    node->label_len = (uint32_t)len;
    return true;
}

/* The reverse, where it may be. Without memory the two stay apart, which only costs memory. */
static void unite(struct pattern_tree *t, struct pattern_node *node)
{
    struct pattern_node *lower = only_child(&node->children);
    if (!lower || has_pattern(node) || node == &t->root)
        return;
    size_t len = (size_t)node->label_len + 1 + lower->label_len;
    char *label = malloc(len);
    if (!label)
        return;
    memcpy(label, node->label, node->label_len);
    label[node->label_len] = ':';
    memcpy(label + node->label_len + 1, lower->label, lower->label_len);
    map_fini(&node->children.literal);
    label_free(node);
    node->children = lower->children;
    node->exact = lower->exact;
    node->rest = lower->rest;
    node->label = label;
    node->label_len = (uint32_t)len;
    node_free(lower);
}

/* --- the tree --------------------------------------------------------------------------------- */

void pattern_tree_init(struct pattern_tree *t)
{
    *t = (struct pattern_tree){.key = hash_key_random()};
}

void pattern_tree_fini(struct pattern_tree *t)
{
    MUST(children_count(&t->root.children) == 0 && !has_pattern(&t->root));
}

struct pattern *pattern_tree_find(const struct pattern_tree *t, struct text text)
{
    bool rest;
    const struct pattern_node *node = &t->root;
    for (struct text path = path_of(text, &rest); path.at;) {
        node = child_for(t, node, path);
        if (!node || shared_len(label_of(node), path) < node->label_len)
            return NULL;
        path = path_behind(path, node->label_len);
    }
    return rest ? node->rest : node->exact;
}

/* The node for a path, made where it is missing; NULL when there is no memory. */
static struct pattern_node *make_way(
    struct pattern_tree *t, struct pattern_node *node, struct text path)
{
    while (path.at) {
        struct pattern_node *child = child_for(t, node, path);
        if (!child) {
            child = node_new(path);
            if (child && children_add(t, &node->children, child))
                return child;
            free(child);
            unite(t, node); /* it may have been cut for this */
            return NULL;
        }
        size_t len = shared_len(label_of(child), path);
        if (len < child->label_len && !split(t, child, len))
            return NULL;
        path = path_behind(path, len);
        node = child;
    }
    return node;
}

bool pattern_tree_add(struct pattern_tree *t, struct text text, struct pattern *pattern)
{
    bool rest;
    struct text path = path_of(text, &rest);
    struct pattern_node *node = make_way(t, &t->root, path);
    if (!node)
        return false;
    *(rest ? &node->rest : &node->exact) = pattern;
    return true;
}

void pattern_tree_remove(struct pattern_tree *t, struct text text)
{
    bool rest;
    struct pattern_node *node = &t->root;
    /* The last node on the way that stays, and what hangs from it on the way: a node, or a row of
     * them that could not be united. */
    struct pattern_node *stays = node;
    struct pattern_node *goes = NULL;
    for (struct text path = path_of(text, &rest); path.at;) {
        struct pattern_node *child = child_for(t, node, path);
        MUST(child && shared_len(label_of(child), path) == child->label_len);
        if (node == &t->root || has_pattern(node) || children_count(&node->children) > 1) {
            stays = node;
            goes = child;
        }
        path = path_behind(path, child->label_len);
        node = child;
    }
    struct pattern **place = rest ? &node->rest : &node->exact;
    MUST(*place);
    *place = NULL;
    if (has_pattern(node) || children_count(&node->children) > 0 || node == &t->root) {
        unite(t, node);
        return;
    }
    children_remove(t, &stays->children, goes);
    while (goes) {
        struct pattern_node *next = only_child(&goes->children);
        map_fini(&goes->children.literal);
        node_free(goes);
        goes = next;
    }
    unite(t, stays);
}

/* --- first segments --------------------------------------------------------------------------- */

/* They are the root's children, and these go with the last pattern below them. */

bool pattern_tree_begins_with(const struct pattern_tree *t, struct text segment)
{
    return literal_child(t, &t->root, segment) != NULL;
}

bool pattern_tree_begins_wild(const struct pattern_tree *t)
{
    return t->root.rest || t->root.children.star;
}

struct text pattern_tree_next_first(const struct pattern_tree *t, size_t *at)
{
    const struct pattern_node *node = map_next(&t->root.children.literal, at);
    if (!node)
        return (struct text){NULL, 0};
    struct text label = label_of(node);
    return segment_take(&label);
}

/* --- matching --------------------------------------------------------------------------------- */

/* Whether the topic begins with segments that the label stands for; takes them off it. */
static bool label_matches(struct text label, struct text *topic)
{
    const char *at = topic->at;
    const char *end = at + topic->len;
    for (size_t i = 0; i < label.len; i++) {
        if (label.at[i] == '*') { /* it is alone in its segment */
            while (at < end && *at != ':')
                at++;
        } else if (at == end || *at++ != label.at[i]) {
            return false;
        }
    }
    if (at < end && *at != ':')
        return false;
    *topic = path_behind(*topic, (size_t)(at - topic->at));
    return true;
}

static void add_match(struct pattern **found, struct pattern *pattern)
{
    if (pattern) {
        pattern->next = *found;
        *found = pattern;
    }
}

static void look_at(struct pattern_node **list, struct pattern_node *node, struct text topic)
{
    if (node) {
        node->topic = topic.at;
        node->next = *list;
        *list = node;
    }
}

struct pattern *pattern_tree_match(struct pattern_tree *t, struct text topic)
{
    const char *end = topic.at + topic.len;
    struct pattern *found = NULL;
    struct pattern_node *list = NULL;
    struct pattern_node *node = &t->root;
    for (struct text left = topic;;) {
        if (left.at) {
            struct text behind = left;
            add_match(&found, node->rest);
            look_at(&list, node->children.star, left);
            look_at(&list, literal_child(t, node, segment_take(&behind)), left);
        } else {
            add_match(&found, node->exact);
        }
        do {
            node = list;
            if (!node)
                return found;
            list = node->next;
            left = (struct text){node->topic, (size_t)(end - node->topic)};
        } while (!label_matches(label_of(node), &left));
    }
}
