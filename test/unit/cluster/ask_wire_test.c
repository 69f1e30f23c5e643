/* Questions and answers as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/ask_wire.h"

static enum ask_message read_copy(
    const struct buf *bytes, size_t len, struct ask_question *q, struct ask_part *p, char **copy)
{
    *copy = malloc(len ? len : 1); /* so that a step beyond is found */
    assert_non_null(*copy);
    if (len > 0)
        memcpy(*copy, bytes->data, len);
    return ask_read((struct text){*copy, len}, q, p);
}

static enum ask_message read_again(const struct buf *bytes, size_t len)
{
    struct ask_question q;
    struct ask_part p;
    char *copy;
    enum ask_message message = read_copy(bytes, len, &q, &p, &copy);
    free(copy);
    return message;
}

static enum ask_message try_question(const struct ask_question *q)
{
    struct buf bytes = {0};
    ask_question_write(&bytes, q);
    enum ask_message message = read_again(&bytes, bytes.len);
    buf_fini(&bytes);
    return message;
}

static struct ask_question dismissal(void)
{
    return (struct ask_question){.kind = ASK_DISMISS,
        .asker = 7,
        .id = 9,
        .user = TEXT("alice"),
        .code = 4003,
        .reason = TEXT("go")};
}

static struct ask_question topics(void)
{
    return (struct ask_question){.kind = ASK_TOPICS,
        .asker = 7,
        .id = UINT64_MAX,
        .prefix = TEXT("a"),
        .after = TEXT("ab"),
        .pattern = TEXT("a:*"),
        .limit = 10};
}

static void a_question_is_read_as_it_was_written(void **state)
{
    struct buf bytes = {0};
    struct ask_question q, written = topics();
    struct ask_part p;
    char *copy;
    (void)state;
    ask_question_write(&bytes, &written);
    assert_int_equal(read_copy(&bytes, bytes.len, &q, &p, &copy), ASK_QUESTION);
    assert_int_equal(q.kind, ASK_TOPICS);
    assert_true(q.asker == 7 && q.id == UINT64_MAX && q.limit == 10);
    assert_true(text_equal(q.prefix, TEXT("a")) && text_equal(q.after, TEXT("ab")) &&
                text_equal(q.pattern, TEXT("a:*")));
    assert_null(q.user.at);
    free(copy);
    buf_clear(&bytes);
    written = dismissal();
    ask_question_write(&bytes, &written);
    assert_int_equal(read_copy(&bytes, bytes.len, &q, &p, &copy), ASK_QUESTION);
    assert_true(q.kind == ASK_DISMISS && q.code == 4003 && text_equal(q.user, TEXT("alice")) &&
                text_equal(q.reason, TEXT("go")));
    free(copy);
    buf_fini(&bytes);
}

static void a_part_is_read_as_it_was_written(void **state)
{
    struct buf bytes = {0};
    struct ask_question q;
    struct ask_part p,
        written = {
            .node = 1, .id = 2, .part = 3, .count = 4, .next = TEXT("n"), .bytes = TEXT("b")};
    char *copy;
    (void)state;
    ask_part_write(&bytes, &written);
    assert_int_equal(read_copy(&bytes, bytes.len, &q, &p, &copy), ASK_PART);
    assert_true(p.node == 1 && p.id == 2 && p.part == 3 && p.count == 4 && !p.more && !p.failed);
    assert_true(text_equal(p.next, TEXT("n")) && text_equal(p.bytes, TEXT("b")));
    free(copy);
    buf_clear(&bytes);
    written.next = (struct text){NULL, 0};
    written.more = true;
    ask_part_write(&bytes, &written);
    assert_int_equal(read_copy(&bytes, bytes.len, &q, &p, &copy), ASK_PART);
    assert_true(p.more && !p.next.at);
    free(copy);
    buf_fini(&bytes);
}

static void news_are_news(void **state)
{
    struct buf bytes = {0};
    (void)state;
    ask_news_write(&bytes, 5);
    assert_int_equal(read_again(&bytes, bytes.len), ASK_NEWS);
    assert_int_equal(read_again(&bytes, bytes.len - 1), ASK_UNKNOWN);
    buf_fini(&bytes);
}

/* Seen to fail (by the sanitizer) when a text's length is not compared with what is left. */
static void whatever_is_cut_is_not_understood(void **state)
{
    struct buf bytes = {0};
    struct ask_question q = dismissal();
    struct ask_part p = {.node = 1, .next = TEXT("next"), .bytes = TEXT("bytes")};
    (void)state;
    ask_question_write(&bytes, &q);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(read_again(&bytes, len), ASK_UNKNOWN);
    buf_clear(&bytes);
    ask_part_write(&bytes, &p);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(read_again(&bytes, len), ASK_UNKNOWN);
    buf_fini(&bytes);
}

/* Every byte with every bit turned is understood or not, and nothing beyond the end is read. */
static void turned_bits_do_no_harm(void **state)
{
    struct buf bytes = {0};
    struct ask_question q = dismissal();
    struct ask_part p = {.node = 1, .next = TEXT("next"), .bytes = TEXT("bytes")};
    (void)state;
    for (int which = 0; which < 2; which++) {
        buf_clear(&bytes);
        if (which == 0)
            ask_question_write(&bytes, &q);
        else
            ask_part_write(&bytes, &p);
        for (size_t bit = 0; bit < bytes.len * 8; bit++) {
            bytes.data[bit / 8] ^= (char)(1 << bit % 8);
            (void)read_again(&bytes, bytes.len);
            bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
    bytes.data[0] ^= 2; /* another version */
    assert_int_equal(read_again(&bytes, bytes.len), ASK_UNKNOWN);
    buf_fini(&bytes);
}

/* Each was seen to fail without its condition: a dismissal of nobody in particular is one of all
 * who have no name. */
static void questions_that_must_not_be_asked_are_not_understood(void **state)
{
    char reason[ASK_REASON_MOST + 2];
    struct ask_question q = dismissal();
    (void)state;
    assert_int_equal(try_question(&q), ASK_QUESTION);
    q.user = TEXT("");
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.user = (struct text){NULL, 0};
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.client = 1;
    assert_int_equal(try_question(&q), ASK_QUESTION);
    q.code = 999;
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.code = 5000;
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.code = 1000;
    q.reason = (struct text){"a\0b", 3};
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.reason = TEXT("\xff");
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    memset(reason, 'x', sizeof reason);
    q.reason = (struct text){reason, ASK_REASON_MOST + 1};
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.reason.len--;
    assert_int_equal(try_question(&q), ASK_QUESTION);
    q = topics();
    q.limit = 0;
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.limit = ASK_ROWS_MOST + 1;
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q.limit--;
    assert_int_equal(try_question(&q), ASK_QUESTION);
    q.asker = 0;
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
    q = (struct ask_question){.kind = ASK_PRESENCE, .asker = 1};
    assert_int_equal(try_question(&q), ASK_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_read_as_it_was_written),
        cmocka_unit_test(a_part_is_read_as_it_was_written),
        cmocka_unit_test(news_are_news),
        cmocka_unit_test(whatever_is_cut_is_not_understood),
        cmocka_unit_test(turned_bits_do_no_harm),
        cmocka_unit_test(questions_that_must_not_be_asked_are_not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
