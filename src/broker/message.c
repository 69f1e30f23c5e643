#include "broker/message.h"

#include <stdlib.h>

struct message *message_new(size_t len)
{
    if (len > UINT32_MAX - sizeof(struct message))
        return NULL;
    struct message *m = malloc(sizeof *m + len);
    if (!m)
        return NULL;
    *m = (struct message){.references = 1, .count = 1, .len = (uint32_t)len};
    return m;
}

void message_drop(struct message *m)
{
    /* Whoever holds the only reference need not count it down: nobody else can be counting. */
    if (atomic_load_explicit(&m->references, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) == 1)
        free(m);
}
