#include "admin/api_state.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/admin.h"
#include "admin/exchange.h"
#include "base/clock.h"
#include "broker/backplane.h"
#include "broker/topic_name.h"
#include "hermes/protocol.h"

/* ROUND_NS: of jobs, before the loop polls again. */
enum { LOG_BYTES = 256 * 1024, ROUND_NS = 1000000 };

/* --- jobs ------------------------------------------------------------------------------------- */

static void run_jobs(uv_timer_t *timer);

/* The job that is due first is called then. */
static void arm(struct api *api)
{
    uint64_t now = clock_ns();
    uint64_t first = UINT64_MAX;
    for (struct list *at = api->jobs.next; at != &api->jobs; at = at->next) {
        const struct api_job *job = LIST_ITEM(at, struct api_job, node);
        if (job->due_ns < first)
            first = job->due_ns;
    }
    if (first == UINT64_MAX || api->closing)
        uv_timer_stop(&api->timer);
    else
        uv_timer_start(
            &api->timer, run_jobs, first > now ? (first - now + 999999) / 1000000 : 0, 0);
}

/* Whoever was called goes to the end, so that each has its turn. A step may begin other jobs. */
static void run(struct api *api, struct api_job *job)
{
    list_remove(&job->node);
    int wait = job->step(job, api->closing);
    if (wait < 0)
        return;
    job->due_ns = clock_ns() + (uint64_t)wait * 1000000;
    list_append(&api->jobs, &job->node);
}

static struct api_job *find_due(const struct api *api, uint64_t now)
{
    for (struct list *at = api->jobs.next; at != &api->jobs; at = at->next) {
        struct api_job *job = LIST_ITEM(at, struct api_job, node);
        if (job->due_ns <= now)
            return job;
    }
    return NULL;
}

static void run_jobs(uv_timer_t *timer)
{
    struct api *api = timer->data;
    uint64_t start = clock_ns();
    struct api_job *job;
    while (clock_ns() - start < ROUND_NS && (job = find_due(api, start)) != NULL)
        run(api, job);
    arm(api);
}

void api_begin(struct api *api, struct api_job *job)
{
    if (api->closing) {
        job->step(job, true);
        return;
    }
    job->due_ns = clock_ns();
    list_append(&api->jobs, &job->node);
    arm(api);
}

void api_hasten(struct api *api, struct api_job *job)
{
    job->due_ns = clock_ns();
    arm(api);
}

/* --- its life --------------------------------------------------------------------------------- */

bool api_open(struct admin *a)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        return false;
    if (!logger_keep(a->settings.shop->logger, LOG_BYTES)) {
        free(api);
        return false;
    }
    repeats_init(&api->repeats);
    api->admin = a;
    list_init(&api->jobs);
    topic_rates_init(&api->rates.rates);
    uv_timer_init(&a->loop, &api->timer);
    api->timer.data = api;
    a->api = api;
    return true;
}

void api_close(struct admin *a)
{
    struct api *api = a->api;
    if (!api || api->closing)
        return;
    api->closing = true;
    while (!list_empty(&api->jobs))
        run(api, LIST_ITEM(api->jobs.next, struct api_job, node));
    uv_close((uv_handle_t *)&api->timer, NULL);
}

void api_fini(struct admin *a)
{
    if (!a->api)
        return;
    repeats_fini(&a->api->repeats);
    topic_rates_forget(&a->api->rates.rates);
    free(a->api);
    a->api = NULL;
}

/* --- parameters ------------------------------------------------------------------------------- */

void api_no_memory(struct exchange *x)
{
    exchange_error(x, 503, "unavailable", "There is no memory for this answer now.");
}

void api_alone(struct exchange *x)
{
    exchange_error(x, 503, "unavailable", HERMES_TEXT_ALONE);
}

bool api_is_far(const struct exchange *x, struct text topic)
{
    struct workshop *shop = x->admin->settings.shop;
    struct rules *rules = rules_box_take(&shop->rules);
    bool far = route_is_far(&shop->route, rules_find(rules, topic));
    rules_drop(rules);
    return far;
}

static void refuse_parameter(struct exchange *x, const char *name, const char *what)
{
    char message[128];
    snprintf(message, sizeof message, "\"%s\" %s.", name, what);
    exchange_error(x, 400, "malformed", message);
}

bool api_take_text(struct exchange *x, const char *name, struct buf *out)
{
    enum query_result result = query_find(x->query, name, out);
    if (out->failed)
        api_no_memory(x);
    else if (result == QUERY_BAD)
        refuse_parameter(x, name, "is not percent-encoded as it must be");
    else
        return true;
    return false;
}

bool api_take_number(
    struct exchange *x, const char *name, uint64_t least, uint64_t most, uint64_t *out)
{
    char what[96];
    enum query_result result = query_number(x->query, name, most, out);
    if (result != QUERY_BAD && *out >= least)
        return true;
    snprintf(what, sizeof what, "must be a whole number from %llu to %llu",
        (unsigned long long)least, (unsigned long long)most);
    refuse_parameter(x, name, what);
    return false;
}

bool api_take_topic(struct exchange *x, struct buf *topic)
{
    if (!api_take_text(x, "topic", topic))
        return false;
    const char *fault =
        topic_name_fault(buf_text(topic), x->admin->settings.shop->limits.topic_bytes);
    if (topic->len == 0)
        refuse_parameter(x, "topic", "is missing");
    else if (fault)
        exchange_error(x, 400, "bad_topic", fault);
    else
        return true;
    return false;
}

void api_append_thousandths(struct buf *out, uint64_t n)
{
    buf_append_number(out, n / 1000);
    if (n % 1000)
        buf_appendf(out, ".%03u", (unsigned)(n % 1000));
}
