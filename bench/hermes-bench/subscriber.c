#include <hermes/protocol.h>
#include <string.h>

#include "load.h"

static struct tally *tally_of(const struct subscriber *s)
{
    return &s->at->lane->tally;
}

/* ---- life ---- */

/* What the server says of where it stands in the topic, for the next time. */
static void place(struct subscription *sub, const struct hermes_answer *answer)
{
    sub->offset = answer->offset;
    sub->epoch_len = answer->epoch_len <= sizeof sub->epoch ? (uint8_t)answer->epoch_len : 0;
    memcpy(sub->epoch, answer->epoch ? answer->epoch : "", sub->epoch_len);
}

/* It had asked for what it missed. */
static bool recovered(struct subscriber *s, const struct hermes_answer *answer)
{
    struct tally *t = tally_of(s);
    if (answer->recovered == HERMES_RECOVERED_YES)
        return true;
    t->faults.unrecovered++;
    s->at->load->unrecovered++;
    s->owed = 0; /* nobody knows when it has all */
    tally_say(t, "A subscriber that came back was not recovered.");
    return false;
}

static void joined(
    struct subscriber *s, struct subscription *sub, const struct hermes_answer *answer)
{
    const struct load *load = s->at->load;
    if (load->o->recover && s->cut && recovered(s, answer))
        return;
    place(sub, answer);
    const struct plan_topic *topic = &load->plan.topics[sub->topic];
    sub->taken = sub->order = 0;
    for (uint32_t i = 0; i < topic->streams; i++) {
        uint64_t sent =
            atomic_load_explicit(&load->sent[topic->first_stream + i], memory_order_acquire);
        check_join(&sub->checks[i], sent);
        s->partial |= sent > 0;
    }
}

static void settled(struct subscriber *s, uint8_t stage)
{
    if (s->stage == STAGE_CONNECTING) {
        s->at->settled++;
        ramp_settled(&s->at->ramp);
    }
    s->at->load->subscribers_ready += stage == STAGE_READY;
    s->stage = stage;
}

static void leave(struct subscriber *s)
{
    s->at->load->subscribers_ready -= s->stage == STAGE_READY;
}

static void drop(struct subscriber *s)
{
    s->at->lane->open -= s->greeted;
    hermes_client_free(s->client);
    s->client = NULL;
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    struct subscriber *s = user;
    struct tally *t = tally_of(s);
    uint32_t topic;
    struct subscription *sub;
    (void)c;
    switch (answer->kind) {
    case HERMES_ANSWER_INFO:
        histogram_record(&t->connect, uv_hrtime() - s->begun);
        t->connects++;
        s->at->lane->open++;
        s->greeted = true;
        break;
    case HERMES_ANSWER_SUBSCRIBED:
        if (s->stage == STAGE_CONNECTING &&
            topic_number(s->at->load, answer->topic, answer->topic_len, &topic) &&
            (sub = subscriber_find(s, topic)) != NULL) {
            joined(s, sub, answer);
            if (++s->acknowledged == s->plan->count) {
                if (s->cut && s->owed == 0)
                    s->cut = 0;
                settled(s, STAGE_READY);
            }
        }
        break;
    case HERMES_ANSWER_ERROR:
        t->faults.refused++;
        tally_say(
            t, "The server refused something: %.*s", (int)answer->message_len, answer->message);
        /* It waits for an acknowledgement that will not come. */
        if (s->stage == STAGE_CONNECTING) {
            settled(s, STAGE_GONE);
            drop(s);
        }
        break;
    default:
        break;
    }
}

static void count_end(struct subscriber *s, const struct hermes_close *why)
{
    struct load *load = s->at->load;
    struct tally *t = tally_of(s);
    /* Who does not read does not see a ping either. */
    bool stalls = s->plan->stalls && why->code == HERMES_CLOSE_INTERNAL;
    bool slow = why->code == HERMES_CLOSE_TOO_SLOW && (s->plan->stalls || load->too_slow_is_fine);
    if (why->opened && (slow || stalls)) {
        load->slow++;
    } else if (load->ending) {
        return;
    } else if (!why->opened) {
        t->faults.unconnected++;
        tally_say(t, "A subscriber could not connect: %.*s", (int)why->reason_len, why->reason);
    } else {
        t->faults.closed++;
        tally_say(t, "A subscriber's connection ended: %d %.*s", why->code, (int)why->reason_len,
            why->reason);
    }
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct subscriber *s = user;
    count_end(s, why);
    leave(s);
    settled(s, STAGE_GONE);
    drop(s);
    (void)c;
}

void subscriber_open(struct subscriber *s, uint64_t moment)
{
    static const struct hermes_client_events events = {
        .on_data = subscriber_data, .on_answer = on_answer, .on_close = on_close};
    static const struct hermes_client_events events2 = {.on_message = subscriber_message,
        .on_delivery = subscriber_delivery,
        .on_gap = subscriber_gap,
        .on_answer = on_answer,
        .on_close = on_close};
    const struct load *load = s->at->load;
    char name[TOPIC_LEN];
    s->client = load_client(s->at, load->o->level == 2 ? &events2 : &events, s,
        (size_t)(s->plan - load->plan.subscribers));
    s->stage = STAGE_CONNECTING;
    s->acknowledged = 0;
    s->greeted = false;
    s->begun = moment;
    for (uint32_t i = 0; i < s->plan->count; i++) {
        const struct subscription *sub = &s->subscriptions[i];
        struct hermes_subscribe_options since = {
            .epoch = sub->epoch, .epoch_len = sub->epoch_len, .offset = sub->offset};
        topic_name(load, sub->topic, name);
        if (load->o->recover && s->cut && sub->epoch_len > 0)
            (void)hermes_client_subscribe_with(s->client, name, sizeof name, &since);
        else
            (void)hermes_client_subscribe(s->client, name, sizeof name);
    }
    hermes_client_open(s->client);
}

void subscriber_cut(struct subscriber *s)
{
    if (!s->client)
        return;
    leave(s);
    drop(s);
    s->stage = STAGE_GONE;
    s->cut = uv_hrtime();
    s->owed = 1;
}

void subscriber_stall(struct subscriber *s)
{
    if (!s->plan->stalls || s->stage != STAGE_READY)
        return;
    s->stalled = true;
    hermes_client_pause(s->client);
}

void subscriber_resume(struct subscriber *s)
{
    if (s->stalled && s->client)
        hermes_client_resume(s->client);
    s->stalled = false;
}

/* ---- the end ---- */

/* A publisher whose connection broke does not know what of it the server has read. */
static bool is_known(const struct load *load, uint32_t stream)
{
    return load->publishers[load->plan.streams[stream].publisher].stage == STAGE_READY;
}

static uint64_t missing(const struct subscriber *s, const struct subscription *sub)
{
    const struct load *load = s->at->load;
    const struct plan_topic *topic = &load->plan.topics[sub->topic];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < topic->streams; i++)
        if (is_known(load, topic->first_stream + i))
            sum += check_missing(&sub->checks[i], load->sent[topic->first_stream + i]);
    return sum;
}

void subscriber_awaits(struct subscriber *s, uint64_t moment)
{
    s->cut = moment;
    s->owed = 0;
    for (uint32_t i = 0; i < s->plan->count; i++)
        s->owed += missing(s, &s->subscriptions[i]);
}

bool subscriber_has_all(const struct subscriber *s, bool stalled_too)
{
    if (s->stage != STAGE_READY || (s->plan->stalls && !stalled_too))
        return true;
    for (uint32_t i = 0; i < s->plan->count; i++)
        if (missing(s, &s->subscriptions[i]) > 0)
            return false;
    return true;
}

void subscriber_settle(struct subscriber *s)
{
    if (s->stage != STAGE_READY)
        return;
    for (uint32_t i = 0; i < s->plan->count; i++)
        tally_of(s)->faults.lost += missing(s, &s->subscriptions[i]);
}
