/* The admin listener of a broker inside of a program. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <uv.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>

#include "hermes/hermes.h"
#include "support/peer.h"

enum { WORKERS = 2, THREADS = WORKERS + 2 };

/* The system refuses threads, should a test say so: this one stands before libuv's. */
static int threads_left = -1; /* -1: as many as are wanted */

struct body {
    uv_thread_cb run;
    void *with;
};

static void *run_body(void *user)
{
    struct body body = *(struct body *)user;
    free(user);
    body.run(body.with);
    return NULL;
}

int uv_thread_create(uv_thread_t *thread, uv_thread_cb run, void *with)
{
    if (threads_left == 0)
        return UV_EAGAIN;
    if (threads_left > 0)
        threads_left--;
    struct body *body = malloc(sizeof *body);
    if (!body)
        return UV_ENOMEM;
    *body = (struct body){run, with};
    return pthread_create(thread, NULL, run_body, body) == 0 ? 0 : UV_EAGAIN;
}

static void set(struct hermes *h, const char *name, const char *value)
{
    if (hermes_set(h, name, value) != HERMES_OK)
        fail_msg("%s", hermes_error(h));
}

static struct hermes *fresh(const char *admin_port)
{
    struct hermes *h = hermes_new();
    assert_non_null(h);
    set(h, "WS_PORT", "0");
    set(h, "WS_HOST", "127.0.0.1");
    set(h, "WS_WORKERS", "2");
    set(h, "WS_LOG_LEVEL", "off");
    if (admin_port)
        set(h, "WS_ADMIN_PORT", admin_port);
    return h;
}

static void start(struct hermes *h)
{
    if (hermes_start(h) != HERMES_OK)
        fail_msg("%s", hermes_error(h));
}

/* The status of one request, and its answer's text behind the head, which is to be freed. */
static int ask(int port, const char *lines, char **text)
{
    struct peer p;
    char request[512];
    size_t len = 0;
    size_t cap = 1 << 20;
    char *answer = malloc(cap);
    assert_non_null(answer);
    assert_true(peer_connect(&p, port, 0));
    snprintf(request, sizeof request, "%s\r\nHost: localhost\r\nConnection: close\r\n\r\n", lines);
    assert_true(peer_send_bytes(&p, request, strlen(request)));
    for (ssize_t got; (got = peer_recv(&p, answer + len, cap - 1 - len)) > 0;)
        len += (size_t)got;
    answer[len] = '\0';
    peer_drop(&p, false);
    assert_int_equal(strncmp(answer, "HTTP/1.1 ", 9), 0);
    int status = atoi(answer + 9);
    char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    if (text)
        *text = strdup(body + 4);
    free(answer);
    return status;
}

static void there_is_none_unless_it_is_asked_for(void **state)
{
    (void)state;
    struct hermes *h = fresh(NULL);
    assert_int_equal(hermes_admin_port(h), 0);
    start(h);
    assert_int_equal(hermes_admin_port(h), 0);
    hermes_free(h);
}

static void it_answers_on_a_port_of_its_own(void **state)
{
    (void)state;
    struct hermes *h = fresh("0");
    assert_int_equal(hermes_admin_port(h), 0);
    start(h);
    int port = hermes_admin_port(h);
    char *text;
    assert_true(port > 0 && port != hermes_port(h));
    assert_int_equal(ask(port, "GET /healthz HTTP/1.1", &text), 200);
    assert_string_equal(text, "ok\n");
    free(text);
    assert_int_equal(hermes_publish(h, "t", 1, "1", 1), HERMES_OK);
    assert_int_equal(ask(port, "GET /metrics HTTP/1.1", &text), 200);
    assert_non_null(strstr(text, "\nhermes_messages_published_total 1\n"));
    free(text);
    assert_int_equal(hermes_metric(h, "admin_requests_total"), 2);
    hermes_stop(h);
    hermes_free(h);
}

static void brokers_have_one_each(void **state)
{
    (void)state;
    struct hermes *h[4];
    for (int i = 0; i < 4; i++)
        start(h[i] = fresh("0"));
    for (int i = 0; i < 4; i++) {
        char *text;
        for (int k = 0; k < i; k++)
            assert_int_equal(hermes_publish(h[i], "t", 1, "1", 1), HERMES_OK);
        assert_int_equal(ask(hermes_admin_port(h[i]), "GET /api/status HTTP/1.1", &text), 200);
        char expected[64];
        snprintf(expected, sizeof expected, "\"published\":%d,", i);
        assert_non_null(strstr(text, expected));
        free(text);
    }
    for (int i = 0; i < 4; i++)
        hermes_free(h[i]);
}

static void a_start_that_fails_leaves_nothing_and_may_be_tried_again(void **state)
{
    (void)state;
    struct hermes *first = fresh("0");
    start(first);
    char busy[16];
    snprintf(busy, sizeof busy, "%d", hermes_admin_port(first));
    struct hermes *h = fresh(busy);
    assert_int_equal(hermes_start(h), HERMES_SYSTEM);
    assert_non_null(strstr(hermes_error(h), "WS_ADMIN_PORT"));
    set(h, "WS_ADMIN_HOST", "0.0.0.0");
    set(h, "WS_ADMIN_PORT", "0");
    assert_int_equal(hermes_start(h), HERMES_INVALID);
    assert_non_null(strstr(hermes_error(h), "WS_ADMIN_TOKEN"));
    set(h, "WS_ADMIN_TOKEN", "0123456789abcdef");
    start(h);
    assert_int_equal(ask(hermes_admin_port(h), "GET /metrics HTTP/1.1", NULL), 401);
    assert_int_equal(ask(hermes_admin_port(h),
                         "GET /metrics HTTP/1.1\r\nAuthorization: Bearer 0123456789abcdef", NULL),
        200);
    hermes_free(h);
    hermes_free(first);
}

static int listen_anywhere(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* Broken by closing them as one's own: another thread's descriptors may have their numbers then. */
static void sockets_that_were_given_outlive_a_start_that_fails(void **state)
{
    (void)state;
    struct hermes *h = fresh("off");
    int ports[2];
    int fds[2] = {listen_anywhere(&ports[0]), listen_anywhere(&ports[1])};
    assert_int_equal(hermes_listen_on(h, "WS_PORT", fds[0]), HERMES_OK);
    assert_int_equal(hermes_listen_on(h, "WS_ADMIN_PORT", fds[1]), HERMES_OK);
    assert_int_equal(hermes_start(h), HERMES_INVALID);
    assert_non_null(strstr(hermes_error(h), "the socket given for WS_ADMIN_PORT"));
    for (int i = 0; i < 2; i++)
        assert_true(fcntl(fds[i], F_GETFD) >= 0);
    set(h, "WS_ADMIN_TOKEN", "0123456789abcdef");
    threads_left = 1;
    assert_int_equal(hermes_start(h), HERMES_SYSTEM);
    threads_left = -1;
    start(h);
    assert_int_equal(hermes_port(h), ports[0]);
    assert_int_equal(hermes_admin_port(h), ports[1]);
    assert_int_equal(ask(ports[0], "GET /healthz HTTP/1.1", NULL), 200);
    assert_int_equal(ask(ports[1], "GET /healthz HTTP/1.1", NULL), 200);
    hermes_free(h);
    struct peer p;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fcntl(fds[i], F_GETFD), -1);
        assert_false(peer_connect(&p, ports[i], 0)); /* and no duplicate is left */
    }
}

static void without_a_thread_for_one_of_them_nothing_runs(void **state)
{
    (void)state;
    struct hermes *h = fresh("0");
    for (int i = 0; i < THREADS; i++) {
        threads_left = i;
        assert_int_equal(hermes_start(h), HERMES_SYSTEM);
        assert_int_equal(hermes_admin_port(h), 0);
    }
    threads_left = -1;
    start(h);
    assert_int_equal(ask(hermes_admin_port(h), "GET /healthz HTTP/1.1", NULL), 200);
    hermes_free(h);
}

static void note(void *user)
{
    atomic_fetch_add((_Atomic int *)user, 1);
}

static void its_end_is_the_end_of_all_and_told_once(void **state)
{
    _Atomic int told = 0;
    (void)state;
    struct hermes *h = fresh("0");
    _Atomic int begun = 0;
    hermes_on_draining(h, note, &begun);
    hermes_on_stopped(h, note, &told);
    start(h);
    char *text;
    assert_int_equal(ask(hermes_admin_port(h), "GET /api/connections HTTP/1.1", &text), 200);
    free(text);
    assert_int_equal(atomic_load(&told), 0);
    assert_int_equal(atomic_load(&begun), 0);
    hermes_drain(h);
    assert_int_equal(atomic_load(&begun), 1);
    hermes_stop(h);
    assert_int_equal(atomic_load(&begun), 1);
    assert_int_equal(atomic_load(&told), 1);
    hermes_free(h);
    assert_int_equal(atomic_load(&told), 1);
}

/* Asks until the listener is gone. */
static void *keep_asking(void *user)
{
    static const char request[] = "GET /api/connections HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                  "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                  "GET /api/topics?sort=rate HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                  "GET /api/presence?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int port = *(int *)user;
    struct peer p;
    char taken[65536];
    while (peer_connect(&p, port, 0)) {
        while (peer_send_bytes(&p, request, sizeof request - 1) &&
               peer_recv(&p, taken, sizeof taken) > 0)
            ;
        peer_drop(&p, false);
    }
    return NULL;
}

static void it_may_be_ended_at_any_time(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct hermes *h = fresh("0");
        start(h);
        int port = hermes_admin_port(h);
        pthread_t askers[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&askers[i], NULL, keep_asking, &port), 0);
        while (hermes_metric(h, "admin_requests_total") < 20 * (round + 1))
            assert_int_equal(hermes_publish(h, "t", 1, "1", 1), HERMES_OK);
        hermes_free(h);
        for (int i = 0; i < 4; i++)
            pthread_join(askers[i], NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_none_unless_it_is_asked_for),
        cmocka_unit_test(it_answers_on_a_port_of_its_own),
        cmocka_unit_test(brokers_have_one_each),
        cmocka_unit_test(a_start_that_fails_leaves_nothing_and_may_be_tried_again),
        cmocka_unit_test(sockets_that_were_given_outlive_a_start_that_fails),
        cmocka_unit_test(without_a_thread_for_one_of_them_nothing_runs),
        cmocka_unit_test(its_end_is_the_end_of_all_and_told_once),
        cmocka_unit_test(it_may_be_ended_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
