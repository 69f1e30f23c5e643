#include "admin/pages.h"

#include "admin/admin.h"
#include "admin/metrics_text.h"

static void answer_text(struct exchange *x, int status, const char *text)
{
    struct buf body = {0};
    buf_append_string(&body, text);
    exchange_answer(x, status, "text/plain; charset=utf-8", "Cache-Control: no-store\r\n", &body);
}

void page_healthz(struct exchange *x)
{
    answer_text(x, 200, "ok\n");
}

void page_readyz(struct exchange *x)
{
    bool unready = atomic_load_explicit(&x->admin->settings.shop->unready, memory_order_relaxed);
    answer_text(x, unready ? 503 : 200, unready ? "shutting down\n" : "ready\n");
}

void page_metrics(struct exchange *x)
{
    struct buf body = {0};
    metrics_write(&body, x->admin);
    exchange_answer(
        x, 200, "text/plain; version=0.0.4; charset=utf-8", "Cache-Control: no-store\r\n", &body);
}
