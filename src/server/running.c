/* The broker while it runs: what the program around it may publish, reload and ask. */
#include <stdio.h>

#include "server/rules_file.h"
#include "server/server.h"
#include "session/outside.h"

int hermes_read_rules(struct hermes *h, struct rules **out)
{
    char error[sizeof h->error - sizeof "WS_CONFIG="];
    *out = NULL;
    if (!*hermes_text(h, SETTING_config)) {
        /* Newer than those in force, so that what is kept by them is let go of. */
        if (h->started && !(*out = rules_new(NULL, 0))) {
            snprintf(h->error, sizeof h->error, "out of memory");
            return HERMES_NO_MEMORY;
        }
        return HERMES_OK;
    }
    int code = rules_file_read(hermes_text(h, SETTING_config),
        hermes_number(h, SETTING_max_topic_bytes), out, error, sizeof error);
    if (code != HERMES_OK)
        snprintf(h->error, sizeof h->error, "WS_CONFIG=%s", error);
    return code;
}

void hermes_log_rules(struct hermes *h, size_t count)
{
    if (!*hermes_text(h, SETTING_config))
        LOG_LINE(&h->logger, LOG_INFO, "no rules", LOG_STRING("reason", "WS_CONFIG is empty"));
    else
        LOG_LINE(&h->logger, LOG_INFO, "rules loaded", LOG_NUMBER("rules", count),
            LOG_STRING("file", hermes_text(h, SETTING_config)));
}

static int reload_keys(struct hermes *h)
{
    struct auth_keys *keys;
    int code = hermes_read_keys(h, &keys);
    if (code != HERMES_OK) {
        LOG_LINE(&h->logger, LOG_ERROR, "keys not loaded, the old ones stay",
            LOG_STRING("reason", h->error));
        return code;
    }
    struct auth_keys *before = keys_box_take(&h->shop.keys);
    bool any = keys || before;
    auth_keys_drop(before);
    keys_box_put(&h->shop.keys, keys);
    hermes_tell_workers(h); /* before anybody reads that it is done */
    if (any)
        hermes_log_keys(h, keys); /* the box holds them still: nobody else reloads */
    return HERMES_OK;
}

static int reload_rules(struct hermes *h)
{
    struct rules *rules;
    int code = hermes_read_rules(h, &rules);
    if (code != HERMES_OK) {
        LOG_LINE(&h->logger, LOG_ERROR, "rules not loaded, the old ones stay",
            LOG_STRING("reason", h->error));
        return code;
    }
    size_t count = rules ? rules->count : 0;
    rules_box_put(&h->shop.rules, rules);
    hermes_tell_workers(h);
    hermes_log_rules(h, count);
    return HERMES_OK;
}

static int reload_certificates(struct hermes *h)
{
    struct tls_report report;
    if (!h->tls || tls_source_reload(&h->tls_source, &report) != TLS_SOURCE_BAD)
        return HERMES_OK;
    snprintf(h->error, sizeof h->error, "%s", report.error);
    return HERMES_INVALID;
}

void hermes_tell_workers(struct hermes *h)
{
    const struct workshop *shop = &h->shop;
    for (unsigned i = 0; i < shop->count; i++)
        mailbox_post(shop->route.boxes[i], (struct mail){.kind = MAIL_RULES});
    if (shop->route.backplane)
        mailbox_post(shop->route.backplane, (struct mail){.kind = MAIL_RULES});
}

int hermes_reload(struct hermes *h)
{
    struct workshop *shop = &h->shop;
    if (!h->started || atomic_load_explicit(&shop->unready, memory_order_relaxed)) {
        snprintf(h->error, sizeof h->error, "the broker does not run");
        return HERMES_STOPPED;
    }
    /* The error that is told is the last one. */
    int codes[] = {reload_certificates(h), hermes_reload_admin(h), reload_keys(h), reload_rules(h)};
    int code = HERMES_OK;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i] != HERMES_OK)
            code = codes[i];
    return code;
}

int hermes_publish(
    struct hermes *h, const char *topic, size_t topic_len, const char *data, size_t data_len)
{
    struct text name = {topic, topic_len};
    struct route_result result;
    if (!h->started)
        return HERMES_STOPPED;
    switch (shop_publish(&h->shop, name, (struct text){data, data_len}, &result)) {
    case OUTSIDE_PUBLISHED:
        break;
    case OUTSIDE_FAR:
        return HERMES_OK;
    case OUTSIDE_STOPPED:
        return HERMES_STOPPED;
    case OUTSIDE_TOO_LARGE:
        return HERMES_TOO_LARGE;
    case OUTSIDE_BAD_TOPIC:
    case OUTSIDE_BAD_DATA:
        return HERMES_INVALID;
    case OUTSIDE_NO_MEMORY:
        return HERMES_NO_MEMORY;
    }
    atomic_fetch_add_explicit(
        &h->outside.values[METRIC_messages_published_total], 1, memory_order_relaxed);
    return HERMES_OK;
}

int64_t hermes_metric(struct hermes *h, const char *name)
{
    enum metric which = metric_find(name);
    if (which == METRIC_COUNT)
        return -1;
    int64_t sum = metric_get(&h->outside, which) + metric_get(&h->acceptor.metrics, which);
    if (h->admin)
        sum += metric_get(&h->admin->metrics, which);
    if (h->cluster)
        sum += metric_get(&h->cluster->metrics, which);
    for (unsigned i = 0; i < h->shop.count; i++)
        sum += metric_get(&h->shop.workers[i].metrics, which);
    return sum;
}
