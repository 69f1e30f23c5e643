#include "cluster/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "proto/ws_out.h"

static void append_frame(struct buf *out, size_t len)
{
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, len);
    buf_append(out, head, head_len);
    for (size_t i = 0; i < len; i++)
        buf_append_char(out, '7');
}

/* A payload as the script and a broker make it. */
static struct buf made(struct payload *p, size_t frames, size_t len)
{
    struct buf out = {0};
    char place[PAYLOAD_PLACE];
    char head[PAYLOAD_HEAD];
    hex_write(p->epoch, place);
    hex_write(p->offset, place + HEX_DIGITS);
    payload_head(p, head);
    buf_append(&out, place, sizeof place);
    buf_append(&out, head, sizeof head);
    buf_append_text(&out, p->topic);
    for (size_t i = 0; i < frames; i++)
        append_frame(&out, len);
    return out;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 125, 126, 65535, 65536};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct payload p = {.kind = PAYLOAD_MESSAGES,
            .epoch = UINT64_C(0xfedcba9876543210),
            .offset = 17 + i,
            .count = 3,
            .except = UINT64_MAX,
            .topic = TEXT("a:b")};
        struct buf out = made(&p, 3, lens[i]);
        struct payload read;
        assert_true(payload_read(buf_text(&out), &read));
        assert_int_equal(read.kind, PAYLOAD_MESSAGES);
        assert_true(read.epoch == p.epoch && read.offset == p.offset && read.except == p.except);
        assert_int_equal(read.count, 3);
        assert_true(text_equal(read.topic, p.topic));
        assert_ptr_equal(read.frames.at + read.frames.len, out.data + out.len);
        buf_fini(&out);
    }
}

/* Seen to fail without the look at what is left behind the last frame. */
static void what_is_cut_short_or_too_long_is_refused(void **state)
{
    (void)state;
    struct payload p = {
        .kind = PAYLOAD_MESSAGES, .epoch = 1, .offset = 1, .count = 2, .topic = TEXT("topic")};
    struct payload read;
    struct buf out = made(&p, 2, 130);
    for (size_t len = 0; len < out.len; len++) {
        char *exact = malloc(len + 1); /* so that a sanitizer sees a read past it */
        memcpy(exact, out.data, len);
        assert_false(payload_read((struct text){exact, len}, &read));
        free(exact);
    }
    assert_true(payload_read(buf_text(&out), &read));
    buf_append_char(&out, 'x');
    assert_false(payload_read(buf_text(&out), &read));
    buf_fini(&out);
}

/* Each seen to fail without the look that it is for. */
static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct payload wrong[] = {
        {PAYLOAD_MESSAGES, 0, 1, 1, 0, {"t", 1}, {0}},          /* no epoch */
        {PAYLOAD_MESSAGES, 1, 0, 1, 0, {"t", 1}, {0}},          /* no offset */
        {PAYLOAD_MESSAGES, 1, UINT64_MAX, 1, 0, {"t", 1}, {0}}, /* none behind it */
        {PAYLOAD_MESSAGES, 1, 1, 2, 0, {"t", 1}, {0}},          /* another count */
        {PAYLOAD_MESSAGES, 1, 1, 0, 0, {"t", 1}, {0}},          /* none at all */
        {PAYLOAD_MESSAGES, 1, 1, 1, 0, {"", 0}, {0}},           /* no topic */
        {PAYLOAD_EVENT, 1, 1, 1, 0, {"t", 1}, {0}},             /* an event is not counted */
        {(enum payload_kind)'x', 1, 1, 1, 0, {"t", 1}, {0}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct payload p = wrong[i];
        struct payload read;
        struct buf out = made(&p, 1, 5);
        assert_false(payload_read(buf_text(&out), &read));
        buf_fini(&out);
    }
}

static void frames_are_text_and_not_masked(void **state)
{
    (void)state;
    assert_true(payload_frames_good(TEXT("\x81\x01x"), 1));
    assert_false(payload_frames_good(TEXT("\x82\x01x"), 1));
    assert_false(payload_frames_good(TEXT("\x01\x01x"), 1));
    assert_false(payload_frames_good(TEXT("\x81\x81x"), 1));
    assert_false(
        payload_frames_good((struct text){"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10}, 1));
    assert_true(payload_frames_good(TEXT(""), 0));
}

static void digits_are_lower_case_and_at_most_sixteen(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(hex_read(TEXT("00000000000000ff"), &n) && n == 255);
    assert_true(hex_read(TEXT("f"), &n) && n == 15);
    assert_false(hex_read(TEXT(""), &n));
    assert_false(hex_read(TEXT("FF"), &n));
    assert_false(hex_read(TEXT("0x1"), &n));
    assert_false(hex_read(TEXT("00000000000000000"), &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_cut_short_or_too_long_is_refused),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(frames_are_text_and_not_masked),
        cmocka_unit_test(digits_are_lower_case_and_at_most_sixteen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
