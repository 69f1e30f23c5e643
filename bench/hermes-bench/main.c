/* hermes-bench: the load tool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

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
    if (!o->quiet) {
        report_table(json, stdout);
        if (fflush(stdout) != 0) {
            fprintf(stderr, "hermes-bench: the table could not be printed: %s\n", strerror(errno));
            good = false;
        }
    }
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

/* What a long run comes to is not to end at a name that was mistyped. */
static bool may_write(const char *option, const char *path, char *fault, size_t fault_size)
{
    char copy[4096];
    if (!path)
        return true;
    snprintf(copy, sizeof copy, "%s", path);
    bool there = access(path, F_OK) == 0;
    if (access(there ? path : dirname(copy), W_OK) == 0)
        return true;
    snprintf(fault, fault_size, "%s %s: %s", option, path, strerror(errno));
    return false;
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
    if (!may_write("--json", o->json, fault, sizeof fault) ||
        !may_write("--html", o->html, fault, sizeof fault))
        return fail(fault);
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

/* Of the first three, those that were closed: else a connection would take their place, and
 * whatever is printed. Opened the wrong way round, so that printing fails as it would have. */
static void hold_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    struct options options;
    char fault[400];
    int code = EXIT_CLEAN;
    hold_descriptors();
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
