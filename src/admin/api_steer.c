/* What an operator does: sends clients away, ends the broker. */
#include <stdlib.h>

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_json.h"
#include "admin/api_state.h"
#include "base/utf8.h"
#include "broker/backplane.h"
#include "proto/json.h"
#include "proto/reply2.h"
#include "session/dismissal.h"

enum { CODE_DEFAULT = 4003 };

/* What a request asks for; `at` NULL: that key is not there. */
struct order {
    struct text client;
    struct text user;
    struct text code;
    struct text reason;
};

static bool read_order(struct exchange *x, struct order *order)
{
    *order = (struct order){.client = {NULL, 0}};
    if (!utf8_valid(x->body.at, x->body.len) || !json_valid(x->body.at, x->body.len)) {
        exchange_error(x, 400, "bad_json", "The body must be valid JSON.");
        return false;
    }
    struct text body = json_body(x->body);
    struct text key, value;
    if (body.at[0] == '{') {
        struct json_walk walk = json_walk(body);
        while (json_walk_member(&walk, &key, &value)) {
            if (json_is(key, "client"))
                order->client = value;
            else if (json_is(key, "user"))
                order->user = value;
            else if (json_is(key, "code"))
                order->code = value;
            else if (json_is(key, "reason"))
                order->reason = value;
        }
    }
    if (!order->client.at == !order->user.at) {
        exchange_error(
            x, 400, "malformed", "Expected an object with either \"client\" or \"user\".");
        return false;
    }
    return true;
}

/* Those that a server may send to tell why it closes. */
static bool is_code(uint64_t code)
{
    return code == 1000 || code == 1001 || code == 1008 || code == 1012 || code == 1013 ||
           (code >= 3000 && code <= 4999);
}

/* What is asked of the own workers and, where there are any, of the other brokers. */
struct farewell {
    struct exchange *x;
    struct dismissal *here;
    struct errand far;
    unsigned waiting;
};

static void farewell_free(struct farewell *f)
{
    dismissal_free(f->here);
    buf_fini(&f->far.found);
    free(f);
}

static void answer(struct farewell *f)
{
    struct exchange *x = f->x;
    const struct dismissal *d = f->here;
    struct buf body = {0};
    struct epoch_text id = epoch_text(d->client);
    uint64_t count = d->count + f->far.count;
    bool alone = f->far.outcome != ERRAND_DONE;
    bool ending = d->ending;
    LOG_LINE(x->admin->settings.shop->logger, LOG_INFO, "clients disconnected",
        LOG_NUMBER("count", count), LOG_NUMBER("code", d->code),
        d->user.at ? LOG_TEXT("user", d->user)
                   : LOG_TEXT("client", ((struct text){id.digits, id.len})));
    farewell_free(f);
    if (count > 0) {
        buf_append_string(&body, "{\"disconnected\":");
        buf_append_number(&body, count);
        buf_append_string(&body, "}\n");
        exchange_json(x, 200, &body);
    } else if (alone) { /* it may be somewhere */
        api_alone(x);
    } else {
        exchange_error(x, 404, "not_found",
            ending ? "There is no such client any more: this server is shutting down."
                   : "There is no such client.");
    }
}

static void part_done(struct farewell *f)
{
    if (--f->waiting == 0)
        answer(f);
}

static void here_done(struct dismissal *d, void *context)
{
    (void)d;
    part_done(context);
}

static void far_done(struct errand *e)
{
    part_done(LIST_ITEM(e, struct farewell, far));
}

static void ask(struct exchange *x, uint64_t client, struct text user, int code, struct text reason)
{
    struct admin *a = x->admin;
    struct farewell *f = calloc(1, sizeof *f);
    struct dismissal *d =
        f ? dismissal_new(a->settings.shop, &a->box, client, user, code, reason) : NULL;
    if (!d) {
        free(f);
        api_no_memory(x);
        return;
    }
    f->x = x;
    f->here = d;
    f->waiting = 1;
    d->done = here_done;
    d->context = f;
    if (a->settings.shop->route.backplane) {
        f->waiting++;
        f->far = (struct errand){.kind = ERRAND_ASK,
            .done = far_done,
            .weight = (uint32_t)(sizeof *f + user.len),
            .ask = ASK_DISMISS,
            .user = d->user,
            .client = client,
            .code = code,
            .reason = text_of(d->reason)};
        admin_send(a, &f->far);
    }
    admin_ask(a, &d->inquiry, NULL);
}

static void refuse(
    struct exchange *x, const struct buf *one, const struct buf *other, const char *why)
{
    if (one->failed || other->failed)
        api_no_memory(x);
    else
        exchange_error(x, 400, "malformed", why);
}

void api_disconnect(struct exchange *x)
{
    struct order order;
    struct buf who = {0}, reason = {0};
    uint64_t code = CODE_DEFAULT;
    uint64_t client = 0;
    if (!read_order(x, &order))
        return;
    buf_append_string(&reason, order.reason.at ? "" : "closed by an operator");
    bool named = json_take_string(order.user.at ? order.user : order.client, &who) && who.len > 0;
    if (named && order.client.at)
        client = epoch_read(buf_text(&who));
    if (!named || (order.client.at && client == 0))
        refuse(x, &who, &reason,
            "\"client\" must be an id of 16 hexadecimal digits, \"user\" a name.");
    else if (order.code.at && (!json_take_number(order.code, 4999, &code) || !is_code(code)))
        refuse(x, &who, &reason,
            "\"code\" must be 1000, 1001, 1008, 1012, 1013 or from 3000 to 4999.");
    else if (order.reason.at &&
             (!json_take_string(order.reason, &reason) || reason.len > DISMISSAL_REASON_MAX ||
                 memchr(reason.data, '\0', reason.len)))
        refuse(x, &who, &reason, "\"reason\" must be a string of at most 123 bytes.");
    else
        ask(x, client, order.user.at ? buf_text(&who) : (struct text){NULL, 0}, (int)code,
            buf_text(&reason));
    buf_fini(&who);
    buf_fini(&reason);
}

void api_drain(struct exchange *x)
{
    const struct admin_settings *settings = &x->admin->settings;
    struct buf body = {0};
    LOG_LINE(settings->shop->logger, LOG_INFO, "drain asked for", LOG_STRING("by", "api"));
    settings->drain(settings->user);
    buf_append_string(&body, "{\"draining\":true}\n");
    exchange_json(x, 202, &body);
}
