/* What a subscriber gets, checked. */
#include "envelope.h"
#include "load.h"

static struct tally *tally_of(const struct subscriber *s)
{
    return &s->at->lane->tally;
}

struct subscription *subscriber_find(struct subscriber *s, uint32_t topic)
{
    struct subscription *all = s->subscriptions;
    uint32_t low = 0;
    for (uint32_t count = s->plan->count; count > 1;) {
        uint32_t half = count / 2;
        if (all[low + half].topic <= topic)
            low += half;
        count -= half;
    }
    return all[low].topic == topic ? &all[low] : NULL;
}

static void damaged(struct subscriber *s, const char *what, const char *data, size_t len)
{
    struct tally *t = tally_of(s);
    t->faults.damaged++;
    tally_say(t, "%s: %.*s%s", what, (int)(len < 80 ? len : 80), data, len > 80 ? "..." : "");
}

void subscriber_served(struct subscriber *s)
{
    histogram_record(&tally_of(s)->served, uv_hrtime() - s->cut);
    s->cut = 0;
}

/* Its number in the topic; `fresh`: it had not come before. */
static void check_offset(
    struct subscriber *s, struct subscription *sub, uint64_t offset, bool fresh)
{
    struct tally *t = tally_of(s);
    bool next = offset == sub->offset + 1;
    if (!next && (fresh || offset > sub->offset)) {
        t->faults.misnumbered++;
        tally_say(t, "A delivery had the offset %llu, %llu was to come", (unsigned long long)offset,
            (unsigned long long)sub->offset + 1);
    }
    if (offset > sub->offset)
        sub->offset = offset;
}

/* `envelope`: NULL at level 1. */
static void take(
    struct subscriber *s, const char *data, size_t len, const struct envelope *envelope)
{
    const struct load *load = s->at->load;
    struct tally *t = tally_of(s);
    uint64_t now = uv_hrtime();
    uint32_t named = 0;
    struct payload m;
    enum payload_verdict verdict = payload_read(&load->form, data, len, &m);
    if (verdict != PAYLOAD_GOOD) {
        damaged(s, "A delivery was not what had been published", data, len);
        if (verdict == PAYLOAD_STRANGE)
            return;
    }
    struct subscription *sub = subscriber_find(s, m.topic);
    if (!sub) {
        damaged(s, "A delivery came to somebody without that subscription", data, len);
        return;
    }
    uint32_t stream = m.publisher - sub->publisher;
    if (stream >= sub->streams) {
        damaged(s, "A delivery came from nobody who publishes that topic", data, len);
        return;
    }
    if (envelope &&
        (!topic_number(load, envelope->topic, envelope->topic_len, &named) || named != m.topic))
        damaged(s, "A delivery named another topic", envelope->topic, envelope->topic_len);
    bool fresh = check_take(&sub->checks[stream], m.number, &t->faults);
    if (envelope)
        check_offset(s, sub, envelope->offset, fresh);
    if (!fresh)
        return;
    t->deliveries++;
    t->bytes += len;
    sub->taken++;
    sub->order = (sub->order ^ ((uint64_t)stream << 40 | m.number)) * 0x9e3779b97f4a7c15u;
    /* Of what was published while it was away, latency says nothing. */
    bool late = s->cut && s->at->load->o->recover;
    if (s->cut && s->owed > 0 && --s->owed == 0)
        subscriber_served(s);
    if (s->plan->stalls || late)
        return;
    histogram_record(&t->latency, now - m.moment);
    if (load->o->window)
        publisher_delivered(s->at, m.publisher);
}

void subscriber_data(struct hermes_client *c, const char *data, size_t len, void *user)
{
    (void)c;
    take(user, data, len, NULL);
}

void subscriber_message(struct hermes_client *c, char *text, size_t len, void *user)
{
    struct subscriber *s = user;
    struct envelope e;
    (void)c;
    s->read = envelope_read(text, len, &e);
    if (s->read)
        take(s, e.data, e.data_len, &e);
}

/* In a form that Hermes does not write: without those that have come before. */
void subscriber_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user)
{
    struct subscriber *s = user;
    struct envelope e = {d->topic, d->data, d->topic_len, d->data_len, d->offset};
    (void)c;
    if (!s->read)
        take(s, e.data, e.data_len, &e);
}

void subscriber_gap(struct hermes_client *c, const struct hermes_gap *gap, void *user)
{
    struct subscriber *s = user;
    struct subscription *sub;
    uint32_t topic;
    (void)c;
    if (!topic_number(s->at->load, gap->topic, gap->topic_len, &topic) ||
        (sub = subscriber_find(s, topic)) == NULL)
        return;
    if (gap->to > sub->offset)
        sub->offset = gap->to;
    tally_say(tally_of(s), "The server left out messages %llu to %llu for a slow subscriber",
        (unsigned long long)gap->from, (unsigned long long)gap->to);
}
