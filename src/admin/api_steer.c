/* What an operator does: sends clients away, ends the broker. */
#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_json.h"
#include "admin/api_state.h"
#include "base/utf8.h"
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

static void answer(struct dismissal *d, void *context)
{
    struct exchange *x = context;
    struct buf body = {0};
    struct epoch_text id = epoch_text(d->client);
    LOG_LINE(x->admin->settings.shop->logger, LOG_INFO, "clients disconnected",
        LOG_NUMBER("count", d->count), LOG_NUMBER("code", d->code),
        d->user.at ? LOG_TEXT("user", d->user)
                   : LOG_TEXT("client", ((struct text){id.digits, id.len})));
    buf_append_string(&body, "{\"disconnected\":");
    buf_append_number(&body, d->count);
    buf_append_string(&body, "}\n");
    bool any = d->count > 0;
    dismissal_free(d);
    if (any) {
        exchange_json(x, 200, &body);
        return;
    }
    buf_fini(&body);
    exchange_error(x, 404, "not_found", "There is no such client.");
}

static void ask(struct exchange *x, uint64_t client, struct text user, int code, struct text reason)
{
    struct admin *a = x->admin;
    struct dismissal *d = dismissal_new(a->settings.shop, &a->box, client, user, code, reason);
    if (!d) {
        api_no_memory(x);
        return;
    }
    d->done = answer;
    d->context = x;
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
