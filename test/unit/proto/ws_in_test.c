#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/ws_in.h"
#include "proto/ws_mask.h"

/* ---- the stream that is fed --------------------------------------------------------------------
 */

enum { FIN = 0x80 };

static const uint8_t mask_key[4] = {0x9d, 0x3c, 0x80, 0x41};

/* Appends a frame of which everything can be wrong: `first` is its first byte, `len` the length it
 * declares, `form` how (7, 16 or 64 bits), `payload` what follows, however much. */
static void raw_frame(struct buf *b, bool masked, int first, int form, uint64_t len,
    const void *payload, size_t payload_len)
{
    uint8_t head[14] = {(uint8_t)first};
    size_t size = 2;
    if (form == 7) {
        head[1] = (uint8_t)len;
    } else {
        size_t more = form == 16 ? 2 : 8;
        head[1] = form == 16 ? 126 : 127;
        for (size_t i = 0; i < more; i++)
            head[2 + i] = (uint8_t)(len >> (8 * (more - 1 - i)));
        size += more;
    }
    if (masked) {
        head[1] |= 0x80;
        memcpy(head + size, mask_key, 4);
        size += 4;
    }
    buf_append(b, head, size);
    buf_append(b, payload, payload_len);
    if (masked)
        ws_mask(b->data + b->len - payload_len, payload_len, mask_key, 0);
}

static void put_bytes(struct buf *b, int first, const void *payload, size_t len)
{
    raw_frame(b, true, first, len < 126 ? 7 : len < 65536 ? 16 : 64, len, payload, len);
}

static void put(struct buf *b, int first, const char *payload)
{
    put_bytes(b, first, payload, strlen(payload));
}

/* ---- what comes of it --------------------------------------------------------------------------
 */

/* The events of a stream in words: "text:Hello ping: close:1000: =0". */
struct record {
    struct buf events;
    const char *stop_at; /* the callback that returns false */
    bool stopped;
};

static bool record(struct record *r, const char *name, const char *payload, size_t len)
{
    buf_append_string(&r->events, name);
    buf_append_char(&r->events, ':');
    buf_append(&r->events, payload, len);
    buf_append_char(&r->events, ' ');
    assert_false(r->stopped);
    r->stopped = r->stop_at && strcmp(name, r->stop_at) == 0;
    return !r->stopped;
}

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    assert_true(opcode == WS_TEXT || opcode == WS_BINARY);
    bool more = record(user, opcode == WS_TEXT ? "text" : "binary", payload, len);
    /* It is writable, and what is written there changes nothing. */
    memset(payload, 0xff, len);
    return more;
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    return record(user, "ping", payload, len);
}

static bool on_pong(void *user, const char *payload, size_t len)
{
    return record(user, "pong", payload, len);
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    struct record *r = user;
    buf_appendf(&r->events, "%d-", code);
    record(r, "close", reason, len);
    return true;
}

static const struct ws_events events = {on_message, on_ping, on_pong, on_close};

static const struct ws_settings small = {
    .max_message = 1000, .max_fragments = 10, .server = true, .spare = 2};

/* Feeds the bytes from memory of exactly their size, in pieces of `first`, then `step`, bytes. */
static int feed_pieces(struct ws_pool *pool, struct ws_reader **reader, const char *bytes,
    size_t len, size_t first, size_t step, struct record *r)
{
    int code = 0;
    size_t size = first;
    for (size_t at = 0; at < len && code == 0; at += size, size = step) {
        if (at != 0)
            size = step;
        if (size > len - at)
            size = len - at;
        char *piece = malloc(size ? size : 1);
        assert_non_null(piece);
        memcpy(piece, bytes + at, size);
        code = ws_feed(pool, reader, piece, size, &events, r);
        free(piece);
        if (code != 0)
            assert_null(*reader);
    }
    return code;
}

static void feed_and_compare(struct ws_pool *pool, const struct buf *stream, size_t first,
    size_t step, const char *want, size_t want_len)
{
    struct record r = {0};
    struct ws_reader *reader = NULL;
    int code = feed_pieces(pool, &reader, stream->data, stream->len, first, step, &r);
    buf_appendf(&r.events, "=%d", code);
    if (r.events.len != want_len || memcmp(r.events.data, want, want_len) != 0)
        print_error("in pieces of %zu and then %zu:\n  got  %.*s\n  want %.*s\n", first, step,
            (int)r.events.len, r.events.data, (int)want_len, want);
    assert_int_equal(r.events.len, want_len);
    assert_memory_equal(r.events.data, want, want_len);
    ws_release(pool, &reader);
    assert_null(reader);
    buf_fini(&r.events);
}

/* The stream must give the same events whole, cut in two at every place, and byte by byte. */
static void expect_bytes(
    const struct ws_settings *settings, struct buf *stream, const char *want, size_t want_len)
{
    struct ws_pool *pool = ws_pool_new(settings);
    assert_non_null(pool);
    feed_and_compare(pool, stream, stream->len, 1, want, want_len);
    for (size_t step = 1; step < 8; step++)
        feed_and_compare(pool, stream, step, step, want, want_len);
    for (size_t cut = 1; cut < stream->len; cut++)
        feed_and_compare(pool, stream, cut, stream->len, want, want_len);
    ws_pool_free(pool);
    buf_clear(stream);
}

static void expect(struct buf *stream, const char *want)
{
    expect_bytes(&small, stream, want, strlen(want));
}

/* The stream is refused with its last byte, and not before. */
static void expect_refused(struct buf *stream, int code)
{
    struct ws_pool *pool = ws_pool_new(&small);
    struct record r = {0};
    assert_non_null(pool);
    for (size_t step = 1; step <= stream->len; step++) {
        struct ws_reader *reader = NULL;
        assert_int_equal(
            feed_pieces(pool, &reader, stream->data, stream->len - 1, step, step, &r), 0);
        ws_release(pool, &reader);
        assert_int_equal(
            feed_pieces(pool, &reader, stream->data, stream->len, step, step, &r), code);
        assert_null(reader);
    }
    ws_pool_free(pool);
    buf_fini(&r.events);
    buf_clear(stream);
}

/* ---- good streams ------------------------------------------------------------------------------
 */

static void messages_come_whole(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, FIN | WS_TEXT, "Hello");
    put(&s, FIN | WS_BINARY, "\xff\xfe");
    put(&s, FIN | WS_TEXT, "");
    put(&s, FIN | WS_BINARY, "");
    put(&s, FIN | WS_TEXT, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    expect(&s, "text:Hello binary:\xff\xfe text: binary: "
               "text:gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 =0");
    buf_fini(&s);
}

static void lengths_take_their_three_forms(void **state)
{
    (void)state;
    static const size_t sizes[] = {125, 126, 127, 255, 256, 4095, 4096, 4097, 65535, 65536, 70000};
    struct ws_settings settings = {.server = true, .spare = 1};
    struct ws_pool *pool = ws_pool_new(&settings);
    assert_non_null(pool);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf s = {0};
        struct buf want = {0};
        char *payload = malloc(sizes[i]);
        assert_non_null(payload);
        for (size_t k = 0; k < sizes[i]; k++)
            payload[k] = (char)('a' + k % 23);
        put_bytes(&s, FIN | WS_TEXT, payload, sizes[i]);
        buf_append_string(&want, "text:");
        buf_append(&want, payload, sizes[i]);
        buf_append_string(&want, " =0");
        for (size_t step = 1; step < 100000; step = step * 7 + 1)
            feed_and_compare(pool, &s, step, step, want.data, want.len);
        free(payload);
        buf_fini(&s);
        buf_fini(&want);
    }
    ws_pool_free(pool);
}

static void fragments_become_one_message(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, WS_TEXT, "Hel");
    put(&s, WS_CONTINUATION, "");
    put(&s, WS_CONTINUATION, "l");
    put(&s, FIN | WS_CONTINUATION, "o");
    put(&s, WS_BINARY, "");
    put(&s, FIN | WS_CONTINUATION, "");
    put(&s, FIN | WS_TEXT, "next");
    expect(&s, "text:Hello binary: text:next =0");
    buf_fini(&s);
}

static void control_frames_come_between_fragments(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, WS_TEXT, "Hel");
    put(&s, FIN | WS_PING, "are you there");
    put(&s, WS_CONTINUATION, "l");
    put(&s, FIN | WS_PONG, "");
    put(&s, FIN | WS_CONTINUATION, "o");
    put(&s, FIN | WS_PONG, "x");
    expect(&s, "ping:are you there pong: text:Hello pong:x =0");
    put(&s, WS_TEXT, "lost");
    put(&s, FIN | WS_CLOSE,
        "\x03\xe8"
        "bye");
    expect(&s, "1000-close:bye =0");
    buf_fini(&s);
}

static void a_control_frame_holds_up_to_125_bytes(void **state)
{
    (void)state;
    char payload[126];
    struct buf s = {0};
    struct buf want = {0};
    memset(payload, 'p', sizeof payload);
    put_bytes(&s, FIN | WS_PING, payload, 125);
    buf_append_string(&want, "ping:");
    buf_append(&want, payload, 125);
    buf_append_string(&want, " =0");
    expect_bytes(&small, &s, want.data, want.len);
    buf_fini(&want);
    buf_fini(&s);
}

static void nothing_is_looked_at_behind_a_close_frame(void **state)
{
    (void)state;
    struct ws_pool *pool = ws_pool_new(&small);
    struct ws_reader *reader = NULL;
    struct record r = {0};
    struct buf s = {0};
    put(&s, FIN | WS_TEXT, "a");
    put(&s, FIN | WS_CLOSE, "");
    put(&s, FIN | WS_TEXT, "b");
    buf_append_string(&s, "noise");
    assert_int_equal(ws_feed(pool, &reader, s.data, s.len, &events, &r), 0);
    assert_null(reader);
    assert_int_equal(r.events.len, strlen("text:a 1005-close: "));
    assert_memory_equal(r.events.data, "text:a 1005-close: ", r.events.len);
    buf_fini(&r.events);
    buf_fini(&s);
    ws_pool_free(pool);
}

static void a_client_takes_unmasked_frames(void **state)
{
    (void)state;
    struct ws_settings client = small;
    struct buf s = {0};
    static const char want[] = "text:Hello ping:p text:gr\xc3\xbc\xc3\x9f =0";
    client.server = false;
    raw_frame(&s, false, FIN | WS_TEXT, 7, 5, "Hello", 5);
    raw_frame(&s, false, WS_TEXT, 7, 3, "gr\xc3", 3);
    raw_frame(&s, false, FIN | WS_PING, 7, 1, "p", 1);
    raw_frame(&s, false, FIN | WS_CONTINUATION, 7, 3, "\xbc\xc3\x9f", 3);
    expect_bytes(&client, &s, want, sizeof want - 1);
    put(&s, FIN | WS_TEXT, "Hello");
    expect_bytes(&client, &s, "=1002", 5);
    buf_fini(&s);
}

/* ---- streams to refuse -------------------------------------------------------------------------
 */

static void headers_are_refused_with_the_byte_that_shows_it(void **state)
{
    (void)state;
    struct buf s = {0};
    /* Reserved bits. */
    for (int rsv = 0x10; rsv < 0x80; rsv += 0x10) {
        buf_append_char(&s, (char)(FIN | rsv | WS_TEXT));
        expect_refused(&s, 1002);
    }
    /* Opcodes that are not defined. */
    for (int opcode = 0; opcode < 16; opcode++) {
        if (opcode == WS_TEXT || opcode == WS_BINARY || (opcode >= 8 && opcode <= 10))
            continue;
        buf_append_char(&s, (char)(FIN | opcode));
        expect_refused(&s, 1002);
        buf_append_char(&s, (char)opcode);
        expect_refused(&s, 1002);
    }
    /* Control frames in fragments. */
    for (int opcode = WS_CLOSE; opcode <= WS_PONG; opcode++) {
        buf_append_char(&s, (char)opcode);
        expect_refused(&s, 1002);
    }
    /* Control frames of more than 125 bytes. */
    for (int opcode = WS_CLOSE; opcode <= WS_PONG; opcode++)
        for (int len = 126; len < 128; len++) {
            buf_append_char(&s, (char)(FIN | opcode));
            buf_append_char(&s, (char)(0x80 | len));
            expect_refused(&s, 1002);
        }
    /* No mask. */
    buf_append_string(&s, "\x81\x05");
    expect_refused(&s, 1002);
    buf_append_string(&s, "\x89\x05");
    expect_refused(&s, 1002);
    /* Lengths that would fit a shorter form, and the top bit. */
    buf_append(&s, "\x81\xfe\x00\x05", 4);
    expect_refused(&s, 1002);
    buf_append(&s, "\x81\xfe\x00\x7d", 4);
    expect_refused(&s, 1002);
    buf_append(&s, "\x81\xff\0\0\0\0\0\0\xff\xff", 10);
    expect_refused(&s, 1002);
    buf_append(&s, "\x81\xff\x80\0\0\0\0\x01\0\0", 10);
    expect_refused(&s, 1002);
    buf_fini(&s);
}

static void fragments_out_of_order_are_refused(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, WS_TEXT, "a");
    buf_append_char(&s, (char)(FIN | WS_TEXT));
    expect_refused(&s, 1002);
    put(&s, WS_TEXT, "a");
    put(&s, WS_CONTINUATION, "b");
    buf_append_char(&s, (char)WS_BINARY);
    expect_refused(&s, 1002);
    put(&s, WS_TEXT, "a");
    put(&s, FIN | WS_CONTINUATION, "b");
    buf_append_char(&s, (char)(FIN | WS_CONTINUATION));
    expect_refused(&s, 1002);
    buf_fini(&s);
}

static void what_came_before_a_fault_has_been_delivered(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, FIN | WS_TEXT, "one");
    put(&s, WS_TEXT, "half");
    put(&s, FIN | WS_PING, "");
    buf_append_string(&s, "\xff more");
    expect(&s, "text:one ping: =1002");
    buf_fini(&s);
}

static void close_bodies_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t len;
        const char *want;
    } rows[] = {
        {"", 0, "1005-close: =0"}, {"\x03", 1, "=1002"}, {"\x03\xe8", 2, "1000-close: =0"},
        {"\x03\xe8ok", 4, "1000-close:ok =0"}, {"\x03\xe8\xc3\xbc", 4, "1000-close:\xc3\xbc =0"},
        {"\x03\xe8\xc3", 3, "=1007"}, {"\x03\xe8\xff", 3, "=1007"},
        {"\x03\xec\xff", 3, "=1002"}, /* both wrong: the code is judged first */
    };
    struct buf s = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_bytes(&s, FIN | WS_CLOSE, rows[i].body, rows[i].len);
        expect(&s, rows[i].want);
    }
    buf_fini(&s);
}

static void close_codes_are_those_that_may_be_sent(void **state)
{
    (void)state;
    static const int edges[] = {0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009,
        1010, 1011, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999, 3000, 3999, 4000, 4008, 4999,
        5000, 65535};
    struct buf s = {0};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        int code = edges[i];
        bool good = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                    (code >= 3000 && code < 5000);
        char body[2] = {(char)(code >> 8), (char)code};
        char want[32] = "=1002";
        if (good) {
            struct buf b = {0};
            buf_appendf(&b, "%d-close: =0", code);
            buf_append_char(&b, '\0');
            strcpy(want, b.data);
            buf_fini(&b);
        }
        put_bytes(&s, FIN | WS_CLOSE, body, 2);
        expect(&s, want);
    }
    buf_fini(&s);
}

/* ---- limits ------------------------------------------------------------------------------------
 */

static void a_message_too_big_is_refused_at_its_header(void **state)
{
    (void)state;
    struct buf s = {0};
    raw_frame(&s, true, FIN | WS_TEXT, 16, 1001, "", 0);
    expect_refused(&s, 1009);
    raw_frame(&s, true, WS_BINARY, 16, 1001, "", 0);
    expect_refused(&s, 1009);
    raw_frame(&s, true, FIN | WS_TEXT, 64, (uint64_t)1 << 62, "", 0);
    expect_refused(&s, 1009);
    raw_frame(&s, true, FIN | WS_TEXT, 64, ((uint64_t)1 << 63) - 1, "", 0);
    expect_refused(&s, 1009);
    buf_fini(&s);
}

static void a_message_too_big_is_refused_when_it_is_all_there(void **state)
{
    (void)state;
    char payload[1001] = {0};
    struct buf s = {0};
    put(&s, FIN | WS_TEXT, "one");
    put_bytes(&s, FIN | WS_TEXT, payload, sizeof payload);
    expect(&s, "text:one =1009");
    buf_fini(&s);
}

static void fragments_together_must_fit_the_limit(void **state)
{
    (void)state;
    char payload[1000];
    struct buf s = {0};
    struct buf want = {0};
    memset(payload, 'x', sizeof payload);

    put_bytes(&s, WS_TEXT, payload, 600);
    put_bytes(&s, FIN | WS_CONTINUATION, payload, 400);
    put_bytes(&s, FIN | WS_TEXT, payload, 1000);
    buf_append_string(&want, "text:");
    buf_append(&want, payload, 1000);
    buf_append_string(&want, " text:");
    buf_append(&want, payload, 1000);
    buf_append_string(&want, " =0");
    expect_bytes(&small, &s, want.data, want.len);

    put_bytes(&s, WS_TEXT, payload, 600);
    raw_frame(&s, true, FIN | WS_CONTINUATION, 16, 401, "", 0);
    expect_refused(&s, 1009);
    put_bytes(&s, WS_TEXT, payload, 1000);
    raw_frame(&s, true, WS_CONTINUATION, 7, 1, "", 0);
    expect_refused(&s, 1009);
    put_bytes(&s, WS_TEXT, payload, 1);
    raw_frame(&s, true, WS_CONTINUATION, 64, ((uint64_t)1 << 63) - 1, "", 0);
    expect_refused(&s, 1009);
    buf_fini(&want);
    buf_fini(&s);
}

static void a_control_frame_does_not_count_for_the_limits(void **state)
{
    (void)state;
    struct ws_settings settings = {.max_message = 2, .max_fragments = 2, .server = true};
    struct buf s = {0};
    static const char want[] = "pong:ppp ping:ppp ping:ppp ping:ppp text:ab =0";
    put(&s, FIN | WS_PONG, "ppp");
    put(&s, WS_TEXT, "a");
    for (int i = 0; i < 3; i++)
        put(&s, FIN | WS_PING, "ppp");
    put(&s, FIN | WS_CONTINUATION, "b");
    expect_bytes(&settings, &s, want, sizeof want - 1);
    buf_fini(&s);
}

static void the_eleventh_fragment_of_ten_is_refused(void **state)
{
    (void)state;
    struct buf s = {0};
    for (int round = 0; round < 2; round++) { /* the count starts anew with each message */
        put(&s, WS_TEXT, "x");
        for (int i = 2; i < 10; i++)
            put(&s, WS_CONTINUATION, "");
        put(&s, FIN | WS_CONTINUATION, "y");
    }
    expect(&s, "text:xy text:xy =0");
    put(&s, WS_TEXT, "x");
    for (int i = 2; i <= 10; i++)
        put(&s, WS_CONTINUATION, "");
    raw_frame(&s, true, FIN | WS_CONTINUATION, 7, 0, "", 0);
    expect_refused(&s, 1008);
    buf_fini(&s);
}

/* ---- UTF-8 -------------------------------------------------------------------------------------
 */

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "a\xbf",
        "\xc0\xaf",
        "\xc3",
        "\xe2\x82",
        "\xe0\x80\xaf",
        "\xed\xa0\x80",
        "\xf0\x9f\x98",
        "\xf4\x90\x80\x80",
        "\xf5",
        "\xff",
        "ok\xc3(",
        "a long text of which only the very last byte is wrong, in the last whole word\xfe",
        "a long text of which a byte is wrong that lies in \xfe the middle of many more words",
    };
    struct buf s = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(&s, FIN | WS_TEXT, bad[i]);
        expect(&s, "=1007");
        put(&s, WS_TEXT, bad[i]);
        put(&s, FIN | WS_CONTINUATION, "");
        expect(&s, "=1007");
        put(&s, WS_TEXT, "");
        put(&s, FIN | WS_CONTINUATION, bad[i]);
        expect(&s, "=1007");
    }
    buf_fini(&s);
}

static void a_character_may_be_cut_by_fragments(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, WS_TEXT, "\xf0");
    put(&s, WS_CONTINUATION, "\x9f\x98");
    put(&s, FIN | WS_PING, "\xff");
    put(&s, WS_CONTINUATION, "");
    put(&s, FIN | WS_CONTINUATION, "\x80!");
    expect(&s, "ping:\xff text:\xf0\x9f\x98\x80! =0");
    put(&s, WS_TEXT, "\xc3");
    put(&s, FIN | WS_CONTINUATION, "ascii behind half a character");
    expect(&s, "=1007");
    buf_fini(&s);
}

static void bad_utf8_shows_before_its_frame_is_complete(void **state)
{
    (void)state;
    struct buf s = {0};
    raw_frame(&s, true, FIN | WS_TEXT, 16, 900, "good until here\xed\xa0", 17);
    expect_refused(&s, 1007);
    put(&s, WS_TEXT, "\xe2\x82");
    raw_frame(&s, true, WS_CONTINUATION, 7, 100, "\x28", 1);
    expect_refused(&s, 1007);
    /* Half a character at the end of a message shows with its last byte. */
    put(&s, FIN | WS_TEXT, "ab\xe2\x82");
    expect_refused(&s, 1007);
    buf_fini(&s);
}

static void binary_messages_may_hold_anything(void **state)
{
    (void)state;
    struct buf s = {0};
    put(&s, WS_BINARY, "\xc0\xff");
    put(&s, FIN | WS_CONTINUATION, "\x80");
    put(&s, FIN | WS_BINARY, "\xfe");
    expect(&s, "binary:\xc0\xff\x80 binary:\xfe =0");
    buf_fini(&s);
}

/* ---- ending ------------------------------------------------------------------------------------
 */

static void a_callback_can_end_the_feeding(void **state)
{
    (void)state;
    static const struct {
        const char *stop_at;
        const char *want;
    } rows[] = {
        {"text", "ping:1 pong:2 text:ab "},
        {"ping", "ping:1 "},
        {"pong", "ping:1 pong:2 "},
    };
    struct ws_pool *pool = ws_pool_new(&small);
    struct buf s = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 40; step++) {
            struct record r = {.stop_at = rows[i].stop_at};
            struct ws_reader *reader = NULL;
            put(&s, WS_TEXT, "a");
            put(&s, FIN | WS_PING, "1");
            put(&s, FIN | WS_PONG, "2");
            put(&s, FIN | WS_CONTINUATION, "b");
            put(&s, FIN | WS_TEXT, "never");
            size_t size = 0;
            for (size_t at = 0; at < s.len && !r.stopped; at += size) {
                size = step < s.len - at ? step : s.len - at;
                assert_int_equal(ws_feed(pool, &reader, s.data + at, size, &events, &r), 0);
            }
            assert_true(r.stopped);
            assert_null(reader);
            assert_int_equal(r.events.len, strlen(rows[i].want));
            assert_memory_equal(r.events.data, rows[i].want, r.events.len);
            buf_fini(&r.events);
            buf_clear(&s);
        }
    buf_fini(&s);
    ws_pool_free(pool);
}

static bool freeing_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    (void)opcode;
    (void)payload;
    (void)len;
    struct ws_reader ***slot = user;
    free(*slot);
    *slot = NULL;
    return false;
}

static void a_callback_that_ends_the_feeding_may_free_the_slot(void **state)
{
    (void)state;
    struct ws_events freeing = events;
    freeing.message = freeing_message;
    struct ws_pool *pool = ws_pool_new(&small);
    struct buf s = {0};
    for (int cut = 0; cut < 2; cut++) {
        struct ws_reader **slot = calloc(1, sizeof *slot);
        assert_non_null(slot);
        put(&s, FIN | WS_TEXT, "Hello");
        if (cut)
            assert_int_equal(ws_feed(pool, slot, s.data, 3, &freeing, &slot), 0);
        size_t from = cut ? 3 : 0;
        assert_int_equal(ws_feed(pool, slot, s.data + from, s.len - from, &freeing, &slot), 0);
        assert_null(slot);
        buf_clear(&s);
    }
    buf_fini(&s);
    ws_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_whole),
        cmocka_unit_test(lengths_take_their_three_forms),
        cmocka_unit_test(fragments_become_one_message),
        cmocka_unit_test(control_frames_come_between_fragments),
        cmocka_unit_test(a_control_frame_holds_up_to_125_bytes),
        cmocka_unit_test(nothing_is_looked_at_behind_a_close_frame),
        cmocka_unit_test(a_client_takes_unmasked_frames),
        cmocka_unit_test(headers_are_refused_with_the_byte_that_shows_it),
        cmocka_unit_test(fragments_out_of_order_are_refused),
        cmocka_unit_test(what_came_before_a_fault_has_been_delivered),
        cmocka_unit_test(close_bodies_are_checked),
        cmocka_unit_test(close_codes_are_those_that_may_be_sent),
        cmocka_unit_test(a_message_too_big_is_refused_at_its_header),
        cmocka_unit_test(a_message_too_big_is_refused_when_it_is_all_there),
        cmocka_unit_test(fragments_together_must_fit_the_limit),
        cmocka_unit_test(a_control_frame_does_not_count_for_the_limits),
        cmocka_unit_test(the_eleventh_fragment_of_ten_is_refused),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(a_character_may_be_cut_by_fragments),
        cmocka_unit_test(bad_utf8_shows_before_its_frame_is_complete),
        cmocka_unit_test(binary_messages_may_hold_anything),
        cmocka_unit_test(a_callback_can_end_the_feeding),
        cmocka_unit_test(a_callback_that_ends_the_feeding_may_free_the_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
