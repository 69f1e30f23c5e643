#include <errno.h>
#include <hermes/protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "ramp.h"
#include "scenario.h"

enum {
    WARM = 100, /* connections that come and go first, so that the server's pools stand */
    TOPIC_MOST = 40,
    QUIET_MS = 200,
    QUIET_TRIES = 15,
};

static const double CLOSE_PATIENCE = 5;

struct caller {
    struct connect_lane *at;
    struct hermes_client *client;
    uint64_t begun;
    uint32_t index;
    bool settled, greeted;
};

struct connect_lane {
    struct connect *connect;
    struct lane *lane;
    struct ramp ramp;
    struct caller *callers;
    size_t count, settled;
};

struct connect {
    struct run *run;
    struct connect_lane *lanes;
    size_t count; /* of this ramp */
    size_t settled;
    char name[24];
    _Atomic bool ending;
    double rate;
};

static void settle(struct caller *c)
{
    if (c->settled)
        return;
    c->settled = true;
    c->at->settled++;
    ramp_settled(&c->at->ramp);
}

static void on_answer(struct hermes_client *client, struct hermes_answer *answer, void *user)
{
    struct caller *c = user;
    struct tally *t = &c->at->lane->tally;
    (void)client;
    if (answer->kind == HERMES_ANSWER_INFO) {
        histogram_record(&t->connect, uv_hrtime() - c->begun);
        t->connects++;
        c->at->lane->open++;
        c->greeted = true;
        if (c->at->connect->run->o->subscribe == SUBSCRIBE_NONE)
            settle(c);
    } else if (answer->kind == HERMES_ANSWER_SUBSCRIBED) {
        settle(c);
    } else if (answer->kind == HERMES_ANSWER_ERROR) {
        t->faults.refused++;
        tally_say(
            t, "The server refused something: %.*s", (int)answer->message_len, answer->message);
    }
}

static void on_close(struct hermes_client *client, const struct hermes_close *why, void *user)
{
    struct caller *c = user;
    struct tally *t = &c->at->lane->tally;
    c->at->lane->open -= c->greeted;
    t->leaves++;
    if (!c->at->connect->ending) {
        t->faults.closed += why->opened;
        t->faults.unconnected += !why->opened;
        tally_say(t,
            why->opened ? "A connection ended: %d %.*s"
                        : "A connection did not come about: %d %.*s",
            why->code, (int)why->reason_len, why->reason);
    }
    settle(c);
    hermes_client_free(client);
    c->client = NULL;
}

static void call(void *user, size_t number, uint64_t moment)
{
    static const struct hermes_client_events events = {
        .on_answer = on_answer, .on_close = on_close};
    struct connect_lane *at = user;
    const struct connect *connect = at->connect;
    const struct options *o = connect->run->o;
    struct caller *c = &at->callers[number];
    struct hermes_client_options options;
    options_client(o, &options, c->index);
    options.events = &events;
    options.user = c;
    options.connect_ms = RUN_CONNECT_MS(o);
    options.retry_ms = HERMES_CLIENT_NEVER;
    c->settled = c->greeted = false;
    c->begun = moment;
    int code = hermes_client_new(&c->client, at->lane->group, &options);
    if (code != HERMES_CLIENT_OK) {
        fprintf(stderr, "hermes-bench: %s\n", hermes_client_error(code));
        _exit(2);
    }
    if (o->subscribe != SUBSCRIBE_NONE) {
        char topic[TOPIC_MOST];
        int len = snprintf(topic, sizeof topic, "%s%06x", connect->name,
            o->subscribe == SUBSCRIBE_OWN ? c->index : 0);
        (void)hermes_client_subscribe(c->client, topic, (size_t)len);
    }
    hermes_client_open(c->client);
}

/* ---- main ---- */

static void lane_open(struct lane *lane, void *user)
{
    struct connect *connect = user;
    struct connect_lane *at = &connect->lanes[lane->index];
    unsigned lanes = lane->fleet->count;
    size_t most = connect->run->o->connections;
    at->connect = connect;
    at->lane = lane;
    at->callers = memory_new(most / lanes + 1, sizeof *at->callers);
    for (size_t i = 0; i <= most / lanes; i++) {
        at->callers[i].at = at;
        at->callers[i].index = (uint32_t)(i * lanes + lane->index);
    }
    if (!ramp_open(&at->ramp, &lane->loop, call, at)) {
        perror("hermes-bench: timer");
        _exit(2);
    }
}

static void lane_ramp(struct lane *lane, void *user)
{
    struct connect *connect = user;
    struct connect_lane *at = &connect->lanes[lane->index];
    unsigned lanes = lane->fleet->count;
    uint64_t start = uv_hrtime();
    if (connect->rate > 0)
        start += (uint64_t)(1e9 / connect->rate * lane->index);
    /* Of the ramp before, who did not get through its end. */
    for (size_t i = 0; i < at->count; i++) {
        if (at->callers[i].client)
            lane->open -= at->callers[i].greeted;
        hermes_client_free(at->callers[i].client);
        at->callers[i].client = NULL;
    }
    at->settled = 0;
    at->count = connect->count / lanes + (lane->index < connect->count % lanes);
    ramp_start(&at->ramp, at->count, connect->rate / lanes, start, RUN_UNDER_WAY);
}

static void lane_settled(struct lane *lane, void *user)
{
    struct connect *connect = user;
    connect->settled += connect->lanes[lane->index].settled;
}

static bool all_settled(void *user)
{
    struct connect *connect = user;
    connect->settled = 0;
    fleet_call(&connect->run->fleet, lane_settled, connect);
    return connect->settled == connect->count;
}

static void lane_hang_up(struct lane *lane, void *user)
{
    struct connect *connect = user;
    struct connect_lane *at = &connect->lanes[lane->index];
    ramp_stop(&at->ramp);
    for (size_t i = 0; i < at->count; i++)
        if (at->callers[i].client)
            hermes_client_close(at->callers[i].client, HERMES_CLOSE_NORMAL, NULL);
}

static void lane_count_open(struct lane *lane, void *user)
{
    *(uint64_t *)user += lane->open;
}

static bool nobody_is_open(void *user)
{
    struct connect *connect = user;
    uint64_t open = 0;
    fleet_call(&connect->run->fleet, lane_count_open, &open);
    return open == 0;
}

static void ramp(struct connect *connect, size_t count, double rate)
{
    struct run *run = connect->run;
    connect->ending = false;
    connect->count = count;
    connect->rate = rate;
    fleet_call(&run->fleet, lane_ramp, connect);
    enum run_wait end = run_wait(run, 0, all_settled, connect, RUN_CONNECT_PATIENCE(run->o));
    if (end == RUN_STALLED) {
        run->report->faults.unconnected += count - connect->settled;
        report_note(run->report, "%zu connections got no answer.", count - connect->settled);
    }
}

static void hang_up(struct connect *connect)
{
    struct run *run = connect->run;
    connect->ending = true;
    fleet_call(&run->fleet, lane_hang_up, connect);
    run_wait(run, uv_hrtime() + run_seconds(CLOSE_PATIENCE), nobody_is_open, connect, 0);
}

/* A reading that the next one confirms: closing and opening leave work behind. */
static bool settled_rss(struct run *run, uint64_t *out)
{
    uint64_t before = 0;
    for (int i = 0; i < QUIET_TRIES && !run->interrupted; i++) {
        if (!process_rss_exact((long)run->o->pid, out))
            return false;
        if (i > 0 && *out == before)
            return true;
        before = *out;
        run_wait(run, uv_hrtime() + QUIET_MS * UINT64_C(1000000), NULL, NULL, 0);
    }
    return true;
}

static void lane_close(struct lane *lane, void *user)
{
    struct connect *connect = user;
    struct connect_lane *at = &connect->lanes[lane->index];
    for (size_t i = 0; i < at->count; i++)
        hermes_client_free(at->callers[i].client);
    ramp_close(&at->ramp);
}

static void measure(struct connect *connect)
{
    struct run *run = connect->run;
    const struct options *o = run->o;
    struct report *r = run->report;
    bool exact = o->pid && settled_rss(run, &r->server.rss_before);
    run->doing = "connecting";
    run_begin(run);
    ramp(connect, o->connections, o->connect_rate);
    run_end(run, 0);
    run->doing = "holding";
    if (!run->interrupted)
        run_wait(run, uv_hrtime() + run_seconds(o->seconds), NULL, NULL, 0);
    if (exact && !run->interrupted && settled_rss(run, &r->server.rss_after))
        r->server.connections = run->connections;
}

bool scenario_connect(struct run *run, char *fault, size_t fault_size)
{
    struct connect connect = {.run = run};
    (void)fault;
    (void)fault_size;
    snprintf(connect.name, sizeof connect.name, "idle-%08x:", (unsigned)(uv_hrtime() ^ getpid()));
    connect.lanes = memory_new(run->fleet.count, sizeof *connect.lanes);
    fleet_call(&run->fleet, lane_open, &connect);
    run->doing = "warming up";
    /* No more than may be there at a time. */
    ramp(&connect, run->o->connections < WARM ? run->o->connections : WARM, 0);
    hang_up(&connect);
    run_collect(run, true);
    if (!run->interrupted)
        measure(&connect);
    run->doing = "closing";
    run->closing = true;
    hang_up(&connect);
    fleet_call(&run->fleet, lane_close, &connect);
    unsigned lanes = run->fleet.count;
    fleet_close(&run->fleet);
    for (unsigned k = 0; k < lanes; k++)
        free(connect.lanes[k].callers);
    free(connect.lanes);
    return true;
}
