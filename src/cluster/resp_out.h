/* Commands, as bytes for a Redis server.
 *
 * Order: resp_out_begin, each argument (whole, or its length and then its pieces), resp_out_end,
 *   which takes a command that memory did not suffice for back whole.
 * Memory: what is not sent yet; a large buffer is given back when it is empty. */
#ifndef HERMES_CLUSTER_RESP_OUT_H
#define HERMES_CLUSTER_RESP_OUT_H

#include <stdint.h>

#include "base/buf.h"

struct resp_out {
    struct buf bytes;
    size_t sent;    /* of them, from the front */
    size_t command; /* where the one that is being written begins */
    size_t piece;   /* bytes of its argument that are still to come */
    unsigned arguments;
};

void resp_out_fini(struct resp_out *out);

void resp_out_begin(struct resp_out *out, unsigned arguments);
void resp_out_arg(struct resp_out *out, struct text argument);
void resp_out_number(struct resp_out *out, uint64_t number);
void resp_out_arg_begin(struct resp_out *out, size_t len);
void resp_out_piece(struct resp_out *out, struct text piece);

/* False: no memory, and the command is not in it. */
bool resp_out_end(struct resp_out *out);

/* The command that has just been ended was not meant. */
void resp_out_undo(struct resp_out *out);

static inline struct text resp_out_text(const struct resp_out *out)
{
    return (struct text){out->bytes.data + out->sent, out->bytes.len - out->sent};
}

/* So many bytes are on their way. */
void resp_out_sent(struct resp_out *out, size_t len);

/* Forgets all, and wipes it where there were secrets in it. */
void resp_out_clear(struct resp_out *out, bool secret);

#endif
