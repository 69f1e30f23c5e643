#include "options_rules.h"

#include <stddef.h>
#include <string.h>

#include "payload.h"

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

enum { MILLION = 1000000 };

const struct rule option_rules[] = {
    {"url", VALUE_TEXT, ALL, AT(url), 0, 0},
    {"ca", VALUE_TEXT, ALL, AT(ca), 0, 0},
    {"cert", VALUE_TEXT, ALL, AT(cert), 0, 0},
    {"key", VALUE_TEXT, ALL, AT(key), 0, 0},
    {"insecure", VALUE_FLAG, ALL, AT(insecure), 0, 0},
    {"source", VALUE_TEXT, ALL, OPTION_ELSEWHERE, 0, 0},
    {"level", VALUE_COUNT, ALL, AT(level), 1, 2},
    {"threads", VALUE_COUNT, ALL, AT(threads), 1, 256},
    {"pid", VALUE_COUNT, ALL, AT(pid), 1, 1 << 30},
    {"seconds", VALUE_SECONDS, ALL, AT(seconds), 0.05, 30 * 86400},
    {"warmup", VALUE_SECONDS, LOAD | CHURN | STORM | SOAK, AT(warmup), 0, 3600},
    {"patience", VALUE_SECONDS, ALL, AT(patience), 0.1, 3600},
    {"payload", VALUE_SIZE, LOAD | CHURN | STORM | SOAK, AT(payload), PAYLOAD_LEAST, PAYLOAD_MOST},
    {"rate", VALUE_NUMBER, LOAD | STORM | SOAK, AT(rate), 0.1, 1e8},
    {"window", VALUE_COUNT, FANOUT | TOPICS | PAIRS | SLOW, AT(window), 1, 100000},
    {"subscribers", VALUE_COUNT, FANOUT | TOPICS | SLOW | STORM | SOAK, AT(subscribers), 1,
        MILLION},
    {"publishers", VALUE_COUNT, FANOUT | TOPICS | SLOW | STORM | SOAK, AT(publishers), 1, 65536},
    {"topics", VALUE_COUNT, TOPICS | SOAK, AT(topics), 1, MILLION},
    {"per-subscriber", VALUE_COUNT, TOPICS | SOAK, AT(per_subscriber), 1, 10000},
    {"pairs", VALUE_COUNT, PAIRS | SOAK, AT(pairs), 1, MILLION},
    {"connections", VALUE_COUNT, CONNECT | CHURN | SOAK, AT(connections), 1, MILLION},
    {"connect-rate", VALUE_NUMBER, ALL & ~CHURN, AT(connect_rate), 0, 1e7},
    {"subscribe", VALUE_TEXT, CONNECT, OPTION_ELSEWHERE, 0, 0},
    {"stalled", VALUE_SHARE, SLOW, AT(stalled), 0, 0.99},
    {"rounds", VALUE_COUNT, STORM, AT(rounds), 1, 10000},
    {"recover", VALUE_FLAG, STORM, AT(recover), 0, 0},
    {"missed", VALUE_COUNT, STORM, AT(missed), 1, MILLION},
    {"spread", VALUE_SECONDS, STORM, AT(spread), 0, 3600},
    {"slo", VALUE_TEXT, LOAD | SOAK, OPTION_ELSEWHERE, 0, 0},
    {"find-knee", VALUE_FLAG, FANOUT | TOPICS | PAIRS, AT(find_knee), 0, 0},
    {"json", VALUE_TEXT, ALL, AT(json), 0, 0},
    {"html", VALUE_TEXT, ALL, AT(html), 0, 0},
    {"quiet", VALUE_FLAG, ALL, AT(quiet), 0, 0},
    {"seed", VALUE_COUNT, TOPICS | SOAK, AT(seed), 0, 9007199254740992.0},
};

_Static_assert(sizeof option_rules / sizeof *option_rules == OPTION_RULES, "as the header says");
_Static_assert(OPTION_RULES <= 64, "given is a bit for each");

const struct options option_defaults[SCENARIO_COUNT] = {
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
        .payload = 16384,
        .rate = 700,
        .subscribers = 30,
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

bool option_given(const struct options *o, const char *name)
{
    for (int i = 0; i < OPTION_RULES; i++)
        if (strcmp(option_rules[i].name, name) == 0)
            return o->given >> i & 1;
    return false;
}

/* ---- for the report ---- */

json_t *options_json(const struct options *o)
{
    static const char *const kinds[] = {"none", "shared", "own"};
    json_t *all = json_object();
    if (strncmp(o->url, "wss", 3) == 0)
        json_object_set_new(all, "tls", json_true());
    for (const struct rule *r = option_rules; r < option_rules + OPTION_RULES; r++) {
        const char *field = (const char *)o + r->at;
        bool shown = r->scenarios & 1u << o->scenario;
        if (!shown || (r->kind == VALUE_TEXT && r->at != OPTION_ELSEWHERE) ||
            strcmp(r->name, "quiet") == 0 || strcmp(r->name, "pid") == 0 ||
            (strcmp(r->name, "patience") == 0 && !option_given(o, r->name)))
            continue;
        if (strcmp(r->name, "subscribe") == 0)
            json_object_set_new(all, r->name, json_string(kinds[o->subscribe]));
        else if (strcmp(r->name, "slo") == 0 && o->slo_text)
            json_object_set_new(all, r->name, json_string(o->slo_text));
        else if (strcmp(r->name, "source") == 0 && o->sources)
            json_object_set_new(all, "sources", json_integer((json_int_t)o->sources));
        else if (r->kind == VALUE_FLAG && *(const bool *)field)
            json_object_set_new(all, r->name, json_true());
        else if ((r->kind == VALUE_COUNT || r->kind == VALUE_SIZE) &&
                 *(const size_t *)(const void *)field)
            json_object_set_new(
                all, r->name, json_integer((json_int_t) * (const size_t *)(const void *)field));
        else if ((r->kind == VALUE_NUMBER || r->kind == VALUE_SECONDS || r->kind == VALUE_SHARE) &&
                 *(const double *)(const void *)field > 0)
            json_object_set_new(all, r->name, json_real(*(const double *)(const void *)field));
    }
    return all;
}
