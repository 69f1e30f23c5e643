/* Outboxes without memory. */
#include "net/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "support/failing_alloc.h"

static const struct text last = {"\x88\x02\x0f\xa8", 4};

struct scene {
    struct byte_log log;
    struct outbox box;
    struct conn conn;
    int peer;
};

static void scene_open(struct scene *s)
{
    int fds[2];
    int size = 1;
    *s = (struct scene){.box = {.more = NULL}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    s->conn.fd = fds[0];
    s->peer = fds[1];
    log_init(&s->log, 0);
}

static void scene_close(struct scene *s)
{
    outbox_clear(&s->log, &s->box);
    assert_int_equal(s->log.charged, 0);
    outbox_spares_free(&s->log);
    log_fini(&s->log);
    close(s->conn.fd);
    close(s->peer);
}

/* A frame of 100 bytes, apart from the one before. */
static struct span log_frame(struct scene *s)
{
    static const char frame[100] = "\x82\x62";
    log_append(&s->log, "", 1);
    uint64_t start = log_append(&s->log, frame, sizeof frame);
    return (struct span){start, s->log.end};
}

/* Broken by a row of spans whose new size is noted before it has the memory: fails. */
static void an_add_that_finds_no_memory_changes_nothing(void **state)
{
    (void)state;
    struct scene s;
    unsigned failures = 0;
    scene_open(&s);
    for (uint64_t i = 0; i < 300; i++) {
        struct span span = log_frame(&s);
        bool had_more = s.box.more != NULL;
        size_t charged = s.log.charged;
        alloc_fail(1);
        bool added = outbox_add(&s.log, &s.box, span.start, span.end);
        bool failed = alloc_failed();
        assert_int_equal(added, !failed);
        if (failed) {
            failures++;
            assert_true(outbox_unsent(&s.box) == 100 * i);
            assert_int_equal(s.log.charged, charged);
            assert_int_equal(s.box.more != NULL, had_more);
            /* The second allocation of the same add. */
            alloc_fail(2);
            added = outbox_add(&s.log, &s.box, span.start, span.end);
            if (alloc_failed()) {
                assert_false(added);
                assert_true(outbox_unsent(&s.box) == 100 * i);
                assert_true(outbox_add(&s.log, &s.box, span.start, span.end));
            }
        }
        assert_true(outbox_unsent(&s.box) == 100 * (i + 1));
    }
    assert_int_equal(failures, 7); /* what is more, and rows of 16, 32, ... 512 spans */
    scene_close(&s);
}

static void block(struct scene *s)
{
    struct outbox_sent sent = {0, 0};
    while (outbox_empty(&s->box)) {
        for (int i = 0; i < 200; i++) {
            struct span span = log_frame(s);
            assert_true(outbox_add(&s->log, &s->box, span.start, span.end));
        }
        assert_int_not_equal(outbox_flush(&s->log, &s->box, &s->conn, &sent), OUTBOX_BROKEN);
    }
}

static void a_cut_that_finds_no_memory_forgets_everything(void **state)
{
    (void)state;
    for (unsigned fail_at = 1;; fail_at++) {
        struct scene s;
        bool holds;
        scene_open(&s);
        block(&s);
        alloc_fail(fail_at);
        bool is_cut = outbox_cut(&s.log, &s.box, last);
        bool failed = alloc_failed();
        assert_int_equal(is_cut, !failed);
        if (failed) {
            assert_true(outbox_empty(&s.box));
            assert_int_equal(outbox_unsent(&s.box), 0);
            assert_int_equal(s.log.charged, 0);
            assert_null(outbox_oldest(&s.log, &holds));
        } else {
            assert_ptr_equal(outbox_oldest(&s.log, &holds), &s.box);
            assert_in_range(outbox_unsent(&s.box), last.len, 100 + last.len);
        }
        scene_close(&s);
        if (!failed)
            break;
        assert_in_range(fail_at, 1, 5);
    }
    /* One that is not blocked needs memory to remember it, too. */
    for (unsigned fail_at = 1; fail_at <= 2; fail_at++) {
        struct scene s;
        scene_open(&s);
        struct span span = log_frame(&s);
        assert_true(outbox_add(&s.log, &s.box, span.start, span.end));
        alloc_fail(fail_at);
        assert_false(outbox_cut(&s.log, &s.box, last));
        assert_true(alloc_failed());
        assert_true(outbox_empty(&s.box));
        assert_int_equal(s.log.charged, 0);
        scene_close(&s);
    }
}

static void a_copy_out_that_finds_no_memory_changes_nothing(void **state)
{
    (void)state;
    struct scene s;
    bool holds;
    scene_open(&s);
    block(&s);
    uint64_t unsent = outbox_unsent(&s.box);
    struct span first = s.box.first;
    size_t charged = s.log.charged;
    alloc_fail(1);
    assert_false(outbox_move_out(&s.log, &s.box, s.log.base + LOG_CHUNK));
    assert_true(alloc_failed());
    assert_true(outbox_unsent(&s.box) == unsent);
    assert_memory_equal(&s.box.first, &first, sizeof first);
    assert_int_equal(s.log.charged, charged);
    assert_ptr_equal(outbox_oldest(&s.log, &holds), &s.box);
    assert_true(holds);
    assert_true(outbox_move_out(&s.log, &s.box, s.log.base + LOG_CHUNK));
    assert_true(outbox_unsent(&s.box) == unsent);
    outbox_oldest(&s.log, &holds);
    assert_false(holds);
    scene_close(&s);
}

/* Seen to fail with the spans taken apart before there is memory for what is left of them. */
static void what_a_blocked_outbox_has_no_memory_for_changes_nothing(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    block(&s);
    uint64_t unsent = outbox_unsent(&s.box);
    size_t charged = s.log.charged;
    size_t spans = outbox_spans(&s.box);
    struct span second = outbox_span(&s.box, 1);
    struct span middle = {second.start, second.end};
    assert_true(spans > 2);
    alloc_fail(1);
    assert_false(outbox_forget(&s.log, &s.box, &middle, 1));
    assert_true(alloc_failed());
    alloc_fail(1);
    assert_false(outbox_tell(&s.log, &s.box, last));
    assert_true(alloc_failed());
    alloc_fail(1);
    assert_false(outbox_move_out(&s.log, &s.box, second.end));
    assert_true(alloc_failed());
    assert_true(outbox_unsent(&s.box) == unsent);
    assert_int_equal(outbox_spans(&s.box), spans);
    assert_int_equal(s.log.charged, charged);
    assert_true(outbox_forget(&s.log, &s.box, &middle, 1));
    assert_true(outbox_unsent(&s.box) == unsent - 100);
    assert_int_equal(outbox_spans(&s.box), spans - 1);
    assert_true(outbox_move_out(&s.log, &s.box, middle.end));
    assert_true(outbox_tell(&s.log, &s.box, last));
    assert_true(outbox_unsent(&s.box) == unsent - 100 + last.len);
    scene_close(&s);
}

static void a_flush_that_cannot_remember_where_it_is_ends_the_connection(void **state)
{
    (void)state;
    struct scene s;
    struct outbox_sent sent = {0, 0};
    scene_open(&s);
    char bytes[100] = "\x82\x62";
    uint64_t start = s.log.end;
    for (int i = 0; i < 3000; i++)
        log_append(&s.log, bytes, sizeof bytes);
    assert_true(outbox_add(&s.log, &s.box, start, s.log.end));
    alloc_fail(1);
    assert_int_equal(outbox_flush(&s.log, &s.box, &s.conn, &sent), OUTBOX_BROKEN);
    assert_true(alloc_failed());
    assert_int_equal(s.log.charged, 0);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_add_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(a_cut_that_finds_no_memory_forgets_everything),
        cmocka_unit_test(a_copy_out_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(what_a_blocked_outbox_has_no_memory_for_changes_nothing),
        cmocka_unit_test(a_flush_that_cannot_remember_where_it_is_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
