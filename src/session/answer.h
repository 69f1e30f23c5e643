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
 * it. (For what is published in the cluster commands wait, and other answers as below.) */
struct buf *answer_begin(struct session *s);

/* What is done now is answered right behind what the session has published, as by answer_begin. Not
 * amid deliveries. */
void answer_published_first(struct session *s);

/* Sends what has been written since, and may end the session. */
void answer_send(struct session *s);

/* The same for an answer that is not to a command that has just been done: `later` (as
 * session_answers_later says, before it is begun) when something is to be answered before it. */
void answer_in_turn(struct session *s, bool later);

/* Answers with an error, when all before it is answered. At level 1 it is the message alone. */
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
