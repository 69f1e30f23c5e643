#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/ws_mask.h"
#include "proto/ws_out.h"

static void the_head_takes_the_shortest_form_of_the_length(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        size_t size;
        uint8_t head[10];
    } rows[] = {
        {0, 2, {0x81, 0}},
        {125, 2, {0x81, 125}},
        {126, 4, {0x81, 126, 0, 126}},
        {256, 4, {0x81, 126, 1, 0}},
        {65535, 4, {0x81, 126, 0xff, 0xff}},
        {65536, 10, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
        {0x0102030405060708, 10, {0x81, 127, 1, 2, 3, 4, 5, 6, 7, 8}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t head[WS_HEAD_MAX];
        assert_int_equal(ws_head(head, WS_TEXT, rows[i].len), rows[i].size);
        assert_memory_equal(head, rows[i].head, rows[i].size);
    }
}

static void a_frame_is_its_head_and_its_payload(void **state)
{
    (void)state;
    struct buf out = {0};
    ws_frame(&out, WS_TEXT, "Hello", 5);
    ws_frame(&out, WS_PING, NULL, 0);
    ws_frame(&out, WS_BINARY, "\0\1", 2);
    assert_int_equal(out.len, 13);
    assert_memory_equal(out.data, "\x81\x05Hello\x89\x00\x82\x02\0\1", 13);
    buf_fini(&out);
}

static void a_masked_frame_is_the_one_of_the_rfc(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    struct buf out = {0};
    ws_frame_masked(&out, WS_TEXT, "Hello", 5, key);
    assert_int_equal(out.len, 11);
    assert_memory_equal(out.data, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    buf_clear(&out);
    ws_frame_masked(&out, WS_PONG, NULL, 0, key);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "\x8a\x80\x37\xfa\x21\x3d", 6);
    buf_fini(&out);
}

static void a_large_frame_is_masked_whole(void **state)
{
    (void)state;
    static const uint8_t key[4] = {1, 2, 3, 4};
    size_t len = 70001;
    char *payload = calloc(1, len);
    assert_non_null(payload);
    struct buf out = {0};
    ws_frame_masked(&out, WS_BINARY, payload, len, key);
    assert_int_equal(out.len, len + 14);
    assert_memory_equal(out.data, "\x82\xff\0\0\0\0\0\1\x11\x71\1\2\3\4", 14);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(out.data[14 + i], key[i & 3]);
    buf_fini(&out);
    free(payload);
}

static void masking_in_pieces_is_masking_at_once(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0xa1, 0x52, 0x0f, 0xf3};
    uint8_t want[200];
    for (size_t i = 0; i < sizeof want; i++)
        want[i] = (uint8_t)(i * 7) ^ key[i & 3];
    for (size_t start = 0; start <= 9; start++)
        for (size_t cut = start; cut <= sizeof want; cut++) {
            uint8_t bytes[200];
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)(i * 7);
            ws_mask(bytes, start, key, 0);
            ws_mask(bytes + start, cut - start, key, start);
            ws_mask(bytes + cut, sizeof bytes - cut, key, cut);
            assert_memory_equal(bytes, want, sizeof want);
        }
}

static void unmasking_tells_whether_the_text_is_ascii(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0x80, 0x91, 0xa2, 0xf3};
    for (size_t len = 0; len < 80; len++)
        for (size_t odd = 0; odd <= len; odd++) {
            uint8_t bytes[80];
            for (size_t i = 0; i < len; i++)
                bytes[i] = (i == odd ? 0xc3 : 'a') ^ key[i & 3];
            assert_int_equal(ws_mask(bytes, len, key, 0), odd == len);
        }
}

static void a_close_frame_has_code_and_reason(void **state)
{
    (void)state;
    struct buf out = {0};
    ws_close_frame(&out, 1000, "bye");
    ws_close_frame(&out, 4008, "");
    assert_int_equal(out.len, 11);
    assert_memory_equal(out.data,
        "\x88\x05\x03\xe8"
        "bye\x88\x02\x0f\xa8",
        11);
    buf_fini(&out);
}

static void a_close_frame_without_a_code_has_no_body(void **state)
{
    (void)state;
    struct buf out = {0};
    ws_close_frame(&out, WS_NO_CODE, "never sent");
    assert_int_equal(out.len, 2);
    assert_memory_equal(out.data, "\x88\x00", 2);
    buf_fini(&out);
}

static void a_long_reason_is_cut_at_a_character(void **state)
{
    (void)state;
    char reason[201];
    struct buf out = {0};

    memset(reason, 'x', 123);
    reason[123] = '\0';
    ws_close_frame(&out, 1001, reason);
    assert_int_equal(out.data[1], 125);
    assert_int_equal(out.len, 127);

    for (size_t len = 124; len <= 126; len++) {
        memset(reason, 'x', len);
        reason[len] = '\0';
        buf_clear(&out);
        ws_close_frame(&out, 1001, reason);
        assert_int_equal(out.data[1], 125);
    }

    /* U+20AC, three bytes, over the limit by one, by two, and just within it. */
    for (size_t before = 119; before <= 123; before++) {
        memset(reason, 'x', before);
        strcpy(reason + before, "\xe2\x82\xac"
                                "tail");
        buf_clear(&out);
        ws_close_frame(&out, 1001, reason);
        size_t want = before == 119 ? 123 : before == 120 ? 123 : before;
        assert_int_equal(out.data[1], 2 + want);
        assert_memory_equal(out.data + 4, reason, want);
    }
    buf_fini(&out);
}

static void nothing_is_appended_when_there_is_no_memory(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0};
    struct buf out = {.failed = true};
    ws_frame(&out, WS_TEXT, "x", 1);
    ws_frame_masked(&out, WS_TEXT, "x", 1, key);
    ws_close_frame(&out, 1000, "x");
    assert_int_equal(out.len, 0);
    assert_true(out.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_takes_the_shortest_form_of_the_length),
        cmocka_unit_test(a_frame_is_its_head_and_its_payload),
        cmocka_unit_test(a_masked_frame_is_the_one_of_the_rfc),
        cmocka_unit_test(a_large_frame_is_masked_whole),
        cmocka_unit_test(masking_in_pieces_is_masking_at_once),
        cmocka_unit_test(unmasking_tells_whether_the_text_is_ascii),
        cmocka_unit_test(a_close_frame_has_code_and_reason),
        cmocka_unit_test(a_close_frame_without_a_code_has_no_body),
        cmocka_unit_test(a_long_reason_is_cut_at_a_character),
        cmocka_unit_test(nothing_is_appended_when_there_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
