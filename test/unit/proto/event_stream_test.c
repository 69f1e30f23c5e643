#include "proto/event_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/envelope.h"
#include "proto/ws_out.h"

static void assert_text(const struct buf *out, const char *expected)
{
    assert_false(out->failed);
    if (out->len != strlen(expected) || memcmp(out->data, expected, out->len) != 0)
        fail_msg("%.*s is not %s", (int)out->len, out->data ? out->data : "", expected);
}

static void frame_text(struct buf *frames, const char *payload)
{
    ws_frame(frames, WS_TEXT, payload, strlen(payload));
}

static void a_message_has_its_position_for_an_id(void **state)
{
    (void)state;
    struct envelope e = {0};
    struct buf frames = {0}, out = {0};
    envelope_set(&e, TEXT("a"), TEXT(""));
    envelope_append(&frames, &e, TEXT("1"), 1);
    envelope_append(&frames, &e, TEXT("\"id: 7\""), UINT64_MAX);
    event_stream_append(&out, buf_text(&frames), 0xab);
    assert_text(&out, "id: 00000000000000ab:1\n"
                      "data: {\"type\":\"message\",\"topic\":\"a\",\"data\":1,\"offset\":1}\n\n"
                      "id: 00000000000000ab:18446744073709551615\n"
                      "data: {\"type\":\"message\",\"topic\":\"a\",\"data\":\"id: "
                      "7\",\"offset\":18446744073709551615}"
                      "\n\n");
    buf_clear(&out);
    buf_clear(&frames);
    envelope_set(&e, TEXT("a"), TEXT("*"));
    envelope_append(&frames, &e, TEXT("1"), 5);
    event_stream_append(&out, buf_text(&frames), 0);
    assert_text(&out, "data: {\"type\":\"message\",\"topic\":\"a\",\"data\":1,\"offset\":5,"
                      "\"pattern\":\"*\"}\n\n");
    envelope_fini(&e);
    buf_fini(&frames);
    buf_fini(&out);
}

static void what_is_no_message_has_a_type(void **state)
{
    (void)state;
    struct buf frames = {0}, out = {0};
    frame_text(&frames, "{\"type\":\"messages\"}");
    ws_frame(&frames, WS_PING, "x", 1);
    ws_close_frame(&frames, 4008, "too \"slow\"");
    ws_frame(&frames, WS_CLOSE, NULL, 0);
    event_stream_append(&out, buf_text(&frames), 7);
    assert_text(&out,
        "event: hermes\ndata: {\"type\":\"messages\"}\n\n"
        ":\n\n"
        "event: hermes\ndata: {\"type\":\"close\",\"code\":4008,\"reason\":\"too "
        "\\\"slow\\\"\"}\n\n"
        "event: hermes\ndata: {\"type\":\"close\",\"code\":1000,\"reason\":\"\"}\n\n");
    buf_fini(&frames);
    buf_fini(&out);
}

static void offsets_that_start_anew_move_the_id(void **state)
{
    (void)state;
    static const struct {
        uint64_t to;
        const char *id;
    } rows[] = {{0, "id: 00000000000000cd:0\n"}, {12, "id: 00000000000000cd:12\n"},
        {UINT64_MAX, "id: 00000000000000cd:18446744073709551615\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf frames = {0}, out = {0}, expected = {0};
        reply2_gap_anew(&frames, TEXT("\"a\""), 0xcd, 1, rows[i].to);
        event_stream_append(&out, buf_text(&frames), 7);
        buf_appendf(&expected,
            "event: hermes\n%sdata: {\"type\":\"gap\",\"topic\":\"a\",\"from\":1,\"to\":%llu,"
            "\"epoch\":\"00000000000000cd\"}\n\n",
            rows[i].id, (unsigned long long)rows[i].to);
        buf_append(&expected, "", 1);
        assert_text(&out, expected.data);
        buf_fini(&frames);
        buf_fini(&out);
        buf_fini(&expected);
    }
}

static void other_gaps_have_no_id(void **state)
{
    (void)state;
    struct buf frames = {0}, out = {0};
    reply2_gap(&frames, TEXT("\",\\\"epoch\\\":\\\"00000000000000cd\\\"}\""), 1, 2);
    reply2_gap_pattern(&frames, TEXT(",\"epoch\":\"00000000000000cd"));
    event_stream_append(&out, buf_text(&frames), 7);
    assert_false(out.failed);
    assert_null(memmem(out.data, out.len, "id: ", 4));
    buf_clear(&frames);
    buf_clear(&out);
    /* By a pattern: the id is another topic's. */
    reply2_gap_anew(&frames, TEXT("\"a\""), 0xcd, 1, 2);
    event_stream_append(&out, buf_text(&frames), 0);
    assert_text(&out, "event: hermes\ndata: {\"type\":\"gap\",\"topic\":\"a\",\"from\":1,\"to\":2,"
                      "\"epoch\":\"00000000000000cd\"}\n\n");
    buf_fini(&frames);
    buf_fini(&out);
}

static void each_byte_of_a_line_end_is_a_space(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[1,\n2]", "[1, 2]"},
        {"[1,\r2]", "[1, 2]"},
        {"[1,\r\n2]", "[1,  2]"},
        {"[1,\n\r2]", "[1,  2]"},
        {"[\n\n\r\r]", "[    ]"},
        {"\n1\r", " 1 "},
        {"[ 1]", "[ 1]"},
        {"\r\n\r\n1", "    1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf frames = {0}, out = {0}, expected = {0};
        frame_text(&frames, rows[i][0]);
        event_stream_append(&out, buf_text(&frames), 1);
        buf_appendf(&expected, "event: hermes\ndata: %s\n\n", rows[i][1]);
        buf_append(&expected, "", 1);
        assert_text(&out, expected.data);
        buf_fini(&frames);
        buf_fini(&out);
        buf_fini(&expected);
    }
}

static void frames_of_any_length_are_found(void **state)
{
    (void)state;
    static const size_t lengths[] = {1, 125, 126, 127, 65535, 65536, 200000};
    struct buf frames = {0}, out = {0};
    size_t sum = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *payload = malloc(lengths[i]);
        assert_non_null(payload);
        memset(payload, 'x', lengths[i]);
        ws_frame(&frames, WS_TEXT, payload, lengths[i]);
        sum += lengths[i] + strlen("event: hermes\ndata: \n\n");
        free(payload);
    }
    event_stream_append(&out, buf_text(&frames), 1);
    assert_int_equal(out.len, sum);
    buf_fini(&frames);
    buf_fini(&out);
}

static void a_position_is_read_as_it_is_written(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 9, 10, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct buf out = {0};
        struct text epoch;
        uint64_t offset;
        event_stream_id(&out, numbers[i] | 1, numbers[i]);
        struct text id = {out.data + 4, out.len - 5};
        assert_true(event_stream_position(id, &epoch, &offset));
        assert_true(epoch_read(epoch) == (numbers[i] | 1) && offset == numbers[i]);
        buf_fini(&out);
    }
    static const char *const bad[] = {"", ":", "a:", ":1", "a", "1", "a:1x", "a:-1", "a:+1", "a: 1",
        "a:1:2", "a:18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct text epoch;
        uint64_t offset;
        assert_false(event_stream_position(text_of(bad[i]), &epoch, &offset));
    }
}

static void a_refusal_is_json_and_names_the_origin(void **state)
{
    (void)state;
    struct buf out = {0};
    struct event_stream_refusal refusal = {
        .status = 403, .code = ERROR_FORBIDDEN, .message = TEXT("No."), .topic = TEXT("a\"b")};
    event_stream_refuse(&out, &refusal, TEXT("http://a"), false);
    assert_text(&out,
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 67\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n"
        "Access-Control-Allow-Origin: http://a\r\nVary: Origin\r\n\r\n"
        "{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"No.\",\"topic\":\"a\\\"b\"}\n");
    buf_clear(&out);
    refusal.status = 405;
    event_stream_refuse(&out, &refusal, (struct text){NULL, 0}, true);
    assert_text(&out,
        "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\n"
        "Content-Length: 67\r\nCache-Control: no-store\r\nConnection: close\r\nAllow: GET\r\n\r\n");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_its_position_for_an_id),
        cmocka_unit_test(what_is_no_message_has_a_type),
        cmocka_unit_test(offsets_that_start_anew_move_the_id),
        cmocka_unit_test(other_gaps_have_no_id),
        cmocka_unit_test(each_byte_of_a_line_end_is_a_space),
        cmocka_unit_test(frames_of_any_length_are_found),
        cmocka_unit_test(a_position_is_read_as_it_is_written),
        cmocka_unit_test(a_refusal_is_json_and_names_the_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
