#include "proto/json_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LONGEST = 130, FAR = 600, PLACES = 16 };

static bool is_stop(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* The stops at the edges of what they are, and what comes next to them, or next to them once bits
 * have been flipped. */
static const unsigned char specials[] = {0x00, 0x02, 0x1F, '"', '\\', 0x20, 0x21, 0x23, 0x5B, 0x5D,
    0x5E, 0x7F, 0x80, 0x9F, 0xA0, 0xA1, 0xA2, 0xA3, 0xDC, 0xDD, 0xDE, 0xDF, 0xFD, 0xFF};

static const unsigned char fillings[] = {'x', ' ', '!', '#', ']', 0xA1, 0xFF};

/* On the heap and of exact size, with the text at its end, so that a sanitizer sees a read past it.
 */
static char *filled(size_t place, size_t len, unsigned char filling)
{
    char *text = malloc(place + len ? place + len : 1);
    assert_non_null(text);
    memset(text, 0, place);
    memset(text + place, filling, len);
    return text;
}

static void check(const char *text, const char *end, const char *expected)
{
    assert_ptr_equal(json_run_end(text, end), expected);
    assert_ptr_equal(json_run_short(text, end), expected);
}

static void a_stop_is_found_wherever_it_stands_and_nothing_else_is(void **state)
{
    (void)state;
    for (size_t len = 0; len <= LONGEST; len++) {
        for (size_t place = 0; place < PLACES; place++) {
            unsigned char filling = fillings[(len + place) % sizeof fillings];
            char *base = filled(place, len, filling);
            char *text = base + place;
            check(text, text + len, text + len);
            for (size_t at = 0; at < len; at++) {
                for (size_t i = 0; i < sizeof specials; i++) {
                    text[at] = (char)specials[i];
                    check(text, text + len, text + (is_stop(specials[i]) ? at : len));
                }
                text[at] = (char)filling;
            }
            free(base);
        }
    }
}

static void every_byte_is_judged_at_every_place_of_a_block(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 40; len++) {
        char *text = filled(0, len, 'x');
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                check(text, text + len, text + (is_stop((unsigned char)c) ? at : len));
            }
            text[at] = 'x';
        }
        free(text);
    }
}

static void a_stop_far_away_is_found(void **state)
{
    (void)state;
    for (size_t len = LONGEST; len <= FAR; len++) {
        char *text = filled(0, len, fillings[len % sizeof fillings]);
        unsigned char filling = (unsigned char)text[0];
        check(text, text + len, text + len);
        for (size_t at = 0; at < len; at++) {
            text[at] = (char)(at % 3 == 0 ? '"' : at % 3 == 1 ? '\\' : 0x1F);
            check(text, text + len, text + at);
            text[at] = (char)filling;
        }
        free(text);
    }
}

static void the_first_of_two_stops_counts(void **state)
{
    (void)state;
    char *text = filled(0, LONGEST, 'x');
    for (size_t first = 0; first < LONGEST; first++) {
        for (size_t second = first + 1; second < LONGEST; second++) {
            text[first] = first % 2 ? '"' : '\n';
            text[second] = second % 2 ? '\\' : '"';
            check(text, text + LONGEST, text + first);
            text[first] = text[second] = 'x';
        }
    }
    free(text);
}

/* What json_string_end should say; of escapes only \n and \u0041 come in the tests. */
static const char *string_end(const char *at, const char *end)
{
    for (; at < end; at++) {
        if (*at == '"')
            return at + 1;
        if (*at == '\\' && end - at >= 6 && memcmp(at, "\\u0041", 6) == 0)
            at += 5;
        else if (*at == '\\' && end - at >= 2 && at[1] == 'n')
            at++;
        else if (is_stop((unsigned char)*at))
            return NULL;
    }
    return NULL;
}

static void a_string_ends_behind_its_quote_whatever_its_length(void **state)
{
    (void)state;
    for (size_t len = 0; len <= FAR; len += len < LONGEST ? 1 : 29) {
        char *text = filled(0, len, 'x');
        assert_null(json_string_end(text, text + len));
        for (size_t at = 0; at < len; at++) {
            static const char stops[] = {'"', '\\', 0x1F, 0};
            for (size_t i = 0; i < sizeof stops; i++) {
                text[at] = stops[i];
                assert_ptr_equal(json_string_end(text, text + len), string_end(text, text + len));
            }
            text[at] = 'x';
        }
        free(text);
    }
}

static void escapes_are_stepped_over_wherever_they_stand(void **state)
{
    (void)state;
    static const char *const escapes[] = {"\\n", "\\u0041", "\\n\\n", "\\u004", "\\x", "\\"};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        size_t size = strlen(escapes[i]);
        for (size_t len = size; len <= 2 * LONGEST; len += len < LONGEST ? 1 : 13) {
            for (size_t at = 0; at + size <= len; at++) {
                for (int closed = 0; closed < 2; closed++) {
                    char *text = filled(0, len + (size_t)closed, 'x');
                    memcpy(text + at, escapes[i], size);
                    if (closed)
                        text[len] = '"';
                    const char *end = text + len + closed;
                    assert_ptr_equal(json_string_end(text, end), string_end(text, end));
                    free(text);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_is_found_wherever_it_stands_and_nothing_else_is),
        cmocka_unit_test(every_byte_is_judged_at_every_place_of_a_block),
        cmocka_unit_test(a_stop_far_away_is_found),
        cmocka_unit_test(the_first_of_two_stops_counts),
        cmocka_unit_test(a_string_ends_behind_its_quote_whatever_its_length),
        cmocka_unit_test(escapes_are_stepped_over_wherever_they_stand),
    };
    return cmocka_run_group_tests_name("json_run", tests, NULL, NULL);
}
