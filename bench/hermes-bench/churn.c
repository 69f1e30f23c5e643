#include "churn.h"

#include <hermes/protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"

enum {
    LOOK_MS = 100, /* how often stuck and failed ones are looked for */
    TOPIC_MOST = 40,
    QUEUE_SPARE = 1 << 20,
};

enum churner_stage {
    CHURNER_IDLE,
    CHURNER_RESTING, /* goes on when it is looked at; so does one that has failed */
    CHURNER_CONNECTING,
    CHURNER_SUBSCRIBING,
    CHURNER_WAITING, /* for its message */
    CHURNER_CLOSING,
};

struct churner {
    struct churn_lane *at;
    struct hermes_client *client;
    uint32_t index;
    uint8_t stage;
    bool greeted;
    uint64_t number; /* of the message */
    uint64_t begun, published;
    uint64_t since; /* that it is connecting, or connected */
};

struct churn_lane {
    struct churn *churn;
    struct lane *lane;
    struct churner *churners;
    size_t count, busy;
    uv_timer_t timer;
    char *data;
    bool going;
};

static struct tally *tally_of(const struct churner *c)
{
    return &c->at->lane->tally;
}

static size_t topic_of(const struct churner *c, char *out)
{
    return (size_t)snprintf(out, TOPIC_MOST, "%s%06x", c->at->churn->name, c->index);
}

static void begin(struct churner *c)
{
    c->stage = CHURNER_CONNECTING;
    c->greeted = false;
    c->begun = c->since = uv_hrtime();
    c->at->busy++;
    hermes_client_open(c->client);
}

/* Its connection is gone. */
static void over(struct churner *c, bool well)
{
    char topic[TOPIC_MOST];
    c->at->busy--;
    c->at->lane->open -= c->greeted;
    c->number++;
    (void)hermes_client_unsubscribe(c->client, topic, topic_of(c, topic));
    c->stage = CHURNER_RESTING;
    if (well && c->at->going && !c->at->churn->rests)
        begin(c);
}

static void publish(struct churner *c)
{
    struct churn *churn = c->at->churn;
    char topic[TOPIC_MOST];
    c->published = uv_hrtime();
    payload_write(
        &churn->form, c->at->data, &(struct payload){c->index, 0, c->number, c->published});
    (void)hermes_client_publish(
        c->client, topic, topic_of(c, topic), c->at->data, churn->form.size);
    tally_of(c)->published++;
    c->stage = CHURNER_WAITING;
}

static void on_answer(struct hermes_client *client, struct hermes_answer *answer, void *user)
{
    struct churner *c = user;
    struct tally *t = tally_of(c);
    char topic[TOPIC_MOST];
    if (answer->kind == HERMES_ANSWER_INFO && c->stage == CHURNER_CONNECTING) {
        c->since = uv_hrtime();
        histogram_record(&t->connect, c->since - c->begun);
        t->connects++;
        c->at->lane->open++;
        c->greeted = true;
        c->stage = CHURNER_SUBSCRIBING;
        (void)hermes_client_subscribe(client, topic, topic_of(c, topic));
    } else if (answer->kind == HERMES_ANSWER_SUBSCRIBED && c->stage == CHURNER_SUBSCRIBING) {
        publish(c);
    } else if (answer->kind == HERMES_ANSWER_ERROR) {
        t->faults.refused++;
        tally_say(
            t, "The server refused something: %.*s", (int)answer->message_len, answer->message);
    }
}

static void on_data(struct hermes_client *client, const char *data, size_t len, void *user)
{
    struct churner *c = user;
    struct tally *t = tally_of(c);
    uint64_t now = uv_hrtime();
    struct payload m;
    enum payload_verdict verdict = payload_read(&c->at->churn->form, data, len, &m);
    if (verdict == PAYLOAD_STRANGE || m.topic != c->index || m.number != c->number) {
        t->faults.damaged++;
        tally_say(t, "A delivery was not what had been published: %.*s", (int)(len < 80 ? len : 80),
            data);
        return;
    }
    t->faults.damaged += verdict == PAYLOAD_TORN;
    if (c->stage != CHURNER_WAITING) {
        t->faults.doubled++;
        return;
    }
    t->deliveries++;
    t->bytes += len;
    histogram_record(&t->latency, now - c->published);
    c->stage = CHURNER_CLOSING;
    hermes_client_close(client, HERMES_CLOSE_NORMAL, NULL);
}

static void on_close(struct hermes_client *client, const struct hermes_close *why, void *user)
{
    struct churner *c = user;
    struct tally *t = tally_of(c);
    bool well = c->stage == CHURNER_CLOSING && why->clean;
    (void)client;
    if (well) {
        t->leaves++;
        histogram_record(&t->served, uv_hrtime() - c->begun);
    } else if (!why->opened) {
        t->faults.unconnected++;
        tally_say(t, "A connection did not come about: %.*s", (int)why->reason_len, why->reason);
    } else {
        t->faults.closed++;
        tally_say(t, "A connection ended: %d %.*s", why->code, (int)why->reason_len, why->reason);
    }
    over(c, well);
}

static void client_make(struct churner *c)
{
    static const struct hermes_client_events events = {
        .on_data = on_data, .on_answer = on_answer, .on_close = on_close};
    const struct options *o = c->at->churn->run->o;
    struct hermes_client_options options;
    options_client(o, &options, c->index);
    options.events = &events;
    options.user = c;
    options.max_queued_bytes = o->payload + QUEUE_SPARE;
    options.retry_ms = HERMES_CLIENT_NEVER;
    int code = hermes_client_new(&c->client, c->at->lane->group, &options);
    if (code != HERMES_CLIENT_OK) {
        fprintf(stderr, "hermes-bench: %s\n", hermes_client_error(code));
        _exit(2);
    }
}

/* What it waits for does not come. */
static void give_up(struct churner *c)
{
    struct tally *t = tally_of(c);
    if (c->stage == CHURNER_WAITING) {
        t->faults.lost++;
        tally_say(t, "A connection did not get the message it had published itself.");
    } else if (c->stage == CHURNER_CLOSING) {
        t->faults.closed++;
        tally_say(t, "A close was not answered.");
    } else {
        t->faults.unconnected++;
        tally_say(t, "A connection got no answer.");
    }
    over(c, false);
    hermes_client_free(c->client);
    client_make(c);
}

static void on_timer(uv_timer_t *timer)
{
    struct churn_lane *at = timer->data;
    uint64_t patience = run_seconds(at->churn->run->o->patience);
    uint64_t now = uv_hrtime();
    for (size_t i = 0; i < at->count; i++) {
        struct churner *c = &at->churners[i];
        uint64_t most = c->stage == CHURNER_CONNECTING ? 2 * patience : patience;
        if (c->stage >= CHURNER_CONNECTING && now > c->since && now - c->since > most)
            give_up(c);
        else if (c->stage == CHURNER_RESTING && at->going)
            begin(c);
    }
}

/* ---- main ---- */

static void lane_open(struct lane *lane, void *user)
{
    struct churn *churn = user;
    unsigned lanes = lane->fleet->count;
    struct churn_lane *at = &churn->lanes[lane->index];
    at->churn = churn;
    at->lane = lane;
    at->churners = memory_new(churn->connections / lanes + 1, sizeof *at->churners);
    at->data = memory_new(churn->form.size, 1);
    for (size_t i = lane->index; i < churn->connections; i += lanes) {
        struct churner *c = &at->churners[at->count++];
        c->at = at;
        c->index = (uint32_t)i;
        client_make(c);
    }
    uv_timer_init(&lane->loop, &at->timer);
    at->timer.data = at;
    uv_timer_start(&at->timer, on_timer, LOOK_MS, LOOK_MS);
}

void churn_open(struct churn *churn, struct run *run, size_t connections, bool rests)
{
    *churn = (struct churn){.run = run, .connections = connections, .rests = rests};
    snprintf(churn->name, sizeof churn->name, "churn-%08x:", (unsigned)(uv_hrtime() ^ getpid()));
    payload_form_init(&churn->form, run->o->payload);
    churn->lanes = memory_new(run->fleet.count, sizeof *churn->lanes);
    fleet_call(&run->fleet, lane_open, churn);
}

static void lane_start(struct lane *lane, void *user)
{
    struct churn *churn = user;
    struct churn_lane *at = &churn->lanes[lane->index];
    at->going = true;
    for (size_t i = 0; i < at->count; i++)
        if (at->churners[i].stage <= CHURNER_RESTING)
            begin(&at->churners[i]);
}

void churn_start(struct churn *churn)
{
    fleet_call(&churn->run->fleet, lane_start, churn);
}

struct stopping {
    struct churn *churn;
    size_t busy;
};

static void lane_stop(struct lane *lane, void *user)
{
    struct stopping *s = user;
    struct churn_lane *at = &s->churn->lanes[lane->index];
    at->going = false;
    s->busy += at->busy;
}

static bool all_idle(void *user)
{
    struct stopping *s = user;
    s->busy = 0;
    fleet_call(&s->churn->run->fleet, lane_stop, s);
    return s->busy == 0;
}

void churn_stop(struct churn *churn)
{
    struct stopping s = {churn, 0};
    run_wait(churn->run, 0, all_idle, &s, 2 * churn->run->o->patience + 1);
}

static void lane_close(struct lane *lane, void *user)
{
    struct churn *churn = user;
    struct churn_lane *at = &churn->lanes[lane->index];
    for (size_t i = 0; i < at->count; i++)
        hermes_client_free(at->churners[i].client);
    uv_close((uv_handle_t *)&at->timer, NULL);
}

static void lane_nothing(struct lane *lane, void *user)
{
    (void)lane;
    (void)user;
}

void churn_close(struct churn *churn)
{
    fleet_call(&churn->run->fleet, lane_close, churn);
    /* The timers' memory may go only when a turn of the loop has closed them. */
    for (int i = 0; i < 2; i++)
        fleet_call(&churn->run->fleet, lane_nothing, NULL);
    for (unsigned k = 0; k < churn->run->fleet.count; k++) {
        free(churn->lanes[k].churners);
        free(churn->lanes[k].data);
    }
    free(churn->lanes);
    payload_form_fini(&churn->form);
}
