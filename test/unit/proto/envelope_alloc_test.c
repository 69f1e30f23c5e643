/* What an envelope does without memory. Linked with malloc and its kin wrapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/envelope.h"
#include "support/failing_alloc.h"
#include "unit/proto/frames.h"

static void fill(struct buf *out, struct envelope *e)
{
    static const char topic[] = "a topic that is longer than what a buffer begins with, by far";
    static const char pattern[] =
        "and a pattern that is longer than what a buffer begins with, too";
    envelope_set(e, text_of(topic), text_of(pattern));
    for (uint64_t offset = 1; offset <= 3; offset++)
        envelope_append(out, e, TEXT("\"some data\""), offset);
}

static void without_memory_there_is_no_part_of_a_frame(void **state)
{
    (void)state;
    struct buf whole = {0};
    struct envelope e = {0};
    fill(&whole, &e);
    envelope_fini(&e);
    assert_int_equal(whole_frames(whole.data, whole.len), whole.len);
    unsigned n = 1;
    for (bool failed = true; failed; n++) {
        struct buf out = {0};
        alloc_fail(n);
        fill(&out, &e);
        failed = alloc_failed();
        assert_int_equal(out.failed, failed);
        assert_true(failed ? out.len < whole.len : out.len == whole.len);
        if (out.len) {
            assert_memory_equal(out.data, whole.data, out.len);
            assert_int_equal(whole_frames(out.data, out.len), out.len);
        }
        envelope_fini(&e);
        buf_fini(&out);
    }
    assert_true(n > 4);
    buf_fini(&whole);
}

static void an_envelope_that_had_no_memory_is_good_when_it_is_set_again(void **state)
{
    (void)state;
    struct buf out = {0};
    struct envelope e = {0};
    alloc_fail(1);
    envelope_set(&e, TEXT("a"), TEXT(""));
    assert_true(alloc_failed());
    envelope_append(&out, &e, TEXT("1"), 1);
    assert_true(out.failed);
    assert_int_equal(out.len, 0);
    buf_clear(&out);
    envelope_set(&e, TEXT("a"), TEXT(""));
    envelope_append(&out, &e, TEXT("1"), 1);
    assert_frame(&out, "{\"type\":\"message\",\"topic\":\"a\",\"data\":1,\"offset\":1}");
    envelope_fini(&e);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_there_is_no_part_of_a_frame),
        cmocka_unit_test(an_envelope_that_had_no_memory_is_good_when_it_is_set_again),
    };
    return cmocka_run_group_tests_name("envelope_alloc", tests, NULL, NULL);
}
