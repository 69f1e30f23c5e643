#include "admin/router.h"

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/assets.h"
#include "admin/guard.h"
#include "admin/pages.h"
#include "base/die.h"

enum { PATH_LOGGED = 128 };

enum reach { EXACT, BELOW };
enum door { TOKEN, OPEN, HEALTH }; /* HEALTH: OPEN, and whatever Host it is asked for */
enum method { GET, POST };

struct row {
    enum method method;
    struct text path;
    enum reach reach;
    enum door access;
    void (*handle)(struct exchange *x);
};

#define TEXT_OF(literal)                                                                           \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct row rows[] = {
#define ROUTE(method, path, reach, access, handler) {method, TEXT_OF(path), reach, access, handler},
#include "admin/api.def"
#include "admin/pages.def"
#undef ROUTE
};
static const size_t row_count = sizeof rows / sizeof rows[0];

static bool is_at(const struct row *row, struct text path)
{
    return row->reach == BELOW ? path.len > row->path.len && text_starts_with(path, row->path)
                               : text_equal(path, row->path);
}

static bool method_of(struct text name, enum method *method)
{
    *method = text_equal(name, TEXT("POST")) ? POST : GET;
    return *method == POST || text_equal(name, TEXT("GET")) || text_equal(name, TEXT("HEAD"));
}

/* What is at a path. */
struct target {
    const struct row *row;
    const struct asset *asset;
    bool found; /* something, if not by that method */
    bool methods[2];
};

static struct target find(const struct http_head *head)
{
    struct target t = {.asset = asset_find(head->path)};
    enum method method;
    bool known = method_of(head->method, &method);
    if (t.asset) {
        t.found = t.methods[GET] = true;
        if (!known || method != GET)
            t.asset = NULL;
        return t;
    }
    for (size_t i = 0; i < row_count; i++) {
        if (!is_at(&rows[i], head->path))
            continue;
        t.found = t.methods[rows[i].method] = true;
        if (known && rows[i].method == method && !t.row)
            t.row = &rows[i];
    }
    return t;
}

static bool refuse(struct refusal *r, int status, const char *code, const char *message)
{
    *r = (struct refusal){status, code, message, NULL};
    return false;
}

static bool may_be_asked_by_name(const struct exchange *x, struct refusal *r)
{
    const struct http_header *host = http_find(&x->head, "Host");
    if (admin_token(x->admin).len > 0 || !host || guard_host_is_local(host->value))
        return true;
    return refuse(r, 403, "forbidden",
        "Without WS_ADMIN_TOKEN this listener answers only to localhost or an address as Host.");
}

static bool may_have_body(const struct exchange *x, struct refusal *r)
{
    if (x->head.coded)
        return refuse(
            r, 411, "malformed", "A body needs a Content-Length; Transfer-Encoding is not read.");
    if (x->head.body_len > x->admin->settings.body_max)
        return refuse(r, 413, "too_large", "The body is larger than this server takes.");
    return true;
}

static bool may_post(const struct exchange *x, struct refusal *r)
{
    if (!guard_same_origin(&x->head))
        return refuse(r, 403, "forbidden", "This request came from a page of another origin.");
    if (!guard_is_json(&x->head))
        return refuse(r, 415, "malformed", "A POST needs \"Content-Type: application/json\".");
    return true;
}

static bool wrong_method(const struct target *t, struct refusal *r)
{
    refuse(
        r, 405, "method_not_allowed", "There is something at this path, but not by this method.");
    r->headers = !t->methods[POST]  ? "Allow: GET, HEAD\r\n"
                 : !t->methods[GET] ? "Allow: POST\r\n"
                                    : "Allow: GET, HEAD, POST\r\n";
    return false;
}

static bool may_ask(const struct exchange *x, enum door access, struct refusal *r)
{
    struct admin *a = x->admin;
    if (access != TOKEN || admin_token(a).len == 0 || guard_has_token(&x->head, admin_token(a)))
        return true;
    refuse(r, 401, "unauthorized",
        "This needs the token of WS_ADMIN_TOKEN: \"Authorization: Bearer TOKEN\".");
    r->headers = "WWW-Authenticate: Bearer realm=\"hermes\"\r\n";
    metric_add(&a->metrics, METRIC_admin_unauthorized_total, 1);
    return false;
}

bool router_accepts(struct exchange *x, struct refusal *refusal)
{
    struct target t = find(&x->head);
    x->head_only = text_equal(x->head.method, TEXT("HEAD"));
    if (!(t.row && t.row->access == HEALTH) && !may_be_asked_by_name(x, refusal))
        return false;
    if (!t.found)
        return refuse(refusal, 404, "not_found", "There is nothing at this path.");
    if (!t.row && !t.asset)
        return wrong_method(&t, refusal);
    if (t.row && !may_ask(x, t.row->access, refusal))
        return false;
    if (t.row && t.row->method == POST && !may_post(x, refusal))
        return false;
    return may_have_body(x, refusal);
}

void router_refuse(struct exchange *x, const struct refusal *r)
{
    struct text path = x->head.path;
    if (path.len > PATH_LOGGED)
        path.len = PATH_LOGGED;
    if (r->status == 401 || r->status == 403)
        LOG_LIMITED(x->admin->settings.shop->logger, LIMIT_REFUSED, LOG_WARN,
            "admin request refused", LOG_NUMBER("status", r->status), LOG_TEXT("path", path),
            LOG_STRING("reason", r->message));
    exchange_refuse(x, r->status, r->code, r->message, r->headers);
}

void router_run(struct exchange *x)
{
    struct target t = find(&x->head);
    if (t.asset) {
        asset_answer(x, t.asset);
        return;
    }
    MUST(t.row != NULL);
    size_t len = t.row->path.len;
    x->rest = (struct text){x->head.path.at + len, x->head.path.len - len};
    t.row->handle(x);
}
