/* The scanner against jansson, on input that is UTF-8. They must agree on every text, but for what
 * the scanner takes on purpose and jansson refuses: numbers out of range, lone surrogates, \u0000
 * in a key, and what it refuses on purpose: nesting past JSON_DEPTH_MAX. So jansson is asked about
 * a copy in which such numbers and escapes have been made harmless without touching the grammar. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "fuzz/json_support.h"
#include "proto/json.h"

enum { DIGITS_KEPT = 15 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_exponent(const char *text, size_t at)
{
    return at > 0 && (text[at - 1] == 'e' || text[at - 1] == 'E' ||
                         ((text[at - 1] == '+' || text[at - 1] == '-') && at > 1 &&
                             (text[at - 2] == 'e' || text[at - 2] == 'E')));
}

/* A copy that jansson can take if it can take anything of that grammar: runs of digits cut to a
 * length that fits every number, digits of exponents made 0, and the escapes for zero and for
 * surrogates made ones for other characters. It does not ask where strings begin, and need not: all
 * of that leaves a string a string. */
static size_t harmless(char *to, const char *text, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == 'u' && i > 0 && text[i - 1] == '\\' && len - i > 4) {
            to[out++] = 'u';
            memcpy(to + out, text + i + 1, 4);
            bool hex = strspn(to + out, "0123456789abcdefABCDEF") >= 4;
            if (hex && (to[out] == 'd' || to[out] == 'D' || to[out] == '0'))
                to[out] = '1';
            if (hex) {
                out += 4;
                i += 4;
            }
            continue;
        }
        if (!is_digit(text[i])) {
            to[out++] = text[i];
            continue;
        }
        bool exponent = is_exponent(text, i);
        for (size_t n = 0; i < len && is_digit(text[i]); n++, i++)
            if (n < DIGITS_KEPT)
                to[out++] = exponent ? '0' : text[i];
        i--;
    }
    return out;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Of a valid text: the span is exact, and the same when something stands behind it. */
static void check_span(char *text, size_t len)
{
    const char *start = text;
    const char *end = json_value(text, text + len, &start);
    MUST(end && start < end);
    MUST(!is_space(*start) && !is_space(end[-1]));
    for (const char *at = text; at < start; at++)
        MUST(is_space(*at));
    for (const char *at = end; at < text + len; at++)
        MUST(is_space(*at));
    MUST(json_valid(start, (size_t)(end - start)));

    static const char behind[] = ",]}: ";
    size_t size = (size_t)(end - start);
    char *more = malloc(size + 1);
    MUST(more);
    memcpy(more, start, size);
    for (const char *c = behind; *c; c++) {
        const char *again;
        more[size] = *c;
        MUST(json_value(more, more + size + 1, &again) == more + size && again == more);
    }
    free(more);
}

/* Of a valid text that is a string: decoded as jansson does, and back again. */
static void check_string(const char *text, size_t len, const json_t *expected)
{
    const char *start;
    const char *end = json_value(text, text + len, &start);
    size_t size = (size_t)(end - start);
    char *raw = malloc(size);
    struct text decoded;
    struct buf again = {0};
    MUST(raw);
    memcpy(raw, start, size);
    bool whole = json_string_decode(raw, size, &decoded);
    MUST(whole == (expected != NULL)); /* jansson refuses just the lone surrogates */
    if (whole) {
        MUST(utf8_valid(decoded.at, decoded.len));
        MUST(decoded.len == json_string_length(expected));
        MUST(memcmp(decoded.at, json_string_value(expected), decoded.len) == 0);
        json_string_append(&again, decoded);
        MUST(!again.failed);
        json_t *value = load(again.data, again.len);
        MUST(json_equal(value, expected));
        json_decref(value);
    }
    buf_fini(&again);
    free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size ? size : 1);
    char *tame = calloc(1, size + 8);
    MUST(text && tame);
    if (size)
        memcpy(text, data, size);
    bool valid = json_valid(text, size); /* must be safe whatever the bytes are */
    if (memchr(text, 0, size)) {
        MUST(!valid); /* jansson loses a zero byte behind a number or a word, and goes on */
    } else if (utf8_valid(text, size)) {
        json_t *as_is = load(text, size);
        size_t tame_len = harmless(tame, text, size);
        json_t *tamed = load(tame, tame_len);
        bool too_deep = tamed && depth_of(tame, tame_len) > JSON_DEPTH_MAX;
        MUST(valid == (tamed && !too_deep));
        MUST(valid == json_valid(tame, tame_len));
        MUST(valid || !as_is || too_deep);
        if (valid) {
            check_span(text, size);
            if (json_is_string(tamed))
                check_string(text, size, as_is);
        }
        json_decref(as_is);
        json_decref(tamed);
    }
    free(tame);
    free(text);
    return 0;
}
