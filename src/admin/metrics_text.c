#include "admin/metrics_text.h"

#include <inttypes.h>
#include <string.h>

#include "admin/admin.h"
#include "admin/loads.h"
#include "base/histogram.h"

enum kind { COUNTER, GAUGE };

struct row {
    enum kind kind;
    const char *family;
    const char *labels; /* or NULL */
    const char *help;   /* NULL: the family's */
    bool each;
};

static const struct row rows[METRIC_COUNT] = {
#define METRIC(name, kind, help) {kind, #name, NULL, help, false},
#define METRIC_EACH(name, kind, help) {kind, #name, NULL, help, true},
#define METRIC_IN(name, kind, family, labels, help) {kind, #family, labels, NULL, false},
#include "base/metrics.def"
#undef METRIC
};

static const struct family {
    const char *name;
    const char *help;
} families[] = {
#define METRIC(name, kind, help)
#define METRIC_IN(name, kind, family, labels, help)
#define FAMILY(name, help) {#name, help},
#include "base/metrics.def"
#undef METRIC
};

enum shown { EACH, SUM };

static const struct histogram_row {
    const char *name;
    enum shown shown;
    const char *help;
} histogram_rows[HISTOGRAM_COUNT] = {
#define HISTOGRAM(name, shown, help) {#name, shown, help},
#include "base/histograms.def"
#undef HISTOGRAM
};

void metrics_write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_appendf(out, "# HELP hermes_%s %s\n# TYPE hermes_%s %s\n", name, help, name, type);
}

/* Seconds, with a point whatever the program's language. */
static void write_seconds(struct buf *out, uint64_t ns)
{
    buf_appendf(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

/* --- counters and gauges ---------------------------------------------------------------------- */

static const char *help_of(const struct row *row)
{
    if (row->help)
        return row->help;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].name, row->family) == 0)
            return families[i].help;
    return "";
}

int64_t metrics_sum(const struct admin *a, enum metric which)
{
    const struct workshop *shop = a->settings.shop;
    int64_t sum = metric_get(a->settings.outside, which) + metric_get(a->settings.acceptor, which) +
                  metric_get(&a->metrics, which);
    if (a->settings.cluster)
        sum += metric_get(a->settings.cluster, which);
    for (unsigned i = 0; i < shop->count; i++)
        sum += metric_get(&shop->workers[i].metrics, which);
    return sum;
}

int64_t metrics_family(const struct admin *a, const char *family)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        if (strcmp(rows[i].family, family) == 0)
            sum += metrics_sum(a, (enum metric)i);
    return sum;
}

static void write_row(struct buf *out, const struct admin *a, enum metric which)
{
    const struct row *row = &rows[which];
    const struct workshop *shop = a->settings.shop;
    if (row->labels) {
        buf_appendf(
            out, "hermes_%s{%s} %" PRId64 "\n", row->family, row->labels, metrics_sum(a, which));
        return;
    }
    if (!row->each) {
        buf_appendf(out, "hermes_%s %" PRId64 "\n", row->family, metrics_sum(a, which));
        return;
    }
    for (unsigned i = 0; i < shop->count; i++)
        buf_appendf(out, "hermes_%s{worker=\"%u\"} %" PRId64 "\n", row->family, i,
            metric_get(&shop->workers[i].metrics, which));
}

static void write_rows(struct buf *out, const struct admin *a)
{
    const char *before = "";
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        if (strcmp(rows[i].family, before) != 0)
            write_head(out, rows[i].family, rows[i].kind == COUNTER ? "counter" : "gauge",
                help_of(&rows[i]));
        before = rows[i].family;
        write_row(out, a, (enum metric)i);
    }
}

/* --- histograms ------------------------------------------------------------------------------- */

/* Not cumulative. */
struct counts {
    uint64_t counts[HISTOGRAM_BOUNDS + 1];
    uint64_t sum_ns;
};

static void add_counts(struct counts *sum, const struct histogram *h)
{
    for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
        sum->counts[i] += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    sum->sum_ns += atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
}

/* `label` with a comma at its end, or empty. */
static void write_counts(
    struct buf *out, const char *name, const char *label, const struct counts *c)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        uint64_t ns = histogram_bounds_ns[i];
        unsigned digits = 9; /* behind the point that say something */
        uint64_t fraction = ns % 1000000000;
        for (; digits > 1 && fraction % 10 == 0; digits--)
            fraction /= 10;
        count += c->counts[i];
        buf_appendf(out, "hermes_%s_bucket{%sle=\"%" PRIu64 ".%0*" PRIu64 "\"} %" PRIu64 "\n", name,
            label, ns / 1000000000, (int)digits, fraction, count);
    }
    count += c->counts[HISTOGRAM_BOUNDS];
    buf_appendf(out, "hermes_%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, label, count);
    int len = *label ? (int)strlen(label) - 1 : 0;
    const char *open = len ? "{" : "";
    const char *close = len ? "}" : "";
    buf_appendf(out, "hermes_%s_sum%s%.*s%s ", name, open, len, label, close);
    write_seconds(out, c->sum_ns);
    buf_appendf(out, "hermes_%s_count%s%.*s%s %" PRIu64 "\n", name, open, len, label, close, count);
}

static void write_histograms(struct buf *out, const struct admin *a)
{
    const struct workshop *shop = a->settings.shop;
    for (unsigned i = 0; i < HISTOGRAM_COUNT; i++) {
        const struct histogram_row *row = &histogram_rows[i];
        struct counts sum = {0};
        write_head(out, row->name, "histogram", row->help);
        for (unsigned k = 0; k < shop->count; k++) {
            char label[32];
            struct counts each = {0};
            add_counts(&each, &shop->workers[k].pulse.histograms[i]);
            add_counts(&sum, &shop->workers[k].pulse.histograms[i]);
            snprintf(label, sizeof label, "worker=\"%u\",", k);
            if (row->shown == EACH)
                write_counts(out, row->name, label, &each);
        }
        if (row->shown == SUM)
            write_counts(out, row->name, "", &sum);
    }
}

/* --- what is looked up ------------------------------------------------------------------------ */

uint64_t metrics_topics(const struct admin *a)
{
    struct registry *r = &a->settings.shop->route.registry;
    uint64_t count = 0;
    for (unsigned i = 0; i < REGISTRY_STRIPES; i++) {
        struct stripe *stripe = &r->stripes[i];
        lock_take(&stripe->lock);
        count += stripe->topics.count;
        lock_give(&stripe->lock);
    }
    return count;
}

static void write_gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    write_head(out, name, "gauge", help);
    buf_appendf(out, "hermes_%s %" PRIu64 "\n", name, value);
}

static void write_looked_up(struct buf *out, const struct admin *a)
{
    struct workshop *shop = a->settings.shop;
    struct registry *registry = &shop->route.registry;
    write_gauge(out, "topics", "Topics that have subscribers or keep messages", metrics_topics(a));
    write_gauge(out, "history_bytes", "Bytes of messages that topics keep",
        atomic_load_explicit(&registry->budget.used, memory_order_relaxed));
    write_gauge(out, "workers", "Worker threads", shop->count);
    write_gauge(out, "draining", "1 while the server shuts down",
        atomic_load_explicit(&shop->unready, memory_order_relaxed));
    write_head(out, "worker_cpu_seconds_total", "counter", "Processor time that a worker has used");
    for (unsigned i = 0; i < shop->count; i++) {
        uint64_t used;
        if (!load_cpu(&shop->workers[i], &used))
            continue;
        buf_appendf(out, "hermes_worker_cpu_seconds_total{worker=\"%u\"} ", i);
        write_seconds(out, used);
    }
    write_head(out, "build_info", "gauge", "1, and what was built as labels");
    buf_appendf(out, "hermes_build_info{version=\"%s\",libuv=\"%s\"} 1\n", HERMES_VERSION,
        uv_version_string());
}

void metrics_write(struct buf *out, const struct admin *a)
{
    write_rows(out, a);
    write_histograms(out, a);
    write_looked_up(out, a);
    metrics_write_process(out);
}
