/* Streams of frames. The first byte of the input chooses the settings, the second where the stream
 * is cut; the rest is fed
 *   - whole, and then in pieces: the same events and the same code must come of it;
 *   - to a bare wslay context: what was delivered must be what wslay reads, as far as it went;
 * and at no time may a connection hold more memory than its limit and one reader. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sanitizer/allocator_interface.h>
#include <wslay/wslay.h>

#include "proto/ws_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LOG_MAX = 1 << 17, READER_MAX = 6000 };

/* The events in one row of bytes; allocated once, so that it does not count. */
struct log {
    char bytes[LOG_MAX];
    size_t len;
    bool closed;
};

struct run {
    struct log *log;
    size_t max_message;
    size_t base; /* bytes allocated besides */
};

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void note(struct log *log, int opcode, const void *prefix, size_t prefix_len,
    const void *payload, size_t len)
{
    size_t all = prefix_len + len;
    if (log->len + 5 + all > LOG_MAX)
        return; /* in every run at the same place */
    log->bytes[log->len++] = (char)opcode;
    for (int i = 0; i < 4; i++)
        log->bytes[log->len++] = (char)(all >> (8 * i));
    memcpy(log->bytes + log->len, prefix, prefix_len);
    memcpy(log->bytes + log->len + prefix_len, payload, len);
    log->len += all;
}

static void check_memory(const struct run *run)
{
    must(__sanitizer_get_current_allocated_bytes() <= run->base + run->max_message + READER_MAX);
}

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    struct run *run = user;
    must(len <= run->max_message);
    check_memory(run);
    note(run->log, opcode, "", 0, payload, len);
    memset(payload, 0xa5, len);
    return true;
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    struct run *run = user;
    note(run->log, WS_PING, "", 0, payload, len);
    return true;
}

static bool on_pong(void *user, const char *payload, size_t len)
{
    struct run *run = user;
    note(run->log, WS_PONG, "", 0, payload, len);
    return true;
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    struct run *run = user;
    uint8_t body[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    must(!run->log->closed);
    run->log->closed = true;
    note(run->log, WS_CLOSE, body, code == WS_NO_CODE ? 0 : 2, reason, len);
    return true;
}

static const struct ws_events events = {on_message, on_ping, on_pong, on_close};

/* Feeds the stream whole (cut 0) or in pieces whose sizes follow from `cut`. */
static int feed(const struct ws_settings *settings, const uint8_t *data, size_t size, unsigned cut,
    struct log *log)
{
    struct ws_pool *pool = ws_pool_new(settings);
    struct ws_reader *reader = NULL;
    int code = 0;
    must(pool != NULL);
    size_t base = __sanitizer_get_current_allocated_bytes();
    log->len = 0;
    log->closed = false;
    for (size_t at = 0; at < size && code == 0 && !log->closed;) {
        size_t part = size - at;
        if (cut != 0) {
            size_t step = 1 + (cut & 15) * (cut & 15) * ((cut >> 4 & 3) + 1);
            part = part < step ? part : step;
            cut = cut * 5 + 1;
        }
        char *piece = malloc(part);
        must(piece != NULL);
        memcpy(piece, data + at, part);
        struct run run = {log, settings->max_message, base + part};
        code = ws_feed(pool, &reader, piece, part, &events, &run);
        check_memory(&run);
        must(code == 0 || (reader == NULL && code >= 1002 && code <= 1009));
        free(piece);
        at += part;
    }
    must(!log->closed || reader == NULL);
    ws_release(pool, &reader);
    ws_pool_free(pool);
    return code;
}

struct input {
    const uint8_t *at;
    size_t len;
};

static ssize_t supply(uint8_t *out, size_t len, int flags, void *user)
{
    struct input *in = user;
    (void)flags;
    if (len > in->len)
        len = in->len;
    if (len == 0)
        return -1;
    memcpy(out, in->at, len);
    in->at += len;
    in->len -= len;
    return (ssize_t)len;
}

/* What wslay alone makes of the stream, in the same form. */
static void read_with_wslay(const uint8_t *data, size_t size, struct log *log)
{
    struct input in = {data, size};
    struct wslay_frame_callbacks callbacks = {.recv_callback = supply};
    wslay_frame_context_ptr wslay;
    struct wslay_frame_iocb frame;
    uint8_t *message = malloc(size + 1);
    uint8_t control[125];
    size_t message_len = 0;
    uint64_t had = 0;
    int opcode = 0;

    must(message != NULL && wslay_frame_context_init(&wslay, &callbacks, &in) == 0);
    log->len = 0;
    log->closed = false;
    while (!log->closed && wslay_frame_recv(wslay, &frame) >= 0) {
        bool is_control = wslay_is_ctrl_frame(frame.opcode);
        if (frame.data_length)
            memcpy(
                is_control ? control + had : message + message_len, frame.data, frame.data_length);
        had += frame.data_length;
        if (!is_control) {
            message_len += frame.data_length;
            if (frame.opcode != WSLAY_CONTINUATION_FRAME)
                opcode = frame.opcode;
        }
        if (had < frame.payload_length)
            continue;
        if (is_control) {
            note(log, frame.opcode, "", 0, control, (size_t)had);
            log->closed = frame.opcode == WSLAY_CONNECTION_CLOSE;
        } else if (frame.fin) {
            note(log, opcode, "", 0, message, message_len);
            message_len = 0;
        }
        had = 0;
    }
    wslay_frame_context_free(wslay);
    free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct log whole;
    static struct log pieces;
    static struct log reference;
    static const size_t limits[] = {10, 300, 5000, 70000};
    if (size < 2)
        return 0;
    struct ws_settings settings = {
        .max_message = limits[data[0] & 3],
        .max_fragments = data[0] & 4 ? 3 : 200,
        .server = (data[0] & 8) == 0,
        .spare = data[0] >> 4 & 1,
    };
    unsigned cut = data[1] + 1u;
    data += 2;
    size -= 2;

    int code = feed(&settings, data, size, 0, &whole);
    must(feed(&settings, data, size, cut, &pieces) == code);
    must(pieces.len == whole.len && memcmp(pieces.bytes, whole.bytes, whole.len) == 0);
    must(pieces.closed == whole.closed);

    read_with_wslay(data, size, &reference);
    must(reference.len >= whole.len && memcmp(reference.bytes, whole.bytes, whole.len) == 0);
    must(code != 0 || reference.len == whole.len);
    return 0;
}
