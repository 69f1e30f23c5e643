#include "broker/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "broker/patterns.h"
#include "proto/ws_out.h"

static void a_new_message_has_room_and_one_reference(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 100, 1 << 20};
    for (size_t i = 0; i < 4; i++) {
        struct message *m = message_new(lengths[i]);
        assert_non_null(m);
        assert_int_equal(m->len, lengths[i]);
        assert_int_equal(m->offset, 0);
        assert_null(m->topic);
        assert_int_equal(message_weight(m), sizeof *m + lengths[i]);
        memset(m->frames, 'x', lengths[i]);
        message_drop(m);
    }
}

static void a_length_beyond_the_weight_s_range_is_refused(void **state)
{
    (void)state;
    assert_null(message_new(UINT32_MAX));
    assert_null(message_new(UINT32_MAX - sizeof(struct message) + 1));
    assert_null(message_new(SIZE_MAX));
    assert_null(message_begin(UINT32_MAX));
}

static void one_that_is_begun_is_filled_and_gets_another_room(void **state)
{
    (void)state;
    struct message *m = message_begin(10);
    assert_non_null(m);
    assert_int_equal(m->len, 0);
    assert_int_equal(m->count, 0);
    memset(m->frames, 'x', 10);
    m->len = 10;
    m->count = 3;
    m = message_resize(m, 1 << 16);
    assert_non_null(m);
    memset(m->frames + 10, 'y', (1 << 16) - 10);
    m->len = 20;
    m = message_resize(m, 20);
    assert_non_null(m);
    assert_int_equal(m->len, 20);
    assert_int_equal(m->count, 3);
    assert_memory_equal(m->frames, "xxxxxxxxxxyyyyyyyyyy", 20);
    message_drop(m);
}

/* Broken by a length of 2 or 8 bytes that is read the other way round: fails. */
static void its_frames_are_taken_apart_one_by_one(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 255, 256, 65535, 65536, 70000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    size_t room = 0;
    for (size_t i = 0; i < COUNT; i++)
        room += WS_HEAD_MAX + sizes[i];
    struct message *m = message_begin(room);
    assert_non_null(m);
    for (size_t i = 0; i < COUNT; i++) {
        m->len += (uint32_t)ws_head((uint8_t *)m->frames + m->len, WS_TEXT, sizes[i]);
        memset(m->frames + m->len, 'a' + (int)i, sizes[i]);
        m->len += (uint32_t)sizes[i];
        m->count++;
    }
    const char *frame = m->frames;
    for (size_t i = 0; i < COUNT; i++) {
        struct text data;
        frame = message_frame(frame, &data);
        assert_int_equal(data.len, sizes[i]);
        for (size_t k = 0; k < data.len; k++)
            assert_int_equal(data.at[k], 'a' + (int)i);
    }
    assert_ptr_equal(frame, m->frames + m->len);
    message_drop(m);
}

/* Seen to fail (a leak) without match_set_drop. */
static void it_lets_go_of_the_patterns_that_it_went_to(void **state)
{
    (void)state;
    struct patterns patterns;
    struct match_set *set;
    uint64_t generation;
    patterns_init(&patterns, 1);
    struct pattern *any = patterns_join(&patterns, 1, TEXT(">"), 0, false);
    assert_true(patterns_match(&patterns, TEXT("t"), &set, &generation));
    struct message *m = message_new(1);
    m->matches = set;
    match_set_hold(set);
    message_hold(m, 1);
    message_drop(m);
    assert_int_equal(atomic_load(&set->references), 2);
    message_drop(m);
    assert_int_equal(atomic_load(&set->references), 1);
    m = message_new(1);
    m->matches = set;
    message_drop(m);
    patterns_leave(&patterns, any, 0, true, false);
    patterns_fini(&patterns);
}

enum { THREADS = 4, EACH = 5000 };

static void *read_and_drop(void *user)
{
    struct message *m = user;
    for (int i = 0; i < EACH; i++) {
        volatile char byte = m->frames[i % m->len];
        (void)byte;
        message_drop(m);
    }
    return NULL;
}

/* Broken by a message freed with its last but one reference: fails, in the address sanitizer. */
static void it_stays_until_the_last_reference_is_dropped(void **state)
{
    (void)state;
    struct message *m = message_new(100);
    pthread_t threads[THREADS];
    memset(m->frames, 'x', m->len);
    message_hold(m, THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_and_drop, m), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&m->references), 1);
    assert_int_equal(m->frames[99], 'x');
    message_drop(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_message_has_room_and_one_reference),
        cmocka_unit_test(one_that_is_begun_is_filled_and_gets_another_room),
        cmocka_unit_test(a_length_beyond_the_weight_s_range_is_refused),
        cmocka_unit_test(its_frames_are_taken_apart_one_by_one),
        cmocka_unit_test(it_lets_go_of_the_patterns_that_it_went_to),
        cmocka_unit_test(it_stays_until_the_last_reference_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
