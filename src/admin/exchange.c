#include "admin/exchange.h"

#include <time.h>

#include "admin/admin.h"
#include "admin/http_conn.h"
#include "base/die.h"
#include "proto/json.h"

static const struct phrase {
    int status;
    const char *text;
} phrases[] = {
    {200, "OK"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

static const char *phrase_of(int status)
{
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].text;
    return "Other";
}

/* By hand: strftime would write it in the language of the program around the broker. */
static void append_date(struct buf *out)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm t;
    if (!gmtime_r(&now, &t))
        return;
    buf_appendf(out, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[t.tm_wday], t.tm_mday,
        months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static void append_head(
    struct buf *out, const struct exchange *x, int status, const char *type, size_t body)
{
    buf_appendf(out, "HTTP/1.1 %d %s\r\n", status, phrase_of(status));
    append_date(out);
    if (type)
        buf_appendf(out, "Content-Type: %s\r\n", type);
    if (status != 204 && status != 304)
        buf_appendf(out, "Content-Length: %zu\r\n", body);
    buf_append_string(out, "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
    if (x->closes)
        buf_append_string(out, "Connection: close\r\n");
}

void exchange_answer(
    struct exchange *x, int status, const char *type, const char *headers, struct buf *body)
{
    struct http_conn *c = LIST_ITEM(x, struct http_conn, exchange);
    if (body->failed) {
        buf_fini(body);
        exchange_error(x, 503, "unavailable", "There is no memory for this answer now.");
        return;
    }
    MUST(!x->answered);
    x->answered = true;
    metric_add(&c->admin->metrics, METRIC_admin_requests_total, 1);
    append_head(&c->out_head, x, status, type, body->len);
    buf_append_string(&c->out_head, headers ? headers : "");
    buf_append_string(&c->out_head, "\r\n");
    if (x->head_only)
        buf_fini(body);
    c->out_body = *body;
    *body = (struct buf){0};
    http_conn_send(c);
}

void exchange_json(struct exchange *x, int status, struct buf *body)
{
    exchange_answer(x, status, "application/json", "Cache-Control: no-store\r\n", body);
}

void exchange_refuse(
    struct exchange *x, int status, const char *code, const char *message, const char *headers)
{
    struct buf body = {0};
    struct buf lines = {0};
    buf_append_string(&body, "{\"error\":{\"code\":\"");
    buf_append_string(&body, code);
    buf_append_string(&body, "\",\"message\":");
    json_string_append(&body, text_of(message));
    buf_append_string(&body, "}}\n");
    if (body.failed) { /* the status says it, too */
        buf_fini(&body);
        status = 503;
    }
    buf_append_string(&lines, "Cache-Control: no-store\r\n");
    if (status == 503)
        buf_append_string(&lines, "Retry-After: 1\r\n");
    buf_append_string(&lines, headers ? headers : "");
    buf_append(&lines, "", 1);
    exchange_answer(x, status, "application/json", lines.failed ? NULL : lines.data, &body);
    buf_fini(&lines);
}

void exchange_error(struct exchange *x, int status, const char *code, const char *message)
{
    exchange_refuse(x, status, code, message, NULL);
}
