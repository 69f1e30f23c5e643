#include "options.h"

#include <getopt.h>
#include <hermes/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "options_rules.h"

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
    if (r->at == OPTION_ELSEWHERE)
        return read_special(o, r, text, fault, fault_size);
    if (r->kind == VALUE_TEXT) {
        memcpy(field, &text, sizeof text);
        return true;
    }
    if (r->kind == VALUE_FLAG) {
        *(bool *)field = true;
        return true;
    }
    if (!value_read(r->kind, text, &value)) {
        snprintf(
            fault, fault_size, "--%s wants %s, not '%s'", r->name, value_wanted(r->kind), text);
        return false;
    }
    if (value < r->least || value > r->most) {
        snprintf(
            fault, fault_size, "--%s is %.10g to %.10g, not %s", r->name, r->least, r->most, text);
        return false;
    }
    if (r->kind == VALUE_COUNT || r->kind == VALUE_SIZE)
        *(size_t *)(void *)field = (size_t)value;
    else
        *(double *)(void *)field = value;
    return true;
}

/* ---- the line ---- */

static bool find_scenario(struct options *o, const char *name)
{
    for (unsigned i = 0; i < SCENARIO_COUNT; i++)
        if (strcmp(name, options_scenario((enum scenario)i)) == 0) {
            *o = option_defaults[i];
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
    struct option longs[OPTION_RULES + 1] = {{0}};
    for (int i = 0; i < OPTION_RULES; i++)
        longs[i] = (struct option){option_rules[i].name,
            option_rules[i].kind == VALUE_FLAG ? no_argument : required_argument, NULL, 256 + i};
    opterr = 0;
    optind = 0; /* so that glibc starts anew */
    for (int found; (found = getopt_long(argc, argv, ":", longs, NULL)) != -1;) {
        if (found == ':' || found == '?') {
            snprintf(fault, fault_size, found == ':' ? "%s wants a value" : "there is no option %s",
                argv[optind - 1]);
            return OPTIONS_FAULT;
        }
        const struct rule *r = &option_rules[found - 256];
        if (!(r->scenarios & 1u << o->scenario)) {
            snprintf(fault, fault_size, "--%s means nothing to %s", r->name,
                options_scenario(o->scenario));
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

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
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
    o->ca = environment("HERMES_CA");
    o->cert = environment("HERMES_CERT");
    o->key = o->cert ? environment("HERMES_KEY") : NULL;
    o->threads = 1;
    o->patience = 5;
    o->seed = 1;
    enum options_verdict verdict = read_line(o, argc - 1, argv + 1, fault, fault_size);
    if (verdict != OPTIONS_RUN)
        return verdict;
    if (option_given(o, "rate") && option_given(o, "window")) {
        snprintf(fault, fault_size,
            "--rate and --window exclude each other: a window is kept full, "
            "whatever rate comes of it");
        return OPTIONS_FAULT;
    }
    if (o->window)
        o->rate = 0;
    if (o->recover && !option_given(o, "level"))
        o->level = 2;
    if (o->recover && !option_given(o, "missed"))
        o->missed = 100;
    if (o->find_knee && !option_given(o, "seconds"))
        o->seconds = 3;
    if (o->find_knee && !option_given(o, "warmup"))
        o->warmup = 0.5;
    return options_check(o, fault, fault_size) ? OPTIONS_RUN : OPTIONS_FAULT;
}

void options_client(const struct options *o, struct hermes_client_options *out, size_t turn)
{
    *out = (struct hermes_client_options){.url = o->url,
        .source = o->sources ? o->source[turn % o->sources] : NULL,
        .level = (unsigned)o->level,
        .tls_ca = o->ca,
        .tls_certificate = o->cert,
        .tls_key = o->key,
        .tls_insecure = o->insecure};
}

void options_fini(struct options *o)
{
    for (size_t i = 0; i < o->sources; i++)
        free(o->source[i]);
    o->sources = 0;
}
