#include "broker/topic_scan.h"

#include "broker/topic_list.h"

void topic_scan_begin(struct topic_scan *scan, struct registry *r, struct text prefix)
{
    scan->registry = r;
    scan->prefix = prefix;
    scan->stripe = scan->next = 0;
    scan->count = 0;
    scan->failed = false;
    buf_init(&scan->names);
    buf_init(&scan->last);
}

void topic_scan_fini(struct topic_scan *scan)
{
    buf_fini(&scan->names);
    buf_fini(&scan->last);
}

/* False: it is not active. */
static bool describe(const struct registry_topic *topic, struct scan_row *row)
{
    row->epoch = topic->epoch;
    row->offset = topic->offset;
    row->keeps = topic->kept != NULL;
    row->messages = topic->kept ? topic->kept->history.count : 0;
    return topic_is_active(topic, &row->subscribers);
}

bool topic_scan_find(struct registry *r, struct text name, struct scan_row *row)
{
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    lock_take(&stripe->lock);
    const struct registry_topic *topic = registry_find(r, stripe, hash, name);
    bool found = topic && describe(topic, row);
    lock_give(&stripe->lock);
    row->name = name;
    return found;
}

static void take(struct topic_scan *scan, const struct registry_topic *topic, struct text name)
{
    struct scan_row *row = &scan->rows[scan->count];
    if (!describe(topic, row))
        return;
    row->name = name;
    buf_append_text(&scan->names, name);
    scan->count++;
}

/* The buffer has moved as it grew. */
static void point_to_copies(struct topic_scan *scan)
{
    const char *at = scan->names.data;
    for (size_t i = 0; i < scan->count; i++) {
        scan->rows[i].name.at = at;
        at += scan->rows[i].name.len;
    }
}

bool topic_scan_next(struct topic_scan *scan)
{
    struct topic_walk walk;
    scan->count = 0;
    if (scan->next == REGISTRY_STRIPES || scan->failed)
        return false;
    struct stripe *stripe = &scan->registry->stripes[scan->next];
    bool begun = scan->last.len > 0;
    bool ended = false;
    scan->stripe = scan->next;
    buf_clear(&scan->names);
    lock_take(&stripe->lock);
    topic_walk_begin(&walk, &stripe->order, scan->registry,
        begun ? buf_text(&scan->last) : scan->prefix, !begun);
    struct text name = {0};
    for (size_t looks = 0; looks < SCAN_LOOK && !ended; looks++) {
        const struct registry_topic *topic = topic_walk_next(&walk);
        ended = !topic || !text_starts_with(registry_name(scan->registry, topic), scan->prefix);
        if (ended)
            break;
        name = registry_name(scan->registry, topic);
        take(scan, topic, name);
    }
    buf_clear(&scan->last);
    if (!ended)
        buf_append_text(&scan->last, name);
    lock_give(&stripe->lock);
    if (ended)
        scan->next++;
    point_to_copies(scan);
    scan->failed = scan->names.failed || scan->last.failed;
    return !scan->failed;
}
