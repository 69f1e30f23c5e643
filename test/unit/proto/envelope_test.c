#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/envelope.h"
#include "unit/proto/frames.h"

#define NONE TEXT("")

static void an_envelope_holds_topic_data_and_offset(void **state)
{
    (void)state;
    struct envelope e = {0};
    struct buf out = {0};
    envelope_set(&e, TEXT("stock:A"), NONE);
    envelope_append(&out, &e, TEXT("170.50"), 1);
    assert_frame(&out, "{\"type\":\"message\",\"topic\":\"stock:A\",\"data\":170.50,\"offset\":1}");
    envelope_append(&out, &e, TEXT("{\"b\":1, \"a\":[null]}"), UINT64_MAX);
    assert_frame(&out, "{\"type\":\"message\",\"topic\":\"stock:A\",\"data\":{\"b\":1, "
                       "\"a\":[null]},\"offset\":18446744073709551615}");
    envelope_fini(&e);
    buf_fini(&out);
}

static void an_envelope_names_the_pattern_it_came_by(void **state)
{
    (void)state;
    struct envelope e = {0};
    struct buf out = {0};
    envelope_set(&e, TEXT("a:\"b"), TEXT("a:*\\"));
    envelope_append(&out, &e, TEXT("1"), 20);
    assert_frame(&out, "{\"type\":\"message\",\"topic\":\"a:\\\"b\",\"data\":1,\"offset\":20,"
                       "\"pattern\":\"a:*\\\\\"}");
    envelope_fini(&e);
    buf_fini(&out);
}

static void an_envelope_is_set_again_and_again(void **state)
{
    (void)state;
    struct envelope e = {0};
    struct buf out = {0};
    envelope_set(&e, TEXT("a much longer topic"), TEXT("and a pattern"));
    envelope_set(&e, TEXT("b"), NONE);
    envelope_append(&out, &e, TEXT("true"), 10);
    assert_frame(&out, "{\"type\":\"message\",\"topic\":\"b\",\"data\":true,\"offset\":10}");
    envelope_fini(&e);
    envelope_set(&e, TEXT("c"), TEXT(">"));
    envelope_append(&out, &e, TEXT("0"), 0);
    assert_frame(
        &out, "{\"type\":\"message\",\"topic\":\"c\",\"data\":0,\"offset\":0,\"pattern\":\">\"}");
    envelope_fini(&e);
    buf_fini(&out);
}

/* For whoever reads the topic from a frame that was written. */
static void the_topic_stands_where_it_is_said_to_stand(void **state)
{
    (void)state;
    static const char *const topics[] = {"a", "\"quoted\"", "caf\xC3\xA9", "tab\t"};
    static const char *const strings[] = {
        "\"a\"", "\"\\\"quoted\\\"\"", "\"caf\xC3\xA9\"", "\"tab\\t\""};
    struct envelope e = {0};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        buf_clear(&out);
        envelope_set(&e, text_of(topics[i]), NONE);
        envelope_append(&out, &e, TEXT("1"), 1);
        struct text found = {out.data + 2 + ENVELOPE_TOPIC_AT, e.topic_len};
        assert_true(text_equal(found, text_of(strings[i])));
    }
    envelope_fini(&e);
    buf_fini(&out);
}

/* Lengths around those at which the header of a frame grows. */
static void an_envelope_of_any_length_is_one_whole_frame(void **state)
{
    (void)state;
    static const size_t lengths[] = {124, 125, 126, 127, 65534, 65535, 65536, 65537, 200000};
    struct envelope e = {0};
    envelope_set(&e, TEXT("t"), NONE);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct buf data = {0};
        struct buf payload = {0};
        struct buf out = {0};
        buf_append_string(&out, "kept");
        buf_append_string(&payload, "{\"type\":\"message\",\"topic\":\"t\",\"data\":");
        size_t around = payload.len + strlen(",\"offset\":77}");
        buf_append_char(&data, '"');
        while (data.len + 1 < lengths[i] - around)
            buf_append_char(&data, (char)('a' + data.len % 26));
        buf_append_char(&data, '"');
        buf_append_text(&payload, buf_text(&data));
        buf_append_string(&payload, ",\"offset\":77}");
        assert_int_equal(payload.len, lengths[i]);
        envelope_append(&out, &e, buf_text(&data), 77);
        assert_memory_equal(out.data, "kept", 4);
        assert_frame_behind(&out, 4, buf_text(&payload));
        buf_fini(&data);
        buf_fini(&payload);
        buf_fini(&out);
    }
    envelope_fini(&e);
}

static void every_number_of_digits_is_written(void **state)
{
    (void)state;
    struct envelope e = {0};
    struct buf out = {0};
    envelope_set(&e, TEXT("t"), NONE);
    uint64_t offset = 9;
    for (int digits = 1; digits <= 19; digits++, offset = offset * 10 + 9) {
        for (uint64_t more = 0; more <= 1; more++) {
            struct buf payload = {0};
            buf_appendf(&payload,
                "{\"type\":\"message\",\"topic\":\"t\",\"data\":[],\"offset\":%llu}",
                (unsigned long long)(offset + more));
            envelope_append(&out, &e, TEXT("[]"), offset + more);
            assert_frame_behind(&out, 0, buf_text(&payload));
            buf_fini(&payload);
        }
    }
    envelope_fini(&e);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_holds_topic_data_and_offset),
        cmocka_unit_test(an_envelope_names_the_pattern_it_came_by),
        cmocka_unit_test(an_envelope_is_set_again_and_again),
        cmocka_unit_test(the_topic_stands_where_it_is_said_to_stand),
        cmocka_unit_test(an_envelope_of_any_length_is_one_whole_frame),
        cmocka_unit_test(every_number_of_digits_is_written),
    };
    return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
