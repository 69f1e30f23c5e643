#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/carry.h"
#include "proto/ws_out.h"

static const uint8_t key[4] = {0x11, 0x22, 0x83, 0xff};

static void add(struct buf *b, enum ws_opcode opcode, const char *text)
{
    ws_frame_masked(b, opcode, text, strlen(text), key);
}

static void commands_and_control_frames_end_with_their_connection(void **state)
{
    (void)state;
    struct buf from = {0};
    struct buf to = {0};
    struct buf wanted = {0};
    static const char one[] = "{\"topic\":\"a\",\"data\":1}";
    static const char two[] = "{\"type\":\"publish\",\"topic\":\"a\",\"data\":1}";
    add(&from, WS_PING, "12345678");
    add(&from, WS_TEXT, "{\"type\":\"subscribe\",\"topic\":\"a\"}");
    add(&from, WS_TEXT, one);
    add(&from, WS_TEXT, "{\"type\":\"unsubscribe\",\"topic\":\"a\"}");
    add(&from, WS_TEXT, two);
    add(&from, WS_TEXT, "{\"type\":\"topics\"}");
    add(&from, WS_TEXT, "{\"type\":\"history\",\"topic\":\"a\",\"id\":\"#1\"}");
    add(&from, WS_TEXT, "{\"type\":\"presence\",\"topic\":\"a\",\"id\":\"#2\"}");
    add(&from, WS_TEXT, "");
    add(&from, WS_PONG, "");
    add(&from, WS_CLOSE, "\x03\xe8");
    add(&wanted, WS_TEXT, one);
    add(&wanted, WS_TEXT, two);
    add(&wanted, WS_TEXT, "");
    assert_int_equal(carry_count(&from, 0), 3);
    assert_false(carry(&to, &from, 0, true));
    assert_int_equal(to.len, wanted.len);
    assert_memory_equal(to.data, wanted.data, wanted.len);
    buf_fini(&from);
    buf_fini(&to);
    buf_fini(&wanted);
}

static void the_first_number_is_that_of_the_first_publish_that_has_one(void **state)
{
    (void)state;
    static const char *const others[] = {"", "{\"id\":", "{\"id\":\"#",
        "{\"id\":5,\"topic\":\"a\"}", "{\"id\":\"mine\",\"topic\":\"a\"}",
        "{\"topic\":\"a\",\"id\":\"#3\"}",
        "{\"id\":\"#123456789012345678901234567890\",\"topic\":\"a\"}"};
    struct buf from = {0};
    assert_int_equal(carry_first_number(&from), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        add(&from, WS_TEXT, others[i]);
    add(&from, WS_PING, "{\"id\":\"#6\"");
    assert_int_equal(carry_first_number(&from), 0);
    add(&from, WS_TEXT, "{\"id\":\"#18446744073709551615\",\"topic\":\"a\",\"data\":1}");
    add(&from, WS_TEXT, "{\"id\":\"#8\",\"topic\":\"a\",\"data\":1}");
    assert_true(carry_first_number(&from) == UINT64_MAX);
    buf_fini(&from);
}

/* Frames of all three length forms, broken after every byte: what is whole is gone, what is cut
 * goes again or is left out, what follows is kept. */
static void every_place_where_a_connection_can_break(void **state)
{
    (void)state;
    static const size_t sizes[] = {3, 200, 70000, 0, 125, 126, 65535, 65536};
    enum { FRAMES = sizeof sizes / sizeof *sizes };
    size_t starts[FRAMES + 1];
    char *payload = calloc(1, 70001);
    struct buf from = {0};
    assert_non_null(payload);
    for (size_t i = 0; i < FRAMES; i++) {
        starts[i] = from.len;
        memset(payload, 'a' + (int)i, sizes[i]);
        ws_frame_masked(&from, WS_TEXT, payload, sizes[i], key);
    }
    starts[FRAMES] = from.len;
    for (size_t sent = 0; sent <= from.len; sent += sent > 1000 && sent % 1000 == 0 ? 331 : 1) {
        size_t whole = 0;
        while (whole < FRAMES && starts[whole + 1] <= sent)
            whole++;
        bool cut = whole < FRAMES && starts[whole] < sent;
        struct buf again = {0};
        struct buf once = {0};
        assert_int_equal(carry(&again, &from, sent, true), cut);
        assert_int_equal(carry(&once, &from, sent, false), cut);
        assert_int_equal(again.len, from.len - starts[whole]);
        assert_int_equal(once.len, from.len - starts[whole + cut]);
        if (again.len)
            assert_memory_equal(again.data, from.data + starts[whole], again.len);
        if (once.len)
            assert_memory_equal(once.data, from.data + starts[whole + cut], once.len);
        assert_int_equal(carry_count(&from, sent), FRAMES - whole - cut);
        buf_fini(&again);
        buf_fini(&once);
    }
    buf_fini(&from);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_control_frames_end_with_their_connection),
        cmocka_unit_test(the_first_number_is_that_of_the_first_publish_that_has_one),
        cmocka_unit_test(every_place_where_a_connection_can_break),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
