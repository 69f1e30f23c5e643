/* What a reply does without memory. Linked with malloc and its kin wrapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/reply.h"

static unsigned calls;
static unsigned fail_at; /* this call fails; 0: none */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return ++calls == fail_at ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return ++calls == fail_at ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return ++calls == fail_at ? NULL : __real_realloc(old, size);
}

static void write_all(struct buf *out)
{
    static const struct text topic = {"a topic with a \" in it", 22};
    buf_append_string(out, "kept");
    reply_info(out);
    reply_subscribed(out, topic);
    reply_not_subscribed(out, topic);
    reply_topics(out, TEXT("{\"topic\":\"a\",\"subscribers\":1}"), &topic);
}

/* Where the whole frames end that `len` bytes behind "kept" begin with. */
static size_t whole_frames(const char *bytes, size_t len)
{
    size_t at = 4;
    while (at < len) {
        const uint8_t *head = (const uint8_t *)bytes + at;
        size_t next = head[1] < 126 ? at + 2 + head[1] : at + 4 + (head[2] << 8 | head[3]);
        if (next > len)
            break;
        at = next;
    }
    return at;
}

static void a_reply_without_memory_leaves_no_part_of_a_frame(void **state)
{
    (void)state;
    struct buf whole = {0};
    calls = fail_at = 0;
    write_all(&whole);
    unsigned needed = calls;
    assert_true(needed > 2);
    assert_int_equal(whole_frames(whole.data, whole.len), whole.len);
    for (unsigned n = 1; n <= needed; n++) {
        struct buf out = {0};
        calls = 0;
        fail_at = n;
        write_all(&out);
        fail_at = 0;
        assert_true(out.failed);
        assert_true(out.len < whole.len);
        if (out.len) {
            assert_memory_equal(out.data, whole.data, out.len);
            assert_int_equal(whole_frames(out.data, out.len), out.len);
        }
        buf_fini(&out);
    }
    buf_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_without_memory_leaves_no_part_of_a_frame),
    };
    return cmocka_run_group_tests_name("reply_alloc", tests, NULL, NULL);
}
