#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

/* How many bytes a character with that first byte has, by its high bits alone; 0 for none. */
static size_t length_of(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if ((lead & 0xE0) == 0xC0)
        return 2;
    if ((lead & 0xF0) == 0xE0)
        return 3;
    return (lead & 0xF8) == 0xF0 ? 4 : 0;
}

/* By arithmetic on the code point, where the code under test goes by ranges of bytes. */
static bool is_character(const uint8_t *b, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (len == 0 || length_of(b[0]) != len)
        return false;
    uint32_t c = len == 1 ? b[0] : b[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return false;
        c = c << 6 | (b[i] & 0x3F);
    }
    return c >= least[len] && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
}

/* Whether some character begins with these bytes, fewer than it has: tried with the lowest and the
 * highest bytes behind, which is enough, because what may follow is one range each time. */
static bool begins_character(const uint8_t *b, size_t len)
{
    uint8_t low[4] = {0x80, 0x80, 0x80, 0x80};
    uint8_t high[4] = {0xBF, 0xBF, 0xBF, 0xBF};
    size_t whole = length_of(b[0]);
    if (whole <= len)
        return false;
    memcpy(low, b, len);
    memcpy(high, b, len);
    return is_character(low, whole) || is_character(high, whole);
}

static void check(const uint8_t *b, size_t len)
{
    uint32_t state = utf8_check(UTF8_START, b, len);
    if (is_character(b, len)) {
        assert_int_equal(state, UTF8_START);
    } else if (begins_character(b, len)) {
        assert_int_not_equal(state, UTF8_START);
        assert_int_not_equal(state, UTF8_REJECT);
    } else {
        assert_int_equal(state, UTF8_REJECT);
    }
}

/* One character at most: longer runs are for the tests below. */
static void every_sequence_is_judged_at_the_first_byte_that_tells(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xFF};
    for (unsigned a = 0; a < 256; a++) {
        uint8_t b[4] = {(uint8_t)a};
        check(b, 1);
        if (length_of(b[0]) < 2)
            continue;
        for (unsigned two = 0; two < 256; two++) {
            b[1] = (uint8_t)two;
            check(b, 2);
            if (length_of(b[0]) < 3 || !begins_character(b, 2))
                continue;
            for (unsigned three = 0; three < 256; three++) {
                b[2] = (uint8_t)three;
                check(b, 3);
                if (length_of(b[0]) < 4 || !begins_character(b, 3))
                    continue;
                for (size_t i = 0; i < sizeof edges; i++) {
                    b[3] = edges[i];
                    check(b, 4);
                }
            }
        }
    }
}

static void surrogates_overlong_forms_and_the_beyond_are_refused_early(void **state)
{
    (void)state;
    assert_int_equal(utf8_check(UTF8_START, "\xED\xA0", 2), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_START, "\xF4\x90", 2), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_START, "\xE0\x9F", 2), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_START, "\xF0\x8F", 2), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_START, "\xC0", 1), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_START, "\xF5", 1), UTF8_REJECT);
    assert_true(utf8_valid("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF", 10));
    assert_true(utf8_valid("\xEF\xBF\xBF\xEF\xB7\x90", 6)); /* noncharacters are characters here */
}

static const char sample[] =
    "plain ASCII first, then \xC3\xA4\xC3\xB6\xC3\xBC, \xE6\x97\xA5\xE6\x9C"
    "\xAC\xE8\xAA\x9E, \xF0\x9F\x98\x80\xF0\x9F\x98\x81 and a long tail of "
    "ASCII that is more than thirty-two bytes";

static void a_text_in_any_two_pieces_gives_the_same(void **state)
{
    (void)state;
    size_t len = sizeof sample - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        uint32_t half = utf8_check(UTF8_START, sample, cut);
        assert_int_not_equal(half, UTF8_REJECT);
        assert_int_equal(utf8_check(half, sample + cut, len - cut), UTF8_START);
    }
}

static void a_text_byte_by_byte_gives_the_same(void **state)
{
    (void)state;
    uint32_t now = UTF8_START;
    for (size_t i = 0; i < sizeof sample - 1; i++)
        now = utf8_check(now, sample + i, 1);
    assert_int_equal(now, UTF8_START);
}

/* Where a check stands behind the text, one character after the other. */
static uint32_t slow(const uint8_t *b, size_t len)
{
    enum { BEGUN = 99 }; /* any state but the two that have names */
    while (len > 0) {
        size_t size = length_of(b[0]);
        if (size == 0 || size > len)
            return size && begins_character(b, len) ? BEGUN : UTF8_REJECT;
        if (!is_character(b, size))
            return UTF8_REJECT;
        b += size;
        len -= size;
    }
    return UTF8_START;
}

static void check_text(const uint8_t *b, size_t len, size_t cut)
{
    uint32_t expected = slow(b, len);
    uint32_t now = utf8_check(UTF8_START, b, len);
    uint32_t pieces = utf8_check(utf8_check(UTF8_START, b, cut), b + cut, len - cut);
    assert_int_equal(pieces, now);
    if (expected == UTF8_START || expected == UTF8_REJECT) {
        assert_int_equal(now, expected);
    } else {
        assert_int_not_equal(now, UTF8_START);
        assert_int_not_equal(now, UTF8_REJECT);
    }
}

static const struct text odd[] = {{"\xC3\xA4", 2}, {"\xE0\xA0\x80", 3}, {"\xED\x9F\xBF", 3},
    {"\xEF\xBF\xBF", 3}, {"\xF0\x90\x80\x80", 4}, {"\xF4\x8F\xBF\xBF", 4}, {"\x80", 1}, {"\xBF", 1},
    {"\xC0\x80", 2}, {"\xC1\xBF", 2}, {"\xC0", 1}, {"\xC2", 1}, {"\xDF", 1}, {"\xE0\x9F\xBF", 3},
    {"\xE1\x80", 2}, {"\xED\xA0\x80", 3}, {"\xEE", 1}, {"\xF0\x8F\xBF\xBF", 4}, {"\xF1\x80\x80", 3},
    {"\xF4\x90\x80\x80", 4}, {"\xF5\x80\x80\x80", 4}, {"\xF8", 1}, {"\xFF", 1}, {"\xC3\xA4\x80", 3},
    {"\xE6\x97\xA5\x80", 4}, {"\xF0\x9F\x98\x80\x80", 5}};

static const struct text fillings[] = {
    {"a", 1}, {"\xC3\xA4", 2}, {"\xE6\x97\xA5", 3}, {"\xF0\x9F\x98\x80", 4}, {"ab\xC3\xA4", 4}};

/* All lengths, at all places of a block, with every odd sequence at every position: written over
 * what stands there, so that the characters around it are broken, too. */
static void every_sequence_is_judged_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 130; len++) {
        for (size_t place = 0; place < 16; place += len % 3 + 1) {
            /* On the heap and of exact size, so that a sanitizer sees a read past the end. */
            uint8_t *base = malloc(place + len ? place + len : 1);
            assert_non_null(base);
            memset(base, 0xC3, place);
            uint8_t *b = base + place;
            struct text filling = fillings[(len + place) % (sizeof fillings / sizeof *fillings)];
            for (size_t at = 0; at <= len; at++) {
                for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
                    for (size_t k = 0; k < len; k++)
                        b[k] = (uint8_t)filling.at[k % filling.len];
                    size_t size = odd[i].len < len - at ? odd[i].len : len - at;
                    memcpy(b + at, odd[i].at, size);
                    check_text(b, len, (at + i) % (len + 1));
                }
            }
            free(base);
        }
    }
}

static void any_bytes_are_judged_as_one_by_one(void **state)
{
    (void)state;
    static const uint8_t tricky[] = {'a', 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
        0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    uint32_t random = 1;
    for (unsigned round = 0; round < 300000; round++) {
        uint8_t b[70];
        /* Whole characters, and at times something else: so that many are valid for long. */
        size_t len = 0;
        while (len + 5 <= sizeof b) {
            random = random * 1664525 + 1013904223;
            size_t which = random >> 24;
            struct text next = which < 250 ? odd[which % 6] : odd[which % 26];
            if (which < 100)
                next = fillings[which % 5];
            memcpy(b + len, next.at, next.len);
            len += next.len;
        }
        random = random * 1664525 + 1013904223;
        if (random >> 30 == 0)
            b[(random >> 8) % len] = tricky[(random >> 16) % sizeof tricky];
        check_text(b, len - random % 3, random % 40);
    }
}

/* On the heap and of exact size, so that a sanitizer sees a read past the end. */
static void a_bad_byte_is_found_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 80; len++) {
        uint8_t *b = malloc(len);
        assert_non_null(b);
        memset(b, 'a', len);
        assert_true(utf8_valid(b, len));
        for (size_t i = 0; i < len; i++) {
            b[i] = 0x80;
            assert_int_equal(utf8_check(UTF8_START, b, len), UTF8_REJECT);
            b[i] = 0xC3;
            assert_int_equal(utf8_check(UTF8_START, b, i + 1) == UTF8_REJECT, false);
            assert_false(utf8_valid(b, len));
            b[i] = 'a';
        }
        free(b);
    }
}

static void a_rejected_text_stays_rejected(void **state)
{
    (void)state;
    assert_int_equal(utf8_check(UTF8_REJECT, "fine", 4), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_REJECT, "", 0), UTF8_REJECT);
}

static void an_unfinished_character_is_no_whole_text(void **state)
{
    (void)state;
    assert_false(utf8_valid("abc\xE6\x97", 5));
    assert_false(utf8_valid("\xE6\x97"
                            "abc",
        5));
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid(NULL, 0));
    assert_true(utf8_valid("\0", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sequence_is_judged_at_the_first_byte_that_tells),
        cmocka_unit_test(surrogates_overlong_forms_and_the_beyond_are_refused_early),
        cmocka_unit_test(a_text_in_any_two_pieces_gives_the_same),
        cmocka_unit_test(a_text_byte_by_byte_gives_the_same),
        cmocka_unit_test(every_sequence_is_judged_wherever_it_stands),
        cmocka_unit_test(any_bytes_are_judged_as_one_by_one),
        cmocka_unit_test(a_bad_byte_is_found_wherever_it_stands),
        cmocka_unit_test(a_rejected_text_stays_rejected),
        cmocka_unit_test(an_unfinished_character_is_no_whole_text),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
