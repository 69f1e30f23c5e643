#include "session/tls_box.h"

#include <string.h>

void tls_box_init(struct tls_box *box)
{
    lock_init(&box->lock, LOCK_TLS);
    memset(box->fresh, 0, sizeof box->fresh);
}

void tls_box_fini(struct tls_box *box)
{
    for (unsigned i = 0; i < MAILBOX_WAITERS_MAX; i++)
        tls_config_drop(box->fresh[i]);
    lock_fini(&box->lock);
}

void tls_box_put(struct tls_box *box, struct tls_config **configs, unsigned count)
{
    lock_take(&box->lock);
    for (unsigned i = 0; i < count; i++) {
        struct tls_config *before = box->fresh[i];
        box->fresh[i] = configs[i];
        configs[i] = before;
    }
    lock_give(&box->lock);
    /* Those that no worker has seen. */
    for (unsigned i = 0; i < count; i++)
        tls_config_drop(configs[i]);
}

struct tls_config *tls_box_take(struct tls_box *box, unsigned worker)
{
    lock_take(&box->lock);
    struct tls_config *config = box->fresh[worker];
    box->fresh[worker] = NULL;
    lock_give(&box->lock);
    return config;
}
