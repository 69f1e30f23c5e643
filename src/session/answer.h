/* How answers are queued, at the right place among the deliveries. */
#ifndef HERMES_SESSION_ANSWER_H
#define HERMES_SESSION_ANSWER_H

#include "proto/command.h"
#include "proto/reply2.h"
#include "session/session.h"

/* Begins an answer in the worker's scratch buffer, to stand right behind what has been delivered.
 */
struct buf *answer_begin_here(struct session *s);

/* The same, but what the session itself published before is delivered first, so that whoever
 * subscribes to its own topics can take any answer, a pong too, as the sign that it has seen all of
 * it. */
struct buf *answer_begin(struct session *s);

/* Sends what has been written since, and may end the session. */
void answer_send(struct session *s);

/* Answers with an error. At level 1 it is the message alone. */
struct fault {
    enum error_code code;
    struct text message;
    struct text id; /* these three may be empty */
    struct text topic;
    struct text pattern;
};
void answer_error(struct session *s, const struct fault *fault);

/* Whether a topic, or a pattern, may be used; answers when not. */
bool answer_topic_allowed(struct session *s, struct text id, struct text topic);
bool answer_pattern_allowed(struct session *s, struct text id, struct text pattern);

#endif
