/* Patterns by their segments: the part of the index that knows which of them match a topic.
 *
 * A node stands for a row of segments, its label, behind those of the nodes above it; patterns that
 * begin alike share nodes. A node with neither a pattern nor a second child is one with its child,
 * so there are fewer than two nodes a pattern, however long the patterns are.
 *
 * Matching looks at the nodes whose labels match the topic's segments so far, each once: at most
 * 2^(k+1) for a topic of k segments, whatever patterns strangers have made, and never at more bytes
 * than all patterns have together. It needs no memory and no stack, as deep as a topic may be. So
 * who has 10,000 patterns that all but match a deep topic of his own makes that one expensive: 2 µs
 * for each pattern of a kilobyte (bench/micro_patterns.c), and others wait for the lock meanwhile.
 *
 * Memory: 72 bytes a node and its label, where a node that was cut keeps the room it had; literal
 *   children are a map, 16 bytes a slot. With the patterns' own texts no more than about three
 * times the bytes that were asked for, and 300 a pattern. Threads: the caller sees to it that there
 * is one at a time, for matching too. */
#ifndef HERMES_BROKER_PATTERN_TREE_H
#define HERMES_BROKER_PATTERN_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/text.h"

struct pattern;

struct pattern_children {
    struct map literal;        /* by the hash of their labels' first segments */
    struct pattern_node *star; /* whose label begins with `*` */
};

struct pattern_node {
    struct pattern_children children;
    struct pattern *exact; /* the pattern that ends here */
    struct pattern *rest;  /* the one that has only a `>` behind this */
    /* while matching: */
    struct pattern_node *next; /* to look at */
    const char *topic;         /* where its label has to match */
    uint32_t label_len;
    char *label; /* behind the node in its allocation, unless it grew */
};

struct pattern_tree {
    struct hash_key key;
    struct pattern_node root; /* has no label */
};

void pattern_tree_init(struct pattern_tree *t);

/* It is empty. */
void pattern_tree_fini(struct pattern_tree *t);

/* The pattern with that text, or NULL. */
struct pattern *pattern_tree_find(const struct pattern_tree *t, struct text text);

/* Adds a good pattern that is not there; false when there is no memory. */
bool pattern_tree_add(struct pattern_tree *t, struct text text, struct pattern *pattern);

/* Removes one that is there. */
void pattern_tree_remove(struct pattern_tree *t, struct text text);

/* Whether any begins with that segment, which stands for itself. */
bool pattern_tree_begins_with(const struct pattern_tree *t, struct text segment);

/* Whether any begins with a wildcard. */
bool pattern_tree_begins_wild(const struct pattern_tree *t);

/* The segments that stand for themselves and that any begins with, each once: start with *at = 0;
 * `at` of the text is NULL at the end. Not while the tree changes. */
struct text pattern_tree_next_first(const struct pattern_tree *t, size_t *at);

/* Those that match, in no order, linked by their `next`. */
struct pattern *pattern_tree_match(struct pattern_tree *t, struct text topic);

#endif
