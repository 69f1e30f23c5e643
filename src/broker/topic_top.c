#include "broker/topic_top.h"

#include <stdlib.h>
#include <string.h>

bool topic_top_init(struct topic_top *top, size_t most)
{
    *top = (struct topic_top){.rows = malloc(most * sizeof *top->rows), .most = most};
    return top->rows != NULL;
}

static void name_free(struct text name)
{
    free((void *)(uintptr_t)name.at);
}

void topic_top_fini(struct topic_top *top)
{
    for (size_t i = 0; i < top->count; i++)
        name_free(top->rows[i].topic.name);
    free(top->rows);
    *top = (struct topic_top){.rows = NULL};
}

/* Less than 0: `a` comes before `b` in the order. */
static int compare(const struct top_row *a, const struct top_row *b)
{
    if (a->mark != b->mark)
        return a->mark > b->mark ? -1 : 1;
    return text_compare(a->topic.name, b->topic.name);
}

/* A place that is free, moved down to where the row belongs. */
static void put_down(struct topic_top *top, struct top_row row)
{
    size_t at = 0;
    for (size_t below; (below = 2 * at + 1) < top->count; at = below) {
        if (below + 1 < top->count && compare(&top->rows[below + 1], &top->rows[below]) > 0)
            below++;
        if (compare(&row, &top->rows[below]) >= 0)
            break;
        top->rows[at] = top->rows[below];
    }
    top->rows[at] = row;
}

static void put_up(struct topic_top *top, struct top_row row)
{
    size_t at = top->count++;
    for (; at > 0 && compare(&row, &top->rows[(at - 1) / 2]) > 0; at = (at - 1) / 2)
        top->rows[at] = top->rows[(at - 1) / 2];
    top->rows[at] = row;
}

bool topic_top_offer(struct topic_top *top, const struct scan_row *topic, double mark)
{
    struct top_row row = {mark, *topic};
    bool full = top->count == top->most;
    if (full && compare(&row, &top->rows[0]) >= 0)
        return true;
    char *name = malloc(topic->name.len ? topic->name.len : 1);
    if (!name)
        return false;
    memcpy(name, topic->name.at, topic->name.len);
    row.topic.name.at = name;
    if (full) {
        name_free(top->rows[0].topic.name);
        put_down(top, row);
    } else {
        put_up(top, row);
    }
    return true;
}

static int by_order(const void *a, const void *b)
{
    return compare(a, b);
}

void topic_top_sort(struct topic_top *top)
{
    if (top->count > 0)
        qsort(top->rows, top->count, sizeof *top->rows, by_order);
}
