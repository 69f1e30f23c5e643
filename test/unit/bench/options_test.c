#include "hermes-bench/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hermes/client.h>

static char fault[400];

/* Words of a line, with blanks between. */
static enum options_verdict parsed(struct options *o, const char *line)
{
    static char copy[400];
    static char program[] = "hermes-bench";
    static char *argv[40];
    int argc = 0;
    argv[argc++] = program;
    assert_true(strlen(line) < sizeof copy);
    memcpy(copy, line, strlen(line) + 1);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    *fault = '\0';
    return options_parse(o, argc, argv, fault, sizeof fault);
}

static void every_scenario_has_defaults_that_can_be_run(void **state)
{
    (void)state;
    for (int i = 0; i < SCENARIO_COUNT; i++) {
        struct options o;
        assert_int_equal(parsed(&o, options_scenario((enum scenario)i)), OPTIONS_RUN);
        assert_int_equal(o.scenario, i);
        assert_true(o.threads > 0);
        options_fini(&o);
    }
}

static void values_are_read(void **state)
{
    struct options o;
    (void)state;
    assert_int_equal(
        parsed(&o, "fanout --url ws://[::1]:81/x --threads 3 --seconds 1.5m --warmup 250ms "
                   "--payload 4k --rate 12.5 --subscribers 77 --publishers 2 --pid 12 "
                   "--source 127.0.0.2,127.0.0.3 --json a --html b --quiet"),
        OPTIONS_RUN);
    assert_string_equal(o.url, "ws://[::1]:81/x");
    assert_int_equal(o.threads, 3);
    assert_true(o.seconds == 90);
    assert_true(o.warmup == 0.25);
    assert_int_equal(o.payload, 4096);
    assert_true(o.rate == 12.5);
    assert_int_equal(o.subscribers, 77);
    assert_int_equal(o.publishers, 2);
    assert_int_equal(o.pid, 12);
    assert_int_equal(o.sources, 2);
    assert_string_equal(o.source[1], "127.0.0.3");
    assert_string_equal(o.json, "a");
    assert_string_equal(o.html, "b");
    assert_true(o.quiet);
    options_fini(&o);
    assert_int_equal(parsed(&o, "slow --stalled 25%"), OPTIONS_RUN);
    assert_true(o.stalled == 0.25);
    assert_int_equal(parsed(&o, "connect --subscribe own --connect-rate 0"), OPTIONS_RUN);
    assert_int_equal(o.subscribe, SUBSCRIBE_OWN);
    assert_int_equal(parsed(&o, "topics --level 2"), OPTIONS_RUN);
    assert_int_equal(o.level, 2);
    assert_int_equal(parsed(&o, "storm --recover"), OPTIONS_RUN);
    assert_int_equal(o.level, 2);
    assert_int_equal(o.missed, 100);
    assert_int_equal(parsed(&o, "storm --recover --level 2 --missed 7"), OPTIONS_RUN);
    assert_int_equal(o.missed, 7);
    assert_int_equal(parsed(&o, "fanout --window 32"), OPTIONS_RUN);
    assert_int_equal(o.window, 32);
    assert_true(o.rate == 0);
    assert_int_equal(parsed(&o, "fanout --find-knee --slo p99=50ms"), OPTIONS_RUN);
    assert_int_equal(o.slo.count, 1);
    assert_true(o.seconds == 3);
    assert_int_equal(parsed(&o, "fanout --find-knee --slo p99=50ms --seconds 9"), OPTIONS_RUN);
    assert_true(o.seconds == 9);
}

static void every_client_is_told_where_and_how(void **state)
{
    struct options o;
    struct hermes_client_options client;
    (void)state;
    assert_int_equal(
        parsed(&o, "churn --url wss://h --ca c.pem --cert d.pem --key k.pem --insecure --level 2 "
                   "--source 127.0.0.2,127.0.0.3"),
        OPTIONS_RUN);
    options_client(&o, &client, 3);
    assert_string_equal(client.url, "wss://h");
    assert_string_equal(client.tls_ca, "c.pem");
    assert_string_equal(client.tls_certificate, "d.pem");
    assert_string_equal(client.tls_key, "k.pem");
    assert_true(client.tls_insecure);
    assert_int_equal(client.level, 2);
    assert_string_equal(client.source, "127.0.0.3");
    json_t *shown = options_json(&o);
    assert_true(json_is_true(json_object_get(shown, "tls")));
    assert_null(json_object_get(shown, "key"));
    json_decref(shown);
    options_fini(&o);

    assert_int_equal(parsed(&o, "churn --url ws://h"), OPTIONS_RUN);
    options_client(&o, &client, 3);
    assert_null(client.tls_ca);
    assert_null(client.source);
    shown = options_json(&o);
    assert_null(json_object_get(shown, "tls"));
    json_decref(shown);
}

static void what_is_wrong_is_named_in_one_line(void **state)
{
    static const struct {
        const char *line, *names;
    } wrong[] = {
        {"", "scenario"},
        {"dance", "'dance'"},
        {"--rate 3 fanout", "'--rate'"},
        {"fanout --speed 3", "--speed"},
        {"fanout --rate", "--rate"},
        {"fanout --rate fast", "--rate"},
        {"fanout --rate -3", "--rate"},
        {"fanout --rate 0", "--rate"},
        {"fanout --rate 1e9", "--rate"},
        {"fanout --rate nan", "--rate"},
        {"fanout --rate 0x10", "--rate"},
        {"fanout --subscribers 1.5", "--subscribers"},
        {"fanout --subscribers 10x", "--subscribers"},
        {"fanout --subscribers 0", "--subscribers"},
        {"fanout --payload 49", "--payload"},
        {"fanout --payload 17m", "--payload"},
        {"fanout --seconds 3d", "--seconds"},
        {"fanout --threads 0", "--threads"},
        {"fanout --pid x", "--pid"},
        {"fanout --pairs 3", "--pairs"},
        {"fanout --rate 3 --window 4", "--window"},
        {"fanout --window 100000 --payload 1m", "--window"},
        {"fanout --find-knee", "--find-knee"},
        {"fanout --find-knee --slo p99=5ms --window 3", "--find-knee"},
        {"fanout --slo p99", "--slo"},
        {"fanout --slo often=5ms", "--slo"},
        {"fanout --source 127.0.0.1,,127.0.0.2", "--source"},
        {"fanout --source nowhere", "'nowhere'"},
        {"fanout --url http://127.0.0.1/", "--url"},
        {"fanout --url https://127.0.0.1/", "wss://"},
        {"fanout --key k.pem", "--cert"},
        {"fanout --url 127.0.0.1:80", "--url"},
        {"fanout more", "'more'"},
        {"slow --stalled 2", "--stalled"},
        {"slow --stalled -1", "--stalled"},
        {"connect --subscribe all", "--subscribe"},
        {"topics --per-subscriber 11 --topics 10", "--per-subscriber"},
        {"topics --topics 1000 --subscribers 10 --per-subscriber 5", "--topics"},
        {"topics --topics 10 --publishers 11", "--publishers"},
        {"fanout --level 3", "--level"},
        {"fanout --recover", "--recover"},
        {"storm --missed 5", "--missed"},
        {"storm --recover --level 1", "--recover"},
        {"storm --recover --missed 0", "--missed"},
        {"--compare a.json", "--compare"},
        {"--compare a.json b.json c.json", "--compare"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct options o;
        if (parsed(&o, wrong[i].line) != OPTIONS_FAULT)
            fail_msg("accepted: %s", wrong[i].line);
        if (!strstr(fault, wrong[i].names) || strchr(fault, '\n'))
            fail_msg("%s: %s", wrong[i].line, fault);
        options_fini(&o);
    }
}

static void files_to_compare_are_taken(void **state)
{
    struct options o;
    (void)state;
    assert_int_equal(parsed(&o, "--compare a.json b.json"), OPTIONS_COMPARE);
    assert_string_equal(o.compare[0], "a.json");
    assert_string_equal(o.compare[1], "b.json");
}

static void help_is_given_wherever_it_is_asked_for(void **state)
{
    struct options o;
    (void)state;
    assert_int_equal(parsed(&o, "--help"), OPTIONS_HELP);
    assert_int_equal(parsed(&o, "fanout --rate x --help"), OPTIONS_HELP);
    assert_int_equal(parsed(&o, "-h"), OPTIONS_HELP);
    assert_int_equal(parsed(&o, "--version"), OPTIONS_VERSION);
}

static void the_help_knows_every_option_and_every_scenario(void **state)
{
    static const char *const names[] = {"url", "source", "threads", "pid", "seconds", "warmup",
        "patience", "payload", "rate", "window", "subscribers", "publishers", "topics",
        "per-subscriber", "pairs", "connections", "connect-rate", "subscribe", "stalled", "rounds",
        "spread", "slo", "find-knee", "json", "html", "quiet", "seed", "compare", "level",
        "recover", "missed"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char option[32] = "--";
        strcat(option, names[i]);
        if (!strstr(options_help(), option))
            fail_msg("not in the help: %s", option);
    }
    for (int i = 0; i < SCENARIO_COUNT; i++)
        assert_non_null(strstr(options_help(), options_scenario((enum scenario)i)));
    /* It is read on a terminal. */
    size_t column = 0;
    for (const char *at = options_help(); *at; at++) {
        column = *at == '\n' ? 0 : column + 1;
        assert_true(column <= 92);
    }
}

static void the_settings_tell_what_was_asked_for(void **state)
{
    struct options o;
    (void)state;
    assert_int_equal(parsed(&o, "fanout --rate 50 --subscribers 3"), OPTIONS_RUN);
    json_t *settings = options_json(&o);
    assert_true(json_number_value(json_object_get(settings, "rate")) == 50);
    assert_int_equal(json_integer_value(json_object_get(settings, "subscribers")), 3);
    assert_null(json_object_get(settings, "pairs"));
    assert_null(json_object_get(settings, "window"));
    json_decref(settings);
}

static void the_environment_gives_the_url_and_the_command_line_wins(void **state)
{
    struct options o;
    (void)state;
    setenv("HERMES_URL", "ws://127.0.0.1:1234", 1);
    assert_int_equal(parsed(&o, "fanout"), OPTIONS_RUN);
    assert_string_equal(o.url, "ws://127.0.0.1:1234");
    assert_int_equal(parsed(&o, "fanout --url ws://127.0.0.1:99"), OPTIONS_RUN);
    assert_string_equal(o.url, "ws://127.0.0.1:99");
    unsetenv("HERMES_URL");
    assert_int_equal(parsed(&o, "fanout"), OPTIONS_RUN);
    assert_string_equal(o.url, "ws://127.0.0.1:8080");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scenario_has_defaults_that_can_be_run),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(every_client_is_told_where_and_how),
        cmocka_unit_test(what_is_wrong_is_named_in_one_line),
        cmocka_unit_test(files_to_compare_are_taken),
        cmocka_unit_test(help_is_given_wherever_it_is_asked_for),
        cmocka_unit_test(the_help_knows_every_option_and_every_scenario),
        cmocka_unit_test(the_settings_tell_what_was_asked_for),
        cmocka_unit_test(the_environment_gives_the_url_and_the_command_line_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
