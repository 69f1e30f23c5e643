#include "broker/message.h"

#include <stdlib.h>

#include "broker/patterns.h"

struct message *message_begin(size_t room)
{
    if (room > UINT32_MAX - sizeof(struct message))
        return NULL;
    struct message *m = malloc(sizeof *m + room);
    if (m)
        *m = (struct message){.references = 1};
    return m;
}

struct message *message_new(size_t len)
{
    struct message *m = message_begin(len);
    if (m) {
        m->count = 1;
        m->len = (uint32_t)len;
    }
    return m;
}

struct message *message_resize(struct message *m, size_t room)
{
    return realloc(m, sizeof *m + room);
}

void message_drop(struct message *m)
{
    /* Whoever holds the only reference need not count it down: nobody else can be counting. */
    if (atomic_load_explicit(&m->references, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) == 1) {
        if (m->matches)
            match_set_drop(m->matches);
        free(m);
    }
}
