#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"

/* A copy of exact size, so that a sanitizer sees a read past the end. */
static char *copy_of(struct text t)
{
    char *copy = malloc(t.len ? t.len : 1);
    assert_non_null(copy);
    if (t.len)
        memcpy(copy, t.at, t.len);
    return copy;
}

static bool valid(struct text t)
{
    char *copy = copy_of(t);
    bool good = json_valid(copy, t.len);
    free(copy);
    return good;
}

#define ROW(literal)                                                                               \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct text good[] = {
    ROW("0"),
    ROW("-0"),
    ROW("-0.0e-0"),
    ROW("10"),
    ROW("170.50"),
    ROW("1e5"),
    ROW("1E+5"),
    ROW("1.5e-05"),
    ROW("1e400"),
    ROW("123456789012345678901234567890"),
    ROW("true"),
    ROW("false"),
    ROW("null"),
    ROW("\"\""),
    ROW("\"a\""),
    ROW("\"\x7F\""),
    ROW("\"\xC3\xA4 \xF0\x9F\x98\x80\""),
    ROW("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    ROW("\"\\u0000\\uABCD\\uabcd\""),
    ROW("\"\\uD83D\\uDE00\\uD800\""),
    ROW("[]"),
    ROW("{}"),
    ROW("[ ]"),
    ROW("{\t}"),
    ROW("[1]"),
    ROW("[1,2 , 3]"),
    ROW("[[],[[]],{}]"),
    ROW("{\"a\":1}"),
    ROW("{\"\":0,\"\":1}"),
    ROW("{ \"a\" : [ 1 , { \"b\" : null } ] , \"c\" : \"}\" }"),
    ROW(" \t\r\n1\n\r\t "),
    ROW("[\"]\",\"[\",{\"}\":\"{\"}]"),
};

static const struct text bad[] = {
    ROW(""),
    ROW(" "),
    ROW("01"),
    ROW("-"),
    ROW("-01"),
    ROW("00"),
    ROW("+1"),
    ROW(".5"),
    ROW("1."),
    ROW("1.e5"),
    ROW("-.5"),
    ROW("1e"),
    ROW("1e+"),
    ROW("1ee5"),
    ROW("0x10"),
    ROW("1_000"),
    ROW("Infinity"),
    ROW("NaN"),
    ROW("[01]"),
    ROW("[1.]"),
    ROW("{\"a\":-}"),
    ROW("True"),
    ROW("tru"),
    ROW("truE"),
    ROW("nulll"),
    ROW("fals"),
    ROW("\""),
    ROW("\"a"),
    ROW("\"\\\""),
    ROW("\"\\"),
    ROW("\"\\x41\""),
    ROW("\"\\'\""),
    ROW("\"\\u12\""),
    ROW("\"\\u123g\""),
    ROW("\"\\u00"),
    ROW("\"\\U0041\""),
    ROW("\"a\nb\""),
    ROW("\"a\0b\""),
    ROW("\"long enough for a word \x1F\""),
    ROW("'a'"),
    ROW("["),
    ROW("]"),
    ROW("[1"),
    ROW("[1,"),
    ROW("[1,]"),
    ROW("[,1]"),
    ROW("[,]"),
    ROW("[1 2]"),
    ROW("[1}"),
    ROW("[1:2]"),
    ROW("{"),
    ROW("}"),
    ROW("{]"),
    ROW("{\"a\"}"),
    ROW("{\"a\":}"),
    ROW("{\"a\":1"),
    ROW("{\"a\":1,"),
    ROW("{\"a\":1,}"),
    ROW("{,}"),
    ROW("{\"a\" 1}"),
    ROW("{\"a\"::1}"),
    ROW("{\"a\":1]"),
    ROW("{a:1}"),
    ROW("{1:1}"),
    ROW("{\"a\":1 \"b\":2}"),
    ROW("{\"a\":1,2}"),
    ROW("[{]}"),
    ROW("1 2"),
    ROW("{} {}"),
    ROW("[]]"),
    ROW("1//"),
    ROW("/**/1"),
    ROW("\xEF\xBB\xBF"
        "1"),
    ROW("\xC2\xA0"
        "1"),
    ROW("\f1"),
    ROW("\v1"),
    ROW("1\0"),
    ROW("\0"),
};

static void what_the_rfc_allows_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!valid(good[i]))
            fail_msg("refused: %.*s", (int)good[i].len, good[i].at);
}

static void what_the_rfc_does_not_allow_is_refused(void **state)
{
    (void)state;
    assert_false(json_valid(NULL, 0));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (valid(bad[i]))
            fail_msg("accepted (row %zu): %.*s", i, (int)bad[i].len, bad[i].at);
}

/* Whole numbers are left out: their beginnings are numbers too. */
static void no_beginning_of_a_text_is_a_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t start = strspn(good[i].at, " \t\r\n");
        if (!strchr("\"[{tfn", good[i].at[start]))
            continue;
        for (size_t len = 0; len < good[i].len; len++)
            assert_false(valid((struct text){good[i].at, len}));
    }
}

static void the_span_is_exact_whatever_stands_around_it(void **state)
{
    (void)state;
    static const struct text before[] = {{"", 0}, {" ", 1}, {"\n\t \r", 4}};
    static const struct text behind[] = {{"", 0}, {" ", 1}, {",1", 2}, {"}", 1}, {" ]", 2}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct text value = good[i];
        while (value.len && strchr(" \t\r\n", value.at[0])) {
            value.at++;
            value.len--;
        }
        while (value.len && strchr(" \t\r\n", value.at[value.len - 1]))
            value.len--;
        for (size_t k = 0; k < sizeof before / sizeof *before; k++) {
            for (size_t m = 0; m < sizeof behind / sizeof *behind; m++) {
                struct buf b = {0};
                buf_append_text(&b, before[k]);
                buf_append_text(&b, value);
                buf_append_text(&b, behind[m]);
                char *copy = copy_of(buf_text(&b));
                const char *start;
                const char *end = json_value(copy, copy + b.len, &start);
                assert_ptr_equal(start, copy + before[k].len);
                assert_ptr_equal(end, start + value.len);
                free(copy);
                buf_fini(&b);
            }
        }
    }
}

static void a_value_ends_where_its_grammar_ends(void **state)
{
    (void)state;
    const char *start;
    const char *text = "01";
    assert_ptr_equal(json_value(text, text + 2, &start), text + 1);
    text = "1.5.2";
    assert_ptr_equal(json_value(text, text + 5, &start), text + 3);
    text = "truefalse";
    assert_ptr_equal(json_value(text, text + 9, &start), text + 4);
}

/* `depth` containers; bit n of `objects`, again and again, tells whether the n-th is an object. */
static void nest(struct buf *b, unsigned depth, uint64_t objects)
{
    for (unsigned i = 0; i < depth; i++)
        buf_append_string(b, objects >> i % 61 & 1 ? "{\"a\":" : "[");
    buf_append_char(b, '0');
    for (unsigned i = depth; i-- > 0;)
        buf_append_char(b, objects >> i % 61 & 1 ? '}' : ']');
}

static void nesting_is_accepted_up_to_the_stated_depth_and_no_further(void **state)
{
    (void)state;
    static const uint64_t patterns[] = {0, UINT64_MAX, 0x5555555555555555, 0x0F3C965A7D124BE1};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        for (unsigned depth = 1; depth <= JSON_DEPTH_MAX + 2; depth++) {
            struct buf b = {0};
            nest(&b, depth, patterns[i]);
            assert_int_equal(valid(buf_text(&b)), depth <= JSON_DEPTH_MAX);
            buf_fini(&b);
        }
    }
}

static void empty_containers_count_as_a_level(void **state)
{
    (void)state;
    for (unsigned depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX; depth++) {
        struct buf b = {0};
        for (unsigned i = 0; i < depth; i++)
            buf_append_char(&b, '[');
        buf_append_string(&b, "{}");
        for (unsigned i = 0; i < depth; i++)
            buf_append_char(&b, ']');
        assert_int_equal(valid(buf_text(&b)), depth < JSON_DEPTH_MAX);
        buf_fini(&b);
    }
}

static void every_container_is_closed_by_its_own_kind(void **state)
{
    (void)state;
    struct buf b = {0};
    nest(&b, 200, 0x0F3C965A7D124BE1);
    assert_true(valid(buf_text(&b)));
    for (size_t i = b.len; i-- > b.len - 200;) {
        b.data[i] = b.data[i] == ']' ? '}' : ']';
        assert_false(valid(buf_text(&b)));
        b.data[i] = b.data[i] == ']' ? '}' : ']';
    }
    buf_fini(&b);
}

/* A million brackets must not cost a stack. */
static void endless_nesting_is_refused(void **state)
{
    (void)state;
    size_t len = 1000000;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '[', len);
    assert_false(json_valid(text, len));
    free(text);
}

/* The end of the number at `at`, by the grammar as the RFC writes it. */
static const char *number_end(const char *at)
{
    const char *digits = "0123456789";
    if (*at == '-')
        at++;
    size_t whole = *at == '0' ? 1 : strspn(at, digits);
    if (whole == 0)
        return NULL;
    at += whole;
    if (*at == '.') {
        size_t fraction = strspn(at + 1, digits);
        if (fraction == 0)
            return NULL;
        at += 1 + fraction;
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-')
            at++;
        size_t exponent = strspn(at, digits);
        return exponent ? at + exponent : NULL;
    }
    return at;
}

static void check_number(const char *text, size_t len)
{
    char *copy = copy_of((struct text){text, len});
    const char *start;
    const char *end = json_value(copy, copy + len, &start);
    const char *expected = number_end(text);
    if (expected)
        assert_ptr_equal(end, copy + (expected - text));
    else
        assert_null(end);
    free(copy);
}

/* Whatever stands behind it, near to the end of the text and far from it. */
static void a_number_of_any_length_ends_where_its_grammar_ends(void **state)
{
    (void)state;
    static const char *const signs[] = {"", "-", "0", "-0"};
    static const char *const tails[] = {"", "e", "E+", "e5", "E-05", "e+123456789012345678", ".",
        "..", ",", ":", "/", "]", "x", "-1", " "};
    for (size_t whole = 0; whole <= 34; whole++) {
        for (size_t fraction = 0; fraction <= 34; fraction++) {
            for (size_t tail = 0; tail < sizeof tails / sizeof *tails; tail++) {
                struct buf b = {0};
                size_t behind = (whole * 7 + fraction * 3 + tail) % 20;
                buf_append_string(&b, signs[(whole + fraction + tail) % 4]);
                for (size_t i = 0; i < whole; i++)
                    buf_append_char(&b, (char)('1' + (i + fraction) % 9));
                if (fraction)
                    buf_append_char(&b, '.');
                for (size_t i = 1; i < fraction; i++)
                    buf_append_char(&b, (char)('0' + i % 10));
                buf_append_string(&b, tails[tail]);
                for (size_t i = 0; i < behind; i++)
                    buf_append_char(&b, ',');
                buf_append_char(&b, '\0');
                if (b.data[0] == '-' || (b.data[0] >= '0' && b.data[0] <= '9'))
                    check_number(b.data, b.len - 1);
                buf_fini(&b);
            }
        }
    }
}

static void space_may_stand_between_all_tokens(void **state)
{
    (void)state;
    static const char *const tokens[] = {"{", "\"a\"", ":", "[", "1", ",", "{", "\"b\"", ":",
        "null", "}", ",", "\"c\"", ",", "[", "]", ",", "{", "}", ",", "[", "-1.5e3", "]", "]", ",",
        "\"\"", ":", "true", "}"};
    enum { TOKENS = sizeof tokens / sizeof *tokens };
    static const struct text fills[] = {{" ", 1}, {"\n", 1}, {"\r", 1}, {"\t", 1}, {" \n\t  \r", 6},
        {"                         ", 25}, {"\f", 1}, {"\0", 1}, {" \x1F", 2}, {"\x7F", 1},
        {"\x80", 1}, {"x", 1}, {"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\x01", 17}};
    for (size_t fill = 0; fill < sizeof fills / sizeof *fills; fill++) {
        for (size_t gap = 0; gap <= TOKENS + 1; gap++) {
            struct buf b = {0};
            for (size_t i = 0; i <= TOKENS; i++) {
                if (i == gap || gap > TOKENS)
                    buf_append_text(&b, fills[fill]);
                if (i < TOKENS)
                    buf_append_string(&b, tokens[i]);
            }
            assert_int_equal(valid(buf_text(&b)), fill < 6);
            buf_fini(&b);
        }
    }
}

static void every_byte_is_judged_wherever_it_stands_in_a_string(void **state)
{
    (void)state;
    for (size_t len = 2; len <= 36; len++) {
        char *text = malloc(len);
        assert_non_null(text);
        for (size_t at = 1; at + 1 < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(text, 'x', len);
                text[0] = text[len - 1] = '"';
                text[at] = (char)c;
                const char *start;
                const char *end = json_value(text, text + len, &start);
                if (c < 0x20 || c == '\\')
                    assert_null(end);
                else if (c == '"')
                    assert_ptr_equal(end, text + at + 1);
                else
                    assert_ptr_equal(end, text + len);
            }
        }
        free(text);
    }
}

static void an_escape_is_read_wherever_it_stands_in_a_string(void **state)
{
    (void)state;
    for (size_t at = 0; at <= 24; at++) {
        for (size_t behind = 0; behind <= 10; behind++) {
            struct buf b = {0};
            buf_append_char(&b, '"');
            for (size_t i = 0; i < at; i++)
                buf_append_char(&b, 'x');
            buf_append_string(&b, "\\\"\\u00e9");
            for (size_t i = 0; i < behind; i++)
                buf_append_char(&b, 'y');
            buf_append_char(&b, '"');
            assert_true(valid(buf_text(&b)));
            assert_false(valid((struct text){b.data, b.len - 1}));
            buf_fini(&b);
        }
    }
}

/* `escaped` is between quotes already. */
static void assert_decodes(struct text escaped, struct text expected)
{
    char *copy = copy_of(escaped);
    struct text out;
    assert_true(json_valid(copy, escaped.len));
    assert_true(json_string_decode(copy, escaped.len, &out));
    assert_true(out.at >= copy && out.at + out.len < copy + escaped.len);
    assert_int_equal(out.len, expected.len);
    assert_memory_equal(out.at, expected.at, expected.len);
    free(copy);
}

static void escapes_are_decoded_in_place(void **state)
{
    (void)state;
    assert_decodes(TEXT("\"\""), TEXT(""));
    assert_decodes(TEXT("\"plain\""), TEXT("plain"));
    assert_decodes(TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), TEXT("\"\\/\b\f\n\r\t"));
    assert_decodes(TEXT("\"a\\u0041b\""), TEXT("aAb"));
    assert_decodes(TEXT("\"\\u0000\""), TEXT("\0"));
    assert_decodes(TEXT("\"\\u007f\\u0080\\u07FF\\u0800\\uFFFF\""),
        TEXT("\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF"));
    assert_decodes(
        TEXT("\"\\ud800\\udc00\\uDBFF\\uDFFF!\""), TEXT("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF!"));
    assert_decodes(TEXT("\"x\\uD83D\\uDE00y\""), TEXT("x\xF0\x9F\x98\x80y"));
    assert_decodes(TEXT("\"\\\\u0041\""), TEXT("\\u0041"));
}

static void a_string_without_escapes_is_not_written_to(void **state)
{
    (void)state;
    struct text out;
    char raw[] = "\"caf\xC3\xA9\"";
    assert_true(json_string_decode(raw, sizeof raw - 1, &out));
    assert_string_equal(raw, "\"caf\xC3\xA9\"");
    assert_ptr_equal(out.at, raw + 1);
}

static void a_lone_surrogate_cannot_be_decoded(void **state)
{
    (void)state;
    static const char *const lone[] = {"\"\\ud800\"", "\"\\udc00\"", "\"\\udfff\\ud800\"",
        "\"\\ud800x\"", "\"\\ud800\\n\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"",
        "\"\\udbff\\ue000\"", "\"\\ud83d\\ude00\\ud83d\"", "\"\\ud800xxdc00\"",
        "\"\\ud800\\\\dc00\""};
    for (size_t i = 0; i < sizeof lone / sizeof *lone; i++) {
        struct text out;
        struct text raw = text_of(lone[i]);
        char *copy = copy_of(raw);
        assert_true(json_valid(copy, raw.len));
        assert_false(json_string_decode(copy, raw.len, &out));
        free(copy);
    }
}

static void assert_appends(struct text t, const char *expected)
{
    struct buf b = {0};
    json_string_append(&b, t);
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.data, expected, b.len);
    buf_fini(&b);
}

static void only_what_must_be_is_escaped(void **state)
{
    (void)state;
    assert_appends((struct text){NULL, 0}, "\"\"");
    assert_appends(TEXT("plain / \x7F caf\xC3\xA9"), "\"plain / \x7F caf\xC3\xA9\"");
    assert_appends(TEXT("\"\\"), "\"\\\"\\\\\"");
    assert_appends(TEXT("a\nb\tc\rd\be\ff"), "\"a\\nb\\tc\\rd\\be\\ff\"");
    assert_appends(TEXT("\0\x01\x0B\x1F"), "\"\\u0000\\u0001\\u000b\\u001f\"");
}

static void what_was_appended_decodes_to_the_same(void **state)
{
    (void)state;
    char t[40];
    for (unsigned c = 0; c < 0x80; c++) {
        for (size_t at = 0; at < sizeof t; at++) {
            memset(t, 'x', sizeof t);
            t[at] = (char)c;
            for (size_t len = at + 1; len <= sizeof t; len += 13) {
                struct buf b = {0};
                json_string_append(&b, (struct text){t, len});
                assert_decodes(buf_text(&b), (struct text){t, len});
                buf_fini(&b);
            }
        }
    }
}

static void a_key_ends_where_its_value_must_start(void **state)
{
    (void)state;
    const char *text = "\"a\" : 1";
    const char *key_end;
    assert_ptr_equal(json_key(text, text + 7, &key_end), text + 6);
    assert_ptr_equal(key_end, text + 3);
    assert_null(json_key(text, text + 4, &key_end));
    assert_null(json_key(text, text, &key_end));
    assert_null(json_key(text + 6, text + 7, &key_end));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_rfc_allows_is_accepted),
        cmocka_unit_test(what_the_rfc_does_not_allow_is_refused),
        cmocka_unit_test(no_beginning_of_a_text_is_a_text),
        cmocka_unit_test(the_span_is_exact_whatever_stands_around_it),
        cmocka_unit_test(a_value_ends_where_its_grammar_ends),
        cmocka_unit_test(nesting_is_accepted_up_to_the_stated_depth_and_no_further),
        cmocka_unit_test(empty_containers_count_as_a_level),
        cmocka_unit_test(every_container_is_closed_by_its_own_kind),
        cmocka_unit_test(endless_nesting_is_refused),
        cmocka_unit_test(a_number_of_any_length_ends_where_its_grammar_ends),
        cmocka_unit_test(space_may_stand_between_all_tokens),
        cmocka_unit_test(every_byte_is_judged_wherever_it_stands_in_a_string),
        cmocka_unit_test(an_escape_is_read_wherever_it_stands_in_a_string),
        cmocka_unit_test(escapes_are_decoded_in_place),
        cmocka_unit_test(a_string_without_escapes_is_not_written_to),
        cmocka_unit_test(a_lone_surrogate_cannot_be_decoded),
        cmocka_unit_test(only_what_must_be_is_escaped),
        cmocka_unit_test(what_was_appended_decodes_to_the_same),
        cmocka_unit_test(a_key_ends_where_its_value_must_start),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
