#include "broker/topic_list.h"

#include <stdlib.h>
#include <string.h>

static size_t place_of(const struct topic_list *list, struct text name)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (text_compare(list->rows[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void row_free(struct topic_row *row)
{
    union {
        const char *in;
        void *out;
    } name = {row->name.at};
    free(name.out);
}

/* Keeps the `limit` smallest names; there is room for exactly so many. */
static bool consider(struct topic_list *list, size_t limit, struct text name, uint32_t subscribers)
{
    if (list->count == limit) {
        list->more = true;
        if (text_compare(name, list->rows[limit - 1].name) > 0)
            return true;
    }
    char *copy = malloc(name.len);
    if (!copy)
        return false;
    memcpy(copy, name.at, name.len);
    if (list->count == limit)
        row_free(&list->rows[--list->count]);
    size_t at = place_of(list, name);
    memmove(list->rows + at + 1, list->rows + at, (list->count - at) * sizeof *list->rows);
    list->rows[at] = (struct topic_row){{copy, name.len}, subscribers};
    list->count++;
    return true;
}

bool topic_list_take(struct topic_list *list, struct registry *r, struct text prefix,
    struct text after, size_t limit)
{
    *list = (struct topic_list){.rows = malloc(limit * sizeof *list->rows)};
    bool ok = list->rows != NULL;
    for (size_t i = 0; ok && i < REGISTRY_STRIPES; i++) {
        struct stripe *stripe = &r->stripes[i];
        size_t at = 0;
        const struct registry_topic *topic;
        lock_take(&stripe->lock);
        while (ok && (topic = map_next(&stripe->topics, &at)) != NULL) {
            struct text name = registry_name(r, topic);
            list->seen++;
            if (text_starts_with(name, prefix) && text_compare(name, after) > 0)
                ok = consider(list, limit, name, topic->subscribers);
        }
        lock_give(&stripe->lock);
    }
    if (!ok)
        topic_list_fini(list);
    return ok;
}

void topic_list_fini(struct topic_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        row_free(&list->rows[i]);
    free(list->rows);
    *list = (struct topic_list){0};
}
