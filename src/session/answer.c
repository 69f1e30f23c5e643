#include "session/answer.h"

#include "broker/pattern.h"
#include "broker/topic_name.h"
#include "proto/reply.h"
#include "session/parked.h"
#include "session/worker.h"

struct buf *answer_begin_here(struct session *s)
{
    buf_clear(&s->worker->scratch);
    return &s->worker->scratch;
}

void answer_published_first(struct session *s)
{
    struct worker *w = s->worker;
    if (s->published == w->deliveries + 1) {
        mailbox_take(&w->box, &w->tray);
        worker_deliver(w);
    }
}

struct buf *answer_begin(struct session *s)
{
    worker_post_gathered(s->worker);
    answer_published_first(s);
    return answer_begin_here(s);
}

void answer_send(struct session *s)
{
    struct buf *out = &s->worker->scratch;
    if (s->state != SESSION_OPEN)
        return;
    if (out->failed)
        session_close(s, CLOSE_NO_MEMORY);
    else
        session_send(s, buf_text(out));
    worker_relieve(s->worker); /* many large answers to one read must not pile up */
}

void answer_in_turn(struct session *s, bool later)
{
    const struct buf *out = &s->worker->scratch;
    if (later && !out->failed)
        session_park_answer(s, buf_text(out));
    else
        answer_send(s);
}

void answer_error(struct session *s, const struct fault *fault)
{
    if (s->state != SESSION_OPEN)
        return;
    metric_add(&s->worker->metrics, METRIC_errors_sent_total, 1);
    bool later = session_answers_later(s);
    struct buf *out = later ? answer_begin_here(s) : answer_begin(s);
    if (s->enveloped)
        reply2_error(out, fault->code, fault->message, fault->id, fault->topic, fault->pattern);
    else if (fault->code == ERROR_NOT_SUBSCRIBED)
        reply_not_subscribed(out, fault->topic);
    else
        reply_error(out, fault->message);
    answer_in_turn(s, later);
}

bool answer_topic_allowed(struct session *s, struct text id, struct text topic)
{
    size_t most = s->worker->shop->limits.topic_bytes;
    const char *fault = topic_name_fault(topic, most);
    if (!fault)
        return true;
    if (topic.len > most)
        metric_add(&s->worker->metrics, METRIC_limit_topic_bytes_total, 1);
    answer_error(s, &(struct fault){.code = ERROR_BAD_TOPIC,
                        .message = text_of(fault),
                        .id = id,
                        .topic = topic.len > most ? TEXT("") : topic});
    return false;
}

bool answer_pattern_allowed(struct session *s, struct text id, struct text pattern)
{
    size_t most = s->worker->shop->limits.topic_bytes;
    const char *fault = pattern_fault(pattern, most);
    if (fault)
        answer_error(s, &(struct fault){.code = ERROR_BAD_PATTERN,
                            .message = text_of(fault),
                            .id = id,
                            .pattern = pattern.len > most ? TEXT("") : pattern});
    return !fault;
}
