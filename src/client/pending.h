/* Level 2: which commands of a client wait for an answer, by their numbers.
 *
 * A number is a command's id on the wire, written with a # before it in a string. They go up by one
 * from command to command, over all connections of a client.
 * Memory: a queue that is empty holds none. */
#ifndef HERMES_CLIENT_PENDING_H
#define HERMES_CLIENT_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

enum pending_kind {
    PENDING_NONE, /* answered */
    PENDING_SUBSCRIBE,
    PENDING_PUBLISH,
    PENDING_OTHER,
};

struct pending_command {
    uint64_t token;
    uint64_t kind;
};

struct pending {
    struct buf queue; /* of struct pending_command; numbers go up by one */
    size_t head;      /* bytes at its front that are no longer used */
    uint64_t last;    /* the number given last: of the queue's last item */
};

/* A command gets a number; 0 when there is no memory. */
uint64_t pending_add(struct pending *p, enum pending_kind kind, uint64_t token);

/* Takes back the newest number: its command was not sent after all. */
void pending_undo(struct pending *p);

/* What waits under that number. */
enum pending_kind pending_kind(const struct pending *p, uint64_t number);

/* The command of that number is answered; what it was, PENDING_NONE when none waits for it. */
struct pending_command pending_take(struct pending *p, uint64_t number);

/* The first publish below `below` that waits, as by pending_take; false when there is none. */
bool pending_take_publish(struct pending *p, uint64_t below, uint64_t *token);

/* Whatever waits below `below` but publishes does so no more. */
void pending_forget_commands(struct pending *p, uint64_t below);

void pending_fini(struct pending *p);

/* Appends `"#n"`; and reads it, quotes included: 0 when it is none of ours. */
void pending_id_append(struct buf *out, uint64_t number);
uint64_t pending_id_read(struct text raw);

#endif
