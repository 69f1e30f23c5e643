/* The newest log lines. */
#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_state.h"

enum { BYTES_MOST = 128 * 1024 };

void api_log(struct exchange *x)
{
    struct log_ring *ring = x->admin->settings.shop->logger->ring;
    struct buf word = {0}, events = {0}, body = {0};
    uint64_t after = 0;
    enum log_level level = LOG_DEBUG;
    bool ok = api_take_number(x, "after", 0, INT64_MAX, &after) && api_take_text(x, "level", &word);
    if (ok && word.len > 0 && (level = log_level_named(buf_text(&word))) == LOG_OFF) {
        exchange_error(x, 400, "malformed", "\"level\" must be debug, info, warn or error.");
        ok = false;
    }
    buf_fini(&word);
    if (!ok)
        return;
    uint64_t next = log_ring_read(ring, after, level, BYTES_MOST, &events);
    buf_append_string(&body, "{\"events\":[");
    buf_append_text(&body, buf_text(&events));
    buf_append_string(&body, "],\"next\":");
    buf_append_number(&body, next);
    buf_append_string(&body, "}\n");
    body.failed |= events.failed;
    buf_fini(&events);
    exchange_json(x, 200, &body);
}
