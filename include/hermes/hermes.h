/* A Hermes broker inside your program.
 *
 * Order: hermes_new, hermes_set as often as wanted, hermes_start; then publish; at the end
 *   hermes_drain and hermes_wait (or hermes_stop, which is both), hermes_free.
 * Threads: hermes_publish, hermes_drain and hermes_metric may be called from any thread between
 *   hermes_start and hermes_free; everything else from the one thread that owns the broker. A
 *   broker runs threads of its own and needs no loop of the caller's. There are no globals:
 *   several brokers may live in one process.
 * Signals: none are installed, and SIGPIPE is never raised. Where libuv's loops have io_uring (1.45
 *   and later), the kernel may interrupt a call of the thread that has stopped a broker (EINTR). */
#ifndef HERMES_HERMES_H
#define HERMES_HERMES_H

#include <stddef.h>
#include <stdint.h>

#ifndef HERMES_API
#define HERMES_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct hermes;

/* What the functions below answer. hermes_error tells the same in one sentence for a person. */
enum hermes_result {
    HERMES_OK = 0,
    HERMES_UNKNOWN = -1,   /* no such setting */
    HERMES_INVALID = -2,   /* a value, topic or JSON text that may not be */
    HERMES_TOO_LARGE = -3, /* over a limit of the settings */
    HERMES_NO_MEMORY = -4,
    HERMES_SYSTEM = -5,  /* the operating system refused: port busy, not permitted, ... */
    HERMES_STOPPED = -6, /* not started, or ended */
};

/* One setting, for a help text: the variable's name (WS_PORT), the flag's (port), the default as
 * text, and one sentence. A secret's value is to be shown nowhere, and to be wiped where it came
 * from. */
struct hermes_setting {
    const char *variable;
    const char *flag;
    const char *value;
    const char *help;
    int secret; /* 1: it is one; 0 */
};

/* All settings, in the order in which they are best shown; `*count` is set. Static. */
HERMES_API const struct hermes_setting *hermes_settings(size_t *count);

/* The version of this library, such as "0.1.0". Static. */
HERMES_API const char *hermes_version(void);

/* A broker with default settings; NULL when there is no memory. */
HERMES_API struct hermes *hermes_new(void);

/* Sets one setting by its variable's or its flag's name. Sizes take k, m, g; times ms, s, m, h and
 * are seconds without one. HERMES_UNKNOWN or HERMES_INVALID change nothing. */
HERMES_API int hermes_set(struct hermes *h, const char *name, const char *value);

/* Remembers the name of a setting that there is not, to be warned about in the log at hermes_start:
 * for programs that hand over a whole environment. */
HERMES_API void hermes_ignore(struct hermes *h, const char *name);

/* Reads the rules file (WS_CONFIG), what tokens are checked with (WS_JWT_...) and the certificate
 * (WS_TLS_...), which it looks at each second from then on; binds, starts the threads and returns
 * when connections are accepted. On an error nothing runs. */
HERMES_API int hermes_start(struct hermes *h);

/* Reads the rules file anew, which hermes_set may have given another name; with an empty one there
 * are no rules any more. They hold for hermes_publish from then on, for clients in a moment. So are
 * the files that tokens are checked with: for tokens that come from then on; of those that are in
 * use only what the deny list names ends. And the certificate, by the names it had at hermes_start,
 * for TLS connections to come. HERMES_INVALID (what is in a file), HERMES_SYSTEM (it cannot be
 * read) and HERMES_NO_MEMORY leave the old rules, keys or certificate in force, whichever it was;
 * logged either way. HERMES_STOPPED changes nothing. */
HERMES_API int hermes_reload(struct hermes *h);

/* The last error of hermes_set, hermes_start or hermes_reload: one line without a newline. Valid
 * until the next. */
HERMES_API const char *hermes_error(const struct hermes *h);

/* The port that is listened on (the one found, when 0 was asked for); 0 before hermes_start. */
HERMES_API int hermes_port(const struct hermes *h);

/* The port for TLS: that of WS_TLS_PORT, or without one hermes_port; 0 without a certificate. */
HERMES_API int hermes_tls_port(const struct hermes *h);

/* The port of the admin listener (WS_ADMIN_PORT, which is "off" unless it is set); 0: there is
 * none.
 */
HERMES_API int hermes_admin_port(const struct hermes *h);

/* Before hermes_start: accepts on a TCP socket that listens already, in place of the port of that
 * setting: "WS_PORT", "WS_TLS_PORT" (which needs a certificate) or "WS_ADMIN_PORT". Up to eight for
 * each. The socket is the broker's then, which closes it at the end, or in hermes_free; after a
 * hermes_start that failed it is still there for the next. HERMES_UNKNOWN (no such listener),
 * HERMES_INVALID (no such socket) and HERMES_TOO_LARGE change nothing: it is the caller's still. */
HERMES_API int hermes_listen_on(struct hermes *h, const char *setting, int fd);

/* Asks all workers to show that they go round, and says whether they have since they were last
 * asked: 1; else 0. For watchdogs that ask every few seconds: true the first time, and at the end,
 * when it drains. */
HERMES_API int hermes_alive(struct hermes *h);

/* Publishes a JSON text to a topic, as if a client had: same limits, same guarantees; the messages
 * of one thread keep their order. Whom the topic's rule lets publish does not matter. Copies both;
 * returns before the subscribers have it. In a cluster HERMES_OK says that it is on its way to
 * Redis: the metric "cluster_refused_total" counts what is not taken there. HERMES_INVALID (topic,
 * also one over the limit, or JSON), HERMES_TOO_LARGE (data, also by the topic's rule),
 * HERMES_NO_MEMORY, HERMES_STOPPED. Does not wait when workers lag behind: look at the metric
 * "mailbox_bytes". */
HERMES_API int hermes_publish(
    struct hermes *h, const char *topic, size_t topic_len, const char *data, size_t data_len);

/* The value of a counter or gauge by its name in src/base/metrics.def, summed over all threads;
 * -1 for a name that is not there. */
HERMES_API int64_t hermes_metric(struct hermes *h, const char *name);

/* Starts a graceful end: new handshakes are refused; after WS_DRAIN_DELAY_SECONDS clients are
 * closed with 1012, one after the other over WS_DRAIN_SECONDS, behind what is queued for them.
 * Until the last one is gone there may be published. Returns at once; harmless when called again.
 */
HERMES_API void hermes_drain(struct hermes *h);

/* Asks for `draining(user)` to be called once, when a graceful end begins, whoever asked for it: on
 * the thread that calls hermes_drain, or on one of the broker's (POST /api/drain), and always
 * before `stopped` below. It must neither wait nor call anything here. Before hermes_start. */
HERMES_API void hermes_on_draining(struct hermes *h, void (*draining)(void *user), void *user);

/* Asks for `stopped(user)` to be called once, on a thread of the broker's, when the last session is
 * gone after hermes_drain. Before hermes_start. */
HERMES_API void hermes_on_stopped(struct hermes *h, void (*stopped)(void *user), void *user);

/* Waits until a broker that drains has ended: up to WS_DRAIN_SECONDS, and two seconds where a
 * client does not end its side. */
HERMES_API void hermes_wait(struct hermes *h);

/* hermes_drain and hermes_wait. */
HERMES_API void hermes_stop(struct hermes *h);

/* Frees a broker that is not running (stopping it first if it is). NULL is ignored. */
HERMES_API void hermes_free(struct hermes *h);

#ifdef __cplusplus
}
#endif

#endif
