/* What receiving costs in memory. Linked with malloc and its kin wrapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/ws_in.h"
#include "proto/ws_out.h"

static struct {
    unsigned calls;
    unsigned fail_at; /* this call fails; 0: none */
    size_t largest;
} allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool may_allocate(size_t size)
{
    allocations.calls++;
    if (size > allocations.largest)
        allocations.largest = size;
    return allocations.calls != allocations.fail_at;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate(size) ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate(count * size) ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate(size) ? __real_realloc(old, size) : NULL;
}

static void watch(unsigned fail_at)
{
    allocations.calls = 0;
    allocations.fail_at = fail_at;
    allocations.largest = 0;
}

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    size_t *received = user;
    (void)opcode;
    (void)payload;
    *received += len;
    return true;
}

static bool on_control(void *user, const char *payload, size_t len)
{
    (void)user;
    (void)payload;
    (void)len;
    return true;
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    (void)code;
    return on_control(user, reason, len);
}

static const struct ws_events events = {on_message, on_control, on_control, on_close};

static const uint8_t key[4] = {1, 2, 3, 4};

static const struct ws_settings settings = {.max_message = 1 << 20, .server = true, .spare = 1};

/* A reader as it is, and wslay's context, whose allocation is not seen here. */
enum { READER_MAX = 1024 };

static void whole_messages_need_no_memory(void **state)
{
    (void)state;
    struct ws_pool *pool = ws_pool_new(&settings);
    struct ws_reader *reader = NULL;
    struct buf s = {0};
    size_t received = 0;
    for (size_t len = 0; len < 3000; len += 100) {
        char payload[3000] = {0};
        ws_frame_masked(&s, WS_TEXT, payload, len, key);
        ws_frame_masked(&s, WS_PING, payload, len % 126, key);
    }
    watch(0);
    assert_int_equal(ws_feed(pool, &reader, s.data, s.len, &events, &received), 0);
    assert_int_equal(allocations.calls, 0);
    assert_null(reader);
    buf_fini(&s);
    ws_pool_free(pool);
}

static void a_declared_length_costs_nothing(void **state)
{
    (void)state;
    struct ws_pool *pool = ws_pool_new(&settings);
    struct ws_reader *reader = NULL;
    size_t received = 0;
    char header[] = "\x82\xff\0\0\0\0\0\x10\0\0abcd";
    char some[100];
    memset(some, 'x', sizeof some);
    watch(0);
    assert_int_equal(ws_feed(pool, &reader, header, 14, &events, &received), 0);
    assert_non_null(reader);
    assert_in_range(allocations.largest, 1, READER_MAX);
    assert_int_equal(ws_feed(pool, &reader, some, sizeof some, &events, &received), 0);
    assert_in_range(allocations.largest, 1, READER_MAX);
    ws_release(pool, &reader);
    ws_pool_free(pool);
}

/* Feeds a message as one frame in pieces or as fragments of that many bytes; both byte for byte go
 * through one buffer. */
static void feed_message(struct ws_pool *pool, size_t len, size_t step, bool fragments)
{
    struct ws_reader *reader = NULL;
    size_t received = 0;
    struct buf s = {0};
    char *payload = calloc(1, len);
    assert_non_null(payload);
    for (size_t at = 0; fragments && at < len; at += step) {
        size_t size = step < len - at ? step : len - at;
        size_t start = s.len;
        ws_frame_masked(&s, at == 0 ? WS_TEXT : WS_CONTINUATION, payload + at, size, key);
        if (at + size < len)
            s.data[start] &= 0x7f;
    }
    if (!fragments)
        ws_frame_masked(&s, WS_TEXT, payload, len, key);
    watch(0);
    for (size_t at = 0; at < s.len; at += step) {
        size_t size = step < s.len - at ? step : s.len - at;
        assert_int_equal(ws_feed(pool, &reader, s.data + at, size, &events, &received), 0);
    }
    assert_int_equal(received, len);
    assert_null(reader);
    free(payload);
    buf_fini(&s);
}

static void one_byte_fragments_cost_one_growing_buffer(void **state)
{
    (void)state;
    for (int fragments = 0; fragments < 2; fragments++)
        for (size_t step = 1; step < 5000; step = step * 8 + 1) {
            struct ws_pool *pool = ws_pool_new(&settings);
            feed_message(pool, 1 << 20, step, fragments);
            /* A reader, and a buffer that doubles from 512 bytes to 1 MiB. */
            assert_in_range(allocations.calls, 2, 13);
            assert_int_equal(allocations.largest, 1 << 20);
            ws_pool_free(pool);
        }
}

static void the_buffer_stays_within_the_limit(void **state)
{
    (void)state;
    struct ws_settings odd = settings;
    odd.max_message = 700;
    for (int fragments = 0; fragments < 2; fragments++) {
        struct ws_pool *pool = ws_pool_new(&odd);
        feed_message(pool, 700, 7, fragments);
        assert_int_equal(allocations.largest, 700);
        ws_pool_free(pool);
    }
}

static void spare_readers_are_used_again_without_their_large_buffers(void **state)
{
    (void)state;
    struct ws_pool *pool = ws_pool_new(&settings);
    feed_message(pool, 10000, 1000, false);
    feed_message(pool, 10000, 1000, false);
    assert_int_equal(allocations.calls, 0);
    feed_message(pool, 100000, 1000, false);
    assert_int_not_equal(allocations.calls, 0);
    feed_message(pool, 10000, 1000, false);
    assert_int_not_equal(allocations.calls, 0); /* the buffer alone */
    assert_in_range(allocations.largest, 1, 16384);
    ws_pool_free(pool);
}

static void without_memory_the_code_is_1011(void **state)
{
    (void)state;
    unsigned fail_at = 1;
    int code;
    do {
        struct ws_pool *pool = ws_pool_new(&settings);
        struct ws_reader *reader = NULL;
        size_t received = 0;
        struct buf s = {0};
        char payload[2000] = {0};
        ws_frame_masked(&s, WS_BINARY, payload, sizeof payload, key);
        watch(fail_at++);
        code = 0;
        for (size_t at = 0; at < s.len && code == 0; at++)
            code = ws_feed(pool, &reader, s.data + at, 1, &events, &received);
        watch(0);
        assert_true(code == 0 || code == 1011);
        assert_null(reader);
        assert_int_equal(received, code == 0 ? sizeof payload : 0);
        buf_fini(&s);
        ws_pool_free(pool);
    } while (code != 0);
    assert_int_equal(fail_at, 6); /* a reader, 512, 1024, 2000 bytes; then nothing failed */
    watch(1);
    assert_null(ws_pool_new(&settings));
    watch(0);
}

/* Broken by leaving out what reader_put takes off: the last loop fails. */
static void what_all_hold_half_received_is_bounded(void **state)
{
    (void)state;
    enum { PEERS = 20, MOST = 100000 };
    struct ws_settings bounded = settings;
    bounded.max_held = MOST;
    struct ws_pool *pool = ws_pool_new(&bounded);
    struct ws_reader *readers[PEERS] = {NULL};
    struct buf s = {0};
    char payload[20000] = {0};
    size_t received = 0;
    ws_frame_masked(&s, WS_BINARY, payload, sizeof payload, key);
    for (int round = 0; round < 3; round++) {
        int refused = 0;
        for (int i = 0; i < PEERS; i++) {
            char half[15000];
            memcpy(half, s.data, sizeof half);
            int code = ws_feed(pool, &readers[i], half, sizeof half, &events, &received);
            assert_true(code == 0 || code == WS_TRY_LATER);
            refused += code != 0;
        }
        assert_in_range(refused, PEERS - MOST / 15000, PEERS - 1);
        for (int i = 0; i < PEERS; i++)
            ws_release(pool, &readers[i]);
    }
    /* Nothing is held now, so a whole message passes in pieces as before. */
    assert_int_equal(ws_feed(pool, &readers[0], s.data, 15000, &events, &received), 0);
    assert_int_equal(
        ws_feed(pool, &readers[0], s.data + 15000, s.len - 15000, &events, &received), 0);
    assert_null(readers[0]);
    assert_int_equal(received, sizeof payload);
    buf_fini(&s);
    ws_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_messages_need_no_memory),
        cmocka_unit_test(a_declared_length_costs_nothing),
        cmocka_unit_test(one_byte_fragments_cost_one_growing_buffer),
        cmocka_unit_test(the_buffer_stays_within_the_limit),
        cmocka_unit_test(spare_readers_are_used_again_without_their_large_buffers),
        cmocka_unit_test(without_memory_the_code_is_1011),
        cmocka_unit_test(what_all_hold_half_received_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
