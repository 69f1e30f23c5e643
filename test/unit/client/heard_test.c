#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/heard.h"
#include "proto/envelope.h"
#include "proto/reply2.h"

/* The text in a buffer of exactly its size, so that nothing behind it can be read. */
struct exact {
    char *text;
    size_t len;
};

static struct exact exactly(const char *text, size_t len)
{
    struct exact e = {malloc(len ? len : 1), len};
    assert_non_null(e.text);
    memcpy(e.text, text, len);
    return e;
}

static void text_is(const char *at, size_t len, const char *wanted)
{
    if (!wanted) {
        assert_null(at);
        return;
    }
    assert_non_null(at);
    assert_int_equal(len, strlen(wanted));
    assert_memory_equal(at, wanted, len);
}

/* By the short way, and by the long one; both find the same. */
static void both_ways(const char *text, size_t len, const char *topic, const char *data,
    uint64_t offset, const char *pattern)
{
    struct exact e = exactly(text, len);
    struct hermes_delivery d;
    struct heard h;
    struct buf space = {0};
    if (!heard_delivery(&d, e.text, e.len))
        fail_msg("not by the short way: %.*s", (int)len, text);
    text_is(d.topic, d.topic_len, topic);
    text_is(d.data, d.data_len, data);
    text_is(d.pattern, d.pattern_len, pattern);
    assert_true(d.offset == offset);
    assert_ptr_equal(d.text, e.text);
    assert_int_equal(d.text_len, e.len);
    assert_true(heard_read(&h, e.text, e.len, &space));
    assert_int_equal(h.type, HEARD_MESSAGE);
    text_is(h.topic.at, h.topic.len, topic);
    text_is(h.data.at, h.data.len, data);
    text_is(h.pattern.at, h.pattern.len, pattern);
    assert_true(h.offset == offset);
    assert_memory_equal(e.text, text, len);
    buf_fini(&space);
    free(e.text);
}

/* Cut anywhere, or with a byte changed, it is not taken for one by the short way unless it is one.
 */
static void never_half(const char *text, size_t len)
{
    for (size_t n = 0; n < len; n++) {
        struct exact e = exactly(text, n);
        struct hermes_delivery d;
        assert_false(heard_delivery(&d, e.text, e.len));
        free(e.text);
    }
}

static void a_delivery_is_read_as_our_server_writes_it(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        const char *pattern;
        const char *data;
        uint64_t offset;
    } rows[] = {
        {"a", "", "1", 1},
        {"stock:AAPL", "", "{\"price\":170.50, \"offset\":3}", 12},
        {"stock:AAPL", "stock:*", "\"x\\\"\"", 18446744073709551599u},
        {"\xc3\xa4", ">", "[]", 7},
        {"a", "", "{\"type\":\"message\",\"topic\":\"b\",\"data\":1,\"offset\":9}", 3},
        {"a", "", "\"\\\",\\\"offset\\\":9}\"", 3},
        {"a", "", "-0.5e+7", 3},
        {"a", "", "null", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct envelope e = {0};
        struct buf out = {0};
        envelope_set(&e, text_of(rows[i].topic), text_of(rows[i].pattern));
        envelope_append(&out, &e, text_of(rows[i].data), rows[i].offset);
        size_t head = (unsigned char)out.data[1] < 126 ? 2 : 4;
        both_ways(out.data + head, out.len - head, rows[i].topic, rows[i].data, rows[i].offset,
            *rows[i].pattern ? rows[i].pattern : NULL);
        never_half(out.data + head, out.len - head);
        envelope_fini(&e);
        buf_fini(&out);
    }
}

static void any_other_form_is_read_too_and_is_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {
        " {\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\": "
        "1},\"offset\":5,\"pattern\":\"t\"}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\": "
        "1},\"offset\":5,\"pattern\":\"t\"} ",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\": {\"a\": "
        "1},\"offset\":5,\"pattern\":\"t\"}",
        "{\"type\":\"message\",\"topic\":\"\\u0074\",\"data\":{\"a\": 1},\"offset\":5,\"pattern\":"
        "\"\\u0074\"}",
        "{\"pattern\":\"t\",\"offset\":5,\"data\":{\"a\": 1},\"topic\":\"t\",\"type\":\"message\"}",
        "{ \"t\\u0079pe\" :\t\"mess\\u0061ge\",\n\"topic\":\"t\",\"data\":{\"a\": 1}\r,\"offset\":5"
        ",\"pattern\":\"t\"}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\": 1},\"new\":[{}],\"offset\":5,"
        "\"pattern\":\"t\"}",
        "{\"type\":\"gap\",\"topic\":\"x\",\"data\":0,\"type\":\"message\",\"topic\":\"t\","
        "\"data\":"
        "{\"a\": 1},\"offset\":5,\"pattern\":\"t\"}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\": 1},\"offset\":5,\"pattern\":\"t\","
        "\"more\":true}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct exact e = exactly(texts[i], strlen(texts[i]));
        struct hermes_delivery d;
        struct heard h;
        struct buf space = {0};
        assert_false(heard_delivery(&d, e.text, e.len));
        assert_true(heard_read(&h, e.text, e.len, &space));
        assert_int_equal(h.type, HEARD_MESSAGE);
        text_is(h.topic.at, h.topic.len, "t");
        text_is(h.pattern.at, h.pattern.len, "t");
        text_is(h.data.at, h.data.len, "{\"a\": 1}");
        assert_int_equal(h.offset, 5);
        assert_memory_equal(e.text, texts[i], e.len);
        buf_fini(&space);
        free(e.text);
    }
}

static void what_is_no_delivery_is_not_taken_for_one(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{}", "[]", "1", "{", "\"message\"", "{\"type\":1}",
        "{\"type\":\"message\"}", "{\"type\":\"message\",\"topic\":\"t\"}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":0}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":-1}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1.5}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":\"1\"}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":18446744073709551616}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":99999999999999999999999999}",
        "{\"type\":\"message\",\"topic\":1,\"data\":1,\"offset\":1}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":,\"offset\":1}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1 2,\"offset\":1}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\"},\"offset\":1}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1}}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1,}",
        "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1,\"pattern\":\"p\"",
        "{\"type\":\"message\",\"topic\":\"\\ud800\",\"data\":1,\"offset\":1}",
        "{\"type\":\"messages\",\"topic\":\"t\",\"data\":1,\"offset\":1}",
        "{\"type\":\"gap\",\"topic\":\"t\",\"from\":0,\"to\":1}",
        "{\"type\":\"gap\",\"topic\":\"t\",\"from\":2,\"to\":1}",
        "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":0}",
        "{\"type\":\"gap\",\"topic\":\"t\",\"from\":3,\"to\":1,\"epoch\":\"e\"}",
        "{\"type\":\"gap\",\"from\":1,\"to\":1}", "{\"type\":\"join\",\"topic\":\"t\"}",
        "{\"type\":\"history\",\"messages\":{}}", "{\"type\":\"ack_subscribe\"}",
        "{\"type\":\"pong\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct exact e = exactly(texts[i], strlen(texts[i]));
        struct hermes_delivery d;
        struct heard h;
        struct buf space = {0};
        if (heard_delivery(&d, e.text, e.len))
            fail_msg("taken for a delivery: %s", texts[i]);
        assert_true(heard_read(&h, e.text, e.len, &space));
        if (h.type != HEARD_OTHER)
            fail_msg("taken for %d: %s", (int)h.type, texts[i]);
        buf_fini(&space);
        free(e.text);
    }
}

/* One frame of the server's own writing. */
static void hear(struct heard *h, struct buf *frame, struct buf *space)
{
    size_t head = (unsigned char)frame->data[1] < 126 ? 2 : 4;
    assert_true(heard_read(h, frame->data + head, frame->len - head, space));
}

static void what_our_server_answers_is_known(void **state)
{
    (void)state;
    struct heard h;
    struct buf out = {0};
    struct buf space = {0};
    struct text id = TEXT("\"#7\"");
    struct text topic = TEXT("a \"b\"\\");

    reply2_subscribed(&out, id, topic, 0x1234, 56, RECOVERED_YES);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_ACK_SUBSCRIBE);
    text_is(h.topic.at, h.topic.len, "a \"b\"\\");
    text_is(h.message.at, h.message.len, "Successfully subscribed to a \"b\"\\");
    text_is(h.epoch.at, h.epoch.len, "0000000000001234");
    text_is(h.id.at, h.id.len, "\"#7\"");
    text_is(h.pattern.at, h.pattern.len, NULL);
    assert_int_equal(h.offset, 56);
    assert_int_equal(h.recovered, HERMES_RECOVERED_YES);

    buf_clear(&out);
    reply2_subscribed(&out, TEXT("12"), topic, 1, 0, RECOVERED_NO);
    hear(&h, &out, &space);
    assert_int_equal(h.recovered, HERMES_RECOVERED_NO);
    text_is(h.id.at, h.id.len, "12");

    buf_clear(&out);
    reply2_subscribed_pattern(&out, TEXT(""), TEXT("a:*"));
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_ACK_SUBSCRIBE);
    text_is(h.pattern.at, h.pattern.len, "a:*");
    text_is(h.topic.at, h.topic.len, NULL);
    text_is(h.id.at, h.id.len, NULL);
    assert_int_equal(h.recovered, HERMES_RECOVERED_UNASKED);

    buf_clear(&out);
    reply2_unsubscribed(&out, id, topic);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_ACK_UNSUBSCRIBE);

    buf_clear(&out);
    reply2_published(&out, id, topic, 9, 10);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_ACK_PUBLISH);
    assert_int_equal(h.offset, 9);
    assert_int_equal(h.subscribers, 10);

    buf_clear(&out);
    reply2_error(&out, ERROR_NO_HISTORY, TEXT("None \\ here."), id, topic, TEXT(""));
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_ERROR);
    text_is(h.code.at, h.code.len, "no_history");
    text_is(h.message.at, h.message.len, "None \\ here.");
    text_is(h.topic.at, h.topic.len, "a \"b\"\\");

    buf_clear(&out);
    reply2_info(&out, 0xabc);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_INFO);
    text_is(h.client.at, h.client.len, "0000000000000abc");

    buf_clear(&out);
    reply2_presence_event(&out, true, topic, 0xabc);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_JOIN);
    buf_clear(&out);
    reply2_presence_event(&out, false, topic, 0xabc);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_LEAVE);
    text_is(h.client.at, h.client.len, "0000000000000abc");

    buf_clear(&out);
    reply2_gap(&out, TEXT("\"g\\\"\""), 3, 5);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_GAP);
    text_is(h.topic.at, h.topic.len, "g\"");
    assert_int_equal(h.from, 3);
    assert_int_equal(h.to, 5);
    assert_null(h.epoch.at);
    buf_clear(&out);
    reply2_gap_anew(&out, TEXT("\"g\""), 0xab, 1, 0);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_GAP);
    text_is(h.epoch.at, h.epoch.len, "00000000000000ab");
    assert_int_equal(h.from, 1);
    assert_int_equal(h.to, 0);
    buf_clear(&out);
    reply2_gap_pattern(&out, TEXT("g:>"));
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_GAP);
    text_is(h.pattern.at, h.pattern.len, "g:>");
    assert_null(h.topic.at);
    buf_fini(&out);
    buf_fini(&space);
}

static void lists_are_read_row_by_row(void **state)
{
    (void)state;
    struct heard h;
    struct buf out = {0};
    struct buf rows = {0};
    struct buf space = {0};
    struct buf row_space = {0};
    struct hermes_message m;
    const char *client;
    size_t client_len;

    reply2_history_row(&rows, 4, TEXT("{\"a\" :1}"));
    reply2_history_row(&rows, 5, TEXT("\"]\""));
    reply2_history(&out, TEXT("1"), TEXT("t"), 7, 5, buf_text(&rows), RECOVERED_UNASKED);
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_HISTORY);
    struct hermes_answer a = {.rows = h.rows.at, .rows_end = h.rows.at + h.rows.len};
    assert_true(hermes_answer_message(&a, &m));
    assert_int_equal(m.offset, 4);
    text_is(m.data, m.data_len, "{\"a\" :1}");
    text_is(m.text, m.text_len, "{\"offset\":4,\"data\":{\"a\" :1}}");
    assert_true(hermes_answer_message(&a, &m));
    assert_int_equal(m.offset, 5);
    text_is(m.data, m.data_len, "\"]\"");
    assert_false(hermes_answer_message(&a, &m));
    assert_false(hermes_answer_message(&a, &m));

    buf_clear(&out);
    buf_clear(&rows);
    reply2_presence_row(&rows, 1);
    reply2_presence_row(&rows, 2);
    reply2_presence(&out, TEXT("1"), TEXT("t"), buf_text(&rows));
    hear(&h, &out, &space);
    assert_int_equal(h.type, HEARD_PRESENCE);
    a = (struct hermes_answer){
        .rows = h.rows.at, .rows_end = h.rows.at + h.rows.len, .space = &row_space};
    assert_true(hermes_answer_client(&a, &client, &client_len));
    text_is(client, client_len, "0000000000000001");
    assert_true(hermes_answer_client(&a, &client, &client_len));
    text_is(client, client_len, "0000000000000002");
    assert_false(hermes_answer_client(&a, &client, &client_len));

    buf_clear(&out);
    reply2_presence(&out, TEXT("1"), TEXT("t"), TEXT(""));
    hear(&h, &out, &space);
    a = (struct hermes_answer){
        .rows = h.rows.at, .rows_end = h.rows.at + h.rows.len, .space = &row_space};
    assert_false(hermes_answer_client(&a, &client, &client_len));
    buf_fini(&out);
    buf_fini(&rows);
    buf_fini(&space);
    buf_fini(&row_space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delivery_is_read_as_our_server_writes_it),
        cmocka_unit_test(any_other_form_is_read_too_and_is_the_same),
        cmocka_unit_test(what_is_no_delivery_is_not_taken_for_one),
        cmocka_unit_test(what_our_server_answers_is_known),
        cmocka_unit_test(lists_are_read_row_by_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
