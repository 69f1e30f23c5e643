/* What the broker is and how it does. */
#include <inttypes.h>

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/loads.h"
#include "admin/metrics_text.h"
#include "base/clock.h"
#include "proto/json.h"

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void append_public(struct buf *out, const struct admin_settings *s)
{
    buf_appendf(out, ",\"public\":{\"port\":%d,\"tls\":%s,\"tls_port\":", s->public_port,
        boolean(s->public_tls));
    if (s->tls_port > 0)
        buf_appendf(out, "%d}", s->tls_port);
    else
        buf_append_string(out, "null}");
}

static void append_totals(struct buf *out, const struct admin *a)
{
    static const struct {
        const char *name;
        enum metric metric; /* METRIC_COUNT: */
        const char *family; /* the sum of all of these */
    } totals[] = {
        {"published", METRIC_messages_published_total, NULL},
        {"deliveries", METRIC_deliveries_total, NULL},
        {"bytes_received", METRIC_bytes_received_total, NULL},
        {"bytes_sent", METRIC_bytes_sent_total, NULL},
        {"dropped", METRIC_COUNT, "dropped_messages_total"},
        {"closed", METRIC_COUNT, "closes_total"},
    };
    buf_append_string(out, ",\"totals\":{");
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++)
        buf_appendf(out, "%s\"%s\":%" PRId64, i ? "," : "", totals[i].name,
            totals[i].family ? metrics_family(a, totals[i].family)
                             : metrics_sum(a, totals[i].metric));
    buf_append_char(out, '}');
}

/* A number between 0 and 1, or of milliseconds, in thousandths: printf would write them with a
 * comma in some languages. */
static void append_thousandths(struct buf *out, uint64_t n)
{
    buf_appendf(out, "%" PRIu64 ".%03" PRIu64, n / 1000, n % 1000);
}

static void append_workers(struct buf *out, const struct admin *a)
{
    const struct workshop *shop = a->settings.shop;
    buf_append_string(out, ",\"workers\":[");
    for (unsigned i = 0; i < shop->count; i++) {
        const struct worker *w = &shop->workers[i];
        buf_appendf(out, "%s{\"index\":%u,\"sessions\":%" PRId64 ",\"busy\":", i ? "," : "", i,
            metric_get(&w->metrics, METRIC_sessions));
        append_thousandths(out, (uint64_t)(load_look(&a->loads[i], w) * 1000));
        buf_append_string(out, ",\"loop_lag_ms\":");
        append_thousandths(
            out, atomic_load_explicit(&w->pulse.lag_ns, memory_order_relaxed) / 1000);
        buf_appendf(out, ",\"mailbox_bytes\":%" PRId64 ",\"log_bytes\":%" PRId64 "}",
            metric_get(&w->metrics, METRIC_mailbox_bytes),
            metric_get(&w->metrics, METRIC_log_bytes));
    }
    buf_append_char(out, ']');
}

void api_status(struct exchange *x)
{
    const struct admin *a = x->admin;
    struct workshop *shop = a->settings.shop;
    bool unready = atomic_load_explicit(&shop->unready, memory_order_relaxed);
    struct buf out = {0};
    buf_appendf(&out,
        "{\"version\":\"%s\",\"uptime_seconds\":%" PRIu64 ",\"ready\":%s,\"draining\":%s",
        HERMES_VERSION, (clock_ms() - a->started_ms) / 1000, boolean(!unready), boolean(unready));
    append_public(&out, &a->settings);
    buf_appendf(&out,
        ",\"connections\":%" PRId64 ",\"sessions\":%" PRId64 ",\"subscriptions\":%" PRId64
        ",\"topics\":%" PRIu64 ",\"patterns\":%" PRIu32,
        atomic_load_explicit(&shop->connections, memory_order_relaxed),
        metrics_sum(a, METRIC_sessions), metrics_sum(a, METRIC_subscriptions), metrics_topics(a),
        atomic_load_explicit(&shop->route.patterns.count, memory_order_relaxed));
    append_totals(&out, a);
    append_workers(&out, a);
    buf_appendf(&out,
        ",\"memory\":{\"rss_bytes\":%" PRIu64 ",\"log_bytes\":%" PRId64
        ",\"history_bytes\":%zu}}\n",
        metrics_resident(), metrics_sum(a, METRIC_log_bytes),
        atomic_load_explicit(&shop->route.registry.budget.used, memory_order_relaxed));
    exchange_json(x, 200, &out);
}
