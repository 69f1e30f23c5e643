#include "broker/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

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
        cmocka_unit_test(it_stays_until_the_last_reference_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
