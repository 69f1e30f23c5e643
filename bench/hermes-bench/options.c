#include "options.h"

#include <getopt.h>
#include <hermes/protocol.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "payload.h"

enum kind { KIND_TEXT, KIND_COUNT, KIND_SIZE, KIND_NUMBER, KIND_SECONDS, KIND_SHARE, KIND_FLAG };

enum {
    FANOUT = 1 << SCENARIO_FANOUT,
    TOPICS = 1 << SCENARIO_TOPICS,
    PAIRS = 1 << SCENARIO_PAIRS,
    CONNECT = 1 << SCENARIO_CONNECT,
    CHURN = 1 << SCENARIO_CHURN,
    STORM = 1 << SCENARIO_STORM,
    SLOW = 1 << SCENARIO_SLOW,
    SOAK = 1 << SCENARIO_SOAK,
    LOAD = FANOUT | TOPICS | PAIRS | SLOW,
    ALL = (1 << SCENARIO_COUNT) - 1,
};

#define AT(field) offsetof(struct options, field)
#define NOWHERE SIZE_MAX

enum { MILLION = 1000000 };

/* Texts with a place of their own are read by read_special. */
static const struct rule {
    const char *name;
    enum kind kind;
    unsigned scenarios;
    size_t at;
    double least, most;
} rules[] = {
    {"url", KIND_TEXT, ALL, AT(url), 0, 0},
    {"source", KIND_TEXT, ALL, NOWHERE, 0, 0},
    {"threads", KIND_COUNT, ALL, AT(threads), 1, 256},
    {"pid", KIND_COUNT, ALL, AT(pid), 1, 1 << 30},
    {"seconds", KIND_SECONDS, ALL & ~STORM, AT(seconds), 0.05, 30 * 86400},
    {"warmup", KIND_SECONDS, LOAD | CHURN | STORM | SOAK, AT(warmup), 0, 3600},
    {"patience", KIND_SECONDS, ALL, AT(patience), 0.1, 3600},
    {"payload", KIND_SIZE, LOAD | CHURN | STORM | SOAK, AT(payload), PAYLOAD_LEAST, PAYLOAD_MOST},
    {"rate", KIND_NUMBER, LOAD | STORM | SOAK, AT(rate), 0.1, 1e8},
    {"window", KIND_COUNT, FANOUT | TOPICS | PAIRS | SLOW, AT(window), 1, 100000},
    {"subscribers", KIND_COUNT, FANOUT | TOPICS | SLOW | STORM | SOAK, AT(subscribers), 1, MILLION},
    {"publishers", KIND_COUNT, FANOUT | TOPICS | SLOW | STORM | SOAK, AT(publishers), 1, 65536},
    {"topics", KIND_COUNT, TOPICS | SOAK, AT(topics), 1, MILLION},
    {"per-subscriber", KIND_COUNT, TOPICS | SOAK, AT(per_subscriber), 1, 10000},
    {"pairs", KIND_COUNT, PAIRS | SOAK, AT(pairs), 1, MILLION},
    {"connections", KIND_COUNT, CONNECT | CHURN | SOAK, AT(connections), 1, MILLION},
    {"connect-rate", KIND_NUMBER, ALL & ~CHURN, AT(connect_rate), 0, 1e7},
    {"subscribe", KIND_TEXT, CONNECT, NOWHERE, 0, 0},
    {"stalled", KIND_SHARE, SLOW, AT(stalled), 0, 1},
    {"rounds", KIND_COUNT, STORM, AT(rounds), 1, 10000},
    {"spread", KIND_SECONDS, STORM, AT(spread), 0, 3600},
    {"slo", KIND_TEXT, LOAD | SOAK, NOWHERE, 0, 0},
    {"find-knee", KIND_FLAG, FANOUT | TOPICS | PAIRS, AT(find_knee), 0, 0},
    {"json", KIND_TEXT, ALL, AT(json), 0, 0},
    {"html", KIND_TEXT, ALL, AT(html), 0, 0},
    {"quiet", KIND_FLAG, ALL, AT(quiet), 0, 0},
    {"seed", KIND_COUNT, TOPICS | SOAK, AT(seed), 0, 9007199254740992.0},
};

enum { RULES = sizeof rules / sizeof *rules, COMPARE = RULES, HELP, VERSION };
_Static_assert(RULES <= 64, "given is a bit for each");

static const struct options defaults[SCENARIO_COUNT] = {
    [SCENARIO_FANOUT] = {.seconds = 8,
        .warmup = 1,
        .payload = 256,
        .rate = 100,
        .subscribers = 1000,
        .publishers = 1},
    [SCENARIO_TOPICS] = {.seconds = 8,
        .warmup = 1,
        .payload = 256,
        .rate = 2000,
        .subscribers = 1000,
        .publishers = 10,
        .topics = 1000,
        .per_subscriber = 10},
    [SCENARIO_PAIRS] = {.seconds = 8, .warmup = 1, .payload = 256, .rate = 5000, .pairs = 100},
    [SCENARIO_CONNECT] = {.seconds = 5, .connections = 1000, .connect_rate = 1000},
    [SCENARIO_CHURN] = {.seconds = 8, .warmup = 1, .payload = 256, .connections = 50},
    [SCENARIO_STORM] = {.seconds = 1,
        .warmup = 1,
        .payload = 256,
        .rate = 100,
        .subscribers = 1000,
        .publishers = 1,
        .rounds = 3},
    [SCENARIO_SLOW] = {.seconds = 8,
        .warmup = 1,
        .payload = 1024,
        .rate = 200,
        .subscribers = 200,
        .publishers = 1,
        .stalled = 0.1},
    [SCENARIO_SOAK] = {.seconds = 60,
        .warmup = 1,
        .payload = 256,
        .rate = 600,
        .subscribers = 100,
        .publishers = 2,
        .topics = 100,
        .per_subscriber = 5,
        .pairs = 50,
        .connections = 10},
};

static const char *const names[SCENARIO_COUNT] = {
    "fanout", "topics", "pairs", "connect", "churn", "storm", "slow", "soak"};

const char *options_scenario(enum scenario scenario)
{
    return names[scenario];
}

/* ---- values ---- */

/* A decimal number with one of the units behind it, or none. */
static bool read_number(
    const char *text, const char *const *units, const double *factors, double *out)
{
    char *end;
    if (!strchr("0123456789.", *text) || !*text || text[strcspn(text, "xXnN")])
        return false;
    *out = strtod(text, &end);
    if (end == text || !isfinite(*out))
        return false;
    if (!*end)
        return true;
    for (size_t i = 0; units[i]; i++)
        if (strcmp(end, units[i]) == 0) {
            *out *= factors[i];
            return true;
        }
    return false;
}

static const char *const no_units[] = {NULL};
static const char *const size_units[] = {"k", "m", NULL};
static const double size_factors[] = {1 << 10, 1 << 20};
static const char *const time_units[] = {"ms", "s", "m", "h", NULL};
static const double time_factors[] = {0.001, 1, 60, 3600};

static const char *wanted(enum kind kind)
{
    switch (kind) {
    case KIND_COUNT:
        return "a whole number";
    case KIND_SIZE:
        return "bytes, or with k or m";
    case KIND_SECONDS:
        return "seconds, or with ms, s, m or h";
    case KIND_SHARE:
        return "a share, as 0.1 or 10%";
    default:
        return "a number";
    }
}

static bool read_value(const struct rule *r, const char *text, double *out)
{
    static const char *const percent[] = {"%", NULL};
    static const double hundredth[] = {0.01};
    switch (r->kind) {
    case KIND_COUNT:
        return read_number(text, no_units, NULL, out) && *out == floor(*out);
    case KIND_SIZE:
        return read_number(text, size_units, size_factors, out) && *out == floor(*out);
    case KIND_SECONDS:
        return read_number(text, time_units, time_factors, out);
    case KIND_SHARE:
        return read_number(text, percent, hundredth, out);
    default:
        return read_number(text, no_units, NULL, out);
    }
}

static bool read_sources(struct options *o, const char *text, char *fault, size_t fault_size)
{
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t len = strcspn(at, ",");
        if (len == 0 || o->sources == OPTIONS_SOURCES_MAX) {
            snprintf(fault, fault_size,
                "--source wants one to %d addresses with commas between, not '%s'",
                OPTIONS_SOURCES_MAX, text);
            return false;
        }
        char *copy = memory_new(len + 1, 1);
        memcpy(copy, at, len);
        o->source[o->sources++] = copy;
    }
    return true;
}

static bool read_special(
    struct options *o, const struct rule *r, const char *text, char *fault, size_t fault_size)
{
    static const char *const kinds[] = {"none", "shared", "own"};
    if (strcmp(r->name, "source") == 0)
        return read_sources(o, text, fault, fault_size);
    if (strcmp(r->name, "slo") == 0) {
        char why[128];
        o->slo_text = text;
        if (slo_parse(&o->slo, text, why, sizeof why))
            return true;
        snprintf(fault, fault_size, "--slo: %s", why);
        return false;
    }
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(text, kinds[i]) == 0) {
            o->subscribe = (enum subscribe)i;
            return true;
        }
    snprintf(fault, fault_size, "--subscribe is none, shared or own, not '%s'", text);
    return false;
}

static bool read_option(
    struct options *o, const struct rule *r, const char *text, char *fault, size_t fault_size)
{
    char *field = (char *)o + r->at;
    double value;
    if (r->at == NOWHERE)
        return read_special(o, r, text, fault, fault_size);
    if (r->kind == KIND_TEXT) {
        memcpy(field, &text, sizeof text);
        return true;
    }
    if (r->kind == KIND_FLAG) {
        *(bool *)field = true;
        return true;
    }
    if (!read_value(r, text, &value)) {
        snprintf(fault, fault_size, "--%s wants %s, not '%s'", r->name, wanted(r->kind), text);
        return false;
    }
    if (value < r->least || value > r->most) {
        snprintf(
            fault, fault_size, "--%s is %.10g to %.10g, not %s", r->name, r->least, r->most, text);
        return false;
    }
    if (r->kind == KIND_COUNT || r->kind == KIND_SIZE)
        *(size_t *)(void *)field = (size_t)value;
    else
        *(double *)(void *)field = value;
    return true;
}

/* ---- the line ---- */

static bool find_scenario(struct options *o, const char *name)
{
    for (unsigned i = 0; i < SCENARIO_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *o = defaults[i];
            o->scenario = (enum scenario)i;
            return true;
        }
    return false;
}

static enum options_verdict read_compare(
    struct options *o, int argc, char **argv, char *fault, size_t fault_size)
{
    if (argc != 4) {
        snprintf(
            fault, fault_size, "--compare wants two files: hermes-bench --compare A.json B.json");
        return OPTIONS_FAULT;
    }
    o->compare[0] = argv[2];
    o->compare[1] = argv[3];
    return OPTIONS_COMPARE;
}

static enum options_verdict read_line(
    struct options *o, int argc, char **argv, char *fault, size_t fault_size)
{
    struct option longs[RULES + 1] = {{0}};
    for (int i = 0; i < RULES; i++)
        longs[i] = (struct option){rules[i].name,
            rules[i].kind == KIND_FLAG ? no_argument : required_argument, NULL, 256 + i};
    opterr = 0;
    optind = 0; /* so that glibc starts anew */
    for (int found; (found = getopt_long(argc, argv, ":", longs, NULL)) != -1;) {
        if (found == ':' || found == '?') {
            snprintf(fault, fault_size, found == ':' ? "%s wants a value" : "there is no option %s",
                argv[optind - 1]);
            return OPTIONS_FAULT;
        }
        const struct rule *r = &rules[found - 256];
        if (!(r->scenarios & 1u << o->scenario)) {
            snprintf(fault, fault_size, "--%s means nothing to %s", r->name, names[o->scenario]);
            return OPTIONS_FAULT;
        }
        if (!read_option(o, r, optarg, fault, fault_size))
            return OPTIONS_FAULT;
        o->given |= (uint64_t)1 << (found - 256);
    }
    if (optind < argc) {
        snprintf(fault, fault_size, "'%s' is one word too many", argv[optind]);
        return OPTIONS_FAULT;
    }
    return OPTIONS_RUN;
}

static bool was_given(const struct options *o, const char *name)
{
    for (int i = 0; i < RULES; i++)
        if (strcmp(rules[i].name, name) == 0)
            return o->given >> i & 1;
    return false;
}

enum options_verdict options_parse(
    struct options *o, int argc, char **argv, char *fault, size_t fault_size)
{
    *o = (struct options){0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
        if (strcmp(argv[i], "--version") == 0)
            return OPTIONS_VERSION;
    }
    if (argc < 2) {
        snprintf(fault, fault_size,
            "which scenario? One of fanout, topics, pairs, connect, churn, "
            "storm, slow, soak; see hermes-bench --help");
        return OPTIONS_FAULT;
    }
    if (strcmp(argv[1], "--compare") == 0)
        return read_compare(o, argc, argv, fault, fault_size);
    if (!find_scenario(o, argv[1])) {
        snprintf(fault, fault_size,
            "there is no scenario '%s': it comes first, one of fanout, "
            "topics, pairs, connect, churn, storm, slow, soak",
            argv[1]);
        return OPTIONS_FAULT;
    }
    o->url = getenv("HERMES_URL");
    if (!o->url || !*o->url)
        o->url = "ws://127.0.0.1:8080";
    o->threads = 1;
    o->patience = 5;
    o->seed = 1;
    enum options_verdict verdict = read_line(o, argc - 1, argv + 1, fault, fault_size);
    if (verdict != OPTIONS_RUN)
        return verdict;
    if (was_given(o, "rate") && was_given(o, "window")) {
        snprintf(fault, fault_size,
            "--rate and --window exclude each other: a window is kept full, "
            "whatever rate comes of it");
        return OPTIONS_FAULT;
    }
    if (o->window)
        o->rate = 0;
    if (o->find_knee && !was_given(o, "seconds"))
        o->seconds = 3;
    if (o->find_knee && !was_given(o, "warmup"))
        o->warmup = 0.5;
    return options_check(o, fault, fault_size) ? OPTIONS_RUN : OPTIONS_FAULT;
}

void options_fini(struct options *o)
{
    for (size_t i = 0; i < o->sources; i++)
        free(o->source[i]);
    o->sources = 0;
}

/* ---- for the report ---- */

json_t *options_json(const struct options *o)
{
    static const char *const kinds[] = {"none", "shared", "own"};
    json_t *all = json_object();
    for (const struct rule *r = rules; r < rules + RULES; r++) {
        const char *field = (const char *)o + r->at;
        bool shown = r->scenarios & 1u << o->scenario;
        if (!shown || (r->kind == KIND_TEXT && r->at != NOWHERE) || strcmp(r->name, "quiet") == 0)
            continue;
        if (strcmp(r->name, "subscribe") == 0)
            json_object_set_new(all, r->name, json_string(kinds[o->subscribe]));
        else if (strcmp(r->name, "slo") == 0 && o->slo_text)
            json_object_set_new(all, r->name, json_string(o->slo_text));
        else if (strcmp(r->name, "source") == 0 && o->sources)
            json_object_set_new(all, "sources", json_integer((json_int_t)o->sources));
        else if (r->kind == KIND_FLAG && *(const bool *)field)
            json_object_set_new(all, r->name, json_true());
        else if ((r->kind == KIND_COUNT || r->kind == KIND_SIZE) &&
                 *(const size_t *)(const void *)field)
            json_object_set_new(
                all, r->name, json_integer((json_int_t) * (const size_t *)(const void *)field));
        else if ((r->kind == KIND_NUMBER || r->kind == KIND_SECONDS || r->kind == KIND_SHARE) &&
                 *(const double *)(const void *)field > 0)
            json_object_set_new(all, r->name, json_real(*(const double *)(const void *)field));
    }
    return all;
}
