/* What the server says at level 2 on its own account: each appends one whole WebSocket frame.
 *
 * `id` is the raw JSON of the command's id (see proto/command.h), empty when it had none. Acks
 * carry the keys of level 1 as well. */
#ifndef HERMES_PROTO_REPLY2_H
#define HERMES_PROTO_REPLY2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

enum error_code {
    ERROR_BAD_JSON,
    ERROR_MALFORMED,
    ERROR_BAD_TOPIC,
    ERROR_BAD_PATTERN,
    ERROR_NOT_SUBSCRIBED,
    ERROR_UNAUTHORIZED,
    ERROR_FORBIDDEN,
    ERROR_TOKEN_EXPIRED,
    ERROR_RATE_LIMITED,
    ERROR_TOO_MANY_SUBSCRIPTIONS,
    ERROR_TOO_LARGE,
    ERROR_NO_HISTORY,
    ERROR_UNAVAILABLE,
};

/* As it stands in "code". Static. */
const char *error_code_name(enum error_code code);

enum recovered { RECOVERED_UNASKED, RECOVERED_NO, RECOVERED_YES };

/* What an epoch is on the wire: 16 hexadecimal digits; nothing for 0, of a topic that is not there.
 */
enum { EPOCH_DIGITS = 16 };
struct epoch_text {
    char digits[EPOCH_DIGITS];
    size_t len;
};
struct epoch_text epoch_text(uint64_t epoch);

/* The epoch of such a text, or 0 when it is none. */
uint64_t epoch_read(struct text text);

/* A client's id is the same kind of number. */
void reply2_client(struct buf *out, uint64_t client); /* that alone, in quotes */
void reply2_info(struct buf *out, uint64_t client);
void reply2_subscribed(struct buf *out, struct text id, struct text topic, uint64_t epoch,
    uint64_t offset, enum recovered recovered);
void reply2_subscribed_pattern(struct buf *out, struct text id, struct text pattern);
void reply2_unsubscribed(struct buf *out, struct text id, struct text topic);
void reply2_unsubscribed_pattern(struct buf *out, struct text id, struct text pattern);
void reply2_published(
    struct buf *out, struct text id, struct text topic, uint64_t offset, uint64_t subscribers);
void reply2_pong(struct buf *out, struct text id);

/* `expires`: in seconds since 1970; NULL: never, the key is left out. */
void reply2_authenticated(struct buf *out, struct text id, const uint64_t *expires);

/* `topic` and `pattern` may be empty: the keys are left out then. Behind a message that ends with a
 * space comes the name of the one that is given. */
void reply2_error(struct buf *out, enum error_code code, struct text message, struct text id,
    struct text topic, struct text pattern);

/* Rows as by reply_topics_row; next or NULL. */
void reply2_topics(struct buf *out, struct text id, struct text rows, const struct text *next);

/* The rows of a history answer are collected by the first one; `recovered` as for a subscribe. */
void reply2_history_row(struct buf *rows, uint64_t offset, struct text data);
void reply2_history(struct buf *out, struct text id, struct text topic, uint64_t epoch,
    uint64_t offset, struct text rows, enum recovered recovered);

/* The same for the clients of a presence answer. */
void reply2_presence_row(struct buf *rows, uint64_t client);
void reply2_presence(struct buf *out, struct text id, struct text topic, struct text rows);

/* {"type":"join"|"leave","topic":T,"client":C} */
void reply2_presence_event(struct buf *out, bool joined, struct text topic, uint64_t client);

/* {"type":"reconnect","after_ms":n} */
void reply2_reconnect(struct buf *out, uint64_t after_ms);

/* {"type":"gap","topic":T,"from":a,"to":b}; the topic as JSON already, quotes included. */
void reply2_gap(struct buf *out, struct text topic_json, uint64_t from, uint64_t to);

/* The same with "epoch":E: offsets have started anew; `to` 0: nothing of them was missed. */
void reply2_gap_anew(
    struct buf *out, struct text topic_json, uint64_t epoch, uint64_t from, uint64_t to);

/* {"type":"gap","pattern":P}: messages of topics that it matches may have been missed. */
void reply2_gap_pattern(struct buf *out, struct text pattern);

#endif
