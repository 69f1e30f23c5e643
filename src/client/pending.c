#include "client/pending.h"

#include <string.h>

enum { RECLAIM = 4096 };

static struct pending_command *at(const struct pending *p, size_t offset)
{
    return (struct pending_command *)(void *)(p->queue.data + offset);
}

/* The number of the first that is in the queue. */
static uint64_t first(const struct pending *p)
{
    return p->last + 1 - (p->queue.len - p->head) / sizeof(struct pending_command);
}

uint64_t pending_add(struct pending *p, enum pending_kind kind, uint64_t token)
{
    struct pending_command added = {token, kind};
    if (p->head > RECLAIM && p->head > p->queue.len / 2) {
        p->queue.len -= p->head;
        memmove(p->queue.data, p->queue.data + p->head, p->queue.len);
        p->head = 0;
    }
    if (!buf_reserve(&p->queue, sizeof added)) {
        p->queue.failed = false;
        return 0;
    }
    buf_append(&p->queue, &added, sizeof added);
    return ++p->last;
}

/* Drops what is answered from the front. */
static void trim(struct pending *p)
{
    while (p->head < p->queue.len && at(p, p->head)->kind == PENDING_NONE)
        p->head += sizeof(struct pending_command);
    if (p->head == p->queue.len)
        pending_fini(p);
}

void pending_undo(struct pending *p)
{
    p->queue.len -= sizeof(struct pending_command);
    p->last--;
    trim(p);
}

static struct pending_command *find(const struct pending *p, uint64_t number)
{
    if (number < first(p) || number > p->last)
        return NULL;
    return at(p, p->head + (size_t)(number - first(p)) * sizeof(struct pending_command));
}

enum pending_kind pending_kind(const struct pending *p, uint64_t number)
{
    const struct pending_command *found = find(p, number);
    return found ? (enum pending_kind)found->kind : PENDING_NONE;
}

struct pending_command pending_take(struct pending *p, uint64_t number)
{
    struct pending_command *found = find(p, number);
    if (!found)
        return (struct pending_command){0};
    struct pending_command taken = *found;
    found->kind = PENDING_NONE;
    trim(p);
    return taken;
}

bool pending_take_publish(struct pending *p, uint64_t below, uint64_t *token)
{
    uint64_t number = first(p);
    for (size_t i = p->head; i < p->queue.len && number < below; number++) {
        struct pending_command *one = at(p, i);
        i += sizeof *one;
        if (one->kind != PENDING_PUBLISH)
            continue;
        *token = one->token;
        one->kind = PENDING_NONE;
        trim(p);
        return true;
    }
    return false;
}

void pending_forget_commands(struct pending *p, uint64_t below)
{
    uint64_t number = first(p);
    for (size_t i = p->head; i < p->queue.len && number < below; number++) {
        struct pending_command *one = at(p, i);
        i += sizeof *one;
        if (one->kind != PENDING_PUBLISH)
            one->kind = PENDING_NONE;
    }
    trim(p);
}

void pending_fini(struct pending *p)
{
    buf_fini(&p->queue);
    p->head = 0;
}

void pending_id_append(struct buf *out, uint64_t number)
{
    buf_append_string(out, "\"#");
    buf_append_number(out, number);
    buf_append_char(out, '"');
}

uint64_t pending_id_read(struct text raw)
{
    uint64_t number = 0;
    if (raw.len < 4 || raw.len > 23 || memcmp(raw.at, "\"#", 2) != 0)
        return 0;
    for (size_t i = 2; i < raw.len - 1; i++) {
        if (raw.at[i] < '0' || raw.at[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(raw.at[i] - '0');
    }
    return number;
}
