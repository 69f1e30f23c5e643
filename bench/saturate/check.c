/* What is checked: every delivery byte for byte; its number against the last one of that publisher
 * in that topic (lost, doubled, reordered) and, across topics, at that subscriber (reordered); that
 * its subscriber asked for its topic (else it is damaged); and that all subscribers of a topic saw
 * the messages of all publishers in the same order (else disordered). Deliveries that name their
 * topic and an offset have to name that one, and offsets without a gap (else misnumbered).
 *
 * A payload is a JSON string of exactly that many bytes, quotes included: 4 hexadecimal digits of
 * the publisher, 12 of the message's number, then padding. */
#define _GNU_SOURCE
#include "saturate.h"

void payload_fill(struct load *l)
{
    for (int i = 0; i < l->cell->payload; i++)
        l->payload[i] = (char)('A' + i % 26);
    l->payload[0] = l->payload[l->cell->payload - 1] = '"';
}

void payload_number(char *payload, uint32_t publisher, uint64_t number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t all = (uint64_t)publisher << 48 | number;
    for (int i = 0; i < 16; i++)
        payload[1 + i] = digits[all >> (60 - 4 * i) & 15];
}

static bool payload_read(const unsigned char *payload, uint64_t *all)
{
    uint64_t value = 0;
    for (int i = 1; i <= 16; i++) {
        unsigned c = payload[i];
        if (c - '0' < 10u)
            value = value << 4 | (c - '0');
        else if (c - 'a' < 6u)
            value = value << 4 | (c - 'a' + 10);
        else
            return false;
    }
    *all = value;
    return true;
}

enum taken { TAKEN_NEXT, TAKEN_LATE, TAKEN_TWICE };

static enum taken sequence_take(struct sequence *s, uint64_t number, struct faults *faults)
{
    if (number == s->next) {
        s->next++;
        s->seen = s->seen << 1 | 1;
        return TAKEN_NEXT;
    }
    if (number > s->next) {
        uint64_t missing = number - s->next;
        faults->lost += missing;
        s->next = number + 1;
        s->seen = missing < 63 ? s->seen << (missing + 1) | 1 : 1;
        return TAKEN_NEXT;
    }
    uint64_t back = s->next - 1 - number;
    if (back < 64 && !(s->seen >> back & 1)) {
        s->seen |= (uint64_t)1 << back;
        faults->lost--;
        faults->reordered++;
        return TAKEN_LATE;
    }
    faults->doubled++;
    return TAKEN_TWICE;
}

static struct slot *slot_find(const struct load *l, struct subscriber *s, uint32_t topic)
{
    for (uint32_t k = 0; k < l->slot_count; k++)
        if (s->slots[k].topic == topic)
            return &s->slots[k];
    return NULL;
}

/* Whether it is of that topic and carries the number after the last one's. What was there before
 * the first is not known. */
static void slot_offset(struct load *l, struct slot *slot, const struct item *item)
{
    const char *name = l->names[slot->topic];
    if (item->topic_len != strlen(name) || memcmp(item->topic, name, item->topic_len) != 0)
        l->faults.damaged++;
    if (item->offset == 0 || (slot->offset && item->offset != slot->offset + 1))
        l->faults.misnumbered++;
    slot->offset = item->offset;
}

void subscriber_delivery(struct load *l, struct subscriber *s, const struct item *item)
{
    const unsigned char *payload = item->payload;
    size_t len = item->len;
    uint64_t all, number;
    struct publisher *p = NULL;
    struct slot *slot = NULL;

    if (len == (size_t)l->cell->payload && payload[0] == '"' && payload_read(payload, &all) &&
        all >> 48 < l->publisher_count && memcmp(payload + 17, l->payload + 17, len - 17) == 0) {
        number = all & 0xffffffffffff;
        p = &l->publishers[all >> 48];
        if (number < p->sent)
            slot = slot_find(l, s, publisher_topic(l, p, number));
    }
    if (!slot) {
        if (!l->faults.damaged++)
            fprintf(stderr, "not what was published, or not to this subscriber: %.*s\n",
                len > 200 ? 200 : (int)len, (const char *)payload);
        return;
    }
    if (item->topic)
        slot_offset(l, slot, item);
    uint32_t heard = l->mode == MODE_PAIRS ? 0 : (uint32_t)(p - l->publishers);
    enum taken taken =
        sequence_take(&slot->of[heard], publisher_sequence(l, p, number), &l->faults);
    if (taken == TAKEN_NEXT && number < s->after[heard])
        l->faults.reordered++;
    else if (taken == TAKEN_NEXT)
        s->after[heard] = number + 1;
    slot->order = (slot->order ^ all) * 0x9e3779b97f4a7c15u;
    l->deliveries++;
    load_latency_add(&l->latency, l->read_at - p->stamp);
    if (taken != TAKEN_TWICE && p->owed && --p->owed == 0)
        l->idle[l->idle_count++] = p;
}

void load_settle(struct load *l)
{
    uint64_t *order = calloc(l->topic_count, sizeof *order);
    bool *known = calloc(l->topic_count, sizeof *known);
    if (!order || !known)
        load_die("no memory");
    for (uint32_t i = 0; i < l->subscriber_count; i++) {
        bool differs = false;
        for (uint32_t k = 0; k < l->slot_count; k++) {
            struct slot *slot = &l->subscribers[i].slots[k];
            for (uint32_t h = 0; h < l->heard; h++) {
                uint32_t p = l->mode == MODE_PAIRS ? i : h;
                uint64_t next = publisher_next(l, &l->publishers[p], slot->topic);
                l->faults.lost += next - slot->of[h].next;
                slot->of[h] = (struct sequence){next, ~(uint64_t)0};
            }
            if (!known[slot->topic]) {
                known[slot->topic] = true;
                order[slot->topic] = slot->order;
            }
            differs |= slot->order != order[slot->topic];
        }
        l->faults.disordered += differs;
    }
    free(order);
    free(known);
}
