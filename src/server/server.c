/* The broker as a whole: starts and ends everything in order. See include/hermes/hermes.h. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/die.h"
#include "base/hash.h"
#include "server/processors.h"
#include "server/server.h"

enum {
    CROWDED_BYTES = 4 << 20, /* in a mailbox, from which on publishers wait */
    REFUSALS = 64,           /* connections past the maximum that are still answered */
    ACCEPTS_FACTOR = 4,      /* times WS_MAX_CONNECTS_PER_SECOND, */
    ACCEPTS_MORE = 1000,     /* and so many, a second: past that nobody is told why not */
    OTHER_DESCRIPTORS = 32,  /* standard streams, listeners, and what libraries open */
    WORKER_DESCRIPTORS = 8,  /* of one loop */
    ADMIN_DESCRIPTORS = ADMIN_CONNECTIONS_MAX + 16,
};

const char *hermes_version(void)
{
    return HERMES_VERSION;
}

struct hermes *hermes_new(void)
{
    struct hermes *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);
    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    if (!settings_init(&h->settings)) {
        settings_fini(&h->settings);
        free(h);
        return NULL;
    }
    return h;
}

int hermes_set(struct hermes *h, const char *name, const char *value)
{
    return settings_set(&h->settings, name, value, h->error, sizeof h->error);
}

void hermes_ignore(struct hermes *h, const char *name)
{
    buf_append(&h->ignored, name, strlen(name) + 1);
}

const char *hermes_error(const struct hermes *h)
{
    return h->error;
}

int hermes_port(const struct hermes *h)
{
    return h->started ? h->acceptor.port : 0;
}

int hermes_tls_port(const struct hermes *h)
{
    if (!h->started || !h->tls)
        return 0;
    return h->acceptor.tls_port >= 0 ? h->acceptor.tls_port : h->acceptor.port;
}

int hermes_admin_port(const struct hermes *h)
{
    return h->started && h->admin ? h->admin->port : 0;
}

void hermes_on_stopped(struct hermes *h, void (*stopped)(void *user), void *user)
{
    h->stopped = stopped;
    h->user = user;
}

void hermes_on_draining(struct hermes *h, void (*draining)(void *user), void *user)
{
    h->on_draining = draining;
    h->on_draining_user = user;
}

/* --- start ------------------------------------------------------------------------------------ */

static void thread_ended(void *user)
{
    struct hermes *h = user;
    unsigned running = atomic_fetch_sub(&h->running, 1) - 1;
    /* Workers wait for what they asked of the cluster thread, and the admin listener answers until
     * all others have ended. */
    if (running == 1u + (h->admin != NULL) && h->cluster)
        cluster_stop(h->cluster);
    else if (running == 1 && h->admin)
        admin_stop(h->admin);
    if (running > 0)
        return;
    LOG_LINE(&h->logger, LOG_INFO, "stopped", LOG_NUMBER("port", h->acceptor.port));
    if (h->stopped)
        h->stopped(h->user);
}

/* How many connections there may be: what was asked for, within what the descriptors allow. */
static int64_t connections_allowed(struct hermes *h, unsigned workers)
{
    struct rlimit limit;
    int64_t asked = (int64_t)hermes_number(h, SETTING_max_connections);
    int64_t reserve = OTHER_DESCRIPTORS + REFUSALS + WORKER_DESCRIPTORS * (int64_t)workers;
    if (hermes_number(h, SETTING_admin_port) != PORT_OFF || h->given[LISTENER_ADMIN].count > 0)
        reserve += ADMIN_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return asked ? asked : INT32_MAX;
    int64_t most = (int64_t)limit.rlim_cur - reserve;
    if (most < (int64_t)limit.rlim_cur / 4)
        most = (int64_t)limit.rlim_cur / 4;
    if (most < 1)
        most = 1;
    if (asked == 0)
        return most;
    if (asked > most) {
        LOG_LINE(&h->logger, LOG_WARN, "fewer connections than asked for",
            LOG_NUMBER("connections", most), LOG_NUMBER("descriptor_limit", limit.rlim_cur));
        return most;
    }
    return asked;
}

static int workers_init(struct hermes *h, unsigned count)
{
    struct workshop *shop = &h->shop;
    shop->route.boxes = calloc(count, sizeof(struct mailbox *));
    /* Zeroed, and on cache lines of their own. */
    shop->workers = aligned_alloc(64, count * ((sizeof(struct worker) + 63) / 64 * 64));
    if (!shop->route.boxes || !shop->workers) {
        snprintf(h->error, sizeof h->error, "out of memory");
        return HERMES_NO_MEMORY;
    }
    memset(shop->workers, 0, count * sizeof(struct worker));
    for (shop->count = 0; shop->count < count; shop->count++) {
        int code = worker_init(&shop->workers[shop->count], shop, shop->count);
        if (code != 0) {
            snprintf(h->error, sizeof h->error, "cannot make worker %u: %s", shop->count,
                uv_strerror(code));
            return HERMES_SYSTEM;
        }
    }
    return HERMES_OK;
}

static void workers_fini(struct hermes *h)
{
    struct workshop *shop = &h->shop;
    for (unsigned i = 0; i < shop->count; i++)
        worker_fini(&shop->workers[i]);
    free(shop->workers);
    free(shop->route.boxes);
    shop->workers = NULL;
    shop->route.boxes = NULL;
    shop->count = 0;
}

/* On the acceptor's thread. */
static void look_after_certificate(void *user)
{
    struct hermes *h = user;
    (void)tls_source_look(&h->tls_source);
}

static int accepting_init(struct hermes *h)
{
    uint64_t tls_port = hermes_number(h, SETTING_tls_port);
    uint64_t connects = hermes_number(h, SETTING_max_connects_per_second);
    if (h->given[LISTENER_TLS].count > 0)
        tls_port = 0;
    struct acceptor_settings settings = {
        .host = hermes_text(h, SETTING_host),
        .port = (int)hermes_number(h, SETTING_port),
        .tls = h->tls && tls_port == PORT_OFF,
        .tls_port = tls_port == PORT_OFF ? -1 : (int)tls_port,
        .given = &h->given[LISTENER_PLAIN],
        .tls_given = &h->given[LISTENER_TLS],
        .backlog = (int)hermes_number(h, SETTING_backlog),
        .drain_delay_ms = hermes_number(h, SETTING_drain_delay_ms),
        .max_connections = connections_allowed(h, h->shop.count),
        .refusals = REFUSALS,
        .accepts_per_second = connects ? ACCEPTS_FACTOR * connects + ACCEPTS_MORE : 0,
        .boxes = h->shop.route.boxes,
        .workers = h->shop.count,
        .addresses = &h->addresses,
        .trusted = &h->shop.trusted,
        .proxy_head = h->shop.proxy_head,
        .connections = &h->shop.connections,
        .logger = &h->logger,
        .tick = h->tls ? look_after_certificate : NULL,
        .ended = thread_ended,
        .user = h,
    };
    if (acceptor_open(&h->acceptor, &settings, h->error, sizeof h->error) != 0)
        return HERMES_SYSTEM;
    return HERMES_OK;
}

/* Starts the workers, then whoever asks them and who brings them clients, none of which takes
 * signals: those are the program's.
 * Should one thread fail to start, those before it are ended as at the end of a broker's life. */
static int threads_start(struct hermes *h)
{
    struct workshop *shop = &h->shop;
    unsigned started = 0;
    int code = 0;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    atomic_store(&h->running, shop->count + 1 + (h->admin != NULL) + (h->cluster != NULL));
    while (started < shop->count && (code = worker_start(&shop->workers[started])) == 0)
        started++;
    bool cluster = code == 0 && h->cluster && (code = cluster_start(h->cluster)) == 0;
    bool admin = code == 0 && h->admin && (code = admin_start(h->admin)) == 0;
    if (code == 0)
        code = acceptor_start(&h->acceptor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        return HERMES_OK;
    snprintf(h->error, sizeof h->error, "cannot start a thread: %s", uv_strerror(code));
    for (unsigned i = 0; i < started; i++)
        mailbox_post(shop->route.boxes[i], (struct mail){.kind = MAIL_DRAIN});
    for (unsigned i = 0; i < started; i++)
        worker_join(&shop->workers[i]);
    if (cluster) {
        cluster_stop(h->cluster);
        cluster_join(h->cluster);
    }
    if (admin) {
        admin_stop(h->admin);
        admin_join(h->admin);
    }
    return HERMES_SYSTEM;
}

/* A budget that one large message fills would cut off whoever does not take that message at once.
 */
static void raise_backlog(struct hermes *h, struct session_limits *limits)
{
    size_t least = 2 * limits->message_bytes + 2 * (size_t)LOG_CHUNK;
    if (limits->backlog_bytes == 0 || limits->backlog_bytes >= least)
        return;
    LOG_LINE(&h->logger, LOG_WARN, "WS_MAX_BACKLOG_BYTES raised to hold two messages",
        LOG_NUMBER("asked", limits->backlog_bytes), LOG_NUMBER("bytes", least));
    limits->backlog_bytes = least;
}

static void shop_init(struct hermes *h, unsigned workers)
{
    struct workshop *shop = &h->shop;
    shop->limits = (struct session_limits){
        .message_bytes = hermes_number(h, SETTING_max_message_bytes),
        .topic_bytes = hermes_number(h, SETTING_max_topic_bytes),
        .subscriptions = hermes_number(h, SETTING_max_subscriptions),
        .messages_per_second = hermes_number(h, SETTING_max_messages_per_second),
        .backlog_bytes = hermes_number(h, SETTING_max_backlog_bytes),
        .handshake_ms = hermes_number(h, SETTING_handshake_ms),
        .ping_ms = hermes_number(h, SETTING_ping_ms),
        .pong_ms = hermes_number(h, SETTING_pong_ms),
        .drain_ms = hermes_number(h, SETTING_drain_ms),
    };
    raise_backlog(h, &shop->limits);
    gate_init(&shop->gate, hermes_number(h, SETTING_max_connects_per_second));
    shop->client_key = hash_key_random().k0;
    shop->logger = &h->logger;
    shop->addresses = &h->addresses;
    shop->ended = thread_ended;
    shop->user = h;
    shop->route.crowded = CROWDED_BYTES;
    shop->observed = false;
    shop->io_uring = hermes_number(h, SETTING_io_uring) == 0;
    atomic_store(&shop->connections, 0);
    atomic_store(&shop->unready, false);
    route_init(&shop->route, workers, hermes_number(h, SETTING_history_bytes));
    rules_box_init(&shop->rules);
    keys_box_init(&shop->keys);
    tls_box_init(&shop->tls);
}

static void shop_fini(struct hermes *h)
{
    route_fini(&h->shop.route);
    rules_box_fini(&h->shop.rules);
    hermes_forget_callers(h);
    keys_box_fini(&h->shop.keys);
    tls_box_fini(&h->shop.tls);
    if (h->tls)
        tls_source_fini(&h->tls_source);
}

static void warn_of_ignored(struct hermes *h)
{
    for (size_t at = 0; at < h->ignored.len; at += strlen(h->ignored.data + at) + 1)
        LOG_LINE(&h->logger, LOG_WARN, "unknown setting ignored",
            LOG_STRING("name", h->ignored.data + at));
    buf_clear(&h->ignored);
}

static void log_way_of_sending(struct hermes *h, unsigned workers)
{
    const char *reason = NULL;
    unsigned rings = 0;
    for (unsigned i = 0; i < workers; i++) {
        const char *lacking = h->shop.workers[i].no_ring;
        rings += lacking == NULL;
        reason = lacking ? lacking : reason;
    }
    if (rings > 0)
        LOG_LINE(&h->logger, LOG_INFO, "sending by io_uring", LOG_NUMBER("workers", rings));
    if (rings < workers)
        LOG_LINE(&h->logger, LOG_INFO, "sending without io_uring",
            LOG_NUMBER("workers", workers - rings), LOG_STRING("reason", reason));
}

static void log_listening(struct hermes *h, unsigned workers)
{
    const struct acceptor *a = &h->acceptor;
    const char *host = *hermes_text(h, SETTING_host) ? hermes_text(h, SETTING_host) : "*";
    LOG_LINE(&h->logger, LOG_INFO, "listening", LOG_STRING("host", host),
        LOG_NUMBER("port", a->port), LOG_STRING("tls", a->settings.tls ? "yes" : "no"),
        LOG_NUMBER("workers", workers), LOG_NUMBER("max_connections", a->settings.max_connections),
        LOG_STRING("version", HERMES_VERSION));
    if (a->tls_port >= 0)
        LOG_LINE(&h->logger, LOG_INFO, "listening", LOG_STRING("host", host),
            LOG_NUMBER("port", a->tls_port), LOG_STRING("tls", "yes"));
}

static void tell_workers(void *user)
{
    hermes_tell_workers(user);
}

static int load_certificate(struct hermes *h, unsigned workers, struct tls_report *report)
{
    if (!h->tls)
        return HERMES_OK;
    if (!tls_source_init(&h->tls_source, hermes_text(h, SETTING_tls_cert),
            hermes_text(h, SETTING_tls_key), hermes_text(h, SETTING_tls_client_ca), workers,
            &h->logger)) {
        h->tls = false;
        snprintf(h->error, sizeof h->error, "out of memory");
        return HERMES_NO_MEMORY;
    }
    h->tls_source.changed = tell_workers;
    h->tls_source.user = h;
    if (tls_source_load(&h->tls_source, &h->shop.tls, report))
        return HERMES_OK;
    snprintf(h->error, sizeof h->error, "%s", report->error);
    return HERMES_INVALID;
}

static void free_admin(struct hermes *h)
{
    if (h->admin)
        admin_fini(h->admin);
    free(h->admin);
    h->admin = NULL;
}

int hermes_start(struct hermes *h)
{
    MUST(!h->started);
    struct rules *rules;
    struct auth_keys *keys;
    json_object_seed(0); /* once a process, and not by two threads at a time */
    int code = hermes_check_tls(h);
    if (code != HERMES_OK)
        return code;
    code = hermes_read_callers(h);
    if (code != HERMES_OK)
        return code;
    code = hermes_read_keys(h, &keys);
    if (code != HERMES_OK) {
        hermes_forget_callers(h);
        return code;
    }
    code = hermes_read_rules(h, &rules);
    if (code != HERMES_OK) {
        hermes_forget_callers(h);
        auth_keys_drop(keys);
        return code;
    }
    size_t rule_count = rules ? rules->count : 0;
    unsigned workers = (unsigned)hermes_number(h, SETTING_workers);
    if (workers == 0)
        workers = processors_available();
    if (workers > MAILBOX_WAITERS_MAX)
        workers = MAILBOX_WAITERS_MAX;
    logger_init(&h->logger, STDERR_FILENO, (enum log_level)hermes_number(h, SETTING_log_level),
        hermes_number(h, SETTING_log_format) == 1);
    addresses_init(&h->addresses, (uint32_t)hermes_number(h, SETTING_max_connections_per_address));
    shop_init(h, workers);
    rules_box_put(&h->shop.rules, rules);
    keys_box_put(&h->shop.keys, keys);
    struct tls_report report = {0};
    code = load_certificate(h, workers, &report);
    if (code != HERMES_OK)
        goto no_workers;
    code = workers_init(h, workers);
    if (code != HERMES_OK)
        goto no_workers;
    code = accepting_init(h);
    if (code != HERMES_OK)
        goto no_workers;
    code = hermes_open_cluster(h, thread_ended);
    if (code != HERMES_OK)
        goto no_threads;
    code = hermes_open_admin(h, thread_ended);
    if (code != HERMES_OK)
        goto no_threads;
    code = threads_start(h);
    if (code != HERMES_OK)
        goto no_threads;
    h->started = true;
    h->joined = false;
    hermes_forget_given(h);
    warn_of_ignored(h);
    if (*hermes_text(h, SETTING_config))
        hermes_log_rules(h, rule_count);
    if (h->tls)
        tls_source_log(&h->tls_source, &report);
    hermes_log_keys(h, keys); /* the box holds them still: nobody else reloads */
    log_listening(h, workers);
    hermes_log_admin(h);
    log_way_of_sending(h, workers);
    return HERMES_OK;

no_threads:
    free_admin(h);
    hermes_free_cluster(h);
    acceptor_fini(&h->acceptor);
no_workers:
    workers_fini(h);
    shop_fini(h);
    addresses_fini(&h->addresses);
    logger_fini(&h->logger);
    return code;
}

/* --- the end ---------------------------------------------------------------------------------- */

void hermes_begin_drain(struct hermes *h)
{
    if (atomic_exchange(&h->shop.unready, true))
        return;
    LOG_LINE(&h->logger, LOG_INFO, "draining",
        LOG_NUMBER("connections", atomic_load(&h->shop.connections)));
    if (h->on_draining)
        h->on_draining(h->on_draining_user);
    acceptor_drain(&h->acceptor);
}

void hermes_drain(struct hermes *h)
{
    if (h->started)
        hermes_begin_drain(h);
}

void hermes_wait(struct hermes *h)
{
    if (!h->started || h->joined)
        return;
    acceptor_join(&h->acceptor);
    for (unsigned i = 0; i < h->shop.count; i++)
        worker_join(&h->shop.workers[i]);
    if (h->cluster)
        cluster_join(h->cluster);
    if (h->admin)
        admin_join(h->admin);
    h->joined = true;
}

void hermes_stop(struct hermes *h)
{
    hermes_drain(h);
    hermes_wait(h);
}

void hermes_free(struct hermes *h)
{
    if (!h)
        return;
    if (h->started) {
        hermes_stop(h);
        free_admin(h);
        hermes_free_cluster(h);
        acceptor_fini(&h->acceptor);
        workers_fini(h);
        shop_fini(h);
        addresses_fini(&h->addresses);
        logger_fini(&h->logger);
    }
    hermes_forget_given(h);
    settings_fini(&h->settings);
    secret_fini(&h->jwt_secret);
    secret_fini(&h->admin_token);
    buf_fini(&h->ignored);
    free(h);
}
