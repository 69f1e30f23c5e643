/* How many may come in a second: a token bucket, and where in the queue before it one stands who is
 * sent away.
 *
 * The bucket fills at the rate, and holds two seconds of it. Who is new leaves one second's worth
 * in it for those who come back: after a mass disconnect these are let in first, up to twice the
 * rate at once, and while more of them come than the rate allows nobody new is. Otherwise either
 * may have all of it.
 *
 * Who is sent away is told when its turn would come, were all who were sent away before it to come
 * back when they were told; so they come back no faster than they can be let in. As many do not
 * come back, or sooner, nobody is told to wait for more than GATE_WAIT_MOST.
 * Threads: any; no lock. */
#ifndef HERMES_NET_GATE_H
#define HERMES_NET_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { GATE_WAIT_MOST = 60 };

struct gate {
    uint64_t each_ns;           /* that one token takes to be earned; 0: no limit */
    _Atomic uint64_t earned_ns; /* when all tokens are there that have been spent */
    _Atomic uint64_t turn_ns;   /* of the last in the queue */
};

void gate_init(struct gate *g, uint64_t per_second);

/* 0: one more may come in. Else it is not counted, and is to come back in so many seconds.
 * `now_ns`: of a clock that only goes forward. */
unsigned gate_enter(struct gate *g, uint64_t now_ns, bool comes_back);

#endif
