#include "session/arrears.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

static void charge(struct arrears *a, struct byte_log *log, size_t bytes)
{
    a->charged += bytes;
    log->charged += bytes;
    log->owed += bytes;
}

static void refund(struct arrears *a, struct byte_log *log, size_t bytes)
{
    a->charged -= bytes;
    log->charged -= bytes;
    log->owed -= bytes;
}

static size_t note_size(const struct note *note)
{
    return sizeof *note + note->name_len;
}

bool arrears_take(struct arrears **a, struct byte_log *log)
{
    if (*a)
        return true;
    *a = calloc(1, sizeof **a);
    if (!*a)
        return false;
    charge(*a, log, sizeof **a);
    return true;
}

void arrears_free(struct arrears *a, struct byte_log *log)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++)
        free(a->notes[a->at + i]);
    free(a->notes);
    free(a->seams);
    refund(a, log, a->charged);
    free(a);
}

void arrears_pop(struct arrears *a, struct byte_log *log)
{
    struct note *note = a->notes[a->at++];
    if (--a->count == 0)
        a->at = 0;
    refund(a, log, note_size(note));
    free(note);
}

/* --- where subscriptions begin ---------------------------------------------------------------- */

/* What may still be lost lies behind the log's base: of the seams before that the last one tells as
 * much as all of them. */
static void forget_seams(struct arrears *a, uint64_t base)
{
    size_t gone = 0;
    while (gone + 1 < a->seam_count && a->seams[gone + 1] <= base)
        gone++;
    a->seam_count -= gone;
    if (gone > 0)
        memmove(a->seams, a->seams + gone, a->seam_count * sizeof *a->seams);
}

bool arrears_part(struct arrears *a, struct byte_log *log, uint64_t position)
{
    if (a->seam_count > 0 && a->seams[a->seam_count - 1] == position)
        return true;
    if (a->seam_count == a->seam_cap)
        forget_seams(a, log->base);
    if (a->seam_count == a->seam_cap) {
        size_t cap = a->seam_cap ? a->seam_cap * 2 : 4;
        uint64_t *seams = realloc(a->seams, cap * sizeof *seams);
        if (!seams)
            return false;
        charge(a, log, (cap - a->seam_cap) * sizeof *seams);
        a->seams = seams;
        a->seam_cap = cap;
    }
    a->seams[a->seam_count++] = position;
    return true;
}

bool arrears_parted(const struct arrears *a, uint64_t from, uint64_t to)
{
    size_t low = 0;
    size_t high = a->seam_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (a->seams[middle] <= from)
            low = middle + 1;
        else
            high = middle;
    }
    return low < a->seam_count && a->seams[low] <= to;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* The new row, and of each topic in it the last note so far, by open addressing. */
struct row {
    struct note **notes;
    size_t count;
    uint32_t *last; /* index + 1; 0: free */
    size_t mask;
};

static bool row_init(struct row *row, size_t most)
{
    size_t slots = 16;
    while (slots < 2 * most)
        slots *= 2;
    MUST(slots <= UINT32_MAX);
    *row = (struct row){.mask = slots - 1};
    row->notes = malloc(most * sizeof(row->notes[0]));
    row->last = calloc(slots, sizeof(row->last[0]));
    if (row->notes && row->last)
        return true;
    free(row->notes);
    free(row->last);
    return false;
}

/* The topic's slot. */
static uint32_t *row_last(const struct row *row, uint64_t topic)
{
    size_t slot = topic & row->mask;
    while (row->last[slot] && row->notes[row->last[slot] - 1]->topic != topic)
        slot = (slot + 1) & row->mask;
    return &row->last[slot];
}

static bool extends(const struct arrears *a, const struct note *note, const struct loss *loss)
{
    return note->to + 1 == loss->from && !arrears_parted(a, note->place, loss->place);
}

static struct note *note_new(const struct byte_log *log, const struct loss *loss)
{
    struct note *note = malloc(sizeof *note + loss->name_len);
    if (!note)
        return NULL;
    *note = (struct note){.place = loss->place,
        .topic = loss->topic,
        .from = loss->from,
        .to = loss->to,
        .name_len = loss->name_len};
    log_read(log, loss->name, note->name, loss->name_len);
    return note;
}

/* Puts the loss into the row; false when there is no memory. */
static bool row_lose(
    struct row *row, struct arrears *a, struct byte_log *log, const struct loss *loss)
{
    uint32_t *last = row_last(row, loss->topic);
    if (*last && extends(a, row->notes[*last - 1], loss)) {
        row->notes[*last - 1]->to = loss->to;
        return true;
    }
    struct note *note = note_new(log, loss);
    if (!note)
        return false;
    charge(a, log, note_size(note));
    row->notes[row->count++] = note;
    *last = (uint32_t)row->count;
    return true;
}

bool arrears_add(struct arrears *a, struct byte_log *log, const struct loss *losses, size_t count)
{
    struct row row;
    if (!row_init(&row, a->count + count))
        return false;
    size_t at = 0; /* in what was noted before */
    bool good = true;
    for (size_t i = 0; i <= count; i++) {
        while (at < a->count && (i == count || a->notes[a->at + at]->place < losses[i].place)) {
            struct note *note = a->notes[a->at + at++];
            uint32_t *last = row_last(&row, note->topic);
            row.notes[row.count++] = note;
            *last = (uint32_t)row.count;
        }
        /* After a failure only what there was is kept, so that it is freed. */
        if (i < count && good)
            good = row_lose(&row, a, log, &losses[i]);
    }
    free(row.last);
    refund(a, log, a->cap * sizeof(a->notes[0]));
    free(a->notes);
    a->notes = row.notes;
    a->at = 0;
    a->cap = a->count + count;
    a->count = row.count;
    charge(a, log, a->cap * sizeof(a->notes[0]));
    return good;
}
