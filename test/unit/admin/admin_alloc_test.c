/* Requests when the n-th allocation fails: answered or not, never half, and nothing is lost track
 * of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/admin_harness.h"
#include "support/failing_alloc.h"

static const char *const requests[] = {
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /hermes.js HTTP/1.1\r\nHost: "
    "localhost\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/connections HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/topics HTTP/1.1\r\nHost: "
    "localhost\r\n\r\n",
    "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 22\r\n\r\n{\"topic\":\"t\",\"data\":1}",
    "POST /api/disconnect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 12\r\n\r\n{\"user\":\"u\"}",
    "nonsense\r\n\r\n",
};

static void assert_whole(const struct buf *answers)
{
    if (answers->len == 0)
        return; /* it was hung up on */
    assert_memory_equal(answers->data, "HTTP/1.1 ", 9);
    assert_non_null(memmem(answers->data, answers->len, "\r\n\r\n", 4));
}

static void without_memory_a_request_is_refused_and_the_next_one_is_not(void **state)
{
    struct desk d;
    (void)state;
    desk_open(&d, 2, TEXT(""));
    /* Mailboxes must not lose anything, and have their memory before it is short. */
    for (size_t i = 0; i < 20; i++) {
        struct buf answers = {0};
        size_t which = i % (sizeof requests / sizeof requests[0]);
        assert_true(desk_ask(&d, requests[which], strlen(requests[which]), 0, &answers));
        buf_fini(&answers);
    }
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        unsigned fail_at = 0;
        bool failed;
        do {
            struct buf answers = {0};
            buf_reserve(&answers, 256 * 1024); /* so that ours is not the one that fails */
            alloc_fail(++fail_at);
            bool ended = desk_ask(&d, requests[i], strlen(requests[i]), 50, &answers);
            failed = alloc_failed();
            assert_true(ended);
            assert_whole(&answers);
            buf_clear(&answers);
            assert_true(desk_ask(&d, requests[0], strlen(requests[0]), 0, &answers));
            assert_true(answers.len > 20);
            assert_memory_equal(answers.data, "HTTP/1.1 200", 12);
            buf_fini(&answers);
        } while (failed);
    }
    desk_close(&d);
}

static void without_memory_there_is_no_listener_and_nothing_is_left(void **state)
{
    static const struct metrics none;
    struct rig r;
    struct admin_settings settings = {
        .host = "127.0.0.1", .shop = &r.shop, .outside = &none, .acceptor = &none};
    unsigned fail_at = 0;
    bool failed;
    (void)state;
    rig_open(&r, 2, rig_limits());
    do {
        char error[256];
        struct admin *a = aligned_alloc(64, (sizeof *a + 63) / 64 * 64);
        assert_non_null(a);
        alloc_fail(++fail_at);
        enum admin_fault fault = admin_open(a, &settings, error, sizeof error);
        failed = alloc_failed();
        assert_int_equal(fault == ADMIN_OPENED, !failed);
        if (fault == ADMIN_OPENED)
            admin_fini(a);
        free(a);
    } while (failed);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_a_request_is_refused_and_the_next_one_is_not),
        cmocka_unit_test(without_memory_there_is_no_listener_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
