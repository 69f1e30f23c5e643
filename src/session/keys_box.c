#include "session/keys_box.h"

void keys_box_init(struct keys_box *box)
{
    lock_init(&box->lock, LOCK_KEYS);
    box->keys = NULL;
}

void keys_box_fini(struct keys_box *box)
{
    auth_keys_drop(box->keys);
    box->keys = NULL;
    lock_fini(&box->lock);
}

struct auth_keys *keys_box_take(struct keys_box *box)
{
    lock_take(&box->lock);
    struct auth_keys *keys = box->keys;
    if (keys)
        auth_keys_hold(keys);
    lock_give(&box->lock);
    return keys;
}

void keys_box_put(struct keys_box *box, struct auth_keys *keys)
{
    lock_take(&box->lock);
    struct auth_keys *before = box->keys;
    box->keys = keys;
    lock_give(&box->lock);
    auth_keys_drop(before);
}
