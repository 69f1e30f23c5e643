#include "load.h"

#include <hermes/protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "memory.h"

enum { QUEUE_BYTES = 16 << 20 };

static const double CLOSE_PATIENCE = 3;

/* ---- names, clients ---- */

void topic_name(const struct load *load, uint32_t topic, char *out)
{
    static const char digits[] = "0123456789abcdef";
    memcpy(out, load->name, TOPIC_LEN - 6);
    for (int i = 0; i < 6; i++)
        out[TOPIC_LEN - 6 + i] = digits[topic >> (20 - 4 * i) & 15];
}

bool topic_number(const struct load *load, const char *name, size_t len, uint32_t *topic)
{
    char digits[7] = {0};
    char *end;
    if (len != TOPIC_LEN || memcmp(name, load->name, TOPIC_LEN - 6) != 0)
        return false;
    memcpy(digits, name + TOPIC_LEN - 6, 6);
    *topic = (uint32_t)strtoul(digits, &end, 16);
    return !*end;
}

struct hermes_client *load_client(
    struct load_lane *at, const struct hermes_client_events *events, void *user, size_t turn)
{
    const struct options *o = at->load->o;
    size_t batch = 2 * (o->window ? o->window : 1) * (o->payload + 128);
    struct hermes_client_options options;
    options_client(o, &options, turn);
    options.events = events;
    options.user = user;
    options.connect_ms = RUN_CONNECT_MS(o);
    options.retry_ms = HERMES_CLIENT_NEVER;
    options.max_queued_bytes = batch > QUEUE_BYTES ? batch : QUEUE_BYTES;
    struct hermes_client *c;
    int code = hermes_client_new(&c, at->lane->group, &options);
    if (code != HERMES_CLIENT_OK) {
        fprintf(stderr, "hermes-bench: %s\n", hermes_client_error(code));
        _exit(2);
    }
    return c;
}

/* ---- making it ---- */

static void lane_subscribers(struct load_lane *at, unsigned lanes)
{
    const struct plan *plan = &at->load->plan;
    size_t checks = 0;
    size_t subscriptions = 0;
    for (size_t i = at->lane->index; i < plan->subscriber_count; i += lanes) {
        at->subscriber_count++;
        subscriptions += plan->subscribers[i].count;
        for (uint32_t k = 0; k < plan->subscribers[i].count; k++)
            checks += plan->topics[plan->subscriptions[plan->subscribers[i].first + k]].streams;
    }
    at->subscribers = memory_new(at->subscriber_count, sizeof *at->subscribers);
    at->subscriptions = memory_new(subscriptions, sizeof *at->subscriptions);
    at->checks = memory_new(checks, sizeof *at->checks);
    struct subscription *subscription = at->subscriptions;
    struct check *check = at->checks;
    struct subscriber *s = at->subscribers;
    for (size_t i = at->lane->index; i < plan->subscriber_count; i += lanes, s++) {
        *s = (struct subscriber){
            .at = at, .plan = &plan->subscribers[i], .subscriptions = subscription};
        for (uint32_t k = 0; k < s->plan->count; k++, subscription++) {
            subscription->topic = plan->subscriptions[s->plan->first + k];
            const struct plan_topic *topic = &plan->topics[subscription->topic];
            subscription->publisher = plan->streams[topic->first_stream].publisher;
            subscription->streams = topic->streams;
            subscription->checks = check;
            check += topic->streams;
            if (!s->plan->stalls && !s->plan->roves)
                at->load->local[subscription->topic * lanes + at->lane->index]++;
        }
    }
}

static void lane_open(struct lane *lane, void *user)
{
    struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    unsigned lanes = lane->fleet->count;
    size_t publishers = load->plan.publisher_count;
    *at = (struct load_lane){.load = load, .lane = lane};
    lane_subscribers(at, lanes);
    at->publishers = memory_new(publishers / lanes + 1, sizeof(struct publisher *));
    for (size_t i = lane->index; i < publishers; i += lanes) {
        struct publisher *p = &load->publishers[i];
        p->at = at;
        p->index = (uint32_t)i;
        p->plan = &load->plan.publishers[i];
        at->publishers[at->publisher_count++] = p;
    }
    at->done = memory_new(publishers, sizeof *at->done);
    at->target = memory_new(publishers, sizeof *at->target);
    at->text = memory_new(load->form.size + 64 + TOPIC_LEN, 1);
    if (!ramp_open(&at->ramp, &lane->loop, NULL, at) ||
        !pacer_open(&at->pacer, &lane->loop, publishers_due, at)) {
        perror("hermes-bench: timer");
        _exit(2);
    }
    lane->part = at;
    lane->on_wake = publishers_ready;
}

void load_open(struct load *load, struct run *run, struct plan *plan)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint32_t)uv_hrtime();
    *load = (struct load){.run = run, .o = run->o, .plan = *plan};
    plan_init(plan);
    snprintf(load->name, sizeof load->name, "bench-%07x:", random & 0xfffffff);
    payload_form_init(&load->form, run->o->payload);
    load->lanes = memory_new(run->fleet.count, sizeof *load->lanes);
    load->publishers = memory_new(load->plan.publisher_count, sizeof *load->publishers);
    load->sent = memory_new(load->plan.stream_count, sizeof *load->sent);
    load->local = memory_new(load->plan.topic_count * run->fleet.count, sizeof *load->local);
    fleet_call(&run->fleet, lane_open, load);
}

/* ---- the end ---- */

static void lane_end(struct lane *lane, void *user)
{
    struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    ramp_stop(&at->ramp);
    at->sending = false;
    for (size_t i = 0; i < at->subscriber_count; i++)
        if (at->subscribers[i].client) {
            subscriber_resume(&at->subscribers[i]);
            hermes_client_close(at->subscribers[i].client, HERMES_CLOSE_NORMAL, NULL);
        }
    for (size_t i = 0; i < at->publisher_count; i++)
        if (at->publishers[i]->client)
            hermes_client_close(at->publishers[i]->client, HERMES_CLOSE_NORMAL, NULL);
}

static void lane_free(struct lane *lane, void *user)
{
    struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        hermes_client_free(at->subscribers[i].client);
    for (size_t i = 0; i < at->publisher_count; i++)
        hermes_client_free(at->publishers[i]->client);
    ramp_close(&at->ramp);
    pacer_close(&at->pacer);
    lane->on_wake = NULL;
}

static void lane_count_open(struct lane *lane, void *user)
{
    *(uint64_t *)user += lane->open;
}

static bool nobody_is_open(void *user)
{
    struct load *load = user;
    uint64_t open = 0;
    fleet_call(&load->run->fleet, lane_count_open, &open);
    return open == 0;
}

/* The order that most subscribers of a topic saw is right, and the others' are wrong. */
static void compare_orders(struct load *load, unsigned lanes)
{
    const struct plan *plan = &load->plan;
    struct vote {
        uint64_t order, lead;
    } *votes = memory_new(plan->topic_count, sizeof *votes);
    uint64_t *sent = memory_new(plan->topic_count, sizeof *sent);
    for (size_t i = 0; i < plan->stream_count; i++)
        sent[plan->streams[i].topic] += load->sent[i];
    for (int pass = 0; pass < 2; pass++)
        for (unsigned k = 0; k < lanes; k++)
            for (size_t i = 0; i < load->lanes[k].subscriber_count; i++) {
                const struct subscriber *s = &load->lanes[k].subscribers[i];
                for (uint32_t j = 0; j < s->plan->count && !s->partial; j++) {
                    const struct subscription *sub = &s->subscriptions[j];
                    struct vote *v = &votes[sub->topic];
                    if (sub->taken != sent[sub->topic])
                        continue;
                    if (pass == 1)
                        load->run->report->faults.disordered += sub->order != v->order;
                    else if (v->lead == 0)
                        *v = (struct vote){sub->order, 1};
                    else
                        v->lead += sub->order == v->order ? 1 : (uint64_t)-1;
                }
            }
    free(votes);
    free(sent);
}

void load_close(struct load *load)
{
    struct run *run = load->run;
    unsigned lanes = run->fleet.count;
    run->doing = "closing";
    run->closing = true;
    load->ending = true;
    fleet_call(&run->fleet, lane_end, load);
    run_wait(run, uv_hrtime() + run_seconds(CLOSE_PATIENCE), nobody_is_open, load, 0);
    fleet_call(&run->fleet, lane_free, load);
    fleet_close(&run->fleet);
    compare_orders(load, lanes);
    for (unsigned k = 0; k < lanes; k++) {
        struct load_lane *at = &load->lanes[k];
        free(at->subscribers);
        free(at->publishers);
        free(at->subscriptions);
        free(at->checks);
        free(at->done);
        free(at->target);
        free(at->text);
    }
    free(load->lanes);
    free(load->publishers);
    free(load->sent);
    free(load->local);
    payload_form_fini(&load->form);
    plan_fini(&load->plan);
}
