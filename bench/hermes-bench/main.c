/* hermes-bench: the load tool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>

#include "options.h"
#include "report.h"
#include "run.h"
#include "scenario.h"

enum exit_code { EXIT_CLEAN = 0, EXIT_FAULTS = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

static int fail(const char *fault)
{
    fprintf(stderr, "hermes-bench: %s\n", fault);
    return EXIT_USAGE;
}

static int compare(const struct options *o)
{
    char fault[300];
    json_t *a = report_read(o->compare[0], fault, sizeof fault);
    json_t *b = a ? report_read(o->compare[1], fault, sizeof fault) : NULL;
    if (b)
        report_compare(a, b, stdout);
    int code = b ? EXIT_CLEAN : fail(fault);
    json_decref(a);
    json_decref(b);
    return code;
}

/* False when a file could not be written. */
static bool write_all(const struct options *o, const struct report *report)
{
    bool good = true;
    json_t *json = report_json(report);
    if (!o->quiet)
        report_table(json, stdout);
    if (o->json && !report_write(json, o->json)) {
        fprintf(stderr, "hermes-bench: --json %s: %s\n", o->json, strerror(errno));
        good = false;
    }
    if (o->html && !report_page(json, o->html)) {
        fprintf(stderr, "hermes-bench: --html %s: %s\n", o->html, strerror(errno));
        good = false;
    }
    json_decref(json);
    return good;
}

static bool run_scenario(struct run *run, char *fault, size_t fault_size)
{
    switch (run->o->scenario) {
    case SCENARIO_CONNECT:
        return scenario_connect(run, fault, fault_size);
    case SCENARIO_CHURN:
        return scenario_churn(run, fault, fault_size);
    case SCENARIO_STORM:
        return scenario_storm(run, fault, fault_size);
    default:
        return scenario_load(run, fault, fault_size);
    }
}

static int bench(const struct options *o)
{
    char fault[400] = "";
    struct report report;
    struct run run;
    int code;
    report_init(&report);
    bool ran = run_open(&run, o, &report, scenario_connections(o), fault, sizeof fault) &&
               run_scenario(&run, fault, sizeof fault);
    bool interrupted = run.interrupted;
    bool met = true;
    if (ran) {
        run_judge_tool(&run);
        met = run_judge_slo(&run);
    }
    run_close(&run);
    if (!ran)
        code = fail(fault);
    else if (!write_all(o, &report))
        code = EXIT_USAGE;
    else if (interrupted)
        code = EXIT_INTERRUPTED;
    else
        code = report_is_clean(&report) && met ? EXIT_CLEAN : EXIT_FAULTS;
    report_fini(&report);
    return code;
}

int main(int argc, char **argv)
{
    struct options options;
    char fault[400];
    int code = EXIT_CLEAN;
    switch (options_parse(&options, argc, argv, fault, sizeof fault)) {
    case OPTIONS_HELP:
        fputs(options_help(), stdout);
        break;
    case OPTIONS_VERSION:
        puts("hermes-bench " HERMES_VERSION);
        break;
    case OPTIONS_COMPARE:
        code = compare(&options);
        break;
    case OPTIONS_FAULT:
        code = fail(fault);
        break;
    case OPTIONS_RUN:
        code = bench(&options);
        break;
    }
    options_fini(&options);
    return code;
}
