/* One request to the admin listener and its answer, as a handler sees them.
 *
 * Order: the handler that the router chose is called once the whole request is there and whoever
 *   sent it may. It answers by one call of exchange_answer or its kin: at once, or later, from a
 *   callback on the same thread, such as an inquiry's `done`. There is always an answer, also
 *   when the client is gone: nobody will read it then, and nothing has to be checked.
 * Ownership: the connection's. Everything in it stays where it is until the answer, and is gone
 *   with that.
 * Threads: the listener's. */
#ifndef HERMES_ADMIN_EXCHANGE_H
#define HERMES_ADMIN_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"
#include "proto/http_head.h"
#include "proto/percent.h"

struct admin;

struct exchange {
    struct admin *admin;
    struct http_head head;
    struct text rest; /* the path behind that of a BELOW route, as sent (percent-encoded) */
    struct text query;
    struct text body;
    bool head_only; /* HEAD: answer as to GET, the body is left out by itself */
    bool closes;    /* the connection ends with the answer */
    bool answered;
};

/* Ends it. `type` is a Content-Type, or NULL where there is no body; `headers` further header lines
 * with their line ends, or NULL. The body's bytes are taken over, `body` is empty then; one that
 * has `failed` is answered 503. */
void exchange_answer(
    struct exchange *x, int status, const char *type, const char *headers, struct buf *body);

/* JSON, not to be stored by anyone. */
void exchange_json(struct exchange *x, int status, struct buf *body);

/* {"type":"error","code":CODE,"message":TEXT}. */
void exchange_error(struct exchange *x, int status, const char *code, const char *message);

/* The same with further header lines, or NULL. */
void exchange_refuse(
    struct exchange *x, int status, const char *code, const char *message, const char *headers);

/* --- parameters ------------------------------------------------------------------------------- */

enum query_result { QUERY_NONE, QUERY_FOUND, QUERY_BAD };

/* The first parameter of that name in a query, decoded behind what is in `out`. */
enum query_result query_find(struct text query, const char *name, struct buf *out);

/* Whether there is one of that name, whatever it holds. */
bool query_has(struct text query, const char *name);

/* As query_find for a whole number in decimal digits up to `most`: `*out` is changed only by
 * QUERY_FOUND. */
enum query_result query_number(struct text query, const char *name, uint64_t most, uint64_t *out);

#endif
