#include <hermes/protocol.h>
#include <string.h>

#include "load.h"

/* In one turn at most, so that reading gets its turns too. */
enum {
    SENDS_A_TURN = 256,
    VISITS_A_TURN = 16384, /* nothing is sent in most: the server takes no more */
};

static const char TEXT_START[] = "{\"topic\":\"";
static const char TEXT_DATA[] = "\",\"data\":";
enum {
    START_LEN = sizeof TEXT_START - 1,
    DATA_AT = START_LEN + TOPIC_LEN + sizeof TEXT_DATA - 1,
};

static uint64_t until_of(const struct load *load)
{
    return atomic_load_explicit(&load->until, memory_order_relaxed);
}

/* ---- one message ---- */

/* False when the queue has no room. */
static bool publish(struct publisher *p, uint64_t moment)
{
    struct load_lane *at = p->at;
    struct load *load = at->load;
    uint32_t stream = p->plan->first_stream + p->cursor;
    uint32_t topic = load->plan.streams[stream].topic;
    uint64_t number = atomic_load_explicit(&load->sent[stream], memory_order_relaxed);
    struct payload m = {topic, p->index, number, moment};
    size_t len = DATA_AT + load->form.size + 1;
    topic_name(load, topic, at->text + START_LEN);
    payload_write(&load->form, at->text + DATA_AT, &m);
    if (hermes_client_send_text(p->client, at->text, len) != HERMES_CLIENT_OK)
        return false;
    /* The frame goes out at the end of this turn: whoever sees the old number in `sent` has joined
     * before the server can read it. */
    atomic_store_explicit(&load->sent[stream], number + 1, memory_order_release);
    if (++p->cursor == p->plan->streams)
        p->cursor = 0;
    at->lane->tally.published++;
    return true;
}

/* ---- by schedule ---- */

/* The publishers of all lanes take turns in equal distances, so that those of one lane do too. */
static uint64_t moment_of(const struct publisher *p, uint64_t round)
{
    const struct load *load = p->at->load;
    double part = (double)p->index / (double)load->plan.publisher_count;
    return load->start + (uint64_t)(((double)round + part) * load->interval);
}

/* All that is due to the end of that round. */
static void catch_up(struct publisher *p, uint64_t round, uint64_t now)
{
    while (p->stage == STAGE_READY && p->round <= round) {
        uint64_t moment = moment_of(p, p->round);
        if (!publish(p, moment)) {
            p->blocked = true;
            return;
        }
        /* What had to wait for the server is not the tool's fault. */
        if (!p->blocked)
            histogram_record(&p->at->lane->tally.late, now - moment);
        p->round++;
    }
    p->blocked = false;
}

/* Of a publisher, to the end of the schedule. */
static uint64_t rounds_due(const struct publisher *p)
{
    uint64_t until = until_of(p->at->load);
    uint64_t first = moment_of(p, 0);
    uint64_t rounds =
        until > first ? (uint64_t)((double)(until - first) / p->at->load->interval) : 0;
    /* Rounding may have it off by one. */
    while (moment_of(p, rounds) < until)
        rounds++;
    while (rounds > 0 && moment_of(p, rounds - 1) >= until)
        rounds--;
    return rounds;
}

static void schedule_ends(struct load_lane *at)
{
    at->sending = false;
    for (size_t i = 0; i < at->publisher_count; i++) {
        const struct publisher *p = at->publishers[i];
        uint64_t due = rounds_due(p);
        if (p->stage == STAGE_READY && due > p->round)
            *(p->blocked ? &at->unsent.refused : &at->unsent.behind) += due - p->round;
    }
}

void publishers_due(void *load_lane)
{
    struct load_lane *at = load_lane;
    uint64_t now = uv_hrtime();
    uint64_t patience = run_seconds(at->load->o->patience);
    if (!at->sending)
        return;
    for (unsigned sends = 0, visits = 0;; visits++) {
        struct publisher *p = at->publishers[at->visit % at->publisher_count];
        uint64_t round = at->visit / at->publisher_count;
        uint64_t moment = moment_of(p, round);
        /* A rate far beyond the tool would have it catch up for minutes. */
        if (moment >= until_of(at->load) || now > until_of(at->load) + patience) {
            schedule_ends(at);
            return;
        }
        if (moment > now || sends == SENDS_A_TURN || visits == VISITS_A_TURN) {
            pacer_set(&at->pacer, moment);
            return;
        }
        if (!p->blocked) {
            catch_up(p, round, now);
            sends++;
        }
        at->visit++;
    }
}

static void on_drain(struct hermes_client *c, void *user)
{
    struct publisher *p = user;
    struct load_lane *at = p->at;
    (void)c;
    if (!p->blocked || !at->sending)
        return;
    uint64_t rounds = at->visit / at->publisher_count;
    size_t place = p->index / at->lane->fleet->count;
    if (place < at->visit % at->publisher_count)
        rounds++;
    if (rounds == 0)
        p->blocked = false;
    else
        catch_up(p, rounds - 1, uv_hrtime());
}

/* ---- by window ---- */

static void batch(struct publisher *p)
{
    struct load_lane *at = p->at;
    struct load *load = at->load;
    unsigned lanes = at->lane->fleet->count;
    uint64_t now = uv_hrtime();
    if (p->stage != STAGE_READY || now >= until_of(load)) {
        atomic_store_explicit(&p->waiting, 0, memory_order_release);
        at->sending = now < until_of(load);
        return;
    }
    unsigned waiting = 1; /* for ourselves, until all targets stand */
    atomic_store_explicit(&p->waiting, lanes + 1, memory_order_relaxed);
    for (unsigned k = 0; k < lanes; k++) {
        uint64_t more = 0;
        for (uint32_t i = 0; i < load->o->window; i++) {
            uint32_t stream = p->plan->first_stream + (p->cursor + i) % p->plan->streams;
            more += load->local[load->plan.streams[stream].topic * lanes + k];
        }
        if (more > 0)
            atomic_fetch_add_explicit(&load->lanes[k].target[p->index], more, memory_order_release);
        else
            waiting++;
    }
    for (uint32_t i = 0; i < load->o->window; i++)
        (void)publish(p, now);
    atomic_fetch_sub_explicit(&p->waiting, waiting, memory_order_acq_rel);
}

static void ready(struct publisher *p)
{
    struct load_lane *at = p->at;
    p->next_ready = atomic_load_explicit(&at->ready_list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &at->ready_list, &p->next_ready, p, memory_order_release, memory_order_relaxed))
        ;
    lane_wake(at->lane);
}

void publisher_delivered(struct load_lane *at, uint32_t publisher)
{
    uint64_t done = ++at->done[publisher];
    if (done != atomic_load_explicit(&at->target[publisher], memory_order_acquire))
        return;
    struct publisher *p = &at->load->publishers[publisher];
    if (atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_acq_rel) != 1)
        return;
    if (p->at == at)
        batch(p);
    else
        ready(p);
}

void publishers_ready(struct lane *lane)
{
    struct load_lane *at = lane->part;
    if (!at)
        return;
    struct publisher *p = atomic_exchange_explicit(&at->ready_list, NULL, memory_order_acquire);
    while (p) {
        struct publisher *next = p->next_ready;
        batch(p);
        p = next;
    }
}

/* ---- both ---- */

void publishers_start(struct load_lane *at)
{
    at->sending = at->publisher_count > 0;
    at->visit = 0;
    for (size_t i = 0; i < at->publisher_count; i++) {
        at->publishers[i]->round = 0;
        at->publishers[i]->blocked = false;
    }
    if (!at->sending)
        return;
    if (at->load->interval > 0)
        pacer_set(&at->pacer, moment_of(at->publishers[0], 0));
    for (size_t i = 0; at->load->interval == 0 && i < at->publisher_count; i++)
        batch(at->publishers[i]);
}

void publishers_confirm(struct load_lane *at, uint64_t token)
{
    for (size_t i = 0; i < at->publisher_count; i++)
        if (at->publishers[i]->stage == STAGE_READY)
            (void)hermes_client_confirm(at->publishers[i]->client, token);
}

bool publishers_are_confirmed(const struct load_lane *at, uint64_t token)
{
    for (size_t i = 0; i < at->publisher_count; i++)
        if (at->publishers[i]->stage == STAGE_READY && at->publishers[i]->confirmed != token)
            return false;
    return true;
}

static void on_confirm(struct hermes_client *c, uint64_t token, void *user)
{
    struct publisher *p = user;
    (void)c;
    p->confirmed = token;
}

static void settled(struct publisher *p, uint8_t stage)
{
    if (p->stage == STAGE_CONNECTING) {
        p->at->settled++;
        ramp_settled(&p->at->ramp);
    }
    p->stage = stage;
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    struct publisher *p = user;
    struct tally *t = &p->at->lane->tally;
    (void)c;
    if (answer->kind == HERMES_ANSWER_INFO) {
        t->connects++;
        p->at->lane->open++;
        p->greeted = true;
        p->at->load->publishers_ready++;
        settled(p, STAGE_READY);
    } else if (answer->kind == HERMES_ANSWER_ERROR) {
        t->faults.refused++;
        tally_say(t, "The server refused what was published: %.*s", (int)answer->message_len,
            answer->message);
    }
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct publisher *p = user;
    struct tally *t = &p->at->lane->tally;
    p->at->lane->open -= p->greeted;
    p->at->load->publishers_ready -= p->stage == STAGE_READY;
    if (!p->at->load->ending) {
        t->faults.closed += why->opened;
        t->faults.unconnected += !why->opened;
        tally_say(t,
            why->opened ? "A publisher's connection ended: %d %.*s"
                        : "A publisher could not connect: %d %.*s",
            why->code, (int)why->reason_len, why->reason);
    }
    settled(p, STAGE_GONE);
    hermes_client_free(c);
    p->client = NULL;
}

void publisher_open(struct publisher *p, uint64_t moment)
{
    static const struct hermes_client_events events = {.on_answer = on_answer,
        .on_confirm = on_confirm,
        .on_close = on_close,
        .on_drain = on_drain};
    (void)moment;
    struct load_lane *at = p->at;
    memcpy(at->text, TEXT_START, START_LEN);
    memcpy(at->text + START_LEN + TOPIC_LEN, TEXT_DATA, sizeof TEXT_DATA - 1);
    at->text[DATA_AT + at->load->form.size] = '}';
    p->client = load_client(at, &events, p, p->index);
    p->stage = STAGE_CONNECTING;
    p->greeted = false;
    hermes_client_open(p->client);
}
