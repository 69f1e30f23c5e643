#include "broker/message.h"

#include <stdlib.h>

struct message *message_new(size_t len)
{
    if (len > UINT32_MAX - sizeof(struct message))
        return NULL;
    struct message *m = malloc(sizeof *m + len);
    if (!m)
        return NULL;
    *m = (struct message){.references = 1, .len = (uint32_t)len};
    return m;
}

void message_drop(struct message *m)
{
    if (atomic_fetch_sub_explicit(&m->references, 1, memory_order_release) != 1)
        return;
    atomic_thread_fence(memory_order_acquire);
    free(m);
}
