/* The command line. */
#ifndef HERMES_BENCH_OPTIONS_H
#define HERMES_BENCH_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "knee.h"

enum scenario {
    SCENARIO_FANOUT,
    SCENARIO_TOPICS,
    SCENARIO_PAIRS,
    SCENARIO_CONNECT,
    SCENARIO_CHURN,
    SCENARIO_STORM,
    SCENARIO_SLOW,
    SCENARIO_SOAK,
    SCENARIO_COUNT,
};

enum subscribe { SUBSCRIBE_NONE, SUBSCRIBE_SHARED, SUBSCRIBE_OWN };

enum { OPTIONS_SOURCES_MAX = 64 };

/* Texts point into argv or the environment. Times in seconds. */
struct options {
    enum scenario scenario;
    const char *compare[2];
    const char *url;
    const char *ca, *cert, *key; /* wss; NULL: not given */
    bool insecure;
    char *source[OPTIONS_SOURCES_MAX]; /* owned */
    size_t sources;
    size_t threads, pid, payload, window, subscribers, publishers, topics, per_subscriber, pairs;
    size_t connections, rounds, seed, level, missed;
    double seconds, warmup, patience, rate, connect_rate, stalled, spread;
    enum subscribe subscribe;
    struct slo slo;
    const char *slo_text; /* NULL: none */
    const char *json, *html;
    bool find_knee, quiet, recover;
    uint64_t given; /* bit by bit: options that were on the command line */
};

enum options_verdict {
    OPTIONS_RUN,
    OPTIONS_COMPARE,
    OPTIONS_HELP,
    OPTIONS_VERSION,
    OPTIONS_FAULT, /* one line is in `fault` */
};

/* Every option that was not given has the scenario's default. */
enum options_verdict options_parse(
    struct options *o, int argc, char **argv, char *fault, size_t fault_size);
void options_fini(struct options *o);

struct hermes_client_options;

/* Where to and how, as a client is told: the URL, the level, TLS, the source whose turn it is. */
void options_client(const struct options *o, struct hermes_client_options *out, size_t turn);

const char *options_scenario(enum scenario scenario);

/* What was asked for, in the order of the help; owned by the caller. */
json_t *options_json(const struct options *o);

/* ---- options_check.c ---- */

/* What goes together, once all are known; false with one line in `fault`. */
bool options_check(const struct options *o, char *fault, size_t fault_size);

/* ---- help.c ---- */

const char *options_help(void);

#endif
