#include "session/marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

static _Noreturn void die_full(const struct marks *m)
{
    die("no memory for more than %zu marks in the log", m->count);
}

void marks_fini(struct marks *m)
{
    for (size_t i = 0; i < m->used; i++)
        free(m->blocks[m->head + i]);
    free(m->blocks);
    map_fini(&m->newest);
    *m = (struct marks){0};
}

static void block_add(struct marks *m)
{
    if (m->head + m->used == m->cap) {
        if (m->head > m->cap / 2) {
            memmove(m->blocks, m->blocks + m->head, m->used * sizeof(m->blocks[0]));
            m->head = 0;
        } else {
            size_t cap = m->cap ? m->cap * 2 : 8;
            struct mark **blocks = realloc(m->blocks, cap * sizeof *blocks);
            if (!blocks)
                die_full(m);
            m->blocks = blocks;
            m->cap = cap;
        }
    }
    struct mark *block = malloc(MARKS_BLOCK * sizeof *block);
    if (!block)
        die_full(m);
    m->blocks[m->head + m->used++] = block;
}

/* The last one is kept: without it every batch would make one anew. */
static void blocks_free(struct marks *m, size_t count)
{
    for (; count > 0 && m->used > 1; count--) {
        free(m->blocks[m->head++]);
        m->used--;
    }
}

/* --- the newest of each topic ----------------------------------------------------------------- */

static bool same_topic(const void *item, const void *wanted)
{
    (void)item;
    (void)wanted;
    return true; /* its hash is all that is known of a topic */
}

static void *as_item(uint64_t number)
{
    return (void *)(uintptr_t)(number + 1);
}

/* A mark of that number is there, and the newest of its topic. */
static void make_newest(struct marks *m, uint64_t topic, uint64_t number)
{
    void *before = map_find(&m->newest, topic, same_topic, NULL);
    if (!map_add(&m->newest, topic, as_item(number)))
        die_full(m);
    if (!before)
        return;
    uint64_t older = (uint64_t)(uintptr_t)before - 1;
    marks_at(m, older)->ahead = (uint32_t)(number - older);
    map_remove(&m->newest, topic, before);
}

void marks_add(struct marks *m, struct mark mark)
{
    uint64_t number = marks_end(m);
    MUST_DEBUG(m->count == 0 || marks_at(m, number - 1)->end <= mark.start);
    MUST_DEBUG(mark.start <= mark.last && mark.last < mark.end && mark.count > 0);
    if (m->used == 0 || (number % MARKS_BLOCK == 0 && m->count > 0))
        block_add(m);
    mark.ahead = 0;
    m->count++;
    *marks_at(m, number) = mark;
    make_newest(m, mark.topic, number);
}

static void forget_all(struct marks *m)
{
    blocks_free(m, m->used);
    map_fini(&m->newest);
    m->begin = 0;
    m->count = 0;
}

void marks_trim(struct marks *m, uint64_t base)
{
    if (m->count > 0 && marks_at(m, marks_end(m) - 1)->end <= base)
        forget_all(m);
    while (m->count > 0) {
        const struct mark *mark = marks_at(m, m->begin);
        if (mark->end > base)
            break;
        if (mark->ahead == 0)
            map_remove(&m->newest, mark->topic, as_item(m->begin));
        m->count--;
        if (++m->begin % MARKS_BLOCK == 0)
            blocks_free(m, 1);
    }
}

uint64_t marks_from(const struct marks *m, uint64_t position)
{
    uint64_t low = m->begin;
    uint64_t high = marks_end(m);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (marks_at(m, middle)->end <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t marks_size(const struct marks *m)
{
    size_t slots = m->newest.slots ? (size_t)m->newest.mask + 1 : 0;
    return m->used * MARKS_BLOCK * sizeof(struct mark) + m->cap * sizeof(m->blocks[0]) +
           slots * sizeof(struct map_slot);
}
