/* What each worker is to make its TLS sessions with from now on: of each its own, see
 * net/tls_config.h.
 *
 * Threads: any. Lock: TLS; nothing is taken under it. */
#ifndef HERMES_SESSION_TLS_BOX_H
#define HERMES_SESSION_TLS_BOX_H

#include "loop/lock.h"
#include "loop/mailbox.h"
#include "net/tls_config.h"

struct tls_box {
    struct lock lock;
    struct tls_config *fresh[MAILBOX_WAITERS_MAX] GUARDED_BY(lock); /* NULL: it has the newest */
};

void tls_box_init(struct tls_box *box);
void tls_box_fini(struct tls_box *box);

/* Takes over `configs`, one for each of `count` workers. */
void tls_box_put(struct tls_box *box, struct tls_config **configs, unsigned count);

/* The newest for that worker, which is its own from then on; NULL when it has that. */
struct tls_config *tls_box_take(struct tls_box *box, unsigned worker);

#endif
