#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/command.h"
#include "proto/json.h"

/* A frame decoded; the text is a copy of exact size, so that a sanitizer sees a read past the end.
 */
struct decoded {
    struct command c;
    char *frame;
    size_t len;
};

static struct decoded decode(struct text t)
{
    struct decoded d = {.frame = malloc(t.len ? t.len : 1), .len = t.len};
    assert_non_null(d.frame);
    if (t.len)
        memcpy(d.frame, t.at, t.len);
    command_decode(&d.c, d.frame, d.len, 1);
    return d;
}

static enum command_kind kind_of(const char *text)
{
    struct decoded d = decode(text_of(text));
    free(d.frame);
    return d.c.kind;
}

static void assert_text(struct text t, struct text expected)
{
    if (!text_equal(t, expected))
        fail_msg("`%.*s` is not `%.*s`", (int)t.len, t.at, (int)expected.len, expected.at);
}

static void assert_publish(const char *text, const char *topic, const char *data)
{
    struct decoded d = decode(text_of(text));
    if (d.c.kind != COMMAND_PUBLISH)
        fail_msg("kind %d: %s", (int)d.c.kind, text);
    assert_text(d.c.topic, text_of(topic));
    assert_text(d.c.data, text_of(data));
    assert_true(d.c.data.at >= d.frame && d.c.data.at + d.c.data.len <= d.frame + d.len);
    free(d.frame);
}

static void assert_topic(const char *text, enum command_kind kind, struct text topic)
{
    struct decoded d = decode(text_of(text));
    assert_int_equal(d.c.kind, kind);
    assert_text(d.c.topic, topic);
    assert_int_equal(d.c.data.len, 0);
    free(d.frame);
}

static void topic_and_data_are_a_publish(void **state)
{
    (void)state;
    assert_publish("{\"topic\":\"a\",\"data\":1}", "a", "1");
    assert_publish("{\"data\":1,\"topic\":\"a\"}", "a", "1");
    assert_publish("{\"type\":\"publish\",\"topic\":\"a\",\"data\":1}", "a", "1");
    assert_publish("{\"topic\":\"a\",\"data\":1,\"type\":\"publish\"}", "a", "1");
}

static void data_is_exactly_what_was_written(void **state)
{
    (void)state;
    static const char *const values[] = {"170.50", "1e400", "-0", "123456789012345678901234567890",
        "null", "false", "true", "\"\"", "\"\\u0000 \\ud800 \\/ caf\xC3\xA9\"", "[]", "{}",
        "[ 1 ,\n2 ]", "{\"b\":1,\"a\":2,\"b\":3}",
        "{\"topic\":\"inner\",\"data\":{\"type\":\"subscribe\"}}", "\"}\"", "\",\\\"\""};
    static const char *const around[] = {"{\"topic\":\"a\",\"data\":%s}",
        "{\"topic\":\"a\",\"data\": \t%s\r\n }", " { \"data\" :%s , \"topic\" : \"a\" } ",
        "{\"d\\u0061ta\"  :  %s,\"topic\":\"a\"}",
        "{\"x\":0,\"data\":%s  ,\"topic\":\"a\",\"y\":{}}"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (size_t k = 0; k < sizeof around / sizeof *around; k++) {
            struct buf b = {0};
            const char *hole = strstr(around[k], "%s");
            buf_append(&b, around[k], (size_t)(hole - around[k]));
            buf_append_string(&b, values[i]);
            buf_append_string(&b, hole + 2);
            buf_append_char(&b, '\0');
            assert_publish(b.data, "a", values[i]);
            buf_fini(&b);
        }
    }
}

/* Among them all that end within a block of the frame's end, and all that fill their last one. */
static void topic_and_data_of_any_length_are_found(void **state)
{
    (void)state;
    static const char *const around[] = {"{\"topic\":\"", "\",\"data\":\"", "\"}", "{\"data\":\"",
        "\",\"topic\":\"", "\"}", "{ \"topic\" : \"", "\" , \"data\" : \"", "\" }"};
    char letters[131];
    memset(letters, 'x', sizeof letters);
    letters[sizeof letters - 1] = '\0';
    for (size_t first = 1; first <= 130; first++) {
        for (size_t second = 1; second <= 130; second += first % 7 + 1) {
            const char *const *part = &around[first % 3 * 3];
            struct buf b = {0};
            buf_append_string(&b, part[0]);
            buf_append(&b, letters, first);
            buf_append_string(&b, part[1]);
            buf_append(&b, letters, second);
            buf_append_string(&b, part[2]);
            struct decoded d = decode(buf_text(&b));
            bool data_first = first % 3 == 1;
            assert_int_equal(d.c.kind, COMMAND_PUBLISH);
            assert_int_equal(d.c.topic.len, data_first ? second : first);
            assert_int_equal(d.c.data.len, (data_first ? first : second) + 2);
            assert_text(d.c.topic, (struct text){letters, data_first ? second : first});
            assert_int_equal(d.c.data.at[0], '"');
            assert_int_equal(d.c.data.at[d.c.data.len - 1], '"');
            free(d.frame);
            buf_fini(&b);
        }
    }
}

static void no_byte_outside_the_topic_is_changed(void **state)
{
    (void)state;
    static const char text[] =
        "{\"t\\u0079pe\":\"p\\u0075blish\",\"x\":\"\\n\",\"topic\":\"\\u0061b\","
        "\"data\":{\"topic\":\"\\u0061\"}}";
    static const char topic[] = "\"\\u0061b\"";
    struct decoded d = decode(text_of(text));
    size_t at = (size_t)(strstr(text, topic) - text);
    size_t behind = at + strlen(topic);
    assert_int_equal(d.c.kind, COMMAND_PUBLISH);
    assert_text(d.c.topic, TEXT("ab"));
    assert_memory_equal(d.frame, text, at + 1);
    assert_memory_equal(d.frame + behind, text + behind, d.len - behind);
    free(d.frame);
}

static void a_type_with_a_topic_subscribes_and_unsubscribes(void **state)
{
    (void)state;
    assert_topic("{\"type\":\"subscribe\",\"topic\":\"a\"}", COMMAND_SUBSCRIBE, TEXT("a"));
    assert_topic("{\"type\":\"unsubscribe\",\"topic\":\"a\"}", COMMAND_UNSUBSCRIBE, TEXT("a"));
    assert_topic("{\"topic\":\"a b:c\",\"type\":\"subscribe\"}", COMMAND_SUBSCRIBE, TEXT("a b:c"));
}

static void data_beside_another_type_is_ignored(void **state)
{
    (void)state;
    assert_topic(
        "{\"type\":\"subscribe\",\"topic\":\"a\",\"data\":1}", COMMAND_SUBSCRIBE, TEXT("a"));
    assert_topic(
        "{\"data\":1,\"topic\":\"a\",\"type\":\"unsubscribe\"}", COMMAND_UNSUBSCRIBE, TEXT("a"));
}

static void escapes_in_a_topic_are_decoded(void **state)
{
    (void)state;
    assert_publish("{\"topic\":\"\\u0061\\/\\\"\",\"data\":1}", "a/\"", "1");
    assert_publish("{\"topic\":\"\\ud83d\\ude00\",\"data\":1}", "\xF0\x9F\x98\x80", "1");
    assert_topic(
        "{\"type\":\"subscribe\",\"topic\":\"a\\u0000b\"}", COMMAND_SUBSCRIBE, TEXT("a\0b"));
}

static void escapes_in_keys_and_types_are_decoded(void **state)
{
    (void)state;
    assert_topic("{\"ty\\u0070e\":\"subscribe\",\"topic\":\"a\"}", COMMAND_SUBSCRIBE, TEXT("a"));
    assert_topic("{\"type\":\"\\u0073ubscribe\",\"topic\":\"a\"}", COMMAND_SUBSCRIBE, TEXT("a"));
    assert_topic(
        "{\"type\":"
        "\"\\u0075\\u006e\\u0073\\u0075\\u0062\\u0073\\u0063\\u0072\\u0069\\u0062\\u0065\","
        "\"\\u0074\\u006f\\u0070\\u0069\\u0063\":\"a\"}",
        COMMAND_UNSUBSCRIBE, TEXT("a"));
    assert_publish("{\"\\u0074opic\":\"a\",\"\\u0064\\u0061\\u0074\\u0061\":1}", "a", "1");
    assert_int_equal(
        kind_of("{\"type\":\"\\\\u0073ubscribe\",\"topic\":\"a\"}"), COMMAND_MALFORMED);
}

static void of_a_repeated_key_the_last_counts(void **state)
{
    (void)state;
    assert_publish("{\"topic\":\"a\",\"data\":1,\"data\":2,\"topic\":\"b\"}", "b", "2");
    assert_publish("{\"topic\":1,\"data\":1,\"t\\u006fpic\":\"b\"}", "b", "1");
    assert_int_equal(kind_of("{\"topic\":\"a\",\"data\":1,\"topic\":null}"), COMMAND_MALFORMED);
    assert_topic(
        "{\"type\":7,\"topic\":\"a\",\"type\":\"subscribe\"}", COMMAND_SUBSCRIBE, TEXT("a"));
    assert_int_equal(
        kind_of("{\"type\":\"subscribe\",\"topic\":\"a\",\"type\":\"dance\"}"), COMMAND_MALFORMED);
}

static void unknown_keys_are_ignored_whatever_they_hold(void **state)
{
    (void)state;
    static const char *const values[] = {"1e400", "-1E-99999", "99999999999999999999999999999",
        "\"\\ud800\"", "null", "[[[{}]]]", "{\"topic\":\"b\",\"data\":2,\"type\":\"subscribe\"}"};
    static const char *const keys[] = {"x", "", "Topic", "topi", "topics", "datum", "typ",
        "\\ud800", "topic\\u0000", "\\u0000",
        ("a key longer than any word of the protocol, \\n escapes and all, "
         "and still unknown when it has been read to its end")};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            struct buf b = {0};
            buf_appendf(&b, "{\"topic\":\"a\",\"%s\":%s,\"data\":1,\"%s\":%s}", keys[k], values[i],
                keys[k], values[i]);
            buf_append_char(&b, '\0');
            assert_publish(b.data, "a", "1");
            buf_fini(&b);
        }
    }
}

static void what_is_not_json_is_bad_json(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " ", "hello", "{\"topic\":\"a\",\"data\":1,\"id\":2",
        "{\"topic\":\"a\",\"data\":1 \"id\":2}", "{\"topic\":\"a\",\"data\":1,,\"id\":2}",
        "{\"topic\":\"a\",\"data\":\"b}", "{\"topic\":\"a\",\"data\":[1}", "{\"topic\":\"a\",}",
        "{\"topic\":\"a\",\"data\":", "{\"topic\":\"a\",\"data\": }", "{,\"topic\":\"a\"}",
        "{\"topic\":\"a\\,\"data\":1}", "{\"topic\":\"a\n,\"data\":1}", "{", "}",
        "{\"topic\":\"a\",\"data\":1", "{\"topic\":\"a\",\"data\":1}}",
        "{\"topic\":\"a\",\"data\":1} x", "{\"topic\":\"a\",\"data\":}",
        "{\"topic\":\"a\",\"data\"}", "{\"topic\":\"a\" \"data\":1}",
        "{\"topic\":\"a\",\"data\":1,}", "{\"topic\":\"a\",\"data\":01}",
        "{\"topic\":\"a\",\"data\":1]", "{\"topic\":\"a,\"data\":1}",
        "{\"topic\":", "{\"data\":", "{\"type\":", "{\"topic\"", "{,}", "{1:2}", "[1,", "{} {}",
        "{\"topic\":\"a\",\"data\":'x'}", "{\"topic\":\"a\",\"x\":tru,\"data\":1}",
        "{\"type\":\"subscribe\",\"topic\":\"a\"", "{\"topic\":\"a\",\"data\":1}\f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kind_of(bad[i]) != COMMAND_BAD_JSON)
            fail_msg("row %zu: %s", i, bad[i]);
}

static void an_empty_frame_is_bad_json(void **state)
{
    (void)state;
    struct command c;
    command_decode(&c, NULL, 0, 1);
    assert_int_equal(c.kind, COMMAND_BAD_JSON);
}

static void no_beginning_of_a_command_is_a_command(void **state)
{
    (void)state;
    static const char *const whole[] = {"{\"topic\":\"a\",\"data\":{\"x\":[1,2]},\"y\":\"z\"}",
        "{\"type\":\"subscribe\",\"topic\":\"abc\"}", "{\"type\":\"topics\",\"limit\":10}", "{}",
        "[{}]"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        for (size_t len = 0; len < strlen(whole[i]); len++) {
            struct decoded d = decode((struct text){whole[i], len});
            assert_int_equal(d.c.kind, COMMAND_BAD_JSON);
            free(d.frame);
        }
    }
}

static void json_that_is_no_command_is_malformed(void **state)
{
    (void)state;
    static const char *const malformed[] = {"1", "null", "\"text\"", "[]", " [ ] ",
        "[{\"topic\":\"a\"}]", "{}", " { } ", "{\"x\":1}", "{\"topic\":\"a\"}", "{\"data\":1}",
        "{\"topic\":\"\",\"data\":1}", "{\"topic\":null,\"data\":1}", "{\"topic\":1,\"data\":1}",
        "{\"topic\":[\"a\"],\"data\":1}", "{\"topic\":{},\"data\":1}", "{\"type\":\"subscribe\"}",
        "{\"type\":\"subscribe\",\"topic\":\"\"}", "{\"type\":\"subscribe\",\"topic\":7}",
        "{\"type\":\"unsubscribe\"}", "{\"type\":\"publish\"}",
        "{\"type\":\"publish\",\"topic\":\"a\"}", "{\"type\":\"publish\",\"data\":1}",
        "{\"type\":\"dance\",\"topic\":\"a\",\"data\":1}",
        "{\"type\":\"\",\"topic\":\"a\",\"data\":1}", "{\"type\":\"Subscribe\",\"topic\":\"a\"}",
        "{\"type\":\"subscribe \",\"topic\":\"a\"}", "{\"type\":null,\"topic\":\"a\",\"data\":1}",
        "{\"type\":1,\"topic\":\"a\",\"data\":1}", "{\"type\":[\"subscribe\"],\"topic\":\"a\"}",
        "{\"type\":\"\\ud800\",\"topic\":\"a\",\"data\":1}",
        "{\"type\":\"subscribe\\u0000\",\"topic\":\"a\"}",
        "{\"type\":{},\"topic\":\"a\",\"data\":1}", "{\"type\":\"topic\"}",
        "{\"Topic\":\"a\",\"data\":1}"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        if (kind_of(malformed[i]) != COMMAND_MALFORMED)
            fail_msg("row %zu: %s", i, malformed[i]);
}

static void a_topic_with_a_lone_surrogate_is_a_bad_topic(void **state)
{
    (void)state;
    assert_int_equal(kind_of("{\"topic\":\"\\ud800\",\"data\":1}"), COMMAND_BAD_TOPIC);
    assert_int_equal(kind_of("{\"type\":\"subscribe\",\"topic\":\"a\\udc00\"}"), COMMAND_BAD_TOPIC);
    assert_int_equal(
        kind_of("{\"type\":\"unsubscribe\",\"topic\":\"\\ud800x\"}"), COMMAND_BAD_TOPIC);
    /* What else is wrong with it comes first. */
    assert_int_equal(kind_of("{\"topic\":\"\\ud800\"}"), COMMAND_MALFORMED);
    assert_int_equal(kind_of("{\"type\":\"dance\",\"topic\":\"\\ud800\"}"), COMMAND_MALFORMED);
    assert_int_equal(kind_of("{\"topic\":\"\\ud800\",\"data\":1"), COMMAND_BAD_JSON);
}

static void assert_topics(const char *text, struct text prefix, struct text after, unsigned limit)
{
    struct decoded d = decode(text_of(text));
    assert_int_equal(d.c.kind, COMMAND_TOPICS);
    assert_text(d.c.prefix, prefix);
    assert_text(d.c.after, after);
    assert_int_equal(d.c.limit, limit);
    free(d.frame);
}

static void topics_takes_a_prefix_a_start_and_a_limit(void **state)
{
    (void)state;
    assert_topics("{\"type\":\"topics\"}", TEXT(""), TEXT(""), COMMAND_LIMIT_DEFAULT);
    assert_topics(
        "{\"type\":\"topics\",\"prefix\":\"\",\"after\":\"\",\"limit\":1}", TEXT(""), TEXT(""), 1);
    assert_topics(
        "{\"limit\": 1000 ,\"after\":\"s:\\u00e9\",\"prefix\":\"s:\",\"type\":\"topics\"}",
        TEXT("s:"), TEXT("s:\xC3\xA9"), 1000);
    assert_topics(
        "{\"type\":\"topics\",\"prefix\":\"a\\u0000b\\ud83d\\ude00\",\"limit\":7,\"limit\":8}",
        TEXT("a\0b\xF0\x9F\x98\x80"), TEXT(""), 8);
    assert_topics(
        "{\"type\":\"topics\",\"topic\":5,\"data\":1}", TEXT(""), TEXT(""), COMMAND_LIMIT_DEFAULT);
}

static void topics_with_a_wrong_field_is_malformed(void **state)
{
    (void)state;
    static const char *const fields[] = {"\"prefix\":1", "\"prefix\":null", "\"prefix\":[\"a\"]",
        "\"prefix\":\"\\ud800\"", "\"after\":{}", "\"after\":false", "\"after\":\"\\udc00\"",
        "\"limit\":0", "\"limit\":-1", "\"limit\":-0", "\"limit\":1001", "\"limit\":1.0",
        "\"limit\":1e2", "\"limit\":\"5\"", "\"limit\":null", "\"limit\":4294967297",
        "\"limit\":18446744073709551617", "\"limit\":99999999999999999999999", "\"limit\":1e400",
        "\"limit\":[5]"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct buf b = {0};
        buf_appendf(&b, "{\"type\":\"topics\",%s}", fields[i]);
        buf_append_char(&b, '\0');
        if (kind_of(b.data) != COMMAND_MALFORMED)
            fail_msg("%s", b.data);
        /* Other commands do not look at them. */
        buf_clear(&b);
        buf_appendf(&b, "{\"topic\":\"a\",\"data\":1,%s}", fields[i]);
        buf_append_char(&b, '\0');
        assert_publish(b.data, "a", "1");
        buf_fini(&b);
    }
}

/* What a level 2 command has more is unknown here, whatever it holds. */
static void what_is_of_level_2_is_unknown_at_level_1(void **state)
{
    (void)state;
    static const char *const types[] = {"presence", "history", "auth", "ping"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct buf b = {0};
        buf_appendf(&b, "{\"type\":\"%s\",\"topic\":\"a\",\"token\":\"t\"}", types[i]);
        buf_append_char(&b, '\0');
        assert_int_equal(kind_of(b.data), COMMAND_MALFORMED);
        buf_fini(&b);
    }
    assert_int_equal(kind_of("{\"type\":\"subscribe\",\"pattern\":\"a:*\"}"), COMMAND_MALFORMED);
    assert_int_equal(kind_of("{\"type\":\"subscribe\",\"topics\":[\"a\"]}"), COMMAND_MALFORMED);
    static const char fields[] = "\"id\":[],\"topics\":[],\"pattern\":\"b\",\"since\":1,"
                                 "\"replay\":-1,\"policy\":\"latest\",\"presence\":true,"
                                 "\"echo\":false,\"token\":\"t\"";
    static const char *const commands[] = {"{\"topic\":\"a\",\"data\":1,%s}",
        "{%s,\"data\":1,\"topic\":\"a\"}", "{\"type\":\"subscribe\",\"topic\":\"a\",%s}",
        "{\"type\":\"topics\",%s}", "{%s,\"type\":\"topics\",\"limit\":0}", "[{%s}]"};
    static const enum command_kind kinds[] = {COMMAND_PUBLISH, COMMAND_PUBLISH, COMMAND_SUBSCRIBE,
        COMMAND_TOPICS, COMMAND_MALFORMED, COMMAND_MALFORMED};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct buf b = {0};
        const char *hole = strstr(commands[i], "%s");
        buf_append(&b, commands[i], (size_t)(hole - commands[i]));
        buf_append_string(&b, fields);
        buf_append_string(&b, hole + 2);
        struct decoded d = decode(buf_text(&b));
        assert_int_equal(d.c.kind, kinds[i]);
        assert_null(d.c.fault);
        assert_int_equal(d.c.id.len + d.c.topics.len + d.c.pattern.len + d.c.token.len, 0);
        assert_int_equal(d.c.since + d.c.replay + d.c.policy, 0);
        assert_false(d.c.has_since || d.c.presence || d.c.quiet);
        free(d.frame);
        buf_fini(&b);
    }
}

static void data_may_nest_as_deep_as_the_scanner_goes(void **state)
{
    (void)state;
    for (unsigned depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        struct buf b = {0};
        buf_append_string(&b, "{\"topic\":\"a\",\"data\":");
        for (unsigned i = 0; i < depth; i++)
            buf_append_char(&b, '[');
        for (unsigned i = 0; i < depth; i++)
            buf_append_char(&b, ']');
        buf_append(&b, "}", 2);
        assert_int_equal(
            kind_of(b.data), depth <= JSON_DEPTH_MAX ? COMMAND_PUBLISH : COMMAND_BAD_JSON);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_and_data_are_a_publish),
        cmocka_unit_test(data_is_exactly_what_was_written),
        cmocka_unit_test(topic_and_data_of_any_length_are_found),
        cmocka_unit_test(no_byte_outside_the_topic_is_changed),
        cmocka_unit_test(a_type_with_a_topic_subscribes_and_unsubscribes),
        cmocka_unit_test(data_beside_another_type_is_ignored),
        cmocka_unit_test(escapes_in_a_topic_are_decoded),
        cmocka_unit_test(escapes_in_keys_and_types_are_decoded),
        cmocka_unit_test(of_a_repeated_key_the_last_counts),
        cmocka_unit_test(unknown_keys_are_ignored_whatever_they_hold),
        cmocka_unit_test(what_is_not_json_is_bad_json),
        cmocka_unit_test(an_empty_frame_is_bad_json),
        cmocka_unit_test(no_beginning_of_a_command_is_a_command),
        cmocka_unit_test(json_that_is_no_command_is_malformed),
        cmocka_unit_test(a_topic_with_a_lone_surrogate_is_a_bad_topic),
        cmocka_unit_test(topics_takes_a_prefix_a_start_and_a_limit),
        cmocka_unit_test(topics_with_a_wrong_field_is_malformed),
        cmocka_unit_test(what_is_of_level_2_is_unknown_at_level_1),
        cmocka_unit_test(data_may_nest_as_deep_as_the_scanner_goes),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
