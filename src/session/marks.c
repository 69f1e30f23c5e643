#include "session/marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

enum { MARKS_KEPT = 1024 }; /* memory for so many is not given back */

void marks_fini(struct marks *m)
{
    free(m->list);
    *m = (struct marks){0};
}

void marks_add(struct marks *m, struct mark mark)
{
    MUST_DEBUG(m->count == 0 || m->list[m->head + m->count - 1].end <= mark.start);
    MUST_DEBUG(mark.start <= mark.last && mark.last < mark.end && mark.count > 0);
    if (m->head + m->count == m->cap) {
        if (m->head > m->cap / 2) {
            memmove(m->list, m->list + m->head, m->count * sizeof *m->list);
            m->head = 0;
        } else {
            size_t cap = m->cap ? m->cap * 2 : 64;
            struct mark *list = realloc(m->list, cap * sizeof *list);
            if (!list)
                die("no memory for %zu marks in the log", cap);
            m->list = list;
            m->cap = cap;
        }
    }
    m->list[m->head + m->count++] = mark;
}

/* A peak is not paid for for ever. */
static void shrink(struct marks *m)
{
    size_t cap = m->cap;
    while (cap > MARKS_KEPT && m->count < cap / 4)
        cap /= 2;
    if (cap == m->cap)
        return;
    memmove(m->list, m->list + m->head, m->count * sizeof *m->list);
    m->head = 0;
    struct mark *list = realloc(m->list, cap * sizeof *list);
    if (!list)
        return;
    m->list = list;
    m->cap = cap;
}

void marks_trim(struct marks *m, uint64_t base)
{
    if (m->count == 0 || m->list[m->head].end > base)
        return;
    size_t left = marks_behind(m, base);
    m->head += m->count - left;
    m->count = left;
    if (left == 0)
        m->head = 0;
    if (m->cap > MARKS_KEPT)
        shrink(m);
}

size_t marks_behind(const struct marks *m, uint64_t position)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->list[m->head + middle].end <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return m->count - low;
}

const struct mark *marks_from(const struct marks *m, uint64_t position)
{
    size_t behind = marks_behind(m, position);
    return behind > 0 ? &m->list[m->head + m->count - behind] : NULL;
}

const struct mark *marks_next(const struct marks *m, const struct mark *mark)
{
    mark++;
    return mark < m->list + m->head + m->count ? mark : NULL;
}
