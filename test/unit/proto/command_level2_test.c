#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/command.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* A frame decoded; the text is a copy of exact size, so that a sanitizer sees a read past the end.
 */
struct decoded {
    struct command c;
    char *frame;
};

static struct decoded decode(const char *text)
{
    size_t len = strlen(text);
    struct decoded d = {.frame = malloc(len)};
    assert_non_null(d.frame);
    memcpy(d.frame, text, len);
    command_decode(&d.c, d.frame, len, 2);
    return d;
}

/* Of that kind, and to be freed. */
static struct decoded expect(const char *text, enum command_kind kind)
{
    struct decoded d = decode(text);
    if (d.c.kind != kind)
        fail_msg("kind %d, %s: %s", (int)d.c.kind, d.c.fault ? d.c.fault : "no fault", text);
    if (kind != COMMAND_MALFORMED)
        assert_null(d.c.fault);
    return d;
}

/* A sentence that names the field. */
static void assert_fault(const char *text, const char *field)
{
    struct decoded d = expect(text, COMMAND_MALFORMED);
    assert_non_null(d.c.fault);
    if (!strstr(d.c.fault, field))
        fail_msg("\"%s\" does not name %s: %s", d.c.fault, field, text);
    assert_int_equal(d.c.fault[strlen(d.c.fault) - 1], '.');
    free(d.frame);
}

static void assert_kind(const char *text, enum command_kind kind)
{
    struct decoded d = expect(text, kind);
    free(d.frame);
}

static void assert_text(struct text t, const char *expected)
{
    if (!text_equal(t, text_of(expected)))
        fail_msg("`%.*s` is not `%s`", (int)t.len, t.at, expected);
}

/* `before`, a row, `behind`; terminated. */
static char *around(const char *before, const char *row, const char *behind)
{
    struct buf b = {0};
    buf_append_string(&b, before);
    buf_append_string(&b, row);
    buf_append_string(&b, behind);
    buf_append_char(&b, '\0');
    assert_false(b.failed);
    return b.data;
}

static void assert_id(const char *text, enum command_kind kind, const char *id)
{
    struct decoded d = expect(text, kind);
    assert_text(d.c.id, id);
    free(d.frame);
}

#define ROW8 "12345678"
#define ROW64 ROW8 ROW8 ROW8 ROW8 ROW8 ROW8 ROW8 ROW8
#define ESCAPED8 "\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061"
#define ESCAPED64 ESCAPED8 ESCAPED8 ESCAPED8 ESCAPED8 ESCAPED8 ESCAPED8 ESCAPED8 ESCAPED8

static void an_id_is_given_back_as_it_came(void **state)
{
    (void)state;
    static const char *const ids[] = {"1", "0", "-17", "-0", "\"\"", "\"a b\"", "\"\\u0061\\n\"",
        "123456789012345678901234567890", ROW64, "\"" ROW64 "\"", "\"" ESCAPED64 "\"",
        "\"\\\"\\\\\"", "\"\xC3\xA9\""};
    for (size_t i = 0; i < COUNT(ids); i++) {
        char *first = around("{\"id\":", ids[i], ",\"type\":\"ping\"}");
        char *last = around("{\"topic\":\"a\",\"data\":[1, 2],\"id\":", ids[i], "}");
        char *spaced = around("{\"type\":\"ping\" , \"id\" : ", ids[i], " }");
        char *escaped = around("{\"type\":\"ping\",\"\\u0069d\":", ids[i], "}");
        assert_id(first, COMMAND_PING, ids[i]);
        assert_id(last, COMMAND_PUBLISH, ids[i]);
        assert_id(spaced, COMMAND_PING, ids[i]);
        assert_id(escaped, COMMAND_PING, ids[i]);
        free(first);
        free(last);
        free(spaced);
        free(escaped);
    }
    assert_id("{\"type\":\"ping\"}", COMMAND_PING, "");
    assert_id("{\"type\":\"ping\",\"id\":1,\"id\":2}", COMMAND_PING, "2");
}

static void an_id_of_another_kind_is_malformed(void **state)
{
    (void)state;
    static const char *const ids[] = {"null", "true", "[]", "{}", "1.0", "1e3", "1E3", "-1.5",
        ROW64 "9", "-" ROW64, "\"" ROW64 "9\"", "\"" ESCAPED64 "a\"", "\"" ESCAPED64 ESCAPED8 "\"",
        "\"" ROW64 "\\n\"", "[1]", "\"\\ud800\""};
    for (size_t i = 0; i < COUNT(ids); i++) {
        char *ping = around("{\"type\":\"ping\",\"id\":", ids[i], "}");
        char *publish = around("{\"topic\":\"a\",\"data\":1,\"id\":", ids[i], "}");
        assert_fault(ping, "id must be");
        assert_fault(publish, "id must be");
        assert_id(ping, COMMAND_MALFORMED, "");
        free(ping);
        free(publish);
    }
}

static void what_is_wrong_beside_it_leaves_the_id(void **state)
{
    (void)state;
    assert_id("{\"type\":\"dance\",\"id\":7}", COMMAND_MALFORMED, "7");
    assert_id("{\"id\":7}", COMMAND_MALFORMED, "7");
    assert_id("{\"type\":null,\"id\":7}", COMMAND_MALFORMED, "7");
    assert_id("{\"id\":7,\"type\":\"subscribe\"}", COMMAND_MALFORMED, "7");
    assert_id("{\"type\":\"topics\",\"limit\":0,\"id\":7}", COMMAND_MALFORMED, "7");
    assert_id("{\"topic\":\"\",\"data\":1,\"id\":\"x\"}", COMMAND_MALFORMED, "\"x\"");
    assert_id("{\"topic\":\"\\ud800\",\"data\":1,\"id\":7}", COMMAND_BAD_TOPIC, "7");
    assert_id(
        "{\"type\":\"subscribe\",\"pattern\":\"\\ud800\",\"id\":7}", COMMAND_BAD_PATTERN, "7");
    assert_id("{\"type\":\"subscribe\",\"topics\":[\"\\ud800\"],\"id\":7}", COMMAND_BAD_TOPIC, "7");
}

static void a_publish_may_ask_for_no_echo(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool quiet;
    } rows[] = {{"{\"topic\":\"a\",\"data\":170.50}", false},
        {"{\"topic\":\"a\",\"data\":170.50,\"echo\":true}", false},
        {"{\"topic\":\"a\",\"data\":170.50,\"echo\":false}", true},
        {"{\"echo\":false,\"topic\":\"\\u0061\",\"data\": 170.50 }", true},
        {"{\"type\":\"publish\",\"topic\":\"a\",\"data\":170.50,\"echo\":false}", true},
        {"{\"topic\":\"a\",\"data\":170.50,\"echo\":false,\"echo\":true}", false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct decoded d = expect(rows[i].text, COMMAND_PUBLISH);
        assert_int_equal(d.c.quiet, rows[i].quiet);
        assert_text(d.c.topic, "a");
        assert_text(d.c.data, "170.50");
        free(d.frame);
    }
    assert_fault("{\"topic\":\"a\",\"data\":1,\"echo\":1}", "echo");
    assert_fault("{\"topic\":\"a\",\"data\":1,\"echo\":\"true\"}", "echo");
    assert_fault("{\"topic\":\"a\",\"data\":1,\"echo\":null}", "echo");
    assert_kind("{\"type\":\"ping\",\"echo\":1}", COMMAND_PING);
}

static void what_begins_like_a_publish_is_what_it_is_in_the_end(void **state)
{
    (void)state;
    struct decoded d = expect("{\"topic\":\"a\",\"data\":1,\"topic\":\"b\"}", COMMAND_PUBLISH);
    assert_text(d.c.topic, "b");
    free(d.frame);
    d = expect("{\"topic\":\"a\",\"data\":1,\"data\":2} ", COMMAND_PUBLISH);
    assert_text(d.c.data, "2");
    free(d.frame);
    d = expect("{\"topic\":\"a\",\"data\":1,\"type\":\"unsubscribe\"}", COMMAND_UNSUBSCRIBE);
    assert_text(d.c.topic, "a");
    assert_int_equal(d.c.data.len, 0);
    free(d.frame);
    assert_kind("{\"topic\":\"a\",\"data\":1,\"id\":3", COMMAND_BAD_JSON);
    assert_fault("{\"topic\":\"\",\"data\":1}", "topic");
}

static void types_of_level_2_are_known(void **state)
{
    (void)state;
    assert_kind("{\"type\":\"ping\"}", COMMAND_PING);
    assert_kind("{\"type\":\"p\\u0069ng\",\"topic\":7}", COMMAND_PING);
    struct decoded d = expect("{\"type\":\"presence\",\"topic\":\"a\\/b\"}", COMMAND_PRESENCE);
    assert_text(d.c.topic, "a/b");
    free(d.frame);
    d = expect("{\"type\":\"auth\",\"token\":\"a\\u002eb\"}", COMMAND_AUTH);
    assert_text(d.c.token, "a.b");
    free(d.frame);
    d = expect("{\"type\":\"history\",\"topic\":\"a\"}", COMMAND_HISTORY);
    assert_text(d.c.topic, "a");
    assert_int_equal(d.c.limit, COMMAND_LIMIT_DEFAULT);
    assert_false(d.c.has_since);
    free(d.frame);
    assert_fault("{\"type\":\"pong\"}", "type");
    assert_fault("{\"type\":7}", "type");
    assert_fault("{}", "type");
    assert_fault("{\"topic\":\"a\"}", "data");
    assert_fault("{\"type\":\"publish\",\"topic\":\"a\"}", "data");
    assert_fault("[1]", "object");
    assert_kind("{\"type\":\"ping\"", COMMAND_BAD_JSON);
    assert_kind("", COMMAND_BAD_JSON);
}

static void a_token_must_be_a_string(void **state)
{
    (void)state;
    assert_fault("{\"type\":\"auth\"}", "token");
    assert_fault("{\"type\":\"auth\",\"token\":\"\"}", "token");
    assert_fault("{\"type\":\"auth\",\"token\":1}", "token");
    assert_fault("{\"type\":\"auth\",\"token\":null}", "token");
    assert_fault("{\"type\":\"auth\",\"token\":\"\\ud800\"}", "token");
}

static void a_topic_must_be_there(void **state)
{
    (void)state;
    static const char *const types[] = {
        "presence", "history", "subscribe", "unsubscribe", "publish"};
    static const char *const topics[] = {"\"\"", "null", "1", "[\"a\"]", "{}"};
    for (size_t i = 0; i < COUNT(types); i++) {
        char *type = around("{\"data\":1,\"type\":\"", types[i], "\"");
        char *bare = around(type, "}", "");
        assert_fault(bare, "topic");
        free(bare);
        for (size_t k = 0; k < COUNT(topics); k++) {
            char *before = around(type, ",\"topic\":", "");
            char *whole = around(before, topics[k], "}");
            assert_fault(whole, "topic");
            free(before);
            free(whole);
        }
        char *lone = around(type, ",\"topic\":\"\\udc00\"}", "");
        assert_kind(lone, COMMAND_BAD_TOPIC);
        free(lone);
        free(type);
    }
}

static void a_subscription_is_of_a_topic_several_or_a_pattern(void **state)
{
    (void)state;
    static const char *const types[] = {"subscribe", "unsubscribe"};
    static const char *const targets[] = {"", ",\"topic\":\"a\",\"pattern\":\"b\"",
        ",\"topic\":\"a\",\"topics\":[\"b\"]", ",\"topics\":[\"a\"],\"pattern\":\"b\"",
        ",\"topic\":\"a\",\"topics\":[\"b\"],\"pattern\":\"c\"",
        ",\"topic\":\"a\",\"pattern\":null", ",\"topic\":null,\"topics\":[\"b\"]"};
    for (int t = 0; t < 2; t++) {
        enum command_kind kind = t == 0 ? COMMAND_SUBSCRIBE : COMMAND_UNSUBSCRIBE;
        char *type = around("{\"type\":\"", types[t], "\"");
        for (size_t i = 0; i < COUNT(targets); i++) {
            char *text = around(type, targets[i], "}");
            assert_fault(text, "topic, topics and pattern");
            free(text);
        }
        char *pattern = around(type, ",\"pattern\":\"a:\\u002a\"}", "");
        struct decoded d = expect(pattern, kind);
        assert_text(d.c.pattern, "a:*");
        assert_int_equal(d.c.topic.len + d.c.topics.len, 0);
        free(d.frame);
        free(pattern);
        char *empty = around(type, ",\"pattern\":\"\"}", "");
        char *number = around(type, ",\"pattern\":5}", "");
        char *lone = around(type, ",\"pattern\":\"\\ud800\"}", "");
        assert_fault(empty, "pattern");
        assert_fault(number, "pattern");
        assert_kind(lone, COMMAND_BAD_PATTERN);
        free(empty);
        free(number);
        free(lone);
        free(type);
    }
}

static void several_topics_are_taken_one_by_one(void **state)
{
    (void)state;
    struct decoded d = expect("{\"type\":\"subscribe\",\"topics\": [ \"a\" ,\"]\",\"\\\"\\u0062,\","
                              "\n\"\\ud83d\\ude00\",\"a\" ],\"replay\":1}",
        COMMAND_SUBSCRIBE);
    static const char *const names[] = {"a", "]", "\"b,", "\xF0\x9F\x98\x80", "a"};
    struct text topics = d.c.topics;
    struct text name;
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_true(command_next_topic(&topics, &name));
        assert_text(name, names[i]);
    }
    assert_false(command_next_topic(&topics, &name));
    assert_false(command_next_topic(&topics, &name));
    assert_int_equal(d.c.replay, 1);
    assert_int_equal(d.c.topic.len, 0);
    free(d.frame);

    struct text none = {0};
    assert_false(command_next_topic(&none, &name));
    char lone[] = "[\"\\ud800\",\"a\"]";
    topics = text_of(lone);
    assert_true(command_next_topic(&topics, &name));
    assert_int_equal(name.len, 0);
    assert_true(command_next_topic(&topics, &name));
    assert_text(name, "a");
}

/* So nothing is done by half. */
static void one_bad_topic_of_several_spoils_them_all(void **state)
{
    (void)state;
    static const char *const topics[] = {"[]", "[ ]", "\"a\"", "{}", "null", "1", "[1]",
        "[\"a\",1]", "[\"a\",\"\"]", "[\"\"]", "[[\"a\"]]", "[\"a\",null,\"b\"]",
        "[\"\\ud800\",\"\"]"};
    static const char *const lone[] = {"[\"\\ud800\"]", "[\"a\",\"\\udc00\"]",
        "[\"\\ud800x\",\"a\"]", "[\"\\ud800\\ud800\\udc00\"]", "[\"\\uDBff\\n\"]",
        "[\"\\udc00\\ud800\"]", "[\"\\udc00\\udc00\"]", "[\"a\",\"\\\\\\uDFFF\",\"b\"]",
        "[\"\\ud800\\\\udc00\"]"};
    static const char *const good[] = {"[\"\\\\ud800\"]", "[\"\\ud800\\udc00\"]",
        "[\"\\uDBFF\\uDFFF\",\"\\ud7ff\\ue000\"]", "[\"\\\\\\\\ud800\\\"\"]"};
    for (size_t i = 0; i < COUNT(topics); i++) {
        char *text = around("{\"type\":\"subscribe\",\"topics\":", topics[i], "}");
        assert_fault(text, "topics");
        free(text);
    }
    for (size_t i = 0; i < COUNT(lone); i++) {
        char *text = around("{\"type\":\"unsubscribe\",\"topics\":", lone[i], "}");
        assert_kind(text, COMMAND_BAD_TOPIC);
        free(text);
    }
    for (size_t i = 0; i < COUNT(good); i++) {
        char *text = around("{\"type\":\"subscribe\",\"topics\":", good[i], "}");
        struct decoded d = expect(text, COMMAND_SUBSCRIBE);
        struct text name;
        while (command_next_topic(&d.c.topics, &name))
            assert_int_not_equal(name.len, 0);
        free(d.frame);
        free(text);
    }
}

static void since_is_an_epoch_and_an_offset(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"type\":\"subscribe\",\"topic\":\"a\",\"since\":{\"epoch\":\"0f\",\"offset\":12}}",
        "{\"since\": { \"offset\" : 12 , \"x\":1e400,\"epoch\":\"0\\u0066\" },\"type\":\"history\","
        "\"topic\":\"a\"}",
        "{\"type\":\"history\",\"topic\":\"a\",\"since\":{\"offset\":null,\"epoch\":1,"
        "\"\\u006fffset\":12,\"ep\\u006fch\":\"0f\"}}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct decoded d = decode(texts[i]);
        assert_int_equal(d.c.kind, i == 0 ? COMMAND_SUBSCRIBE : COMMAND_HISTORY);
        assert_true(d.c.has_since);
        assert_text(d.c.epoch, "0f");
        assert_int_equal(d.c.since, 12);
        free(d.frame);
    }
    static const struct {
        const char *offset;
        uint64_t since;
    } offsets[] = {{"0", 0}, {"-0", 0}, {"9223372036854775807", INT64_MAX}};
    for (size_t i = 0; i < COUNT(offsets); i++) {
        char *text = around("{\"type\":\"history\",\"topic\":\"a\",\"since\":{\"epoch\":\"" ROW64
                            "\",\"offset\":",
            offsets[i].offset, "}}");
        struct decoded d = expect(text, COMMAND_HISTORY);
        assert_int_equal(d.c.since, offsets[i].since);
        free(d.frame);
        free(text);
    }
}

static void another_since_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"1", "null", "\"0f\"", "[]", "[\"0f\",1]", "{}", "{ }",
        "{\"epoch\":\"0f\"}", "{\"offset\":1}", "{\"epoch\":1,\"offset\":1}",
        "{\"epoch\":null,\"offset\":1}", "{\"epoch\":\"\\ud800\",\"offset\":1}",
        "{\"epoch\":\"" ROW64 "9\",\"offset\":1}", "{\"epoch\":\"0f\",\"offset\":\"1\"}",
        "{\"epoch\":\"0f\",\"offset\":-1}", "{\"epoch\":\"0f\",\"offset\":1.0}",
        "{\"epoch\":\"0f\",\"offset\":1e1}", "{\"epoch\":\"0f\",\"offset\":9223372036854775808}",
        "{\"epoch\":\"0f\",\"offset\":18446744073709551616}",
        "{\"epoch\":\"0f\",\"offset\":99999999999999999999999999}",
        "{\"epoch\":\"0f\",\"offset\":null}", "{\"epoch\":\"0f\",\"offset\":1,\"offset\":[]}"};
    static const char *const types[] = {"{\"type\":\"subscribe\",\"topic\":\"a\",\"since\":",
        "{\"type\":\"history\",\"topic\":\"a\",\"since\":"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        for (size_t k = 0; k < COUNT(types); k++) {
            char *text = around(types[k], bad[i], "}");
            assert_fault(text, "since");
            free(text);
        }
        char *unused = around("{\"type\":\"unsubscribe\",\"topic\":\"a\",\"since\":", bad[i], "}");
        assert_kind(unused, COMMAND_UNSUBSCRIBE);
        free(unused);
    }
}

static void a_replay_is_of_topics_and_without_since(void **state)
{
    (void)state;
    static const struct {
        const char *number;
        uint32_t replay;
    } rows[] = {{"0", 0}, {"1", 1}, {"4294967295", UINT32_MAX}, {"4294967296", UINT32_MAX},
        {"9223372036854775807", UINT32_MAX}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text =
            around("{\"type\":\"subscribe\",\"topics\":[\"a\"],\"replay\":", rows[i].number, "}");
        struct decoded d = expect(text, COMMAND_SUBSCRIBE);
        assert_int_equal(d.c.replay, rows[i].replay);
        free(d.frame);
        free(text);
    }
    static const char *const bad[] = {"-1", "1.5", "1e3", "null", "true", "\"1\"", "[]",
        "9223372036854775808", "99999999999999999999999999"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *text = around("{\"type\":\"subscribe\",\"topic\":\"a\",\"replay\":", bad[i], "}");
        assert_fault(text, "replay");
        free(text);
    }
#define SINCE "\"since\":{\"epoch\":\"\",\"offset\":1}"
    assert_fault("{\"type\":\"subscribe\",\"topic\":\"a\",\"replay\":1," SINCE "}", "together");
    assert_fault("{\"type\":\"subscribe\",\"pattern\":\"a\",\"replay\":0}", "pattern");
    assert_fault("{\"type\":\"subscribe\",\"pattern\":\"a\"," SINCE "}", "pattern");
    assert_fault("{\"type\":\"subscribe\",\"topics\":[\"a\"]," SINCE "}", "topics");
    assert_kind("{\"type\":\"history\",\"topic\":\"a\",\"replay\":-1}", COMMAND_HISTORY);
}

static void a_policy_is_one_of_three(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum command_policy policy;
    } rows[] = {{"disconnect", COMMAND_DISCONNECT}, {"drop_oldest", COMMAND_DROP_OLDEST},
        {"latest", COMMAND_LATEST}, {"l\\u0061test", COMMAND_LATEST}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text =
            around("{\"type\":\"subscribe\",\"pattern\":\"a\",\"policy\":\"", rows[i].word, "\"}");
        struct decoded d = expect(text, COMMAND_SUBSCRIBE);
        assert_int_equal(d.c.policy, rows[i].policy);
        free(d.frame);
        free(text);
    }
    struct decoded d = expect("{\"type\":\"subscribe\",\"topic\":\"a\"}", COMMAND_SUBSCRIBE);
    assert_int_equal(d.c.policy, COMMAND_POLICY_NONE);
    assert_false(d.c.presence);
    free(d.frame);
    static const char *const bad[] = {
        "\"\"", "\"Latest\"", "\"none\"", "null", "1", "[\"latest\"]", "\"\\ud800\""};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *text = around("{\"type\":\"subscribe\",\"topic\":\"a\",\"policy\":", bad[i], "}");
        assert_fault(text, "policy");
        free(text);
    }
    assert_kind("{\"topic\":\"a\",\"data\":1,\"policy\":7}", COMMAND_PUBLISH);
}

static void presence_is_true_or_false(void **state)
{
    (void)state;
    struct decoded d =
        expect("{\"type\":\"subscribe\",\"topic\":\"a\",\"presence\":true}", COMMAND_SUBSCRIBE);
    assert_true(d.c.presence);
    free(d.frame);
    d = expect("{\"type\":\"subscribe\",\"topic\":\"a\",\"presence\":false}", COMMAND_SUBSCRIBE);
    assert_false(d.c.presence);
    free(d.frame);
    assert_fault("{\"type\":\"subscribe\",\"topic\":\"a\",\"presence\":1}", "presence");
    assert_fault("{\"type\":\"subscribe\",\"topic\":\"a\",\"presence\":null}", "presence");
    assert_fault("{\"type\":\"subscribe\",\"topic\":\"a\",\"presence\":\"true\"}", "presence");
}

static void a_listing_has_limits(void **state)
{
    (void)state;
    static const char *const types[] = {
        "{\"type\":\"topics\",\"limit\":", "{\"type\":\"history\",\"topic\":\"a\",\"limit\":"};
    static const char *const bad[] = {"0", "-1", "-0", "1001", "1.0", "1e2", "\"5\"", "null",
        "4294967297", "18446744073709551617", "99999999999999999999999", "1e400", "[5]"};
    for (size_t k = 0; k < COUNT(types); k++) {
        for (size_t i = 0; i < COUNT(bad); i++) {
            char *text = around(types[k], bad[i], "}");
            assert_fault(text, "limit");
            free(text);
        }
        char *text = around(types[k], "1000", "}");
        struct decoded d = decode(text);
        assert_null(d.c.fault);
        assert_int_equal(d.c.limit, 1000);
        free(d.frame);
        free(text);
    }
    struct decoded d = expect("{\"type\":\"topics\",\"prefix\":\"a\\u0062\",\"after\":\"abc\","
                              "\"pattern\":\"ab:*\",\"topic\":3}",
        COMMAND_TOPICS);
    assert_text(d.c.prefix, "ab");
    assert_text(d.c.after, "abc");
    assert_text(d.c.pattern, "ab:*");
    assert_int_equal(d.c.limit, COMMAND_LIMIT_DEFAULT);
    free(d.frame);
    assert_fault("{\"type\":\"topics\",\"prefix\":1}", "prefix");
    assert_fault("{\"type\":\"topics\",\"prefix\":\"\\ud800\"}", "prefix");
    assert_fault("{\"type\":\"topics\",\"after\":[]}", "after");
    assert_fault("{\"type\":\"topics\",\"pattern\":\"\"}", "pattern");
    assert_fault("{\"type\":\"topics\",\"pattern\":[]}", "pattern");
    assert_kind("{\"type\":\"topics\",\"pattern\":\"\\ud800\"}", COMMAND_BAD_PATTERN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_given_back_as_it_came),
        cmocka_unit_test(an_id_of_another_kind_is_malformed),
        cmocka_unit_test(what_is_wrong_beside_it_leaves_the_id),
        cmocka_unit_test(a_publish_may_ask_for_no_echo),
        cmocka_unit_test(what_begins_like_a_publish_is_what_it_is_in_the_end),
        cmocka_unit_test(types_of_level_2_are_known),
        cmocka_unit_test(a_token_must_be_a_string),
        cmocka_unit_test(a_topic_must_be_there),
        cmocka_unit_test(a_subscription_is_of_a_topic_several_or_a_pattern),
        cmocka_unit_test(several_topics_are_taken_one_by_one),
        cmocka_unit_test(one_bad_topic_of_several_spoils_them_all),
        cmocka_unit_test(since_is_an_epoch_and_an_offset),
        cmocka_unit_test(another_since_is_malformed),
        cmocka_unit_test(a_replay_is_of_topics_and_without_since),
        cmocka_unit_test(a_policy_is_one_of_three),
        cmocka_unit_test(presence_is_true_or_false),
        cmocka_unit_test(a_listing_has_limits),
    };
    return cmocka_run_group_tests_name("command_level2", tests, NULL, NULL);
}
