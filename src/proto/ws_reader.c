#include "proto/ws_reader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/utf8.h"
#include "proto/ws_mask.h"

enum {
    CAP_FIRST = 512,  /* the first allocation of the message's buffer */
    CAP_KEPT = 16384, /* a reader that is reset keeps a buffer up to this size */
};

static ssize_t supply(uint8_t *out, size_t len, int flags, void *user)
{
    struct ws_reader *r = user;
    (void)flags;
    if (len > r->supply_len)
        len = r->supply_len;
    if (len == 0)
        return -1; /* to wslay: later */
    memcpy(out, r->supply, len);
    r->supply += len;
    r->supply_len -= len;
    return (ssize_t)len;
}

struct ws_reader *ws_reader_new(void)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = supply};
    struct ws_reader *r = calloc(1, sizeof *r);
    if (r && wslay_frame_context_init(&r->wslay, &callbacks, r) != 0) {
        free(r);
        r = NULL;
    }
    return r;
}

void ws_reader_free(struct ws_reader *r)
{
    wslay_frame_context_free(r->wslay);
    free(r->data);
    free(r);
}

bool ws_reader_reset(struct ws_reader *r)
{
    /* wslay's context cannot be rewound; it is as new only where a frame ended. */
    if (r->in_frame)
        return false;
    if (r->cap > CAP_KEPT) {
        free(r->data);
        r->data = NULL;
        r->cap = 0;
    }
    r->head_len = 0;
    r->opcode = WS_CONTINUATION;
    r->len = 0;
    return true;
}

/* Room for `more` bytes of the message. The limits have been applied to the frame's header. */
static bool reserve(struct ws_reader *r, size_t more, size_t max_message)
{
    size_t need = r->len + more;
    if (need <= r->cap)
        return true;
    /* What can still come: the rest of this frame if it is the last, else up to the limit. */
    size_t most = max_message;
    if (r->frame.fin)
        most = r->len + (size_t)(r->frame.len - r->offset);
    size_t cap = r->cap ? r->cap * 2 : CAP_FIRST;
    if (cap > most)
        cap = most;
    if (cap < need)
        cap = need;
    char *data = realloc(r->data, cap);
    if (!data)
        return false;
    r->data = data;
    r->cap = cap;
    return true;
}

static void append(struct ws_reader *r, const uint8_t *bytes, size_t len)
{
    if (ws_header_is_control(&r->frame)) {
        memcpy(r->control + r->offset, bytes, len);
    } else {
        memcpy(r->data + r->len, bytes, len);
        r->len += len;
    }
    r->offset += len;
}

/* Gives wslay bytes that do not go past the end of the frame, and appends what it makes of them. */
static int through_wslay(struct ws_reader *r, const void *bytes, size_t len)
{
    struct wslay_frame_iocb frame;
    ssize_t got;
    r->supply = bytes;
    r->supply_len = len;
    while ((got = wslay_frame_recv(r->wslay, &frame)) >= 0)
        if (got > 0)
            append(r, frame.data, frame.data_length);
    return got == WSLAY_ERR_WANT_READ ? 0 : WS_PROTOCOL_ERROR;
}

static int begin_frame(struct ws_reader *r, const struct ws_settings *settings)
{
    if (!ws_header_is_control(&r->frame)) {
        if (r->frame.opcode != WS_CONTINUATION) {
            r->opcode = r->frame.opcode;
            r->fragments = 0;
            r->utf8 = UTF8_START;
            r->len = 0;
        }
        if (r->frame.len > settings->max_message - r->len)
            return WS_TOO_BIG;
        if (r->fragments++ == settings->max_fragments)
            return WS_POLICY;
    }
    r->in_frame = true;
    r->offset = 0;
    if (!settings->server)
        return through_wslay(r, r->head, r->frame.size);
    r->head[1] &= 0x7f; /* no mask any more */
    return through_wslay(r, r->head, r->frame.size - sizeof r->frame.key);
}

static int take_payload(
    struct ws_reader *r, const struct ws_settings *settings, char *bytes, size_t len)
{
    bool ascii = ws_mask(bytes, len, r->frame.key, (size_t)r->offset);
    if (!ws_header_is_control(&r->frame)) {
        if (r->opcode == WS_TEXT && !(ascii && r->utf8 == UTF8_START)) {
            r->utf8 = utf8_check(r->utf8, bytes, len);
            if (r->utf8 == UTF8_REJECT)
                return WS_NOT_UTF8;
        }
        if (!reserve(r, len, settings->max_message))
            return WS_NO_MEMORY;
    }
    return through_wslay(r, bytes, len);
}

int ws_reader_feed(struct ws_reader *r, const struct ws_settings *settings, char *bytes, size_t len,
    size_t *used, bool *done)
{
    *used = 0;
    *done = false;
    if (!r->in_frame) {
        struct ws_expected expected = {
            .masked = settings->server,
            .in_message = r->opcode != WS_CONTINUATION,
        };
        size_t had = r->head_len;
        size_t more = len < WS_HEADER_MAX - had ? len : WS_HEADER_MAX - had;
        memcpy(r->head + had, bytes, more);
        switch (ws_header_read(&r->frame, r->head, had + more, expected)) {
        case WS_HEADER_BAD:
            return WS_PROTOCOL_ERROR;
        case WS_HEADER_MORE:
            r->head_len = had + more;
            *used = more;
            return 0;
        case WS_HEADER_DONE:
            break;
        }
        r->head_len = 0;
        int code = begin_frame(r, settings);
        if (code != 0)
            return code;
        *used = r->frame.size - had;
    }

    size_t part = len - *used;
    if (part > r->frame.len - r->offset)
        part = (size_t)(r->frame.len - r->offset);
    if (part != 0) {
        int code = take_payload(r, settings, bytes + *used, part);
        if (code != 0)
            return code;
        *used += part;
    }
    if (r->offset != r->frame.len)
        return 0;
    r->in_frame = false;
    bool last = r->frame.fin && !ws_header_is_control(&r->frame);
    if (last && r->opcode == WS_TEXT && r->utf8 != UTF8_START)
        return WS_NOT_UTF8;
    *done = true;
    return 0;
}
