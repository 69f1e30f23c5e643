/* What other brokers ask of this one: is looked for here, and answered in parts, as the link can
 * take them.
 *
 * Order: asked_init; asked_question for each that comes; asked_stop, when nothing new is to be
 *   begun; asked_is_idle, before the mailbox is closed; asked_close when the link is closed;
 *   asked_fini when the loop has closed its handles.
 * Threads: the loop's, which is the one that `home` belongs to: inquiries come back there as
 *   MAIL_INQUIRY, for inquiry_finish.
 * Memory: ASKED_MOST questions and ASKED_BYTES_MOST of answers; what comes beyond is refused. */
#ifndef HERMES_CLUSTER_ASKED_H
#define HERMES_CLUSTER_ASKED_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "cluster/ask_wire.h"
#include "loop/mailbox.h"

struct logger;
struct redis_link;
struct workshop;

/* ASKED_LIFE_MS: an answer that is older has nobody who waits for it. ASKED_ANSWER_MOST: bytes of
 * one; of more clients than fit in there the rest is not told. */
enum {
    ASKED_MOST = 1000,
    ASKED_BYTES_MOST = 64 << 20,
    ASKED_ANSWER_MOST = 4 << 20,
    ASKED_LIFE_MS = 2000
};

struct asked_settings {
    uv_loop_t *loop;
    struct workshop *shop;
    struct mailbox *home;
    struct redis_link *link; /* commands of the first server */
    uint64_t id;             /* this broker's */
    struct logger *logger;
};

struct asked {
    struct asked_settings settings;
    uv_idle_t turn;      /* while there are pages of topics to look up, one a round of the loop */
    uv_timer_t retry;    /* the link was full */
    struct list pages;   /* struct page_job */
    struct list answers; /* struct answer: the oldest first */
    unsigned count;      /* of what was asked and is not sent yet */
    unsigned inquiries;  /* that are not back yet */
    size_t bytes;        /* of answers */
    size_t sending;      /* bytes of those that Redis has not confirmed */
    bool stopping;
};

void asked_init(struct asked *a, const struct asked_settings *settings);
void asked_question(struct asked *a, const struct ask_question *q, struct text payload);
void asked_stop(struct asked *a);

static inline bool asked_is_idle(const struct asked *a)
{
    return a->inquiries == 0;
}

void asked_close(struct asked *a);
void asked_fini(struct asked *a);

#endif
