#include "admin/pages.h"

#include <stdio.h>

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
    const char *reason = shop_unready(x->admin->settings.shop);
    char line[64];
    snprintf(line, sizeof line, "%s\n", reason ? reason : "ready");
    answer_text(x, reason ? 503 : 200, line);
}

void page_metrics(struct exchange *x)
{
    struct buf body = {0};
    metrics_write(&body, x->admin);
    exchange_answer(
        x, 200, "text/plain; version=0.0.4; charset=utf-8", "Cache-Control: no-store\r\n", &body);
}
