#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/reply.h"
#include "proto/reply2.h"
#include "unit/proto/frames.h"

#define NONE TEXT("")

static void an_epoch_is_sixteen_digits(void **state)
{
    (void)state;
    struct epoch_text t = epoch_text(0x0123456789abcdef);
    assert_int_equal(t.len, 16);
    assert_memory_equal(t.digits, "0123456789abcdef", 16);
    t = epoch_text(UINT64_MAX);
    assert_memory_equal(t.digits, "ffffffffffffffff", 16);
    t = epoch_text(10);
    assert_int_equal(t.len, 16);
    assert_memory_equal(t.digits, "000000000000000a", 16);
    assert_int_equal(epoch_text(0).len, 0);
}

static void an_epoch_is_read_back(void **state)
{
    (void)state;
    static const uint64_t epochs[] = {1, 10, 0x0123456789abcdef, UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++) {
        struct epoch_text t = epoch_text(epochs[i]);
        assert_true(epoch_read((struct text){t.digits, t.len}) == epochs[i]);
    }
    static const char *const none[] = {"", "0", "1", "00000000000000ag", "000000000000000A",
        "00000000000000001", "000000000000001", "0x00000000000001", "-000000000000001",
        "000000000000000/", "000000000000000:", "000000000000000`"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_true(epoch_read(text_of(none[i])) == 0);
}

static void acks_carry_what_level_1_has_and_more(void **state)
{
    (void)state;
    struct buf out = {0};
    reply2_info(&out, 0xabc);
    assert_frame(&out,
        "{\"type\":\"info\",\"message\":\"Connected to HERMES WebSocket server. "
        "Send {\\\"type\\\":\\\"subscribe\\\",\\\"topic\\\":\\\"...\\\"} to receive, "
        "{\\\"topic\\\":\\\"...\\\",\\\"data\\\":...} to "
        "publish.\",\"client\":\"0000000000000abc\"}");
    reply2_subscribed(&out, TEXT("7"), TEXT("a\"b"), 0x1f, 12, RECOVERED_UNASKED);
    assert_frame(&out, "{\"type\":\"ack_subscribe\",\"topic\":\"a\\\"b\","
                       "\"message\":\"Successfully subscribed to a\\\"b\","
                       "\"epoch\":\"000000000000001f\",\"offset\":12,\"id\":7}");
    reply2_subscribed(&out, NONE, TEXT("a"), 1, UINT64_MAX, RECOVERED_YES);
    assert_frame(&out,
        "{\"type\":\"ack_subscribe\",\"topic\":\"a\","
        "\"message\":\"Successfully subscribed to a\",\"epoch\":\"0000000000000001\","
        "\"offset\":18446744073709551615,\"recovered\":true}");
    reply2_subscribed(&out, TEXT("\"\\u0061\""), TEXT("a"), 1, 0, RECOVERED_NO);
    assert_frame(&out,
        "{\"type\":\"ack_subscribe\",\"topic\":\"a\","
        "\"message\":\"Successfully subscribed to a\",\"epoch\":\"0000000000000001\","
        "\"offset\":0,\"recovered\":false,\"id\":\"\\u0061\"}");
    reply2_subscribed_pattern(&out, TEXT("-1"), TEXT("a:*"));
    assert_frame(&out, "{\"type\":\"ack_subscribe\",\"pattern\":\"a:*\","
                       "\"message\":\"Successfully subscribed to a:*\",\"id\":-1}");
    reply2_unsubscribed(&out, NONE, TEXT("a\\"));
    assert_frame(&out, "{\"type\":\"ack_unsubscribe\",\"topic\":\"a\\\\\","
                       "\"message\":\"Successfully unsubscribed from a\\\\\"}");
    reply2_unsubscribed_pattern(&out, TEXT("\"x\""), TEXT(">"));
    assert_frame(&out, "{\"type\":\"ack_unsubscribe\",\"pattern\":\">\","
                       "\"message\":\"Successfully unsubscribed from >\",\"id\":\"x\"}");
    reply2_published(&out, TEXT("9"), TEXT("a"), 3, 100000);
    assert_frame(&out, "{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":3,"
                       "\"subscribers\":100000,\"id\":9}");
    reply2_pong(&out, NONE);
    assert_frame(&out, "{\"type\":\"pong\"}");
    reply2_pong(&out, TEXT("1"));
    assert_frame(&out, "{\"type\":\"pong\",\"id\":1}");
    buf_fini(&out);
}

static void an_error_has_a_code_and_says_of_what_it_is(void **state)
{
    (void)state;
    static const char *const names[] = {"bad_json", "malformed", "bad_topic", "bad_pattern",
        "not_subscribed", "unauthorized", "forbidden", "token_expired", "rate_limited",
        "too_many_subscriptions", "too_large", "no_history", "unavailable"};
    for (int code = ERROR_BAD_JSON; code <= ERROR_UNAVAILABLE; code++)
        assert_string_equal(error_code_name((enum error_code)code), names[code]);
    struct buf out = {0};
    reply2_error(&out, ERROR_BAD_JSON, TEXT("Message must be valid JSON."), NONE, NONE, NONE);
    assert_frame(&out,
        "{\"type\":\"error\",\"code\":\"bad_json\",\"message\":\"Message must be valid JSON.\"}");
    reply2_error(&out, ERROR_FORBIDDEN, TEXT("A \"word\"."), TEXT("5"), TEXT("t\n"), NONE);
    assert_frame(&out, "{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"A \\\"word\\\".\","
                       "\"topic\":\"t\\n\",\"id\":5}");
    reply2_error(&out, ERROR_BAD_PATTERN, TEXT("No."), TEXT("\"p\""), NONE, TEXT("a:>:b"));
    assert_frame(&out, "{\"type\":\"error\",\"code\":\"bad_pattern\",\"message\":\"No.\","
                       "\"pattern\":\"a:>:b\",\"id\":\"p\"}");
    buf_fini(&out);
}

static void a_message_that_ends_with_a_space_is_followed_by_the_name(void **state)
{
    (void)state;
    struct buf out = {0};
    struct text message = TEXT("Not subscribed to ");
    reply2_error(&out, ERROR_NOT_SUBSCRIBED, message, TEXT("1"), TEXT("a\""), NONE);
    assert_frame(&out, "{\"type\":\"error\",\"code\":\"not_subscribed\","
                       "\"message\":\"Not subscribed to a\\\"\",\"topic\":\"a\\\"\",\"id\":1}");
    reply2_error(&out, ERROR_NOT_SUBSCRIBED, message, NONE, NONE, TEXT("a:*"));
    assert_frame(&out, "{\"type\":\"error\",\"code\":\"not_subscribed\","
                       "\"message\":\"Not subscribed to a:*\",\"pattern\":\"a:*\"}");
    buf_fini(&out);
}

static void lists_are_collected_row_by_row(void **state)
{
    (void)state;
    struct buf rows = {0};
    struct buf out = {0};
    reply2_topics(&out, NONE, buf_text(&rows), NULL);
    assert_frame(&out, "{\"type\":\"topics\",\"topics\":[]}");
    reply_topics_row(&rows, TEXT("a"), 1);
    struct text next = TEXT("a");
    reply2_topics(&out, TEXT("2"), buf_text(&rows), &next);
    assert_frame(&out, "{\"type\":\"topics\",\"topics\":[{\"topic\":\"a\",\"subscribers\":1}],"
                       "\"next\":\"a\",\"id\":2}");

    buf_clear(&rows);
    reply2_history(&out, NONE, TEXT("a"), 0, 0, buf_text(&rows), RECOVERED_UNASKED);
    assert_frame(
        &out, "{\"type\":\"history\",\"topic\":\"a\",\"epoch\":\"\",\"offset\":0,\"messages\":[]}");
    reply2_history_row(&rows, 8, TEXT("170.50"));
    reply2_history_row(&rows, 9, TEXT("{\"b\":1, \"b\":2}"));
    reply2_history(&out, TEXT("3"), TEXT("a"), 1, 9, buf_text(&rows), RECOVERED_NO);
    assert_frame(&out,
        "{\"type\":\"history\",\"topic\":\"a\",\"epoch\":\"0000000000000001\",\"offset\":9,"
        "\"recovered\":false,\"messages\":[{\"offset\":8,\"data\":170.50},"
        "{\"offset\":9,\"data\":{\"b\":1, \"b\":2}}],\"id\":3}");

    buf_clear(&rows);
    reply2_presence(&out, NONE, TEXT("a"), buf_text(&rows));
    assert_frame(&out, "{\"type\":\"presence\",\"topic\":\"a\",\"clients\":[]}");
    reply2_presence_row(&rows, 1);
    reply2_presence_row(&rows, UINT64_MAX);
    reply2_presence(&out, TEXT("4"), TEXT("a"), buf_text(&rows));
    assert_frame(&out, "{\"type\":\"presence\",\"topic\":\"a\",\"clients\":[\"0000000000000001\","
                       "\"ffffffffffffffff\"],\"id\":4}");
    buf_fini(&rows);
    buf_fini(&out);
}

static void events_name_their_topic(void **state)
{
    (void)state;
    struct buf out = {0};
    reply2_presence_event(&out, true, TEXT("a\t"), 17);
    assert_frame(&out, "{\"type\":\"join\",\"topic\":\"a\\t\",\"client\":\"0000000000000011\"}");
    reply2_presence_event(&out, false, TEXT("a"), 17);
    assert_frame(&out, "{\"type\":\"leave\",\"topic\":\"a\",\"client\":\"0000000000000011\"}");
    reply2_gap(&out, TEXT("\"a\\t\""), 5, 17);
    assert_frame(&out, "{\"type\":\"gap\",\"topic\":\"a\\t\",\"from\":5,\"to\":17}");
    buf_fini(&out);
}

static void a_frame_stands_behind_what_is_there(void **state)
{
    (void)state;
    struct buf out = {0};
    buf_append_string(&out, "before");
    reply2_pong(&out, NONE);
    size_t first = out.len;
    reply2_gap(&out, TEXT("\"a\""), 1, 2);
    assert_memory_equal(out.data, "before\x81\x0f{\"type\":\"pong\"}", first);
    assert_frame_behind(
        &out, first, TEXT("{\"type\":\"gap\",\"topic\":\"a\",\"from\":1,\"to\":2}"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_sixteen_digits),
        cmocka_unit_test(an_epoch_is_read_back),
        cmocka_unit_test(acks_carry_what_level_1_has_and_more),
        cmocka_unit_test(an_error_has_a_code_and_says_of_what_it_is),
        cmocka_unit_test(a_message_that_ends_with_a_space_is_followed_by_the_name),
        cmocka_unit_test(lists_are_collected_row_by_row),
        cmocka_unit_test(events_name_their_topic),
        cmocka_unit_test(a_frame_stands_behind_what_is_there),
    };
    return cmocka_run_group_tests_name("reply2", tests, NULL, NULL);
}
