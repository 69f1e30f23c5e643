#include "session/arrears.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

static void charge(struct arrears *a, struct byte_log *log, size_t bytes)
{
    a->charged += bytes;
    log->charged += bytes;
}

static void refund(struct arrears *a, struct byte_log *log, size_t bytes)
{
    a->charged -= bytes;
    log->charged -= bytes;
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
    log->charged -= a->charged;
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

void arrears_part(struct arrears *a, uint64_t position)
{
    a->seam = position;
    a->era++;
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
    return note->to + 1 == loss->from && note->era == a->era &&
           (note->place >= a->seam || loss->place < a->seam);
}

static struct note *note_new(
    const struct arrears *a, const struct byte_log *log, const struct loss *loss)
{
    struct note *note = malloc(sizeof *note + loss->name_len);
    if (!note)
        return NULL;
    *note = (struct note){.place = loss->place,
        .topic = loss->topic,
        .from = loss->from,
        .to = loss->to,
        .era = a->era,
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
    struct note *note = note_new(a, log, loss);
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
