#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/answers.h"
#include "hermes/protocol.h"
#include "proto/reply.h"

/* One answer, from a buffer of exactly its size so that nothing behind it can be read. */
struct asked {
    char *text;
    struct hermes_answer answer;
    bool is_answer;
};

static struct asked ask(struct answers *a, enum answers_when when, const char *text)
{
    struct asked r = {0};
    size_t len = strlen(text);
    r.text = malloc(len ? len : 1);
    assert_non_null(r.text);
    memcpy(r.text, text, len);
    r.is_answer = answers_match(a, when, r.text, len, &r.answer);
    if (!r.is_answer)
        assert_memory_equal(r.text, text, len);
    return r;
}

static void is_delivery(struct answers *a, enum answers_when when, const char *text)
{
    struct asked r = ask(a, when, text);
    if (r.is_answer)
        fail_msg("taken for an answer: %s", text);
    free(r.text);
}

static void is_answer(
    struct answers *a, enum answers_when when, const char *text, int kind, const char *topic)
{
    struct asked r = ask(a, when, text);
    if (!r.is_answer)
        fail_msg("taken for a delivery: %s", text);
    assert_int_equal(r.answer.kind, kind);
    assert_int_equal(r.answer.topic_len, strlen(topic));
    if (*topic)
        assert_memory_equal(r.answer.topic, topic, strlen(topic));
    free(r.text);
}

static void expect(struct answers *a, enum expected kind, const char *topic)
{
    assert_true(answers_expect(a, kind, text_of(topic)));
}

#define ACK_A                                                                                      \
    "{\"type\":\"ack_subscribe\",\"topic\":\"a\",\"message\":\"Successfully subscribed to a\"}"
#define ACK_B                                                                                      \
    "{\"type\":\"ack_subscribe\",\"topic\":\"b\",\"message\":\"Successfully subscribed to b\"}"
#define UNACK_A                                                                                    \
    "{\"type\":\"ack_unsubscribe\",\"topic\":\"a\",\"message\":\"Successfully unsubscribed from "  \
    "a\"}"
#define NOT_A "{\"type\":\"error\",\"message\":\"Not subscribed to a\"}"
#define INFO "{\"type\":\"info\",\"message\":\"Connected to HERMES WebSocket server. Hello.\"}"

static void an_acknowledgement_answers_once(void **state)
{
    (void)state;
    struct answers a = {0};
    is_delivery(&a, ANSWERS_SUBSCRIBED, ACK_A);
    expect(&a, EXPECT_SUBSCRIBED, "a");
    is_delivery(&a, ANSWERS_SUBSCRIBED, ACK_B);
    is_answer(&a, ANSWERS_SUBSCRIBED, ACK_A, HERMES_ANSWER_SUBSCRIBED, "a");
    is_delivery(&a, ANSWERS_SUBSCRIBED, ACK_A);
    assert_null(a.queue.data);
}

static void answers_come_in_order_and_a_later_one_says_that_the_earlier_were_refused(void **state)
{
    (void)state;
    struct answers a = {0};
    expect(&a, EXPECT_SUBSCRIBED, "a");
    expect(&a, EXPECT_SUBSCRIBED, "b");
    expect(&a, EXPECT_UNSUBSCRIBED, "a");
    is_answer(&a, ANSWERS_SUBSCRIBED, ACK_B, HERMES_ANSWER_SUBSCRIBED, "b");
    is_delivery(&a, ANSWERS_SUBSCRIBED, ACK_A);
    is_answer(&a, ANSWERS_SUBSCRIBED, UNACK_A, HERMES_ANSWER_UNSUBSCRIBED, "a");
    assert_null(a.queue.data);
}

static void an_unsubscribe_without_a_subscription_is_answered_by_an_error(void **state)
{
    (void)state;
    struct answers a = {0};
    is_delivery(&a, ANSWERS_SUBSCRIBED, NOT_A);
    expect(&a, EXPECT_UNSUBSCRIBED, "b");
    is_delivery(&a, ANSWERS_SUBSCRIBED, NOT_A);
    expect(&a, EXPECT_UNSUBSCRIBED, "a");
    is_answer(&a, ANSWERS_SUBSCRIBED, NOT_A, HERMES_ANSWER_NOT_SUBSCRIBED, "a");
    is_delivery(&a, ANSWERS_SUBSCRIBED, UNACK_A);
}

static void only_the_first_text_of_a_connection_is_the_info(void **state)
{
    (void)state;
    struct answers a = {0};
    is_answer(&a, ANSWERS_FIRST, INFO, HERMES_ANSWER_INFO, "");
    is_delivery(&a, ANSWERS_SUBSCRIBED, INFO);
    is_delivery(&a, ANSWERS_ALONE, INFO);
}

static void an_error_among_deliveries_is_known_by_its_text(void **state)
{
    (void)state;
    struct answers a = {0};
    is_answer(&a, ANSWERS_SUBSCRIBED,
        "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_BAD_JSON "\"}", HERMES_ANSWER_ERROR, "");
    is_answer(&a, ANSWERS_SUBSCRIBED, "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_ALONE "\"}",
        HERMES_ANSWER_ERROR, "");
    is_answer(&a, ANSWERS_SUBSCRIBED,
        "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_MALFORMED_START " whatever\"}",
        HERMES_ANSWER_ERROR, "");
    is_delivery(&a, ANSWERS_SUBSCRIBED,
        "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_BAD_JSON " Really.\"}");
    is_delivery(&a, ANSWERS_SUBSCRIBED, "{\"type\":\"error\",\"message\":\"the pump is broken\"}");
    is_delivery(&a, ANSWERS_SUBSCRIBED,
        "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_BAD_JSON "\",\"pump\":3}");
    /* Without a subscription nothing is delivered, so whatever error comes is an answer. */
    is_answer(&a, ANSWERS_ALONE, "{\"type\":\"error\",\"message\":\"the pump is broken\"}",
        HERMES_ANSWER_ERROR, "");
}

static void what_only_looks_like_an_answer_is_a_delivery(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " ", "{", "{}", "null", "1", "[]", "\"type\"",
        "{\"type\"", "{\"type\":", "{\"type\":\"", "{\"type\":\"error", "{\"type\":\"error\"",
        "{\"type\":\"error\"}", "{\"type\":\"error\",",
        "{\"type\":\"error\",\"message\":", "{\"type\":\"error\",\"message\":1}",
        "{\"type\":\"error\",\"message\":\"Message must be valid JSON.\"",
        "{\"type\":\"error\",\"message\":\"Message must be valid JSON.\"} 1",
        "{\"type\":\"errors\",\"message\":\"Message must be valid JSON.\"}",
        "{\"typ\":\"ack_subscribe\",\"topic\":\"a\"}",
        "{\"type\":\"ack_subscribe\",\"topic\":\"a\"}",
        "{\"type\":\"ack_subscribe\",\"topic\":\"a\",\"message\":\"Successfully subscribed to \"}",
        "{\"type\":\"ack_subscribe\",\"topic\":\"a\",\"message\":\"Subscribed to a\"}",
        "{\"type\":\"ack_subscribe\",\"topic\":\"\",\"message\":\"Successfully subscribed to \"}",
        "{\"type\":\"topics\",\"topics\":[]}", "{\"type\":\"topics\",\"topics\":{}}",
        "{\"price\":1}"};
    struct answers a = {0};
    expect(&a, EXPECT_SUBSCRIBED, "a");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        is_delivery(&a, ANSWERS_SUBSCRIBED, texts[i]);
    is_answer(&a, ANSWERS_SUBSCRIBED, ACK_A, HERMES_ANSWER_SUBSCRIBED, "a");
}

static void white_space_and_escapes_make_no_difference(void **state)
{
    (void)state;
    static const char topic[] = "\"\\/\b\f\n\r\t\x01 \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
    struct answers a = {0};
    expect(&a, EXPECT_SUBSCRIBED, topic);
    is_answer(&a, ANSWERS_SUBSCRIBED,
        " { \"type\" : \"ack_subscribe\" , \"topic\" :\n"
        "\"\\u0022\\\\\\/\\b\\f\\n\\r\\t\\u0001 \\u00e4\\u20AC\\ud83d\\uDE00\" , \"message\":"
        "\"Successfully subscribed to \\\"\\u005C/\\b\\f\\n\\r\\t\\u0001 \\u00e4\\u20ac"
        "\xf0\x9f\x98\x80\" } ",
        HERMES_ANSWER_SUBSCRIBED, topic);
    expect(&a, EXPECT_SUBSCRIBED, "x");
    is_delivery(&a, ANSWERS_SUBSCRIBED,
        "{\"type\":\"ack_subscribe\",\"topic\":\"\\ud83d\",\"message\":\"Successfully subscribed "
        "to "
        "\\ud83d\"}");
    answers_clear(&a);
}

/* A topic of any bytes that may stand in one, as this project's own server writes the answers. */
static void the_answers_of_our_server_are_known(void **state)
{
    (void)state;
    static const char *const topics[] = {"a", "stock:AAPL", "with \"quotes\" and \\", "\xc3\xa4"};
    struct answers a = {0};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        struct buf out = {0};
        struct hermes_answer answer;
        expect(&a, EXPECT_SUBSCRIBED, topics[i]);
        expect(&a, EXPECT_UNSUBSCRIBED, topics[i]);
        expect(&a, EXPECT_UNSUBSCRIBED, topics[i]);
        static void (*const replies[])(struct buf *, struct text) = {
            reply_subscribed, reply_unsubscribed, reply_not_subscribed};
        static const int kinds[] = {
            HERMES_ANSWER_SUBSCRIBED, HERMES_ANSWER_UNSUBSCRIBED, HERMES_ANSWER_NOT_SUBSCRIBED};
        for (int j = 0; j < 3; j++) {
            buf_clear(&out);
            replies[j](&out, text_of(topics[i]));
            size_t head = (unsigned char)out.data[1] < 126 ? 2 : 4;
            assert_true(
                answers_match(&a, ANSWERS_SUBSCRIBED, out.data + head, out.len - head, &answer));
            assert_int_equal(answer.kind, kinds[j]);
            assert_int_equal(answer.topic_len, strlen(topics[i]));
            assert_memory_equal(answer.topic, topics[i], answer.topic_len);
        }
        assert_null(a.queue.data);
        buf_fini(&out);
    }
    static void (*const errors[])(struct buf *) = {reply_bad_json, reply_malformed, reply_binary};
    for (int j = 0; j < 3; j++) {
        struct buf out = {0};
        struct hermes_answer answer;
        errors[j](&out);
        size_t head = (unsigned char)out.data[1] < 126 ? 2 : 4;
        assert_true(
            answers_match(&a, ANSWERS_SUBSCRIBED, out.data + head, out.len - head, &answer));
        assert_int_equal(answer.kind, HERMES_ANSWER_ERROR);
        buf_fini(&out);
    }
}

static void a_page_of_topics_is_read_row_by_row(void **state)
{
    (void)state;
    struct answers a = {0};
    struct buf space = {0};
    struct hermes_topic row;
    expect(&a, EXPECT_TOPICS, "");
    struct asked r = ask(&a, ANSWERS_SUBSCRIBED,
        "{\"type\":\"topics\",\"topics\":[{\"topic\":\"a\\\"b\",\"subscribers\":3},{\"topic\":"
        "\"c\","
        "\"subscribers\":18446744073709551600,\"rate\":[1,{}]}],\"next\":\"c\\u0021\"}");
    assert_true(r.is_answer);
    assert_int_equal(r.answer.kind, HERMES_ANSWER_TOPICS);
    assert_int_equal(r.answer.next_len, 2);
    assert_memory_equal(r.answer.next, "c!", 2);
    r.answer.space = &space;
    assert_true(hermes_answer_topic(&r.answer, &row));
    assert_int_equal(row.name_len, 3);
    assert_memory_equal(row.name, "a\"b", 3);
    assert_int_equal(row.subscribers, 3);
    assert_memory_equal(row.text, "{\"topic\":\"a\\\"b\",\"subscribers\":3}", row.text_len);
    assert_true(hermes_answer_topic(&r.answer, &row));
    assert_memory_equal(row.name, "c", 1);
    assert_true(row.subscribers == 18446744073709551600u);
    assert_false(hermes_answer_topic(&r.answer, &row));
    assert_false(hermes_answer_topic(&r.answer, &row));
    free(r.text);

    expect(&a, EXPECT_TOPICS, "");
    r = ask(&a, ANSWERS_ALONE, "{\"type\":\"topics\",\"topics\":[]}");
    assert_true(r.is_answer);
    assert_null(r.answer.next);
    assert_false(hermes_answer_topic(&r.answer, &row));
    free(r.text);
    buf_fini(&space);
}

static void what_is_taken_back_is_not_expected(void **state)
{
    (void)state;
    struct answers a = {0};
    expect(&a, EXPECT_SUBSCRIBED, "a");
    expect(&a, EXPECT_SUBSCRIBED, "b");
    answers_unexpect(&a, TEXT("b"));
    is_delivery(&a, ANSWERS_SUBSCRIBED, ACK_B);
    is_answer(&a, ANSWERS_SUBSCRIBED, ACK_A, HERMES_ANSWER_SUBSCRIBED, "a");
}

/* The queue is never empty here, so that it has to reclaim what has been answered. */
static void a_queue_that_is_never_empty_does_not_grow(void **state)
{
    (void)state;
    struct answers a = {0};
    char topic[32];
    char ack[128];
    expect(&a, EXPECT_SUBSCRIBED, "0");
    for (int i = 0; i < 100000; i++) {
        snprintf(topic, sizeof topic, "%d", i + 1);
        expect(&a, EXPECT_SUBSCRIBED, topic);
        snprintf(ack, sizeof ack,
            "{\"type\":\"ack_subscribe\",\"topic\":\"%d\",\"message\":\"Successfully subscribed to "
            "%d\"}",
            i, i);
        struct hermes_answer answer;
        assert_true(answers_match(&a, ANSWERS_SUBSCRIBED, ack, strlen(ack), &answer));
    }
    assert_true(a.queue.cap < 65536);
    answers_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledgement_answers_once),
        cmocka_unit_test(answers_come_in_order_and_a_later_one_says_that_the_earlier_were_refused),
        cmocka_unit_test(an_unsubscribe_without_a_subscription_is_answered_by_an_error),
        cmocka_unit_test(only_the_first_text_of_a_connection_is_the_info),
        cmocka_unit_test(an_error_among_deliveries_is_known_by_its_text),
        cmocka_unit_test(what_only_looks_like_an_answer_is_a_delivery),
        cmocka_unit_test(white_space_and_escapes_make_no_difference),
        cmocka_unit_test(the_answers_of_our_server_are_known),
        cmocka_unit_test(a_page_of_topics_is_read_row_by_row),
        cmocka_unit_test(what_is_taken_back_is_not_expected),
        cmocka_unit_test(a_queue_that_is_never_empty_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
