#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/reply.h"

/* One whole text frame with that payload, behind `from` bytes; then the buffer is emptied. */
static void assert_frame(struct buf *out, size_t from, struct text payload)
{
    const uint8_t *frame = (const uint8_t *)out->data + from;
    size_t head = payload.len < 126 ? 2 : payload.len < 65536 ? 4 : 10;
    assert_false(out->failed);
    assert_int_equal(out->len, from + head + payload.len);
    assert_int_equal(frame[0], 0x81);
    if (head == 2) {
        assert_int_equal(frame[1], payload.len);
    } else {
        uint64_t len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | frame[i];
        assert_int_equal(frame[1], head == 4 ? 126 : 127);
        assert_int_equal(len, payload.len);
    }
    assert_memory_equal(frame + head, payload.at, payload.len);
    assert_true(json_valid((const char *)frame + head, payload.len));
    buf_clear(out);
}

static void the_texts_are_those_of_the_protocol(void **state)
{
    (void)state;
    struct buf out = {0};
    reply_info(&out);
    assert_frame(&out, 0,
        TEXT("{\"type\":\"info\",\"message\":\"Connected to HERMES WebSocket server. "
             "Send {\\\"type\\\":\\\"subscribe\\\",\\\"topic\\\":\\\"...\\\"} to receive, "
             "{\\\"topic\\\":\\\"...\\\",\\\"data\\\":...} to publish.\"}"));
    reply_subscribed(&out, TEXT("stock:A"));
    assert_frame(&out, 0,
        TEXT("{\"type\":\"ack_subscribe\",\"topic\":\"stock:A\","
             "\"message\":\"Successfully subscribed to stock:A\"}"));
    reply_unsubscribed(&out, TEXT("stock:A"));
    assert_frame(&out, 0,
        TEXT("{\"type\":\"ack_unsubscribe\",\"topic\":\"stock:A\","
             "\"message\":\"Successfully unsubscribed from stock:A\"}"));
    reply_not_subscribed(&out, TEXT("stock:A"));
    assert_frame(&out, 0, TEXT("{\"type\":\"error\",\"message\":\"Not subscribed to stock:A\"}"));
    reply_bad_json(&out);
    assert_frame(&out, 0, TEXT("{\"type\":\"error\",\"message\":\"Message must be valid JSON.\"}"));
    reply_malformed(&out);
    assert_frame(&out, 0,
        TEXT("{\"type\":\"error\",\"message\":\"Malformed message or unknown type. Expected "
             "{\\\"type\\\":\\\"subscribe\\\"|\\\"unsubscribe\\\",\\\"topic\\\":\\\"...\\\"} or "
             "{\\\"topic\\\":\\\"...\\\",\\\"data\\\":...}.\"}"));
    reply_binary(&out);
    assert_frame(&out, 0,
        TEXT("{\"type\":\"error\","
             "\"message\":\"Binary messages are not supported. Send JSON as text.\"}"));
    reply_error(&out, TEXT("Topic is longer than the limit."));
    assert_frame(
        &out, 0, TEXT("{\"type\":\"error\",\"message\":\"Topic is longer than the limit.\"}"));
    buf_fini(&out);
}

static void a_topic_is_escaped_wherever_it_stands(void **state)
{
    (void)state;
    struct text topic = TEXT("a\"\\\n\xC3\xA9");
    struct buf out = {0};
    reply_subscribed(&out, topic);
    assert_frame(&out, 0,
        TEXT("{\"type\":\"ack_subscribe\",\"topic\":\"a\\\"\\\\\\n\xC3\xA9\","
             "\"message\":\"Successfully subscribed to a\\\"\\\\\\n\xC3\xA9\"}"));
    reply_not_subscribed(&out, topic);
    assert_frame(&out, 0,
        TEXT("{\"type\":\"error\",\"message\":\"Not subscribed to a\\\"\\\\\\n\xC3\xA9\"}"));
    reply_error(&out, TEXT("a \"quoted\" word"));
    assert_frame(&out, 0, TEXT("{\"type\":\"error\",\"message\":\"a \\\"quoted\\\" word\"}"));
    buf_fini(&out);
}

static void replies_follow_each_other(void **state)
{
    (void)state;
    struct buf out = {0};
    buf_append_string(&out, "before");
    reply_bad_json(&out);
    size_t first = out.len;
    reply_not_subscribed(&out, TEXT("x"));
    assert_memory_equal(out.data, "before\x81", 7);
    assert_frame(&out, first, TEXT("{\"type\":\"error\",\"message\":\"Not subscribed to x\"}"));
    buf_fini(&out);
}

/* Lengths around those at which the header of a frame grows. */
static void a_reply_of_any_length_is_one_whole_frame(void **state)
{
    (void)state;
    static const char before[] = "{\"type\":\"error\",\"message\":\"";
    static const size_t lengths[] = {124, 125, 126, 127, 65534, 65535, 65536, 65537, 200000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct buf message = {0};
        struct buf payload = {0};
        struct buf out = {0};
        while (message.len < lengths[i] - (sizeof before - 1) - 2)
            buf_append_char(&message, (char)('a' + message.len % 26));
        buf_append_string(&payload, before);
        buf_append_text(&payload, buf_text(&message));
        buf_append_string(&payload, "\"}");
        assert_int_equal(payload.len, lengths[i]);
        reply_error(&out, buf_text(&message));
        assert_frame(&out, 0, buf_text(&payload));
        buf_fini(&message);
        buf_fini(&payload);
        buf_fini(&out);
    }
}

static void topics_lists_rows_and_says_where_more_follow(void **state)
{
    (void)state;
    struct buf rows = {0};
    struct buf out = {0};
    reply_topics(&out, buf_text(&rows), NULL);
    assert_frame(&out, 0, TEXT("{\"type\":\"topics\",\"topics\":[]}"));
    reply_topics_row(&rows, TEXT("a"), 1);
    reply_topics(&out, buf_text(&rows), NULL);
    assert_frame(
        &out, 0, TEXT("{\"type\":\"topics\",\"topics\":[{\"topic\":\"a\",\"subscribers\":1}]}"));
    reply_topics_row(&rows, TEXT("b\""), 100000);
    struct text next = TEXT("b\"");
    reply_topics(&out, buf_text(&rows), &next);
    assert_frame(&out, 0,
        TEXT("{\"type\":\"topics\",\"topics\":[{\"topic\":\"a\",\"subscribers\":1},"
             "{\"topic\":\"b\\\"\",\"subscribers\":100000}],\"next\":\"b\\\"\"}"));
    buf_fini(&rows);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_texts_are_those_of_the_protocol),
        cmocka_unit_test(a_topic_is_escaped_wherever_it_stands),
        cmocka_unit_test(replies_follow_each_other),
        cmocka_unit_test(a_reply_of_any_length_is_one_whole_frame),
        cmocka_unit_test(topics_lists_rows_and_says_where_more_follow),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
