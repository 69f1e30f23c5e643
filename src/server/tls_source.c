#include "server/tls_source.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CERTIFICATE, KEY, CLIENT_CA };

bool tls_source_init(struct tls_source *c, const char *certificate, const char *key,
    const char *client_ca, unsigned workers, struct logger *logger)
{
    *c = (struct tls_source){.workers = workers, .logger = logger};
    lock_init(&c->lock, LOCK_RELOAD);
    c->paths[CERTIFICATE] = strdup(certificate);
    c->paths[KEY] = strdup(*key ? key : certificate);
    if (*client_ca)
        c->paths[CLIENT_CA] = strdup(client_ca);
    if (c->paths[CERTIFICATE] && c->paths[KEY] && (!*client_ca || c->paths[CLIENT_CA]))
        return true;
    tls_source_fini(c);
    return false;
}

void tls_source_fini(struct tls_source *c)
{
    for (int i = 0; i < TLS_SOURCE_FILES; i++) {
        free(c->paths[i]);
        c->paths[i] = NULL;
    }
    tls_config_drop(c->current);
    c->current = NULL;
    lock_fini(&c->lock);
}

/* --- the files -------------------------------------------------------------------------------- */

/* What is not there looks like nothing at all. */
static void look(const struct tls_source *c, struct stat seen[TLS_SOURCE_FILES])
{
    for (int i = 0; i < TLS_SOURCE_FILES; i++)
        if (!c->paths[i] || stat(c->paths[i], &seen[i]) != 0)
            seen[i] = (struct stat){0};
}

static bool same(const struct stat *a, const struct stat *b)
{
    for (int i = 0; i < TLS_SOURCE_FILES; i++)
        if (a[i].st_dev != b[i].st_dev || a[i].st_ino != b[i].st_ino ||
            a[i].st_size != b[i].st_size || a[i].st_mtim.tv_sec != b[i].st_mtim.tv_sec ||
            a[i].st_mtim.tv_nsec != b[i].st_mtim.tv_nsec ||
            a[i].st_ctim.tv_sec != b[i].st_ctim.tv_sec ||
            a[i].st_ctim.tv_nsec != b[i].st_ctim.tv_nsec)
            return false;
    return true;
}

/* --- loading ---------------------------------------------------------------------------------- */

static void log_current(struct tls_source *c) REQUIRES(c->lock)
{
    struct tls_about about;
    struct tm tm;
    char until[32] = "";
    tls_config_about(c->current, &about);
    time_t expires = (time_t)about.expires;
    if (gmtime_r(&expires, &tm))
        strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
    LOG_LINE(c->logger, LOG_INFO, "certificate loaded", LOG_STRING("subject", about.subject),
        LOG_STRING("expires", until), LOG_STRING("file", c->paths[CERTIFICATE]),
        LOG_STRING("client_certificates", c->paths[CLIENT_CA] ? "required" : "none"));
}

static void warn(struct tls_source *c, const struct tls_report *report)
{
    if (*report->warning)
        LOG_LINE(c->logger, LOG_WARN, "certificate", LOG_STRING("reason", report->warning));
}

static enum tls_source_news load(struct tls_source *c, struct tls_report *report) REQUIRES(c->lock)
{
    struct tls_config *configs[MAILBOX_WAITERS_MAX + 1];
    struct tls_paths paths = {c->paths[CERTIFICATE], c->paths[KEY], c->paths[CLIENT_CA]};
    look(c, c->loaded);
    memcpy(c->last_seen, c->loaded, sizeof c->loaded);
    *report = (struct tls_report){0};
    /* One more than there are workers, to compare with. */
    if (!tls_config_load(&paths, configs, c->workers + 1, report))
        return TLS_SOURCE_BAD;
    bool is_new = !c->current || !tls_config_same(c->current, configs[c->workers]);
    if (is_new) {
        tls_config_drop(c->current);
        c->current = configs[c->workers];
        tls_box_put(c->box, configs, c->workers);
    } else {
        for (unsigned i = 0; i <= c->workers; i++)
            tls_config_drop(configs[i]);
    }
    return is_new ? TLS_SOURCE_NEW : TLS_SOURCE_SAME;
}

bool tls_source_load(struct tls_source *c, struct tls_box *box, struct tls_report *report)
{
    c->box = box;
    lock_take(&c->lock);
    enum tls_source_news news = load(c, report);
    lock_give(&c->lock);
    return news == TLS_SOURCE_NEW;
}

void tls_source_log(struct tls_source *c, const struct tls_report *report)
{
    lock_take(&c->lock);
    log_current(c);
    lock_give(&c->lock);
    warn(c, report);
}

static enum tls_source_news reload(struct tls_source *c, struct tls_report *report)
    REQUIRES(c->lock)
{
    enum tls_source_news news = load(c, report);
    if (news == TLS_SOURCE_NEW && c->changed)
        c->changed(c->user);
    if (news == TLS_SOURCE_BAD)
        LOG_LINE(c->logger, LOG_ERROR, "certificate not loaded, the old one stays",
            LOG_STRING("reason", report->error));
    else if (news == TLS_SOURCE_NEW)
        log_current(c);
    else
        LOG_LINE(c->logger, LOG_INFO, "certificate unchanged");
    if (news != TLS_SOURCE_BAD)
        warn(c, report);
    return news;
}

enum tls_source_news tls_source_reload(struct tls_source *c, struct tls_report *report)
{
    lock_take(&c->lock);
    enum tls_source_news news = reload(c, report);
    lock_give(&c->lock);
    return news;
}

enum tls_source_news tls_source_look(struct tls_source *c)
{
    struct stat seen[TLS_SOURCE_FILES];
    struct tls_report report;
    enum tls_source_news news = TLS_SOURCE_SAME;
    look(c, seen);
    lock_take(&c->lock);
    if (!same(seen, c->loaded) && same(seen, c->last_seen))
        news = reload(c, &report);
    else
        memcpy(c->last_seen, seen, sizeof seen);
    lock_give(&c->lock);
    return news;
}
