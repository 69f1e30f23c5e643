/* What the API keeps between requests, and answers that take more than one round of the loop.
 *
 * Order: api_open before any other thread runs, api_close on the listener's thread when no more
 *   requests are taken (which answers those that wait), api_fini when its loop has ended.
 * Threads: the listener's. */
#ifndef HERMES_ADMIN_API_STATE_H
#define HERMES_ADMIN_API_STATE_H

#include <uv.h>

#include "admin/api_repeats.h"
#include "base/list.h"
#include "broker/topic_rates.h"

struct admin;
struct exchange;

/* Something that is done in slices. */
struct api_job {
    struct list node;
    uint64_t due_ns;
    /* Does a little, half a millisecond at most; `ending`: the listener ends, there is no other
     * time. Returns after how many milliseconds it is to be called again, or JOB_DONE (always when
     * `ending`), behind which it is not touched any more. */
    int (*step)(struct api_job *job, bool ending);
};

enum { JOB_DONE = -1, JOB_SLICE_NS = 500000 };

/* Messages a second of all topics, sampled while somebody asks: see api_rates.c. */
struct api_rates {
    struct api_job job;
    bool active;   /* the job is */
    bool scanning; /* a round is under way */
    bool failed;   /* there was no memory lately */
    uint64_t asked_ms;
    uint64_t begun_ms; /* of the round */
    uint64_t spent_ns; /* on it */
    struct topic_scan scan;
    struct topic_rates rates;
};

struct api {
    struct admin *admin;
    uv_timer_t timer; /* for whichever job is due next */
    struct list jobs;
    bool closing;
    struct repeats repeats;
    struct api_rates rates;
};

/* False when there is no memory. Keeps log lines from then on. */
bool api_open(struct admin *a);
void api_close(struct admin *a);
void api_fini(struct admin *a);

/* Has it called, first in a moment. */
void api_begin(struct api *api, struct api_job *job);

/* What it waits for is there: it is called in a moment, and not only when it was to be. */
void api_hasten(struct api *api, struct api_job *job);

/* api_rates.c: somebody wants to know rates: they are there in a second or so, and kept up for a
 * while. */
void api_rates_want(struct api *api);

/* api_rates.c: appends a rate, or null where it is not known. */
void api_rates_append(struct buf *out, const struct api *api, uint64_t epoch);

/* --- what most handlers need ------------------------------------------------------------------ */

/* Each of these returns false when it has answered with an error. */

/* The parameter `topic`, decoded, a name that may be used. */
bool api_take_topic(struct exchange *x, struct buf *topic);

/* A parameter that may be absent: `out` is empty then. */
bool api_take_text(struct exchange *x, const char *name, struct buf *out);

/* A number that may be absent: `*out` stays as it is then. */
bool api_take_number(
    struct exchange *x, const char *name, uint64_t least, uint64_t most, uint64_t *out);

void api_no_memory(struct exchange *x);

/* The other brokers cannot be asked, see broker/backplane.h. */
void api_alone(struct exchange *x);

/* Whether a topic is numbered by the cluster. */
bool api_is_far(const struct exchange *x, struct text topic);

/* Appends n/1000, with a point whatever the language of the program around is. */
void api_append_thousandths(struct buf *out, uint64_t n);

#endif
