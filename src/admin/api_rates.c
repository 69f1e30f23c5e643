/* The sampling of rates: rounds through all topics while somebody asks. */
#include "admin/admin.h"
#include "admin/api_state.h"
#include "base/clock.h"

/* ROUND_MS: from one round to the next, at least; FORGET_MS: after the last one asked; SHARE: a
 * round may take so much of the time at most, one part of that many. */
enum { ROUND_MS = 1000, FORGET_MS = 60000, SHARE = 20 };

static void end_round(struct api_rates *r, bool good)
{
    topic_scan_fini(&r->scan);
    r->scanning = false;
    r->failed = !good;
    if (good)
        topic_rates_end(&r->rates);
    else
        topic_rates_forget(&r->rates);
}

static int stop(struct api_rates *r)
{
    if (r->scanning)
        end_round(r, false);
    topic_rates_forget(&r->rates);
    r->active = false;
    return JOB_DONE;
}

static int pause_of(const struct api_rates *r)
{
    uint64_t took = clock_ms() - r->begun_ms;
    uint64_t every = r->spent_ns / 1000000 * SHARE;
    if (every < ROUND_MS || !topic_rates_known(&r->rates)) /* somebody waits for the second */
        every = ROUND_MS;
    return took < every ? (int)(every - took) : 0;
}

static int step(struct api_job *job, bool ending)
{
    struct api_rates *r = LIST_ITEM(job, struct api_rates, job);
    struct api *api = LIST_ITEM(r, struct api, rates);
    uint64_t start = clock_ns();
    uint64_t now = start;
    if (ending || start / 1000000 - r->asked_ms > FORGET_MS)
        return stop(r);
    if (!r->scanning) {
        topic_scan_begin(
            &r->scan, &api->admin->settings.shop->route.registry, (struct text){NULL, 0});
        topic_rates_begin(&r->rates);
        r->scanning = true;
        r->begun_ms = clock_ms();
        r->spent_ns = 0;
    }
    bool more = true;
    while (now - start < JOB_SLICE_NS && (more = topic_scan_next(&r->scan))) {
        now = clock_ns();
        topic_rates_take(&r->rates, &r->scan, now);
    }
    r->spent_ns += clock_ns() - start;
    if (more)
        return 0;
    end_round(r, !r->scan.failed);
    return pause_of(r);
}

void api_rates_want(struct api *api)
{
    struct api_rates *r = &api->rates;
    r->asked_ms = clock_ms();
    if (r->active || api->closing)
        return;
    r->active = true;
    r->failed = false;
    r->job.step = step;
    api_begin(api, &r->job);
}

void api_rates_append(struct buf *out, const struct api *api, uint64_t epoch)
{
    double rate = topic_rates_find(&api->rates.rates, epoch);
    if (rate < 0)
        buf_append_string(out, "null");
    else
        api_append_thousandths(out, (uint64_t)(rate * 1000 + 0.5));
}
