/* Who is connected, and how each does. */
#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_state.h"
#include "proto/json.h"
#include "proto/reply2.h"
#include "session/census.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MOST = 1000 };

static const struct {
    const char *word;
    enum census_sort sort;
} sorts[] = {
    {"queued", CENSUS_QUEUED},
    {"unsent", CENSUS_UNSENT},
    {"rtt", CENSUS_RTT},
    {"retransmits", CENSUS_RETRANSMITS},
    {"age", CENSUS_AGE},
    {"client", CENSUS_CLIENT},
};

static void append_client(struct buf *out, uint64_t client)
{
    struct epoch_text id = epoch_text(client);
    json_string_append(out, (struct text){id.digits, id.len});
}

static void append_row(struct buf *out, const struct census_row *row)
{
    char address[ENDPOINT_TEXT_MAX];
    buf_append_string(out, "{\"client\":");
    append_client(out, row->client);
    buf_append_string(out, ",\"address\":");
    json_string_append(out, text_of(endpoint_text(&row->address, address)));
    buf_append_string(out, ",\"user\":");
    if (row->user)
        json_string_append(out, (struct text){row->user, row->user_len});
    else
        buf_append_string(out, "null");
    buf_appendf(out,
        ",\"protocol\":\"%s\",\"tls\":%s,\"worker\":%u,\"topics\":%u,\"queued_bytes\":",
        row->events      ? "sse"
        : row->enveloped ? "hermes.v2"
                         : "hermes.v1",
        row->tls ? "true" : "false", (unsigned)row->worker, (unsigned)row->topics);
    buf_append_number(out, row->queued);
    buf_appendf(out, ",\"unsent_bytes\":%u,\"rtt_us\":%u,\"rtt_ms\":", (unsigned)row->unsent,
        (unsigned)row->rtt_us);
    api_append_thousandths(out, row->rtt_us);
    buf_appendf(out,
        ",\"retransmits\":%u,\"connected_seconds\":%u,\"age_seconds\":%u,\"blocked\":%s}",
        (unsigned)row->retransmits, (unsigned)row->age, (unsigned)row->age,
        row->blocked ? "true" : "false");
}

static void answer(struct census *c, void *context)
{
    struct exchange *x = context;
    struct buf body = {0};
    buf_append_string(&body, "{\"connections\":[");
    for (size_t i = 0; i < c->count; i++) {
        if (i > 0)
            buf_append_char(&body, ',');
        append_row(&body, &c->rows[i]);
    }
    buf_append_string(&body, "],\"total\":");
    buf_append_number(&body, c->total);
    buf_append_string(&body, ",\"next\":");
    if (c->sort == CENSUS_CLIENT && c->count == c->limit)
        append_client(&body, c->rows[c->count - 1].client);
    else
        buf_append_string(&body, "null");
    buf_append_string(&body, "}\n");
    body.failed |= c->failed;
    census_free(c);
    exchange_json(x, 200, &body);
}

/* What the parameters ask for, decoded. */
struct wanted {
    enum census_sort sort;
    uint64_t limit;
    bool by_client, by_after, by_user, by_address;
    uint64_t client;
    uint64_t after;
    struct endpoint address;
    struct buf user;
};

/* A client's id, if there is that parameter. */
static bool take_id(struct exchange *x, const char *name, bool *there, uint64_t *id)
{
    struct buf text = {0};
    bool ok = api_take_text(x, name, &text);
    *there = ok && text.len > 0;
    if (*there && (*id = epoch_read(buf_text(&text))) == 0) {
        exchange_error(x, 400, "malformed", "A client's id has 16 hexadecimal digits.");
        ok = false;
    }
    buf_fini(&text);
    return ok;
}

static bool take_address(struct exchange *x, struct wanted *w)
{
    struct buf text = {0};
    bool ok = api_take_text(x, "address", &text);
    w->by_address = ok && text.len > 0;
    if (w->by_address && !endpoint_parse(&w->address, buf_text(&text))) {
        exchange_error(
            x, 400, "malformed", "\"address\" must be an IP address, with a port or without.");
        ok = false;
    }
    buf_fini(&text);
    return ok;
}

static bool take_sort(struct exchange *x, struct wanted *w)
{
    struct buf text = {0};
    bool ok = api_take_text(x, "sort", &text);
    size_t i = 0;
    const size_t count = sizeof sorts / sizeof sorts[0];
    w->sort = w->by_after ? CENSUS_CLIENT : CENSUS_QUEUED;
    if (ok && text.len > 0) {
        while (i < count && !text_equal(buf_text(&text), text_of(sorts[i].word)))
            i++;
        ok = i < count;
        if (ok)
            w->sort = sorts[i].sort;
        else
            exchange_error(x, 400, "malformed",
                "\"sort\" must be queued, unsent, rtt, retransmits, age or client.");
    }
    buf_fini(&text);
    if (ok && w->by_after && w->sort != CENSUS_CLIENT) {
        exchange_error(
            x, 400, "malformed", "\"after\" goes with \"sort=client\" only: others have one page.");
        ok = false;
    }
    return ok;
}

static void ask(struct exchange *x, const struct wanted *w)
{
    struct admin *a = x->admin;
    struct text user = {NULL, 0};
    if (w->user.len > 0)
        user = buf_text(&w->user);
    struct census *c = census_new(a->settings.shop, &a->box, w->sort, w->limit, user);
    if (!c) {
        api_no_memory(x);
        return;
    }
    c->by_client = w->by_client;
    c->client = w->client;
    c->by_after = w->by_after;
    c->after = w->after;
    c->by_address = w->by_address;
    c->address = w->address;
    c->done = answer;
    c->context = x;
    admin_ask(a, &c->inquiry, NULL);
}

void api_connections(struct exchange *x)
{
    struct wanted w = {.limit = LIMIT_DEFAULT};
    if (api_take_number(x, "limit", 1, LIMIT_MOST, &w.limit) &&
        take_id(x, "client", &w.by_client, &w.client) &&
        take_id(x, "after", &w.by_after, &w.after) && take_sort(x, &w) && take_address(x, &w) &&
        api_take_text(x, "user", &w.user))
        ask(x, &w);
    buf_fini(&w.user);
}
