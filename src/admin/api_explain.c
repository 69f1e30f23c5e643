/* Why a client did not get a message. */
#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_state.h"
#include "proto/json.h"
#include "proto/reply2.h"
#include "session/explain.h"

static void answer(struct explain *e, void *context)
{
    struct exchange *x = context;
    const struct buf *members;
    struct buf body = {0};
    struct epoch_text id = epoch_text(e->client);
    if (!explain_answer(e, &members)) {
        explain_free(e);
        exchange_error(x, 503, error_code_name(ERROR_UNAVAILABLE),
            "The worker that had the client has ended.");
        return;
    }
    buf_append_string(&body, "{\"client\":");
    json_string_append(&body, (struct text){id.digits, id.len});
    buf_append_string(&body, ",\"topic\":");
    json_string_append(&body, e->topic);
    buf_append_string(&body, ",\"offset\":");
    buf_append_number(&body, e->offset);
    buf_append_char(&body, ',');
    buf_append_text(&body, buf_text(members));
    buf_append_string(&body, "}\n");
    body.failed |= members->failed;
    explain_free(e);
    exchange_json(x, 200, &body);
}

/* False when it has answered with an error. */
static bool take_client(struct exchange *x, uint64_t *client)
{
    struct buf text = {0};
    bool ok = api_take_text(x, "client", &text);
    *client = ok ? epoch_read(buf_text(&text)) : 0;
    buf_fini(&text);
    if (ok && *client == 0)
        exchange_error(x, 400, "malformed",
            "\"client\" is needed: an id of 16 hexadecimal digits, as in the info frame.");
    return ok && *client != 0;
}

static bool take_offset(struct exchange *x, uint64_t *offset)
{
    *offset = 0;
    if (!api_take_number(x, "offset", 1, INT64_MAX, offset))
        return false;
    if (*offset == 0)
        exchange_error(x, 400, "malformed", "\"offset\" is needed: that of the message.");
    return *offset != 0;
}

void api_explain(struct exchange *x)
{
    struct admin *a = x->admin;
    struct buf topic = {0};
    uint64_t client;
    uint64_t offset;
    if (api_take_topic(x, &topic) && take_client(x, &client) && take_offset(x, &offset)) {
        struct explain *e =
            explain_new(a->settings.shop, &a->box, client, buf_text(&topic), offset);
        if (e) {
            e->done = answer;
            e->context = x;
            admin_ask(a, &e->inquiry, e->workers);
        } else {
            api_no_memory(x);
        }
    }
    buf_fini(&topic);
}
