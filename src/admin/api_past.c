/* What a topic keeps, and who subscribes to it: as the commands `history` and `presence` tell. */
#include <stdlib.h>

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_state.h"
#include "broker/backplane.h"
#include "broker/message.h"
#include "hermes/protocol.h"
#include "proto/reply2.h"
#include "session/far.h"
#include "session/parked.h"
#include "session/roll.h"
#include "session/session.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MOST = 1000, EPOCH_MOST = 64, FETCH_BYTES = 1 << 20 };

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

/* That of a far topic, which Redis has. */
struct fetch {
    struct exchange *x;
    struct errand far;
    struct question question;
};

static void answer_fetched(struct fetch *f)
{
    struct exchange *x = f->x;
    const struct errand *e = &f->far;
    struct buf rows = {0}, frame = {0};
    enum recovered recovered = RECOVERED_UNASKED;
    if (f->question.epoch.len > 0) {
        bool all = far_recovered(e, epoch_read(buf_text(&f->question.epoch)), f->question.since);
        recovered = all ? RECOVERED_YES : RECOVERED_NO;
    }
    session_history_found(&rows, e);
    reply2_history(&frame, TEXT(""), e->name, e->epoch, e->offset, buf_text(&rows), recovered);
    frame.failed |= rows.failed || e->outcome == ERRAND_NO_MEMORY;
    buf_fini(&rows);
    bool alone = e->outcome == ERRAND_UNAVAILABLE;
    buf_fini(&f->far.found);
    buf_fini(&f->question.topic);
    buf_fini(&f->question.epoch);
    free(f);
    if (!alone) {
        answer_frame(x, &frame, "");
        return;
    }
    buf_fini(&frame);
    api_alone(x);
}

static void fetched(struct errand *e)
{
    struct fetch *f = LIST_ITEM(e, struct fetch, far);
    const struct question *q = &f->question;
    /* Of another epoch, all that there is. */
    if (e->outcome == ERRAND_DONE && q->epoch.len > 0 && e->from > 1 &&
        epoch_read(buf_text(&q->epoch)) != e->epoch) {
        buf_clear(&e->found);
        e->count = 0;
        e->from = 1;
        admin_send(f->x->admin, e);
        return;
    }
    answer_fetched(f);
}

/* Takes over what the question holds. */
static void fetch_history(struct exchange *x, struct question *q)
{
    struct workshop *shop = x->admin->settings.shop;
    struct text topic = buf_text(&q->topic);
    struct rules *rules = rules_box_take(&shop->rules);
    struct route_rule rule = {rules_find(rules, topic), rules_version(rules)};
    bool keeps = rule.rule->history.messages > 0;
    struct fetch *f = keeps ? calloc(1, sizeof *f) : NULL;
    if (f) {
        f->x = x;
        f->question = *q;
        *q = (struct question){.since = 0};
        f->far = (struct errand){.kind = ERRAND_FETCH,
            .done = fetched,
            .hash = registry_hash(&shop->route.registry, topic),
            .name = topic,
            .weight = (uint32_t)(sizeof *f + topic.len),
            .from = f->question.has_since ? f->question.since + 1 : 0,
            .most = (uint32_t)f->question.limit,
            .bytes = FETCH_BYTES};
        far_fetch_limits(&f->far, rule);
        admin_send(x->admin, &f->far);
    } else if (keeps) {
        api_no_memory(x);
    } else {
        exchange_error(x, 404, error_code_name(ERROR_NO_HISTORY), HERMES_TEXT_NO_HISTORY);
    }
    rules_drop(rules);
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
        else if (api_is_far(x, buf_text(&w.topic)))
            fetch_history(x, &w);
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
