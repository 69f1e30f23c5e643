/* Pages of topics, joined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/backplane.h"
#include "broker/topic_page.h"
#include "support/random.h"

enum { PAGES_MOST = 5 };

/* One word a page: names with their subscribers behind, and the next one's behind a slash. */
static struct topic_page page_of(struct buf *bytes, const char *words)
{
    struct topic_page page;
    const char *slash = strchr(words, '/');
    struct text all = {words, slash ? (size_t)(slash - words) : strlen(words)};
    for (size_t i = 0; i + 1 < all.len; i += 3)
        topic_page_write(bytes, (struct text){all.at + i, 1}, (uint32_t)(all.at[i + 1] - '0'));
    assert_false(bytes->failed);
    assert_int_equal(topic_page_read(&page, buf_text(bytes)), PAGE_READ);
    if (slash)
        page.next = text_of(slash + 1);
    return page;
}

static void assert_joined(
    size_t limit, const char *expected, const char *one, const char *other, const char *third)
{
    const char *const words[] = {one, other, third};
    struct buf bytes[3] = {{0}}, got = {0};
    struct topic_page pages[3], joined;
    for (size_t i = 0; i < 3; i++)
        pages[i] = page_of(&bytes[i], words[i]);
    assert_true(topic_page_join(&joined, pages, 3, limit));
    for (size_t i = 0; i < joined.count; i++)
        buf_appendf(&got, "%s%.*s%u", i ? " " : "", (int)joined.rows[i].name.len,
            joined.rows[i].name.at, (unsigned)joined.rows[i].subscribers);
    if (joined.next.at)
        buf_appendf(&got, "/%.*s", (int)joined.next.len, joined.next.at);
    buf_append(&got, "", 1);
    assert_string_equal(got.data, expected);
    topic_page_fini(&joined);
    for (size_t i = 0; i < 3; i++) {
        topic_page_fini(&pages[i]);
        buf_fini(&bytes[i]);
    }
    buf_fini(&got);
}

/* Seen to fail where only the first page's number of a name is taken. */
static void rows_of_one_name_are_one_row_with_the_sum(void **state)
{
    (void)state;
    assert_joined(9, "a1 b5 c9 d4", "a1 b2 c3", "b3 c6", "d4");
    assert_joined(9, "", "", "", "");
    assert_joined(9, "a3", "a1", "a1", "a1");
}

/* Seen to fail where `end` is the largest of them, and where it is not looked at. */
static void what_one_page_is_not_sure_of_is_left_out(void **state)
{
    (void)state;
    assert_joined(9, "a1 b3/b", "a1 b2/b", "b1 c3 d4/d", "c1");
    assert_joined(9, "a1/aa", "a1 b2", "/aa", "");
    assert_joined(9, "/A", "a1 b2", "/A", "");
}

/* Seen to fail where `next` is the others' end. */
static void a_full_page_says_where_it_goes_on(void **state)
{
    (void)state;
    assert_joined(2, "a1 b2/b", "a1", "b2", "c3");
    assert_joined(3, "a1 b2 c3", "a1", "b2", "c3");
    assert_joined(2, "a1 b2/b", "a1", "b2 c3/c", "");
    assert_joined(1, "a2/a", "a1/a", "a1/a", "");
}

/* --- bytes of others -------------------------------------------------------------------------- */

static enum topic_page_result read_rows(const char *const *names, size_t count, size_t cut)
{
    struct buf bytes = {0};
    struct topic_page page;
    for (size_t i = 0; i < count; i++)
        topic_page_write(&bytes, text_of(names[i]), 1);
    char *copy = malloc(bytes.len - cut + 1); /* so that a step beyond is found */
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.len - cut);
    copy = realloc(copy, bytes.len - cut ? bytes.len - cut : 1);
    enum topic_page_result result = topic_page_read(&page, (struct text){copy, bytes.len - cut});
    topic_page_fini(&page);
    free(copy);
    buf_fini(&bytes);
    return result;
}

/* Each was seen to fail without its condition. */
static void rows_that_cannot_be_are_bad(void **state)
{
    static const char *const good[] = {"a", "aa", "b"};
    static const char *const order[] = {"b", "a"};
    static const char *const twice[] = {"a", "a"};
    static const char *const control[] = {"a\nb"};
    static const char *const utf8[] = {"\xff"};
    static const char *const none[] = {""};
    (void)state;
    assert_int_equal(read_rows(good, 3, 0), PAGE_READ);
    for (size_t cut = 1; cut < sizeof(struct ask_row) + 1; cut++)
        assert_int_equal(read_rows(good, 3, cut), PAGE_BAD);
    assert_int_equal(read_rows(order, 2, 0), PAGE_BAD);
    assert_int_equal(read_rows(twice, 2, 0), PAGE_BAD);
    assert_int_equal(read_rows(control, 1, 0), PAGE_BAD);
    assert_int_equal(read_rows(utf8, 1, 0), PAGE_BAD);
    assert_int_equal(read_rows(none, 1, 0), PAGE_BAD);
}

static void a_length_beyond_the_end_is_bad(void **state)
{
    struct ask_row row = {1, UINT32_MAX};
    struct topic_page page;
    (void)state;
    assert_int_equal(
        topic_page_read(&page, (struct text){(const char *)&row, sizeof row}), PAGE_BAD);
    assert_null(page.rows);
}

/* --- all together ----------------------------------------------------------------------------- */

static int number_of(struct text name)
{
    return (name.at[0] - '0') * 10 + name.at[1] - '0';
}

/* Brokers with some topics each, gone through page by page, against the sums of all. */
static void going_through_all_pages_finds_every_topic_once(void **state)
{
    enum { TOPICS = 40, BROKERS = 3 };
    struct random random = {3};
    (void)state;
    for (int round = 0; round < 300; round++) {
        uint32_t has[BROKERS][TOPICS] = {{0}}, sums[TOPICS] = {0};
        size_t limit = 1 + random_below(&random, 12);
        for (int i = 0; i < BROKERS * TOPICS; i++) {
            uint32_t n = random_below(&random, 3) ? 0 : random_below(&random, 5) + 1;
            has[i % BROKERS][i / BROKERS] = n;
            sums[i / BROKERS] += n;
        }
        int after = -1, seen = 0;
        for (bool more = true; more;) {
            struct buf bytes[BROKERS] = {{0}};
            struct topic_page pages[BROKERS], joined;
            char next[BROKERS][16];
            for (int b = 0; b < BROKERS; b++) {
                size_t own = 0, most = 1 + random_below(&random, (uint32_t)limit);
                int last = after;
                for (int t = after + 1; t < TOPICS && own < most; last = t, t++) {
                    char name[16];
                    snprintf(name, sizeof name, "%02d", t);
                    own += has[b][t] > 0;
                    if (has[b][t])
                        topic_page_write(&bytes[b], text_of(name), has[b][t]);
                }
                assert_int_equal(topic_page_read(&pages[b], buf_text(&bytes[b])), PAGE_READ);
                snprintf(next[b], sizeof next[b], "%02d", last);
                if (last < TOPICS - 1)
                    pages[b].next = text_of(next[b]);
            }
            assert_true(topic_page_join(&joined, pages, BROKERS, limit));
            assert_true(joined.count <= limit);
            for (size_t i = 0; i < joined.count; i++) {
                int t = number_of(joined.rows[i].name);
                for (; seen < t; seen++)
                    assert_int_equal(sums[seen], 0);
                assert_int_equal(joined.rows[i].subscribers, sums[t]);
                seen = t + 1;
            }
            more = joined.next.at != NULL;
            after = more ? number_of(joined.next) : after;
            assert_true(!more || seen <= after + 1);
            topic_page_fini(&joined);
            for (int b = 0; b < BROKERS; b++) {
                topic_page_fini(&pages[b]);
                buf_fini(&bytes[b]);
            }
        }
        for (; seen < TOPICS; seen++)
            assert_int_equal(sums[seen], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_one_name_are_one_row_with_the_sum),
        cmocka_unit_test(what_one_page_is_not_sure_of_is_left_out),
        cmocka_unit_test(a_full_page_says_where_it_goes_on),
        cmocka_unit_test(rows_that_cannot_be_are_bad),
        cmocka_unit_test(a_length_beyond_the_end_is_bad),
        cmocka_unit_test(going_through_all_pages_finds_every_topic_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
