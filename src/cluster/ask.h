/* Questions to all brokers of the cluster, and the answers of all.
 *
 * A question is published to hermes:c:all and answered to hermes:c:<node>, in parts; see
 * ask_wire.h. It is done when all others that were there have answered or are gone, or after
 * ASK_WAIT_MS: then with what has come. Of what the others ask this one see asked.h.
 *
 *   what              found                                    count
 *   ASK_PRESENCE      uint64_t client ids                      how many these are
 *   ASK_TOPICS        rows of the other brokers, one a name,   how many these are
 *                     as topic_page_read wants them; `next`
 *   ASK_DISMISS       nothing                                  connections told to close
 *
 * Only far topics are told of. Who may see what is the asker's to decide.
 *
 * Order: ask_init; then, in the loop: ask_begin for each ERRAND_ASK, ask_message for all that comes
 *   on the two channels, ask_node for who comes and goes (nodes_settings.changed), MAIL_INQUIRY to
 *   inquiry_finish. The end: ask_stop (what is under way is unavailable now); go on with the mail
 *   until ask_is_idle; close mailbox and link; ask_close; ask_fini when the loop has closed its
 *   handles and the link has given its last answers.
 * Ownership: errands are given back by `done`, each once, maybe from within ask_begin.
 * Threads: the loop's.
 * Memory: ASK_MOST questions, ASK_BYTES_MOST of answers to them; what comes beyond is unavailable.
 */
#ifndef HERMES_CLUSTER_ASK_H
#define HERMES_CLUSTER_ASK_H

#include <stdbool.h>
#include <uv.h>

#include "broker/backplane.h"
#include "cluster/asked.h"
#include "cluster/nodes.h"

enum { ASK_MOST = 1000, ASK_SLOTS = 1024, ASK_BYTES_MOST = 64 << 20, ASK_WAIT_MS = 2000 };

struct ask_settings {
    uv_loop_t *loop;
    struct workshop *shop;
    struct mailbox *home;    /* of the loop's thread */
    struct redis_link *link; /* commands of the first server */
    struct nodes *nodes;     /* who there is */
    struct logger *logger;
    /* An errand is answered: to be given home. */
    void (*done)(struct errand *e, void *user);
    void *user;
};

struct question;

struct ask {
    struct ask_settings settings;
    struct asked asked;
    uv_timer_t timer;                  /* while there are questions */
    struct list questions;             /* the oldest first */
    struct question *slots[ASK_SLOTS]; /* by the low bits of their ids */
    uint64_t last_id;
    unsigned count;
    unsigned unconfirmed; /* that Redis has not said anything to yet */
    size_t bytes;         /* of answers to them */
    bool stopping;
};

void ask_init(struct ask *a, const struct ask_settings *settings);
void ask_begin(struct ask *a, struct errand *e);
void ask_message(struct ask *a, struct text payload);
void ask_node(struct ask *a, uint64_t node, bool here);

void ask_stop(struct ask *a);
static inline bool ask_is_idle(const struct ask *a)
{
    return asked_is_idle(&a->asked);
}
void ask_close(struct ask *a);
void ask_fini(struct ask *a);

#endif
