#include "broker/topic_rates.h"

#include <stdlib.h>

enum { SLOTS_FIRST = 256 };

void topic_rates_init(struct topic_rates *r)
{
    *r = (struct topic_rates){.slots = NULL};
}

void topic_rates_forget(struct topic_rates *r)
{
    free(r->slots);
    topic_rates_init(r);
}

/* Epochs are spread well in their high bits only. */
static size_t place_of(const struct topic_rates *r, uint64_t epoch)
{
    return (size_t)((epoch ^ epoch >> 32) * UINT64_C(0xD6E8FEB86659FD93) >> 32) & r->mask;
}

/* Its slot, or the free one where it belongs; there are slots. */
static struct topic_rate *slot_of(const struct topic_rates *r, uint64_t epoch)
{
    size_t at = place_of(r, epoch);
    while (r->slots[at].epoch != 0 && r->slots[at].epoch != epoch)
        at = (at + 1) & r->mask;
    return &r->slots[at];
}

/* Moves what is of `round` or later to other slots; false when there is no memory. */
static bool resize(struct topic_rates *r, size_t slots, uint32_t round)
{
    struct topic_rates before = *r;
    struct topic_rate *fresh = calloc(slots, sizeof *fresh);
    if (!fresh)
        return false;
    r->slots = fresh;
    r->mask = slots - 1;
    r->count = 0;
    for (size_t i = 0; before.slots && i <= before.mask; i++) {
        const struct topic_rate *old = &before.slots[i];
        if (old->epoch == 0 || old->round < round)
            continue;
        *slot_of(r, old->epoch) = *old;
        r->count++;
    }
    free(before.slots);
    return true;
}

/* Room for one more. */
static bool has_room(struct topic_rates *r)
{
    size_t slots = r->slots ? r->mask + 1 : 0;
    if (r->count < slots - slots / 8)
        return true;
    if (r->count >= RATES_MOST)
        return false;
    /* Of the round before they are needed still. */
    return resize(r, slots ? 2 * slots : SLOTS_FIRST, r->rounds);
}

void topic_rates_begin(struct topic_rates *r)
{
    r->stripe = REGISTRY_STRIPES;
    r->here = 0;
}

static void take(struct topic_rates *r, uint64_t epoch, uint64_t offset, double seconds)
{
    uint32_t round = r->rounds + 1;
    struct topic_rate *slot = r->slots ? slot_of(r, epoch) : NULL;
    bool known = slot && slot->epoch != 0;
    if (!known) {
        if (!has_room(r))
            return;
        slot = slot_of(r, epoch);
        *slot = (struct topic_rate){.epoch = epoch};
        r->count++;
    }
    r->here++;
    bool sampled = slot->round != 0 && slot->round == r->rounds && seconds > 0;
    slot->rate = sampled ? (float)((double)(offset - slot->offset) / seconds) : -1;
    slot->offset = offset;
    slot->round = round;
}

void topic_rates_take(struct topic_rates *r, const struct topic_scan *scan, uint64_t now_ns)
{
    if (scan->stripe != r->stripe) {
        if (r->stripe < REGISTRY_STRIPES)
            r->seen_ns[r->stripe] = r->now_ns;
        r->stripe = scan->stripe;
        r->now_ns = now_ns;
    }
    double seconds = (double)(r->now_ns - r->seen_ns[scan->stripe]) / 1e9;
    for (size_t i = 0; i < scan->count; i++)
        take(r, scan->rows[i].epoch, scan->rows[i].offset, seconds);
}

void topic_rates_end(struct topic_rates *r)
{
    if (r->stripe < REGISTRY_STRIPES)
        r->seen_ns[r->stripe] = r->now_ns;
    r->rounds++;
    if (!r->slots || r->count - r->here <= r->count / 4)
        return;
    size_t slots = SLOTS_FIRST;
    while (slots - slots / 8 <= r->here)
        slots *= 2;
    resize(r, slots, r->rounds); /* without memory they stay, and are looked at in the next round */
}

double topic_rates_find(const struct topic_rates *r, uint64_t epoch)
{
    if (!topic_rates_known(r) || !r->slots)
        return -1;
    const struct topic_rate *slot = slot_of(r, epoch);
    return slot->epoch == epoch ? (double)slot->rate : -1;
}
