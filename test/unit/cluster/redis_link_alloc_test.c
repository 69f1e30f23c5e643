/* A link without memory: each allocation fails once, and it comes up all the same, or says no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cluster/redis_link.h"
#include "cluster/redis_waiting.h"
#include "cluster/resp_out.h"
#include "support/failing_alloc.h"
#include "unit/cluster/resp_dump.h"

static void urls_without_memory_are_none(void **state)
{
    (void)state;
    for (unsigned fail_at = 1;; fail_at++) {
        struct redis_url *list;
        char error[100] = "";
        alloc_fail(fail_at);
        size_t count = redis_urls_read("redis://u:p@a,redis://:p@b", &list, error, sizeof error);
        if (!alloc_failed()) {
            assert_int_equal(count, 2);
            assert_int_equal(fail_at, 7); /* list, user, two passwords, two hosts */
            redis_urls_free(list, count);
            break;
        }
        if (count != 0 || list || !strstr(error, "no memory"))
            fail_msg("allocation %u: %zu, %s", fail_at, count, error);
    }
}

static void a_command_without_memory_is_not_in_the_buffer(void **state)
{
    static char big[5000];
    (void)state;
    for (unsigned fail_at = 1; fail_at < 4; fail_at++) {
        struct resp_out out = {0};
        alloc_fail(0);
        resp_out_begin(&out, 1);
        resp_out_arg(&out, TEXT("PING"));
        assert_true(resp_out_end(&out));
        alloc_fail(fail_at);
        resp_out_begin(&out, 3);
        resp_out_arg(&out, TEXT("SET"));
        resp_out_arg(&out, TEXT("a"));
        resp_out_arg(&out, (struct text){big, sizeof big});
        bool whole = resp_out_end(&out);
        assert_int_equal(whole, !alloc_failed());
        assert_int_equal(resp_out_text(&out).len, whole ? 14 + 4 + 9 + 7 + 9 + sizeof big : 14);
        resp_out_begin(&out, 1);
        resp_out_arg(&out, TEXT("PING"));
        assert_true(resp_out_end(&out));
        resp_out_fini(&out);
    }
}

static void an_answer_without_memory_is_bad(void **state)
{
    static const char bytes[] = "*40\r\n$3\r\nabc\r\n*2\r\n$1\r\na\r\n$2\r\nb";
    unsigned bad = 0;
    (void)state;
    for (unsigned fail_at = 1; fail_at < 10; fail_at++) {
        const struct resp *answer;
        struct resp_in *in;
        alloc_fail(fail_at);
        in = resp_in_new();
        if (!in) {
            assert_true(alloc_failed());
            continue;
        }
        enum resp_result result = RESP_MORE;
        for (size_t i = 0; i + 1 < sizeof bytes && result == RESP_MORE; i++) {
            resp_in_feed(in, bytes + i, 1);
            result = resp_in_next(in, &answer);
        }
        bool failed = alloc_failed();
        assert_int_equal(result, failed ? RESP_BAD : RESP_MORE);
        if (failed)
            assert_string_equal(resp_in_fault(in), "out of memory");
        bad += failed;
        resp_in_free(in);
    }
    assert_true(bad >= 2); /* the items, the texts that are kept */
}

static void nobody(const struct resp *answer, void *user)
{
    (void)answer;
    (void)user;
}

static void whoever_cannot_be_waited_for_is_not(void **state)
{
    struct redis_waiting w = {0};
    struct redis_wanted taken;
    int marks[200];
    (void)state;
    alloc_fail(1);
    assert_false(redis_waiting_add(&w, nobody, NULL));
    assert_true(alloc_failed());
    /* Growing in the midst of the ring keeps the order. */
    for (int i = 0; i < 64; i++)
        assert_true(redis_waiting_add(&w, nobody, marks + i));
    for (int i = 0; i < 30; i++)
        assert_true(redis_waiting_take(&w, &taken) && taken.user == marks + i);
    for (int i = 64; i < 94; i++)
        assert_true(redis_waiting_add(&w, nobody, marks + i));
    alloc_fail(1);
    assert_false(redis_waiting_add(&w, nobody, NULL));
    assert_true(alloc_failed());
    for (int i = 94; i < 200; i++)
        assert_true(redis_waiting_add(&w, nobody, marks + i));
    for (int i = 30; i < 200; i++)
        assert_true(redis_waiting_take(&w, &taken) && taken.user == marks + i);
    assert_false(redis_waiting_take(&w, &taken));
    redis_waiting_fini(&w);
}

/* ---- the whole of it, against a server of a few lines ---- */

struct alone {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_tcp_t tcp;
    uv_timer_t patience;
    struct redis_link *link;
    char said[4096];
    size_t said_len;
    bool open;
    bool closing;
    bool up;
    unsigned downs;
    unsigned answers;
    unsigned lost;
};

static void alone_give(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct alone *a = handle->data;
    (void)suggested;
    *out = uv_buf_init(a->said, sizeof a->said);
}

static void alone_closed(uv_handle_t *handle)
{
    struct alone *a = handle->data;
    a->open = a->closing = false;
}

/* What it answers is told by the number of commands: three to greet, and all else is fine. */
static void alone_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct alone *a = stream->data;
    if (len < 0) {
        if (!a->closing)
            uv_close((uv_handle_t *)stream, alone_closed);
        a->closing = true;
        return;
    }
    for (ssize_t i = 0; i < len; i++) {
        static char pong[] = "+PONG\r\n";
        static char master[] = "*1\r\n$6\r\nmaster\r\n";
        static char sha[] = "$40\r\n0123456789012345678901234567890123456789\r\n";
        char *say = NULL;
        if (bytes->base[i] == 'N')
            say = pong;
        else if (bytes->base[i] == 'R' && len - i >= 4 && memcmp(bytes->base + i, "ROLE", 4) == 0)
            say = master;
        else if (bytes->base[i] == 'L' && len - i >= 4 && memcmp(bytes->base + i, "LOAD", 4) == 0)
            say = sha;
        if (say) {
            uv_buf_t buf = uv_buf_init(say, (unsigned)strlen(say));
            (void)uv_try_write(stream, &buf, 1);
        }
    }
}

static void alone_accept(uv_stream_t *listener, int status)
{
    struct alone *a = listener->data;
    assert_int_equal(status, 0);
    if (a->open)
        return;
    uv_tcp_init(&a->loop, &a->tcp);
    a->tcp.data = a;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&a->tcp), 0);
    a->open = true;
    uv_read_start((uv_stream_t *)&a->tcp, alone_give, alone_read);
}

static void alone_up(struct redis_link *l, void *user)
{
    struct alone *a = user;
    (void)l;
    a->up = true;
}

static void alone_down(struct redis_link *l, const char *reason, void *user)
{
    struct alone *a = user;
    (void)l;
    (void)reason;
    a->up = false;
    a->downs++;
}

static void alone_answer(const struct resp *answer, void *user)
{
    struct alone *a = user;
    a->answers++;
    a->lost += answer == NULL;
}

static void alone_late(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing came of it");
}

static void a_link_survives_each_allocation_that_fails(void **state)
{
    static const char *const scripts[] = {"return 1", NULL};
    static const struct redis_link_events events = {.up = alone_up, .down = alone_down};
    unsigned survived = 0;
    bool failed = true;
    (void)state;
    for (unsigned fail_at = 1; failed; fail_at++) {
        struct alone a = {0};
        struct sockaddr_in at;
        int len = sizeof at;
        char url[60];
        char error[100];
        struct logger logger;
        uv_loop_init(&a.loop);
        uv_timer_init(&a.loop, &a.patience);
        uv_timer_start(&a.patience, alone_late, 20000, 0);
        uv_tcp_init(&a.loop, &a.listener);
        a.listener.data = &a;
        uv_ip4_addr("127.0.0.1", 0, &at);
        assert_int_equal(uv_tcp_bind(&a.listener, (struct sockaddr *)&at, 0), 0);
        assert_int_equal(uv_listen((uv_stream_t *)&a.listener, 16, alone_accept), 0);
        uv_tcp_getsockname(&a.listener, (struct sockaddr *)&at, &len);
        snprintf(url, sizeof url, "redis://127.0.0.1:%u",
            (unsigned)(at.sin_port >> 8 | (at.sin_port & 0xff) << 8));
        logger_init(&logger, 2, LOG_OFF, false);
        struct redis_url *list;
        assert_int_equal(redis_urls_read(url, &list, error, sizeof error), 1);
        struct redis_link_settings settings = {.url = list,
            .silence_ms = 400,
            .most_unsent = 1 << 20,
            .most_waiting = 100,
            .scripts = scripts,
            .events = &events,
            .logger = &logger,
            .user = &a};
        alloc_fail(fail_at);
        a.link = redis_link_new(&a.loop, &settings);
        if (a.link) {
            while (!a.up)
                uv_run(&a.loop, UV_RUN_ONCE);
            bool sent = false;
            while (!sent && a.up) {
                redis_begin(a.link, 2);
                redis_arg(a.link, TEXT("ECHO"));
                redis_arg(a.link, TEXT("N"));
                sent = redis_send(a.link, alone_answer, &a);
            }
            while (sent && a.answers == 0)
                uv_run(&a.loop, UV_RUN_ONCE);
            survived++;
        }
        failed = alloc_failed();
        assert_true(a.link || failed);
        if (a.link)
            redis_link_close(a.link);
        uv_close((uv_handle_t *)&a.listener, NULL);
        uv_close((uv_handle_t *)&a.patience, NULL);
        if (a.open && !a.closing)
            uv_close((uv_handle_t *)&a.tcp, NULL);
        uv_run(&a.loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&a.loop), 0);
        redis_urls_free(list, 1);
        logger_fini(&logger);
    }
    assert_true(survived > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_without_memory_are_none),
        cmocka_unit_test(a_command_without_memory_is_not_in_the_buffer),
        cmocka_unit_test(an_answer_without_memory_is_bad),
        cmocka_unit_test(whoever_cannot_be_waited_for_is_not),
        cmocka_unit_test(a_link_survives_each_allocation_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
