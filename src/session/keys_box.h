/* The keys that tokens are checked against at the moment, for whoever does not keep a reference.
 *
 * Threads: any. Lock: KEYS; nothing is taken under it. */
#ifndef HERMES_SESSION_KEYS_BOX_H
#define HERMES_SESSION_KEYS_BOX_H

#include "auth/keys.h"
#include "loop/lock.h"

struct keys_box {
    struct lock lock;
    struct auth_keys *keys GUARDED_BY(lock); /* NULL: none, tokens are not looked at */
};

void keys_box_init(struct keys_box *box);
void keys_box_fini(struct keys_box *box);

/* With a reference; may be NULL. */
struct auth_keys *keys_box_take(struct keys_box *box);

/* Takes the caller's reference. */
void keys_box_put(struct keys_box *box, struct auth_keys *keys);

#endif
