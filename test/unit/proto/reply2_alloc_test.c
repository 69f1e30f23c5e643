/* What an answer of level 2 does without memory. Linked with malloc and its kin wrapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/reply2.h"
#include "support/failing_alloc.h"
#include "unit/proto/frames.h"

static void write_all(struct buf *out)
{
    static const struct text topic = {"a topic with a \" in it", 22};
    static const struct text id = {"\"an id\"", 7};
    reply2_info(out, 1);
    reply2_subscribed(out, id, topic, 1, 2, RECOVERED_YES);
    reply2_subscribed_pattern(out, id, topic);
    reply2_published(out, id, topic, 1, 2);
    reply2_error(out, ERROR_FORBIDDEN, TEXT("A sentence, and "), id, topic, topic);
    reply2_topics(out, id, TEXT("{\"topic\":\"a\",\"subscribers\":1}"), &topic);
    reply2_history(out, id, topic, 1, 2, TEXT("{\"offset\":1,\"data\":1}"), RECOVERED_NO);
    reply2_presence(out, id, topic, TEXT("\"0000000000000001\""));
    reply2_presence_event(out, true, topic, 1);
    reply2_gap(out, TEXT("\"a\""), 1, 2);
    reply2_pong(out, id);
}

static void an_answer_without_memory_leaves_no_part_of_a_frame(void **state)
{
    (void)state;
    struct buf whole = {0};
    write_all(&whole);
    assert_int_equal(whole_frames(whole.data, whole.len), whole.len);
    unsigned n = 1;
    for (bool failed = true; failed; n++) {
        struct buf out = {0};
        alloc_fail(n);
        write_all(&out);
        failed = alloc_failed();
        assert_int_equal(out.failed, failed);
        assert_true(failed ? out.len < whole.len : out.len == whole.len);
        if (out.len) {
            assert_memory_equal(out.data, whole.data, out.len);
            assert_int_equal(whole_frames(out.data, out.len), out.len);
        }
        buf_fini(&out);
    }
    assert_true(n > 4);
    buf_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_without_memory_leaves_no_part_of_a_frame),
    };
    return cmocka_run_group_tests_name("reply2_alloc", tests, NULL, NULL);
}
