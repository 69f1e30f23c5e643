/* Connections that come and go: each connects, is greeted, subscribes its own topic, publishes one
 * message to it, receives that, closes in order, and begins anew.
 *
 * Order: churn_open, churn_start, churn_stop, churn_close. Threads: the main one; a churner belongs
 * to its lane. */
#ifndef HERMES_BENCH_CHURN_H
#define HERMES_BENCH_CHURN_H

#include "payload.h"
#include "run.h"

struct churn {
    struct run *run;
    struct payload_form form;
    struct churn_lane *lanes;
    size_t connections;
    bool rests; /* between two rounds each waits a tenth of a second */
    char name[24];
};

void churn_open(struct churn *churn, struct run *run, size_t connections, bool rests);
void churn_start(struct churn *churn);

/* Each ends its round, and no other is begun. */
void churn_stop(struct churn *churn);

/* While the fleet still runs. */
void churn_close(struct churn *churn);

#endif
