/* The cluster thread, where WS_REDIS_URL names a server. */
#include <stdio.h>
#include <stdlib.h>

#include "server/server.h"

int hermes_open_cluster(struct hermes *h, void (*ended)(void *user))
{
    struct cluster_settings settings = {
        .urls = hermes_text(h, SETTING_redis_url),
        .ca = hermes_text(h, SETTING_redis_ca),
        .shop = &h->shop,
        .logger = &h->logger,
        .ended = ended,
        .user = h,
    };
    char error[256];
    if (!*settings.urls)
        return HERMES_OK;
    struct cluster *c = aligned_alloc(64, (sizeof *c + 63) / 64 * 64);
    if (!c) {
        snprintf(h->error, sizeof h->error, "out of memory");
        return HERMES_NO_MEMORY;
    }
    if (cluster_open(c, &settings, error, sizeof error) != 0) {
        free(c);
        snprintf(h->error, sizeof h->error,
            "WS_REDIS_URL: %s: give redis://[user:password@]host[:port][/db], or rediss:// for "
            "TLS; "
            "several with commas between",
            error);
        return HERMES_INVALID;
    }
    h->cluster = c;
    settings_wipe(&h->settings, SETTING_redis_url); /* there may be a password in it */
    return HERMES_OK;
}

void hermes_free_cluster(struct hermes *h)
{
    if (h->cluster)
        cluster_fini(h->cluster);
    free(h->cluster);
    h->cluster = NULL;
    h->shop.route.backplane = NULL;
}
