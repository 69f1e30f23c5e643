/* What a Redis server writes, as values: hiredis' reader, without an allocation for each.
 *
 * Order: resp_in_feed, then resp_in_next until it says that it needs more; then the next feed.
 * Ownership: an answer and its texts are the reader's, and good until the next call. Texts point
 *   into the bytes that were fed, which have to stay where they are until resp_in_next has said
 *   RESP_MORE; it keeps what is half there.
 * Memory: an answer of more than RESP_BYTES_MOST bytes or RESP_ITEMS_MOST items is RESP_BAD. */
#ifndef HERMES_CLUSTER_RESP_IN_H
#define HERMES_CLUSTER_RESP_IN_H

#include <stdint.h>

#include "base/text.h"

enum { RESP_BYTES_MOST = 64 << 20, RESP_ITEMS_MOST = 1 << 20 };

enum resp_kind { RESP_NIL, RESP_STATUS, RESP_ERROR, RESP_INTEGER, RESP_TEXT, RESP_ARRAY };

struct resp {
    enum resp_kind kind;
    int64_t integer;
    struct text text; /* of a text, a status or an error */
    const struct resp *items;
    size_t count;
};

enum resp_result { RESP_DONE, RESP_MORE, RESP_BAD };

struct resp_in;

/* NULL: no memory. */
struct resp_in *resp_in_new(void);
void resp_in_free(struct resp_in *in);

void resp_in_feed(struct resp_in *in, const char *bytes, size_t len);

/* RESP_BAD is for ever; resp_in_fault says why. */
enum resp_result resp_in_next(struct resp_in *in, const struct resp **answer);
const char *resp_in_fault(const struct resp_in *in);

#endif
