#include "proto/ws_in.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "proto/ws_header.h"
#include "proto/ws_mask.h"
#include "proto/ws_reader.h"

/* A callback said so, or a close frame came: no error, and not the peer's to be told. */
enum { ENDED = -1 };

enum { WSLAY_CONTEXT_BYTES = 4400 };

struct ws_pool {
    struct ws_settings settings;
    struct ws_reader *spare;
    unsigned spare_count;
    size_t held; /* bytes of all readers that are out */
};

/* What one ws_feed is about. */
struct feed {
    struct ws_pool *pool;
    const struct ws_events *events;
    void *user;
};

/* ---- the pool ----------------------------------------------------------------------------------
 */

/* What a reader costs: itself, wslay's context, and the message. */
static size_t reader_weight(const struct ws_reader *r)
{
    return sizeof *r + WSLAY_CONTEXT_BYTES + r->cap;
}

static struct ws_reader *reader_take(struct ws_pool *pool)
{
    struct ws_reader *r = pool->spare;
    if (r) {
        pool->spare = r->next;
        pool->spare_count--;
    } else {
        r = ws_reader_new();
    }
    if (r)
        pool->held += reader_weight(r);
    return r;
}

static void reader_put(struct ws_pool *pool, struct ws_reader *r)
{
    pool->held -= reader_weight(r);
    if (pool->spare_count >= pool->settings.spare || !ws_reader_reset(r)) {
        ws_reader_free(r);
        return;
    }
    r->next = pool->spare;
    pool->spare = r;
    pool->spare_count++;
}

struct ws_pool *ws_pool_new(const struct ws_settings *settings)
{
    struct ws_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->settings = *settings;
    if (pool->settings.max_message == 0)
        pool->settings.max_message = (size_t)-1 / 4;
    if (pool->settings.max_fragments == 0)
        pool->settings.max_fragments = (unsigned)-1;
    return pool;
}

void ws_pool_free(struct ws_pool *pool)
{
    while (pool && pool->spare) {
        struct ws_reader *r = pool->spare;
        pool->spare = r->next;
        ws_reader_free(r);
    }
    free(pool);
}

void ws_release(struct ws_pool *pool, struct ws_reader **reader)
{
    if (*reader)
        reader_put(pool, *reader);
    *reader = NULL;
}

/* ---- events ------------------------------------------------------------------------------------
 */

static bool is_wire_code(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static int emit_close(const struct feed *f, const char *body, size_t len)
{
    int code = WS_NO_CODE;
    if (len == 1)
        return WS_PROTOCOL_ERROR;
    if (len >= 2) {
        code = (uint8_t)body[0] << 8 | (uint8_t)body[1];
        if (!is_wire_code(code))
            return WS_PROTOCOL_ERROR;
        body += 2;
        len -= 2;
        if (!utf8_valid(body, len))
            return WS_NOT_UTF8;
    }
    f->events->close(f->user, code, body, len);
    return ENDED;
}

static int emit_control(const struct feed *f, unsigned opcode, const char *payload, size_t len)
{
    if (opcode == WS_CLOSE)
        return emit_close(f, payload, len);
    bool more = opcode == WS_PING ? f->events->ping(f->user, payload, len)
                                  : f->events->pong(f->user, payload, len);
    return more ? 0 : ENDED;
}

/* ---- frames that are whole in the input --------------------------------------------------------
 */

/* Sets *used to the size of the frame that was dealt with, or to 0 when a reader is needed. */
static int whole_frame(const struct feed *f, char *bytes, size_t len, size_t *used)
{
    struct ws_header h;
    struct ws_expected expected = {.masked = f->pool->settings.server};
    enum ws_header_result result = ws_header_read(&h, (const uint8_t *)bytes, len, expected);

    *used = 0;
    if (result == WS_HEADER_BAD)
        return WS_PROTOCOL_ERROR;
    if (result == WS_HEADER_MORE)
        return 0;
    bool control = ws_header_is_control(&h);
    if (!control && h.len > f->pool->settings.max_message)
        return WS_TOO_BIG;
    if (!h.fin || h.len > len - h.size)
        return 0;

    char *payload = bytes + h.size;
    size_t payload_len = (size_t)h.len;
    bool ascii = ws_mask(payload, payload_len, h.key, 0);
    *used = h.size + payload_len;
    if (control)
        return emit_control(f, h.opcode, payload, payload_len);
    if (h.opcode == WS_TEXT && !ascii && !utf8_valid(payload, payload_len))
        return WS_NOT_UTF8;
    return f->events->message(f->user, h.opcode, payload, payload_len) ? 0 : ENDED;
}

/* ---- frames in pieces, and fragments -----------------------------------------------------------
 */

static int emit_frame(const struct feed *f, struct ws_reader *r)
{
    if (ws_header_is_control(&r->frame))
        return emit_control(f, r->frame.opcode, r->control, (size_t)r->frame.len);
    if (!r->frame.fin)
        return 0;
    enum ws_opcode opcode = r->opcode;
    r->opcode = WS_CONTINUATION;
    /* An empty message may never have had a buffer. */
    char *payload = r->data ? r->data : r->control;
    return f->events->message(f->user, opcode, payload, r->len) ? 0 : ENDED;
}

int ws_feed(struct ws_pool *pool, struct ws_reader **reader, char *bytes, size_t len,
    const struct ws_events *events, void *user)
{
    const struct feed f = {pool, events, user};
    struct ws_reader *r = *reader;
    int code = 0;

    /* Written again only if all went well: a callback that ends the feeding may have freed the
     * caller's object, and `reader` with it. */
    *reader = NULL;
    while (len != 0 && code == 0) {
        size_t used = 0;
        if (!r)
            code = whole_frame(&f, bytes, len, &used);
        if (used == 0 && code == 0) {
            bool done;
            if (!r && !(r = reader_take(pool)))
                return WS_NO_MEMORY;
            pool->held -= reader_weight(r);
            code = ws_reader_feed(r, &pool->settings, bytes, len, &used, &done);
            pool->held += reader_weight(r);
            if (code == 0 && !done && pool->settings.max_held &&
                pool->held > pool->settings.max_held)
                code = WS_TRY_LATER;
            if (code == 0 && done)
                code = emit_frame(&f, r);
            if (code == 0 && ws_reader_is_at_rest(r)) {
                reader_put(pool, r);
                r = NULL;
            }
        }
        bytes += used;
        len -= used;
    }
    if (code == 0)
        *reader = r;
    else if (r)
        reader_put(pool, r);
    return code == ENDED ? 0 : code;
}
