#include "server/rules_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hermes/hermes.h"

static char error[512];

static int parse(const char *json, struct rules **out)
{
    memset(error, '#', sizeof error);
    error[0] = '\0';
    return rules_file_parse("rules.json", text_of(json), 16, out, error, sizeof error);
}

static struct rules *good(const char *json)
{
    struct rules *rules;
    if (parse(json, &rules) != HERMES_OK)
        fail_msg("%s: %s", json, error);
    assert_non_null(rules);
    return rules;
}

/* The only rule, made of `keys` and a match. */
static struct rule one(const char *keys)
{
    char json[300];
    snprintf(json, sizeof json, "{\"rules\":[{\"match\":\"t\"%s%s}]}", *keys ? "," : "", keys);
    struct rules *rules = good(json);
    assert_int_equal(rules->count, 1);
    struct rule rule = rules->list[0];
    rules_drop(rules);
    return rule;
}

/* --- what may be ------------------------------------------------------------------------------ */

static void a_rule_of_a_match_alone_is_the_default(void **state)
{
    (void)state;
    struct rule rule = one("");
    assert_int_equal(rule.history.messages, 0);
    assert_false(rule.history.retain);
    assert_true(rule.history.bytes == 0 && rule.history.age_us == 0);
    assert_true(rule.presence);
    assert_int_equal(rule.policy, POLICY_DISCONNECT);
    assert_int_equal(rule.publish, ACCESS_EVERYONE);
    assert_int_equal(rule.subscribe, ACCESS_EVERYONE);
    assert_int_equal(rule.max_bytes, 0);
}

static void every_key_comes_to_its_field(void **state)
{
    (void)state;
    struct rules *rules =
        good(" {\"rules\": [{\"match\": \"stock:*\", \"history\": 100, \"history_seconds\": 60,\n"
             "\"history_bytes\": 5000, \"retain\": true, \"presence\": false,\r\n\t\"publish\": "
             "\"authenticated\", \"subscribe\": \"token\", \"policy\": \"latest\", \"max_bytes\": "
             "65536}, {\"match\": \"sensor:>\", \"publish\": \"nobody\", \"subscribe\": "
             "\"everyone\", \"policy\": \"drop_oldest\"}]}\n");
    assert_int_equal(rules->count, 2);
    const struct rule *first = rules_find(rules, TEXT("stock:A"));
    assert_ptr_equal(first, &rules->list[0]);
    assert_true(text_equal(first->match, TEXT("stock:*")));
    assert_int_equal(first->history.messages, 100);
    assert_true(first->history.age_us == 60000000);
    assert_true(first->history.bytes == 5000);
    assert_true(first->history.retain);
    assert_false(first->presence);
    assert_int_equal(first->publish, ACCESS_AUTHENTICATED);
    assert_int_equal(first->subscribe, ACCESS_TOKEN);
    assert_int_equal(first->policy, POLICY_LATEST);
    assert_int_equal(first->max_bytes, 65536);
    const struct rule *second = rules_find(rules, TEXT("sensor:1:2"));
    assert_ptr_equal(second, &rules->list[1]);
    assert_int_equal(second->publish, ACCESS_NOBODY);
    assert_int_equal(second->subscribe, ACCESS_EVERYONE);
    assert_int_equal(second->policy, POLICY_DROP_OLDEST);
    rules_drop(rules);
}

static void no_rules_may_be_all_of_them(void **state)
{
    (void)state;
    struct rules *rules = good("{\"rules\":[]}");
    assert_int_equal(rules->count, 0);
    assert_ptr_equal(rules_find(rules, TEXT("any")), &rule_default);
    rules_drop(rules);
}

static void retain_alone_is_a_history_of_one(void **state)
{
    (void)state;
    struct rule rule = one("\"retain\":true");
    assert_int_equal(rule.history.messages, 1);
    assert_true(rule.history.retain);
    rule = one("\"history_seconds\":5,\"retain\":true");
    assert_int_equal(rule.history.messages, 1);
    assert_true(rule.history.age_us == 5000000);
    rule = one("\"retain\":true,\"history\":7");
    assert_int_equal(rule.history.messages, 7);
    rule = one("\"retain\":false");
    assert_int_equal(rule.history.messages, 0);
}

static void numbers_reach_to_their_bounds(void **state)
{
    (void)state;
    assert_int_equal(one("\"history\":1000000").history.messages, 1000000);
    assert_int_equal(one("\"history\":1").history.messages, 1);
    assert_int_equal(one("\"history\":0").history.messages, 0);
    assert_int_equal(one("\"history\":1e3").history.messages, 1000);
    assert_int_equal(one("\"history\":5.0").history.messages, 5);
    assert_true(one("\"history\":1,\"history_seconds\":0").history.age_us == 0);
    assert_true(one("\"history\":1,\"history_seconds\":0.001").history.age_us == 1000);
    assert_true(one("\"history\":1,\"history_seconds\":1.5").history.age_us == 1500000);
    assert_true(one("\"history\":1,\"history_seconds\":0.07").history.age_us == 70000);
    assert_true(
        one("\"history\":1,\"history_seconds\":1000000000").history.age_us == 1000000000000000);
    assert_true(one("\"history\":1,\"history_bytes\":0").history.bytes == 0);
    assert_true(
        one("\"history\":1,\"history_bytes\":1099511627776").history.bytes == UINT64_C(1) << 40);
    assert_int_equal(one("\"max_bytes\":0").max_bytes, 0);
    assert_int_equal(one("\"max_bytes\":1").max_bytes, 1);
    assert_int_equal(one("\"max_bytes\":1073741824").max_bytes, 1 << 30);
}

static void a_pattern_may_be_as_long_as_a_topic(void **state)
{
    (void)state;
    rules_drop(good("{\"rules\":[{\"match\":\"1234567890123456\"}]}"));
    rules_drop(good("{\"rules\":[{\"match\":\"\\u00fc \\\"x\\\"\"}]}"));
    struct rules *rules;
    char json[3000];
    snprintf(json, sizeof json, "{\"rules\":[{\"match\":\"%02000d\"}]}", 7);
    assert_int_equal(
        rules_file_parse("r", text_of(json), 0, &rules, error, sizeof error), HERMES_OK);
    assert_int_equal(rules->list[0].match.len, 2000);
    rules_drop(rules);
}

/* --- what may not ----------------------------------------------------------------------------- */

#define ACCESS_WORDS "give one of everyone, authenticated, token, nobody"
#define POLICY_WORDS "give one of disconnect, drop_oldest, latest"
#define HISTORY_RANGE "give 0 (none) to 1000000 messages"
#define SECONDS_RANGE "give 0 (no limit) or 0.001 to 1000000000 seconds"
#define BYTES_RANGE "give 0 (no limit) to 1099511627776 bytes"
#define MAX_RANGE "give 0 (WS_MAX_MESSAGE_BYTES alone counts) to 1073741824 bytes"
#define NO_HISTORY                                                                                 \
    "limits a history that is not kept: give history (how many messages) or retain too"
#define MATCH_WANTED "give a topic or a pattern, such as \"stock:*\" or \"sensor:>\""
#define ALL_KEYS                                                                                   \
    "there is no such key: give match, history, history_seconds, history_bytes, retain, presence," \
    " local, publish, subscribe, policy, max_bytes"

static void assert_refused(const char *json, const char *text)
{
    struct rules *rules = (struct rules *)&error;
    char expected[512];
    snprintf(expected, sizeof expected, "rules.json: %s", text);
    if (parse(json, &rules) != HERMES_INVALID)
        fail_msg("%s is let in", json);
    assert_null(rules);
    if (strcmp(error, expected) != 0)
        fail_msg("%s: %s instead of %s", json, error, expected);
}

static void a_fault_of_the_file_says_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *text;
    } rows[] = {
        {"", "is empty: give {\"rules\": [...]}"},
        {"[]", "is a list: give {\"rules\": [...]}"},
        {"[{\"match\":\"a\"}]", "is a list: give {\"rules\": [...]}"},
        {"{}", "rules: is missing: give {\"rules\": [...]}"},
        {"{\"rules\":{}}", "rules: is an object: give a list, {\"rules\": [...]}"},
        {"{\"rules\":null}", "rules: is null: give a list, {\"rules\": [...]}"},
        {"{\"rules\":[],\"rule\":[]}", "rule: there is no such key: give {\"rules\": [...]}"},
        {"{\"Rules\":[]}", "Rules: there is no such key: give {\"rules\": [...]}"},
        {"{\"rules\":[1]}",
            "rule 1: is a number: give an object, such as {\"match\": \"stock:*\"}"},
        {"{\"rules\":[{\"match\":\"a\"},[]]}",
            "rule 2: is a list: give an object, such as {\"match\": \"stock:*\"}"},
        {"{\"rules\":[{\"match\":\"a\"},{\"match\":\"b\"},{}]}",
            "rule 3: match: is missing: " MATCH_WANTED},
        {"{\"rules\":[{\"match\":\"a\"},{\"match\":\"b\",\"history\":-1}]}",
            "rule 2: history: -1 is out of range: " HISTORY_RANGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(rows[i].json, rows[i].text);
}

static void a_fault_of_a_key_says_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        const char *text;
    } rows[] = {
        {"\"histroy\":5", "histroy: " ALL_KEYS},
        {"\"Match\":\"x\"", "Match: " ALL_KEYS},
        {"\"\":1", ": " ALL_KEYS},
        {"\"history\":-1", "history: -1 is out of range: " HISTORY_RANGE},
        {"\"history\":1000001", "history: 1000001 is out of range: " HISTORY_RANGE},
        {"\"history\":99999999999999999999999", "history: 1e+23 is out of range: " HISTORY_RANGE},
        {"\"history\":1.5", "history: 1.5 is not whole: " HISTORY_RANGE},
        {"\"history\":0.5", "history: 0.5 is out of range: " HISTORY_RANGE},
        {"\"history\":\"100\"", "history: is a text: give a number, 0 (none) to 1000000 messages"},
        {"\"history\":true",
            "history: is true or false: give a number, 0 (none) to 1000000 messages"},
        {"\"history\":null", "history: is null: give a number, 0 (none) to 1000000 messages"},
        {"\"history\":1,\"history_seconds\":-0.5",
            "history_seconds: -0.5 is out of range: " SECONDS_RANGE},
        {"\"history\":1,\"history_seconds\":0.0009",
            "history_seconds: 0.0009 is out of range: " SECONDS_RANGE},
        {"\"history\":1,\"history_seconds\":1000000001",
            "history_seconds: 1000000001 is out of range: " SECONDS_RANGE},
        {"\"history\":1,\"history_seconds\":\"60s\"",
            "history_seconds: is a text: give a number, 0 (no limit) or 0.001 to 1000000000 "
            "seconds"},
        {"\"history\":1,\"history_bytes\":-1", "history_bytes: -1 is out of range: " BYTES_RANGE},
        {"\"history\":1,\"history_bytes\":1099511627777",
            "history_bytes: 1099511627777 is out of range: " BYTES_RANGE},
        {"\"history\":1,\"history_bytes\":2.5", "history_bytes: 2.5 is not whole: " BYTES_RANGE},
        {"\"history\":1,\"history_bytes\":\"1m\"",
            "history_bytes: is a text: give a number, 0 (no limit) to 1099511627776 bytes"},
        {"\"history_seconds\":60", "history_seconds: " NO_HISTORY},
        {"\"history_bytes\":60", "history_bytes: " NO_HISTORY},
        {"\"history_bytes\":0", "history_bytes: " NO_HISTORY},
        {"\"history\":0,\"history_seconds\":60", "history_seconds: " NO_HISTORY},
        {"\"retain\":false,\"history_bytes\":60", "history_bytes: " NO_HISTORY},
        {"\"retain\":1", "retain: is a number: give true or false"},
        {"\"retain\":\"true\"", "retain: is a text: give true or false"},
        {"\"presence\":null", "presence: is null: give true or false"},
        {"\"presence\":{}", "presence: is an object: give true or false"},
        {"\"publish\":\"admin\"", "publish: \"admin\" is none of its words: " ACCESS_WORDS},
        {"\"publish\":\"every\"", "publish: \"every\" is none of its words: " ACCESS_WORDS},
        {"\"publish\":true", "publish: is true or false: " ACCESS_WORDS},
        {"\"subscribe\":\"\"", "subscribe: \"\" is none of its words: " ACCESS_WORDS},
        {"\"subscribe\":\"token, nobody\"",
            "subscribe: \"token, nobody\" is none of its words: " ACCESS_WORDS},
        {"\"subscribe\":[\"token\"]", "subscribe: is a list: " ACCESS_WORDS},
        {"\"policy\":\"Latest\"", "policy: \"Latest\" is none of its words: " POLICY_WORDS},
        {"\"policy\":\"drop\"", "policy: \"drop\" is none of its words: " POLICY_WORDS},
        {"\"policy\":0", "policy: is a number: " POLICY_WORDS},
        {"\"max_bytes\":-1", "max_bytes: -1 is out of range: " MAX_RANGE},
        {"\"max_bytes\":1073741825", "max_bytes: 1073741825 is out of range: " MAX_RANGE},
        {"\"max_bytes\":10.5", "max_bytes: 10.5 is not whole: " MAX_RANGE},
        {"\"max_bytes\":[]",
            "max_bytes: is a list: give a number, 0 (WS_MAX_MESSAGE_BYTES alone counts) to "
            "1073741824 bytes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char json[300];
        char text[400];
        snprintf(json, sizeof json, "{\"rules\":[{\"match\":\"t\",%s}]}", rows[i].keys);
        snprintf(text, sizeof text, "rule 1: %s", rows[i].text);
        assert_refused(json, text);
    }
}

static void a_bad_pattern_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "", "a:>:b", ">:a", "a*", "a:b>", "**", "12345678901234567", "a\\nb", "\\u0085"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        char json[100];
        struct rules *rules;
        snprintf(json, sizeof json, "{\"rules\":[{\"match\":\"%s\"}]}", patterns[i]);
        assert_int_equal(parse(json, &rules), HERMES_INVALID);
        assert_non_null(strstr(error, "rules.json: rule 1: match: \""));
        assert_non_null(strstr(error, "\" is no pattern: Pattern "));
        assert_null(strchr(error, '\n'));
    }
    assert_refused("{\"rules\":[{\"match\":5}]}", "rule 1: match: is a number: " MATCH_WANTED);
    assert_refused("{\"rules\":[{\"match\":\"a:>:b\"}]}",
        "rule 1: match: \"a:>:b\" is no pattern: Pattern has > before its last segment.");
}

/* The words are the library's; the place is what helps. */
static void what_is_no_json_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *place;
        const char *text;
    } rows[] = {
        {"{", "line 1, column ", "end of file"},
        {"x", "line 1, column ", "x"},
        {" \n ", "line 2, column ", "end of file"},
        {"{\"rules\":\n[\n{\"match\":\"a\",}]}", "line 3, column ", "}"},
        {"{\"rules\":[]} x", "line 1, column ", "end of file expected"},
        {"{\"rules\":[]}{}", "line 1, column ", "end of file expected"},
        {"{\"rules\":[],\"rules\":[]}", "line 1, column ", "duplicate object key near"},
        {"{\"rules\":[\n{\"match\":\"a\",\"match\":\"b\"}]}", "line 2, column ",
            "duplicate object key near '\"match\"'"},
        {"{\"rules\":[{\"match\":\"\xFF\"}]}", "line 1, column ", "0xff"},
        {"{\"rules\":[{\"match\":\"a\\u0000\"}]}", "line 1, column ", "\\u0000"},
        {"{\"rules\":[{\"match\":\"a\nb\"}]}", "line 1, column ", "newline"},
        {"{\"rules\":[{\"history\":1e999}]}", "line 1, column ", "overflow"},
        {"{\"rules\":[{\"history\":NaN}]}", "line 1, column ", "NaN"},
        {"'rules'", "line 1, column ", "'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rules *rules;
        assert_int_equal(parse(rows[i].json, &rules), HERMES_INVALID);
        if (strncmp(error, "rules.json: ", 12) != 0 ||
            strncmp(error + 12, rows[i].place, strlen(rows[i].place)) != 0 ||
            !strstr(error, rows[i].text))
            fail_msg("%s: %s", rows[i].json, error);
        assert_null(strchr(error, '\n'));
    }
}

static void nesting_without_end_is_refused(void **state)
{
    (void)state;
    char *deep = malloc(1 << 20);
    struct rules *rules;
    assert_non_null(deep);
    memset(deep, '[', 1 << 20);
    assert_int_equal(
        rules_file_parse("r", (struct text){deep, 1 << 20}, 0, &rules, error, sizeof error),
        HERMES_INVALID);
    assert_non_null(strstr(error, "r: line 1, column "));
    free(deep);
}

static void there_are_not_more_rules_than_may_be(void **state)
{
    (void)state;
    static const char head[] = "{\"rules\":[";
    static const char rule[] = "{\"match\":\"a\"}";
    size_t len = sizeof rule; /* with the comma */
    char *json = malloc(sizeof head + (RULES_MAX + 2) * len);
    struct rules *rules;
    assert_non_null(json);
    for (size_t count = RULES_MAX; count <= RULES_MAX + 1; count++) {
        char *at = json + sizeof head - 1;
        memcpy(json, head, sizeof head);
        for (size_t i = 0; i < count; i++)
            at += sprintf(at, "%s%s", i ? "," : "", rule);
        sprintf(at, "]}");
        int code = parse(json, &rules);
        assert_int_equal(code, count > RULES_MAX ? HERMES_INVALID : HERMES_OK);
        rules_drop(rules);
    }
    assert_string_equal(error, "rules.json: rules: holds 10001 rules: give at most 10000");
    free(json);
}

static void a_fault_is_one_line_that_fits_whatever_the_names_are(void **state)
{
    (void)state;
    struct rules *rules;
    char name[1000];
    char json[1000];
    char small[30];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    static const char tail[] = "\nrules\x1b.json";
    memcpy(name + sizeof name - sizeof tail, tail, sizeof tail);
    snprintf(json, sizeof json, "{\"rules\":[{\"match\":\"t\",\"%0500d\":1}]}", 0);
    assert_int_equal(
        rules_file_parse(name, text_of(json), 0, &rules, error, sizeof error), HERMES_INVALID);
    assert_memory_equal(error, "...nnn", 6);
    assert_non_null(strstr(error, "?rules?.json: rule 1: 0000"));
    assert_non_null(strstr(error, "max_bytes"));
    assert_null(strstr(error, "00000000000000000000000000000000000000000"));
    assert_int_equal(
        rules_file_parse(name, text_of(json), 0, &rules, small, sizeof small), HERMES_INVALID);
    assert_int_equal(strlen(small), sizeof small - 1);
}

/* --- the file --------------------------------------------------------------------------------- */

static char folder[] = "/tmp/hermes-rules-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/rules.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int read_path(const char *from, struct rules **out)
{
    *out = (struct rules *)&error;
    return rules_file_read(from, 1024, out, error, sizeof error);
}

static void a_file_is_read(void **state)
{
    (void)state;
    struct rules *rules;
    write_file("{\"rules\":[{\"match\":\"a\",\"history\":3}]}");
    assert_int_equal(read_path(path, &rules), HERMES_OK);
    assert_int_equal(rules_find(rules, TEXT("a"))->history.messages, 3);
    rules_drop(rules);
    write_file("{\"rules\":[{\"match\":\"a\",\"history\":-3}]}");
    assert_int_equal(read_path(path, &rules), HERMES_INVALID);
    assert_null(rules);
    assert_memory_equal(error, path, strlen(path));
    assert_string_equal(
        error + strlen(path), ": rule 1: history: -3 is out of range: " HISTORY_RANGE);
    write_file("");
    assert_int_equal(read_path(path, &rules), HERMES_INVALID);
    assert_string_equal(error + strlen(path), ": is empty: give {\"rules\": [...]}");
}

static void what_cannot_be_read_is_refused_with_its_name(void **state)
{
    (void)state;
    struct rules *rules;
    unlink(path);
    assert_int_equal(read_path(path, &rules), HERMES_SYSTEM);
    assert_null(rules);
    assert_memory_equal(error, path, strlen(path));
    assert_string_equal(error + strlen(path), ": cannot be opened: No such file or directory");
    assert_int_equal(read_path(folder, &rules), HERMES_SYSTEM);
    assert_memory_equal(error, folder, strlen(folder));
    assert_string_equal(error + strlen(folder), ": is a directory: give a file");
    assert_int_equal(read_path("/dev/null", &rules), HERMES_SYSTEM);
    assert_string_equal(error, "/dev/null: is no regular file: give a file");
    /* Nobody writes to it: whoever waits for that waits forever. */
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_path(path, &rules), HERMES_SYSTEM);
    assert_string_equal(error + strlen(path), ": is no regular file: give a file");
    unlink(path);
}

static void a_file_that_may_not_be_read_is_refused(void **state)
{
    (void)state;
    struct rules *rules;
    if (geteuid() == 0)
        skip(); /* root reads everything; test_rules.py asks as somebody else */
    write_file("{\"rules\":[]}");
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(read_path(path, &rules), HERMES_SYSTEM);
    assert_string_equal(error + strlen(path), ": cannot be opened: Permission denied");
    unlink(path);
}

static void too_large_a_file_is_refused_before_it_is_read(void **state)
{
    (void)state;
    struct rules *rules;
    write_file("{\"rules\":[]}");
    assert_int_equal(truncate(path, (off_t)RULES_FILE_MAX + 1), 0);
    assert_int_equal(read_path(path, &rules), HERMES_INVALID);
    assert_string_equal(error + strlen(path), ": has 16777217 bytes: give at most 16777216");
    assert_int_equal(truncate(path, 100), 0); /* zeros behind the text */
    assert_int_equal(read_path(path, &rules), HERMES_INVALID);
    assert_non_null(strstr(error, ": line 1, column "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_of_a_match_alone_is_the_default),
        cmocka_unit_test(every_key_comes_to_its_field),
        cmocka_unit_test(no_rules_may_be_all_of_them),
        cmocka_unit_test(retain_alone_is_a_history_of_one),
        cmocka_unit_test(numbers_reach_to_their_bounds),
        cmocka_unit_test(a_pattern_may_be_as_long_as_a_topic),
        cmocka_unit_test(a_fault_of_the_file_says_what_would_be_right),
        cmocka_unit_test(a_fault_of_a_key_says_what_would_be_right),
        cmocka_unit_test(a_bad_pattern_is_refused_with_its_reason),
        cmocka_unit_test(what_is_no_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_without_end_is_refused),
        cmocka_unit_test(there_are_not_more_rules_than_may_be),
        cmocka_unit_test(a_fault_is_one_line_that_fits_whatever_the_names_are),
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(what_cannot_be_read_is_refused_with_its_name),
        cmocka_unit_test(a_file_that_may_not_be_read_is_refused),
        cmocka_unit_test(too_large_a_file_is_refused_before_it_is_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
