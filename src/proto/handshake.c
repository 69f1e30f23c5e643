#include "proto/handshake.h"

#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <mbedtls/version.h>

#include "hermes/protocol.h"

#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define mbedtls_sha1 mbedtls_sha1_ret
#endif

enum { RETRY_S = 5 };

/* The subprotocols spoken here, the best first. */
static const char *const subprotocols[] = {
    HERMES_PROTOCOL_V2,
    HERMES_PROTOCOL_V1,
};

static const struct status {
    int status;
    const char *phrase;
    const char *connection;
    const char *extra;
} statuses[] = {
    {200, "OK", "close", ""},
    {400, "Bad Request", "close", ""},
    {401, "Unauthorized", "close", "WWW-Authenticate: Bearer\r\n"},
    {403, "Forbidden", "close", ""},
    {404, "Not Found", "close", ""},
    {405, "Method Not Allowed", "close", ""},
    {408, "Request Timeout", "close", ""},
    {426, "Upgrade Required", "upgrade, close",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
    {429, "Too Many Requests", "close", ""},
    {431, "Request Header Fields Too Large", "close", ""},
    {500, "Internal Server Error", "close", ""},
    {503, "Service Unavailable", "close", ""},
};

static void refuse(struct request *r, int status, const char *reason)
{
    r->kind = REQUEST_REFUSED;
    r->status = status;
    r->reason = reason;
}

/* 0 to 255 without leading zeros, as RFC 6455 section 4.1 has it. */
static bool is_version(struct text t)
{
    if (t.len == 0 || t.len > 3 || (t.at[0] == '0' && t.len > 1))
        return false;
    unsigned n = 0;
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] < '0' || t.at[i] > '9')
            return false;
        n = n * 10 + (unsigned)(t.at[i] - '0');
    }
    return n <= 255;
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* 16 bytes in base64. What they are does not matter, so they are not decoded: mbedTLS does that in
 * constant time, which is half of what reading a request costs. */
static bool is_key(struct text t)
{
    if (t.len != 24 || t.at[22] != '=' || t.at[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!is_base64(t.at[i]))
            return false;
    return true;
}

/* Chooses from what is offered on all lines together; false when they are not lists of tokens. */
static bool choose_subprotocol(struct request *r, const struct http_head *head)
{
    size_t best = sizeof subprotocols / sizeof *subprotocols;
    for (size_t i = 0; i < head->header_count; i++) {
        if (!http_is_named(&head->headers[i], "Sec-WebSocket-Protocol"))
            continue;
        struct text list = head->headers[i].value;
        struct text offer;
        while (http_list_next(&list, &offer)) {
            if (offer.len == 0)
                continue; /* RFC 9110 5.6.1: empty elements are to be borne */
            if (!http_is_token(offer))
                return false;
            for (size_t k = 0; k < best; k++)
                if (text_equal(offer, text_of(subprotocols[k])))
                    best = k;
        }
    }
    if (best < sizeof subprotocols / sizeof *subprotocols)
        r->protocol = text_of(subprotocols[best]);
    return true;
}

static void read_upgrade(struct request *r, const struct http_head *head)
{
    const struct http_header *version = http_find(head, "Sec-WebSocket-Version");
    const struct http_header *key = http_find(head, "Sec-WebSocket-Key");
    const struct http_header *origin = http_find(head, "Origin");

    if (r->head_only)
        refuse(r, 400, "A WebSocket handshake must be a GET request.");
    else if (head->minor < 1)
        refuse(r, 400, "A WebSocket handshake must be HTTP/1.1; a proxy in between must use it.");
    else if (!http_list_has(head, "Upgrade", "websocket"))
        refuse(r, 400,
            "The header \"Upgrade: websocket\" is missing; a proxy in between must pass it on.");
    else if (!http_list_has(head, "Connection", "upgrade"))
        refuse(r, 400,
            "The header \"Connection: Upgrade\" is missing; a proxy in between must pass it on.");
    else if (http_count(head, "Sec-WebSocket-Version") != 1 || !is_version(version->value))
        refuse(r, 400, "Send exactly one Sec-WebSocket-Version header: 13.");
    else if (!text_equal(version->value, TEXT("13")))
        refuse(r, 426, "This server speaks version 13 of the WebSocket protocol; connect with it.");
    else if (http_count(head, "Sec-WebSocket-Key") != 1 || !is_key(key->value))
        refuse(r, 400, "Send exactly one Sec-WebSocket-Key header: 16 random bytes in base64.");
    else if (origin && http_count(head, "Origin") != 1)
        refuse(r, 400, "Send one Origin header at most.");
    else if (!choose_subprotocol(r, head))
        refuse(r, 400, "Sec-WebSocket-Protocol must be a comma-separated list of names.");
    else
        r->key = key->value;
    if (origin)
        r->origin = origin->value;
}

static void read_events(struct request *r, const struct http_head *head)
{
    const struct http_header *origin = http_find(head, "Origin");
    r->kind = text_equal(head->method, TEXT("OPTIONS")) ? REQUEST_PREFLIGHT : REQUEST_EVENTS;
    if (origin && http_count(head, "Origin") != 1)
        refuse(r, 400, "Send one Origin header at most.");
    else if (origin)
        r->origin = origin->value;
}

void request_read(struct request *r, const struct http_head *head)
{
    bool events = text_equal(head->path, TEXT("/sse"));
    *r = (struct request){.kind = REQUEST_UPGRADE};
    r->head_only = text_equal(head->method, TEXT("HEAD"));

    if (events && text_equal(head->method, TEXT("OPTIONS")))
        read_events(r, head);
    else if (!r->head_only && !text_equal(head->method, TEXT("GET")))
        refuse(r, 405, "Only GET and HEAD are answered here.");
    else if (http_list_has(head, "Upgrade", "websocket") || http_find(head, "Sec-WebSocket-Key"))
        read_upgrade(r, head);
    else if (events)
        read_events(r, head);
    else if (text_equal(head->path, TEXT("/healthz")))
        r->kind = REQUEST_HEALTHZ;
    else if (text_equal(head->path, TEXT("/readyz")))
        r->kind = REQUEST_READYZ;
    else if (text_equal(head->path, TEXT("/")))
        refuse(r, 426,
            "This is a HERMES WebSocket server, not a web page: connect a WebSocket client to it, "
            "for instance new WebSocket(\"ws://\" + host) in a browser's console.");
    else
        refuse(r, 404,
            "There is no such page; connect a WebSocket client, or ask for /healthz or /readyz.");
}

void handshake_accept_value(char out[29], struct text key)
{
    unsigned char text[24 + 36];
    unsigned char digest[20];
    size_t len = 0;

    /* An empty value, which every client refuses, should the library ever fail. */
    out[0] = '\0';
    if (key.len != 24)
        return;
    memcpy(text, key.at, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    if (mbedtls_sha1(text, sizeof text, digest) != 0 ||
        mbedtls_base64_encode((unsigned char *)out, 29, &len, digest, sizeof digest) != 0)
        out[0] = '\0';
}

void handshake_accept(struct buf *out, const struct request *r)
{
    char accept[29];
    handshake_accept_value(accept, r->key);
    buf_append_string(out, "HTTP/1.1 101 Switching Protocols\r\n"
                           "Upgrade: websocket\r\n"
                           "Connection: Upgrade\r\n"
                           "Sec-WebSocket-Accept: ");
    buf_append_string(out, accept);
    if (r->protocol.len) {
        buf_append_string(out, "\r\nSec-WebSocket-Protocol: ");
        buf_append_text(out, r->protocol);
    }
    buf_append_string(out, "\r\n\r\n");
}

void http_answer_as(struct buf *out, const struct http_answer *answer)
{
    struct status s = {answer->status, "Error", "close", ""};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == answer->status)
            s = statuses[i];
    buf_appendf(out,
        "HTTP/1.1 %d %s\r\n"
        "Content-Type: %s\r\n"
        "Content-Length: %zu\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: %s\r\n"
        "%s",
        s.status, s.phrase, answer->type, answer->body.len + 1, s.connection, s.extra);
    if (s.status == 429 || s.status == 503)
        buf_appendf(out, "Retry-After: %u\r\n", answer->retry_s ? answer->retry_s : RETRY_S);
    if (s.status == 405)
        buf_appendf(out, "Allow: %s\r\n", answer->allow);
    buf_appendf(out, "%s\r\n", answer->headers);
    if (answer->head_only)
        return;
    buf_append_text(out, answer->body);
    buf_append_char(out, '\n');
}

void http_answer(struct buf *out, int status, const char *text, bool head_only)
{
    http_answer_as(out, &(struct http_answer){.status = status,
                            .type = "text/plain; charset=utf-8",
                            .allow = "GET, HEAD",
                            .headers = "",
                            .body = text_of(text),
                            .head_only = head_only});
}
