/* The active topics in name order, a page at a time.
 *
 * A topic is active while it has a subscriber, by its name or by a pattern, or something is kept of
 * its messages. Whoever goes through all pages finds each topic that is active all along once.
 * Memory: a page's names, copied, and a few more.
 * Threads: any. Lock: takes STRIPES, one after the other, each for a few topics at a time. */
#ifndef HERMES_BROKER_TOPIC_LIST_H
#define HERMES_BROKER_TOPIC_LIST_H

#include "broker/registry.h"

struct topic_row {
    struct text name;
    uint32_t subscribers; /* who subscribes to it twice, by name and by pattern, counts twice */
};

struct topic_list {
    struct topic_row *rows;
    size_t count;
    /* Where the next page begins: what it has to come after. NULL: this was the last page. It is
     * there, too, behind a page that is not full or even empty, when a pattern matches few of so
     * many topics that one call does not look at all of them: ask again until it is NULL. */
    struct text next;
    size_t seen; /* topics that were looked at for it */
    struct topic_names *names;
};

/* Under its stripe: whether a topic is active, and how many subscribe. */
bool topic_is_active(const struct registry_topic *topic, uint32_t *subscribers);

/* Up to `limit` (1 or more) topics whose name starts with `prefix` and comes after `after` (empty:
 * from the first) and is matched by `pattern`, a good one (broker/pattern.h) or empty for
 * none. False when there is no memory. */
bool topic_list_take(struct topic_list *list, struct registry *r, struct text prefix,
    struct text after, struct text pattern, size_t limit);

/* The same for who is not to know of all topics. */
struct topic_choice {
    struct text prefix;
    struct text after;
    struct text pattern;
    size_t limit;
    /* Called under no lock; NULL: all are wanted. What is not never shows, not even as `next`: that
     * is looked for until there is one to name, however many topics are between. */
    bool (*wanted)(void *user, struct text name);
    void *user;
};
bool topic_list_choose(
    struct topic_list *list, struct registry *r, const struct topic_choice *choice);

void topic_list_fini(struct topic_list *list);

#endif
