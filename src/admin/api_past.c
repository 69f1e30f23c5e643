/* What a topic keeps, and who subscribes to it: as the commands `history` and `presence` tell. */
#include <stdlib.h>

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_state.h"
#include "broker/backplane.h"
#include "broker/message.h"
#include "hermes/protocol.h"
#include "proto/reply2.h"
#include "session/roll.h"
#include "session/session.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MOST = 1000, EPOCH_MOST = 64 };

/* Takes a frame and answers with what is in it, and `more` before the last brace. */
static void answer_frame(struct exchange *x, struct buf *frame, const char *more)
{
    struct buf body = {0};
    struct text json;
    body.failed = frame->failed;
    if (!frame->failed) {
        message_frame(frame->data, &json);
        buf_append(&body, json.at, json.len - 1);
        buf_append_string(&body, more);
        buf_append_string(&body, "}\n");
    }
    buf_fini(frame);
    exchange_json(x, 200, &body);
}

/* --- history ---------------------------------------------------------------------------------- */

struct question {
    struct buf topic;
    struct buf epoch;
    bool has_since;
    uint64_t since;
    uint64_t limit;
};

static struct route_state look(struct workshop *shop, const struct question *w)
{
    struct text topic = buf_text(&w->topic);
    struct route *route = &shop->route;
    uint64_t hash = registry_hash(&route->registry, topic);
    struct rules *rules = rules_box_take(&shop->rules);
    struct route_rule rule = {rules_find(rules, topic), rules_version(rules)};
    struct route_past past = {
        .since = w->has_since, .offset = w->since, .newest = (uint32_t)w->limit};
    if (w->epoch.len > 0)
        past.epoch = epoch_read(buf_text(&w->epoch));
    else if (w->has_since) /* whichever there is */
        past.epoch = route_history(route, rule, hash, topic, NULL, 0).epoch;
    struct route_state state = route_history(route, rule, hash, topic, &past, (uint32_t)w->limit);
    rules_drop(rules);
    return state;
}

static void tell_history(struct exchange *x, const struct question *w)
{
    struct route_state state = look(x->admin->settings.shop, w);
    struct buf rows = {0}, frame = {0};
    if (!state.keeps) {
        history_view_fini(&state.past);
        exchange_error(x, 404, error_code_name(ERROR_NO_HISTORY), HERMES_TEXT_NO_HISTORY);
        return;
    }
    session_history_rows(&rows, &state.past, !w->has_since);
    history_view_fini(&state.past);
    enum recovered recovered = !w->has_since || w->epoch.len == 0 ? RECOVERED_UNASKED
                               : state.recovered                  ? RECOVERED_YES
                                                                  : RECOVERED_NO;
    reply2_history(&frame, TEXT(""), buf_text(&w->topic), state.epoch, state.offset,
        buf_text(&rows), recovered);
    frame.failed |= rows.failed;
    buf_fini(&rows);
    answer_frame(x, &frame, "");
}

void api_history(struct exchange *x)
{
    struct question w = {.since = UINT64_MAX, .limit = LIMIT_DEFAULT};
    if (api_take_topic(x, &w.topic) && api_take_text(x, "epoch", &w.epoch) &&
        api_take_number(x, "since", 0, INT64_MAX, &w.since) &&
        api_take_number(x, "limit", 1, LIMIT_MOST, &w.limit)) {
        w.has_since = w.since != UINT64_MAX;
        if (w.epoch.len > EPOCH_MOST)
            exchange_error(x, 400, "malformed", "\"epoch\" is longer than any.");
        else if (w.epoch.len > 0 && !w.has_since)
            exchange_error(x, 400, "malformed", "\"epoch\" goes with \"since\" only.");
        else
            tell_history(x, &w);
    }
    buf_fini(&w.topic);
    buf_fini(&w.epoch);
}

/* --- presence --------------------------------------------------------------------------------- */

struct presence {
    struct exchange *x;
    struct roll *roll;
    struct errand far; /* of the other brokers */
    unsigned waiting;
};

static size_t append_clients(struct buf *rows, const struct buf *found)
{
    rows->failed |= found->failed;
    for (size_t at = 0; at < found->len; at += sizeof(uint64_t)) {
        uint64_t client;
        memcpy(&client, found->data + at, sizeof client);
        reply2_presence_row(rows, client);
    }
    return found->len / sizeof(uint64_t);
}

static void answer_presence(struct presence *p)
{
    struct exchange *x = p->x;
    struct roll *r = p->roll;
    struct buf rows = {0}, frame = {0};
    char count[48];
    size_t clients = append_clients(&rows, &p->far.found);
    bool alone = p->far.outcome == ERRAND_UNAVAILABLE;
    for (unsigned i = 0; i < r->inquiry.count; i++)
        clients += append_clients(&rows, &r->inquiry.parts[i].found);
    reply2_presence(&frame, TEXT(""), r->topic, buf_text(&rows));
    frame.failed |= rows.failed || p->far.outcome == ERRAND_NO_MEMORY;
    buf_fini(&rows);
    roll_free(r);
    buf_fini(&p->far.found);
    free(p);
    if (alone) {
        buf_fini(&frame);
        api_alone(x);
        return;
    }
    snprintf(count, sizeof count, ",\"count\":%zu", clients);
    answer_frame(x, &frame, count);
}

static void presence_part_done(struct presence *p)
{
    if (--p->waiting == 0)
        answer_presence(p);
}

static void roll_done(struct roll *r, void *context)
{
    (void)r;
    presence_part_done(context);
}

static void far_done(struct errand *e)
{
    presence_part_done(LIST_ITEM(e, struct presence, far));
}

static void ask_who_is_there(struct exchange *x, struct text topic)
{
    struct admin *a = x->admin;
    struct presence *p = calloc(1, sizeof *p);
    struct roll *r = p ? roll_new(a->settings.shop, &a->box, topic) : NULL;
    if (!r) {
        free(p);
        api_no_memory(x);
        return;
    }
    p->x = x;
    p->roll = r;
    p->waiting = 1;
    r->done = roll_done;
    r->context = p;
    if (api_is_far(x, topic)) {
        p->waiting++;
        p->far = (struct errand){.kind = ERRAND_ASK,
            .done = far_done,
            .hash = r->hash,
            .name = r->topic,
            .weight = (uint32_t)(sizeof *p + topic.len),
            .ask = ASK_PRESENCE};
        admin_send(a, &p->far);
    }
    admin_ask(a, &r->inquiry, r->workers);
}

void api_presence(struct exchange *x)
{
    struct buf topic = {0};
    if (api_take_topic(x, &topic))
        ask_who_is_there(x, buf_text(&topic));
    buf_fini(&topic);
}
