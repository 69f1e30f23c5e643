/* The commands that only look: topics, history. */
#include "broker/pattern.h"
#include "broker/relay.h"
#include "broker/topic_list.h"
#include "hermes/protocol.h"
#include "proto/reply.h"
#include "session/answer.h"
#include "session/bearer.h"
#include "session/listing.h"
#include "session/parked.h"
#include "session/waiting.h"
#include "session/worker.h"

/* HISTORY_BYTES: of data in one answer, but for its first message. BYTES_AS_TOPIC: what an answer
 * costs is counted as if so many bytes were one topic that is looked at.
 * PATTERNS_AS_TOPIC: and so many patterns of a token that a topic is compared with. */
enum { HISTORY_BYTES = 1 << 20, BYTES_AS_TOPIC = 16, PATTERNS_AS_TOPIC = 16 };

bool session_is_shown(const struct session *s, struct text name)
{
    return session_may(s, GRANT_SUBSCRIBE, rules_find(s->worker->rules, name), name);
}

static bool is_shown(void *user, struct text name)
{
    return session_is_shown(user, name);
}

bool session_is_kept_from(const struct session *s)
{
    const struct rules *rules = s->worker->rules;
    if (s->bearer && s->bearer->grants)
        return true;
    for (size_t i = 0; rules && i < rules->count; i++)
        if (rules->list[i].subscribe != ACCESS_EVERYONE)
            return true;
    return false;
}

void session_write_topics(const struct session *s, struct buf *out, struct text id,
    const struct topic_row *rows, size_t count, const struct text *next)
{
    struct buf texts = {0};
    for (size_t i = 0; i < count; i++)
        reply_topics_row(&texts, rows[i].name, rows[i].subscribers);
    if (s->enveloped)
        reply2_topics(out, id, buf_text(&texts), next);
    else
        reply_topics(out, buf_text(&texts), next);
    out->failed |= texts.failed;
    buf_fini(&texts);
}

void session_list_topics(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct topic_list list;
    struct fault fault = {
        .code = ERROR_RATE_LIMITED, .message = TEXT(HERMES_TEXT_LISTINGS), .id = c->id};
    if (c->pattern.len && !answer_pattern_allowed(s, c->id, c->pattern))
        return;
    if ((w->shop->route.backplane && !session_may_wait(s)) || !worker_may_list(w, s)) {
        answer_error(s, &fault);
        return;
    }
    struct topic_choice choice = {
        .prefix = c->prefix, .after = c->after, .pattern = c->pattern, .limit = c->limit};
    if (session_is_kept_from(s)) {
        choice.wanted = is_shown;
        choice.user = s;
    }
    if (!topic_list_choose(&list, &w->shop->route.registry, &choice)) {
        fault.code = ERROR_UNAVAILABLE;
        fault.message = TEXT(HERMES_TEXT_NO_TOPICS);
        answer_error(s, &fault);
        return;
    }
    size_t seen = list.seen * (1 + session_patterns(s) / PATTERNS_AS_TOPIC);
    if (w->shop->route.backplane) {
        session_list_everywhere(s, c, &list);
    } else {
        struct buf *out = answer_begin(s);
        session_write_topics(
            s, out, c->id, list.rows, list.count, list.next.at ? &list.next : NULL);
        topic_list_fini(&list);
        answer_send(s);
    }
    worker_listed(w, s, seen);
}

void session_history_rows(struct buf *rows, struct history_view *view, bool newest)
{
    uint64_t offset;
    struct text data;
    size_t left = view->bytes;
    size_t taken = 0;
    while (history_view_next(view, &offset, &data)) {
        size_t here = data.len < left ? data.len : left;
        /* The newest are wanted: those in front are left out. Else those at the end. */
        bool fits = newest ? left <= HISTORY_BYTES || left == here
                           : taken == 0 || taken + here <= HISTORY_BYTES;
        left -= here;
        if (!fits && !newest)
            break;
        if (!fits)
            continue;
        taken += here;
        reply2_history_row(rows, offset, data);
    }
}

void session_history_found(struct buf *rows, const struct errand *e)
{
    const char *frame = e->found.data;
    for (uint32_t i = 0; i < e->count; i++) {
        struct text data;
        frame = message_frame(frame, &data);
        reply2_history_row(rows, e->first + i, data);
    }
}

/* What was fetched. */
static void answer_found(struct session *s, const struct command *c, const struct errand *e)
{
    struct buf rows = {0};
    struct buf *out = answer_begin(s);
    enum recovered recovered = RECOVERED_UNASKED;
    if (c->has_since)
        recovered = far_recovered(e, epoch_read(c->epoch), c->since) ? RECOVERED_YES : RECOVERED_NO;
    session_history_found(&rows, e);
    reply2_history(out, c->id, c->topic, e->epoch, e->offset, buf_text(&rows), recovered);
    out->failed |= rows.failed;
    buf_fini(&rows);
    size_t bytes = out->len;
    answer_send(s);
    worker_listed(s->worker, s, bytes / BYTES_AS_TOPIC);
}

/* Sees to a far topic's history, which may have to be fetched: true when there is nothing left to
 * do now. */
static bool look_far(struct session *s, const struct command *c, struct route_rule rule)
{
    uint64_t hash = registry_hash(&s->worker->shop->route.registry, c->topic);
    struct far_wait *waited = session_waited(s, 0);
    enum errand_kind kind = ERRAND_FETCH;
    if (waited && waited->errand.outcome == ERRAND_DONE && waited->errand.kind == ERRAND_FETCH) {
        answer_found(s, c, &waited->errand);
        return true;
    }
    struct relay_place place;
    bool live = waited && route_place(&s->worker->shop->route, hash, c->topic, &place);
    bool lacks = live ? far_lacks_past(s, c, c->topic, hash, rule)
                      : far_lacks(s, c, c->topic, hash, rule, &kind);
    if (!lacks)
        return false;
    if ((waited && waited->errand.outcome != ERRAND_DONE) || session_waited_enough(s))
        answer_error(s, &(struct fault){.code = ERROR_UNAVAILABLE,
                            .message = TEXT(HERMES_TEXT_ALONE),
                            .id = c->id,
                            .topic = c->topic});
    else
        session_wait(s, c, &c->topic, 1, kind);
    return true;
}

void session_tell_history(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct fault fault = {.code = ERROR_FORBIDDEN,
        .message = TEXT(HERMES_TEXT_MAY_NOT_SUBSCRIBE),
        .id = c->id,
        .topic = c->topic};
    if (!answer_topic_allowed(s, c->id, c->topic))
        return;
    struct route_rule rule = worker_rule(w, c->topic);
    if (!session_may(s, GRANT_SUBSCRIBE, rule.rule, c->topic)) {
        metric_add(&w->metrics, METRIC_forbidden_total, 1);
        answer_error(s, &fault);
        return;
    }
    if (!worker_may_list(w, s)) {
        fault.code = ERROR_RATE_LIMITED;
        fault.message = TEXT(HERMES_TEXT_LISTINGS);
        answer_error(s, &fault);
        return;
    }
    if (route_is_far(route, rule.rule) && look_far(s, c, rule))
        return;
    struct buf *out = answer_begin(s); /* what it has published itself is in there */
    struct route_past past = {.since = c->has_since, .offset = c->since, .newest = c->limit};
    if (c->has_since)
        past.epoch = epoch_read(c->epoch);
    struct route_state state = route_history(
        route, rule, registry_hash(&route->registry, c->topic), c->topic, &past, c->limit);
    if (!state.keeps) {
        fault.code = ERROR_NO_HISTORY;
        fault.message = TEXT(HERMES_TEXT_NO_HISTORY);
        answer_error(s, &fault);
        return;
    }
    struct buf rows = {0};
    session_history_rows(&rows, &state.past, !c->has_since);
    history_view_fini(&state.past);
    enum recovered recovered = !c->has_since     ? RECOVERED_UNASKED
                               : state.recovered ? RECOVERED_YES
                                                 : RECOVERED_NO;
    reply2_history(out, c->id, c->topic, state.epoch, state.offset, buf_text(&rows), recovered);
    out->failed |= rows.failed;
    buf_fini(&rows);
    size_t bytes = out->len;
    answer_send(s);
    worker_listed(w, s, bytes / BYTES_AS_TOPIC);
}
