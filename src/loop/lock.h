/* A mutex with a rank.
 *
 * Lock: a thread takes locks in ascending rank only, and never two of one rank. Debug builds check
 *   it at every call; clang's -Wthread-safety checks what is written in the prototypes. */
#ifndef HERMES_LOOP_LOCK_H
#define HERMES_LOOP_LOCK_H

#include <pthread.h>

#include "base/annotate.h"

/* The order of all locks there are. */
enum lock_rank {
    LOCK_RELOAD,    /* who reads the certificate's files */
    LOCK_RULES,     /* which rules are in force */
    LOCK_KEYS,      /* which keys tokens are checked against */
    LOCK_TLS,       /* what new TLS sessions are made with */
    LOCK_PATTERNS,  /* the index of patterns */
    LOCK_STRIPE,    /* one stripe of the topic registry */
    LOCK_ADDRESSES, /* connections per address */
    LOCK_MAILBOX,   /* one worker's mailbox */
};

struct CAPABILITY("mutex") lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_fini(struct lock *l);
void lock_take(struct lock *l) ACQUIRES(l);
void lock_give(struct lock *l) RELEASES(l);

#endif
