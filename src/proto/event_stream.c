#include "proto/event_stream.h"

#include <string.h>

#include "hermes/protocol.h"
#include "proto/handshake.h"
#include "proto/json.h"
#include "proto/ws_out.h"

enum { OPCODE = 0x0f, LENGTH = 0x7f };

struct frame {
    unsigned opcode;
    struct text payload;
};

/* Takes the next frame off the front: unmasked and whole, as the server makes them. */
static struct frame frame_next(struct text *frames)
{
    const unsigned char *at = (const unsigned char *)frames->at;
    size_t len = at[1] & LENGTH;
    size_t head = len == 126 ? 4 : len == 127 ? 10 : 2;
    if (head > 2) {
        len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | at[i];
    }
    struct frame frame = {at[0] & OPCODE, {frames->at + head, len}};
    *frames = (struct text){frames->at + head + len, frames->len - head - len};
    return frame;
}

/* JSON has line ends between tokens only, where a space does as well: so what somebody else wrote
 * takes as many bytes here as in its frame. */
static void append_data(struct buf *out, struct text text)
{
    buf_append(out, "data: ", 6);
    size_t start = out->len;
    buf_append_text(out, text);
    if (!out->failed) {
        char *at = out->data + start;
        char *end = out->data + out->len;
        while ((at = memchr(at, '\n', (size_t)(end - at))))
            *at = ' ';
        at = out->data + start;
        while ((at = memchr(at, '\r', (size_t)(end - at))))
            *at = ' ';
    }
    buf_append(out, "\n\n", 2);
}

/* The number in front of the last brace of an envelope that names no pattern. */
static uint64_t offset_of(struct text envelope)
{
    uint64_t offset = 0;
    size_t first = envelope.len - 1;
    while (envelope.at[first - 1] >= '0' && envelope.at[first - 1] <= '9')
        first--;
    for (; first < envelope.len - 1; first++)
        offset = offset * 10 + (uint64_t)(envelope.at[first] - '0');
    return offset;
}

/* Whether offsets have started anew, and where: {"type":"gap",...,"to":n,"epoch":E}. */
static bool anew_at(struct text payload, uint64_t *epoch, uint64_t *offset)
{
    static const char key[] = ",\"epoch\":\"";
    enum { TAIL = sizeof key - 1 + EPOCH_DIGITS + 2 };
    if (payload.len < TAIL ||
        !text_starts_with(payload, TEXT("{\"type\":\"" HERMES_TYPE_GAP "\",\"topic\":")))
        return false;
    struct text tail = {payload.at + payload.len - TAIL, TAIL};
    if (!text_starts_with(tail, (struct text){key, sizeof key - 1}))
        return false;
    *epoch = epoch_read((struct text){tail.at + sizeof key - 1, EPOCH_DIGITS});
    /* What is in front of the epoch ends with the number as an envelope does. */
    *offset = offset_of((struct text){payload.at, payload.len - TAIL + 1});
    return *epoch != 0;
}

static void append_text(struct buf *out, struct text payload, uint64_t epoch)
{
    uint64_t offset;
    if (text_starts_with(payload, TEXT("{\"type\":\"" HERMES_TYPE_MESSAGE "\","))) {
        if (epoch != 0)
            event_stream_id(out, epoch, offset_of(payload));
    } else {
        buf_append_string(out, "event: hermes\n");
        if (epoch != 0 && anew_at(payload, &epoch, &offset))
            event_stream_id(out, epoch, offset);
    }
    append_data(out, payload);
}

static void append_close(struct buf *out, struct text body)
{
    const unsigned char *at = (const unsigned char *)body.at;
    buf_append_string(out, "event: hermes\ndata: {\"type\":\"close\",\"code\":");
    buf_append_number(out, body.len >= 2 ? (unsigned)at[0] << 8 | at[1] : 1000);
    buf_append_string(out, ",\"reason\":");
    json_string_append(out, body.len > 2 ? (struct text){body.at + 2, body.len - 2} : TEXT(""));
    buf_append_string(out, "}\n\n");
}

void event_stream_append(struct buf *out, struct text frames, uint64_t epoch)
{
    while (frames.len > 0) {
        struct frame frame = frame_next(&frames);
        if (frame.opcode == WS_TEXT)
            append_text(out, frame.payload, epoch);
        else if (frame.opcode == WS_CLOSE)
            append_close(out, frame.payload);
        else
            buf_append_string(out, ":\n\n");
    }
}

/* --- positions -------------------------------------------------------------------------------- */

void event_stream_id(struct buf *out, uint64_t epoch, uint64_t offset)
{
    struct epoch_text t = epoch_text(epoch);
    buf_append_string(out, "id: ");
    buf_append(out, t.digits, t.len);
    buf_append_char(out, ':');
    buf_append_number(out, offset);
    buf_append_char(out, '\n');
}

void event_stream_retry(struct buf *out, uint64_t after_ms)
{
    buf_append_string(out, "retry: ");
    buf_append_number(out, after_ms);
    buf_append_char(out, '\n');
}

void event_stream_info(struct buf *out, uint64_t client)
{
    buf_append_string(out,
        "event: hermes\ndata: {\"type\":\"" HERMES_TYPE_INFO
        "\",\"message\":\"Connected to HERMES: messages come as server-sent events.\",\"client\":");
    reply2_client(out, client);
    buf_append_string(out, "}\n\n");
}

bool event_stream_position(struct text id, struct text *epoch, uint64_t *offset)
{
    const char *colon = id.len ? memchr(id.at, ':', id.len) : NULL;
    const char *end = id.at + id.len;
    uint64_t n = 0;
    if (!colon || colon == id.at || colon + 1 == end)
        return false;
    for (const char *at = colon + 1; at < end; at++) {
        unsigned digit = (unsigned char)*at - '0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *epoch = (struct text){id.at, (size_t)(colon - id.at)};
    *offset = n;
    return true;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* The Origin header has no control characters, so it is given back as it came. */
static void append_origin(struct buf *out, struct text origin)
{
    if (!origin.at)
        return;
    buf_append_string(out, "Access-Control-Allow-Origin: ");
    buf_append_text(out, origin);
    buf_append_string(out, "\r\nVary: Origin\r\n");
}

void event_stream_head(struct buf *out, struct text origin)
{
    buf_append_string(out, "HTTP/1.1 200 OK\r\n"
                           "Content-Type: text/event-stream\r\n"
                           "Cache-Control: no-store\r\n"
                           "X-Accel-Buffering: no\r\n"
                           "X-Content-Type-Options: nosniff\r\n"
                           "Connection: close\r\n");
    append_origin(out, origin);
    buf_append_string(out, "\r\n");
}

void event_stream_refuse(
    struct buf *out, const struct event_stream_refusal *refusal, struct text origin, bool head_only)
{
    struct buf headers = {0};
    struct buf frame = {0};
    append_origin(&headers, origin);
    buf_append(&headers, "", 1);
    reply2_error(
        &frame, refusal->code, refusal->message, TEXT(""), refusal->topic, refusal->pattern);
    out->failed |= headers.failed || frame.failed;
    if (!out->failed) {
        struct text rest = buf_text(&frame);
        http_answer_as(out, &(struct http_answer){.status = refusal->status,
                                .type = "application/json",
                                .allow = "GET",
                                .headers = headers.data,
                                .body = frame_next(&rest).payload,
                                .retry_s = refusal->retry_s,
                                .head_only = head_only});
    }
    buf_fini(&headers);
    buf_fini(&frame);
}

void event_stream_preflight(struct buf *out, struct text origin)
{
    buf_append_string(out,
        "HTTP/1.1 204 No Content\r\n"
        "Access-Control-Allow-Methods: GET\r\n"
        "Access-Control-Allow-Headers: Authorization, Cache-Control, Last-Event-ID\r\n"
        "Access-Control-Max-Age: 600\r\n"
        "Connection: close\r\n");
    append_origin(out, origin);
    buf_append_string(out, "\r\n");
}
