#include "net/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct scene {
    struct conn conn; /* first: see scene_of */
    uv_loop_t loop;
    struct poller poller;
    int peer;
    int events; /* of the last call */
    unsigned calls;
};

static struct scene *scene_of(struct conn *c)
{
    return (struct scene *)(void *)c;
}

static void ready(struct conn *c, int events)
{
    struct scene *s = scene_of(c);
    s->events = events;
    s->calls++;
}

/* Two ends of a real connection, so that a reset is one. */
static void tcp_pair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&at, sizeof at), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[0] >= 0);
    close(listener);
}

static void scene_open(struct scene *s)
{
    int fds[2];
    memset(s, 0, sizeof *s);
    tcp_pair(fds);
    s->peer = fds[1];
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(poller_open(&s->poller, &s->loop, ready), 0);
    assert_true(conn_open(&s->conn, &s->poller, fds[0]));
}

static void scene_close(struct scene *s, bool reset)
{
    conn_close(&s->conn, &s->poller, reset);
    assert_int_equal(s->conn.fd, -1);
    unsigned calls = s->calls;
    uv_run(&s->loop, UV_RUN_NOWAIT);
    assert_int_equal(s->calls, calls);
    poller_close(&s->poller);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    close(s->peer);
}

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int count;
    do
        count = poll(&p, 1, 60000);
    while (count < 0 && errno == EINTR);
    assert_int_equal(count, 1);
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    struct scene s;
    char bytes[16] = "";
    scene_open(&s);
    assert_int_equal(conn_read(&s.conn, bytes, sizeof bytes), CONN_AGAIN);
    assert_int_equal(send(s.peer, "hello", 5, 0), 5);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, CONN_READABLE);
    assert_int_equal(conn_read(&s.conn, bytes, 3), 3);
    assert_int_equal(conn_read(&s.conn, bytes + 3, sizeof bytes - 3), 2);
    assert_memory_equal(bytes, "hello", 5);
    char a[] = "one ";
    char b[] = "two";
    struct iovec pieces[] = {{a, 4}, {b, 3}};
    assert_int_equal(conn_write(&s.conn, pieces, 1), 4);
    assert_int_equal(conn_write(&s.conn, pieces, 2), 7);
    assert_int_equal(recv(s.peer, bytes, 11, MSG_WAITALL), 11);
    assert_memory_equal(bytes, "one one two", 11);
    scene_close(&s, false);
}

static void the_end_of_the_stream_is_read_as_0_and_the_other_way_goes_on(void **state)
{
    (void)state;
    struct scene s;
    char bytes[16];
    char word[] = "still";
    scene_open(&s);
    shutdown(s.peer, SHUT_WR);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(conn_read(&s.conn, bytes, sizeof bytes), 0);
    assert_int_equal(conn_write(&s.conn, &(struct iovec){word, 5}, 1), 5);
    assert_int_equal(recv(s.peer, bytes, sizeof bytes, 0), 5);
    scene_close(&s, false);

    scene_open(&s);
    conn_finish(&s.conn);
    assert_int_equal(recv(s.peer, bytes, sizeof bytes, 0), 0);
    assert_int_equal(send(s.peer, word, 5, 0), 5);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(conn_read(&s.conn, bytes, sizeof bytes), 5);
    scene_close(&s, false);
}

static void a_full_socket_takes_a_part_then_nothing(void **state)
{
    (void)state;
    struct scene s;
    static char bytes[1 << 20];
    struct iovec pieces[] = {{bytes, sizeof bytes}, {bytes, 1}};
    scene_open(&s);
    ssize_t wrote;
    size_t sum = 0;
    while ((wrote = conn_write(&s.conn, pieces, 2)) > 0)
        sum += (size_t)wrote;
    assert_int_equal(wrote, CONN_AGAIN);
    assert_int_equal(conn_write(&s.conn, pieces, 1), CONN_AGAIN);
    /* What it did not take is the caller's. */
    assert_false(conn_pending(&s.conn));
    assert_int_equal(conn_flush(&s.conn), 0);
    /* Told again once the peer has read. */
    conn_watch(&s.conn, &s.poller, false, true);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    while (sum > 0) {
        ssize_t got = recv(s.peer, bytes, sizeof bytes, 0);
        assert_true(got > 0);
        sum -= (size_t)got;
    }
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, CONN_WRITABLE);
    scene_close(&s, false);
}

/* Without a signal, too. */
static void a_peer_that_is_gone_is_broken(void **state)
{
    (void)state;
    struct scene s;
    char bytes[16] = "x";
    scene_open(&s);
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(s.peer);
    s.peer = -1;
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_true(s.events & CONN_FAULT);
    assert_int_equal(conn_read(&s.conn, bytes, sizeof bytes), CONN_BROKEN);
    assert_int_equal(conn_write(&s.conn, &(struct iovec){bytes, 1}, 1), CONN_BROKEN);
    assert_int_equal(conn_write(&s.conn, (struct iovec[]){{bytes, 1}, {bytes, 1}}, 2), CONN_BROKEN);
    scene_close(&s, false);
}

static void it_is_called_for_what_is_watched_only(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    assert_int_equal(send(s.peer, "x", 1, 0), 1);
    wait_readable(s.conn.fd);
    conn_watch(&s.conn, &s.poller, false, false);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    conn_watch(&s.conn, &s.poller, false, true);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, CONN_WRITABLE);
    conn_watch(&s.conn, &s.poller, true, true);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, CONN_READABLE | CONN_WRITABLE);
    conn_watch(&s.conn, &s.poller, true, false);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, CONN_READABLE);
    scene_close(&s, false);
}

static void a_close_ends_the_stream_and_a_reset_breaks_it(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct scene s;
        char byte;
        scene_open(&s);
        int peer = dup(s.peer);
        scene_close(&s, reset);
        wait_readable(peer);
        ssize_t got = recv(peer, &byte, 1, 0);
        assert_int_equal(got, reset ? -1 : 0);
        if (reset)
            assert_int_equal(errno, ECONNRESET);
        close(peer);
    }
}

/* Broken by events for whatever the kernel tells, watched or not. */
static void who_is_watched_for_nothing_is_not_called_when_the_peer_goes(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    conn_watch(&s.conn, &s.poller, false, false);
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(s.peer);
    s.peer = -1;
    wait_readable(s.conn.fd);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    conn_watch(&s.conn, &s.poller, true, false);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.calls, 1);
    assert_true(s.events & CONN_FAULT);
    scene_close(&s, false);
}

/* One of two that are ready closes the other. Broken without the look at the descriptor. */
static struct scene *to_close;
static struct poller *closes_by;
static unsigned called;

static void close_the_other(struct conn *c, int events)
{
    (void)events;
    called++;
    assert_ptr_not_equal(c, &to_close->conn);
    if (to_close->conn.fd >= 0)
        conn_close(&to_close->conn, closes_by, false);
}

static void who_was_closed_in_the_same_round_is_not_called(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct scene s;
        struct scene other = {0};
        int fds[2];
        scene_open(&s);
        tcp_pair(fds);
        assert_true(conn_open(&other.conn, &s.poller, fds[0]));
        other.peer = fds[1];
        int early = first ? other.peer : s.peer;
        int late = first ? s.peer : other.peer;
        assert_int_equal(send(early, "x", 1, 0), 1);
        wait_readable(first ? other.conn.fd : s.conn.fd);
        assert_int_equal(send(late, "x", 1, 0), 1);
        wait_readable(first ? s.conn.fd : other.conn.fd);
        to_close = first ? &s : &other;
        closes_by = &s.poller;
        called = 0;
        s.poller.ready = close_the_other;
        uv_run(&s.loop, UV_RUN_ONCE);
        assert_int_equal(called, 1);
        struct scene *left = first ? &other : &s;
        conn_close(&left->conn, &s.poller, false);
        poller_close(&s.poller);
        uv_run(&s.loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&s.loop), 0);
        close(s.peer);
        close(other.peer);
    }
}

/* As a forked child holds it. Broken by a close that leaves it in the set: the call is for memory
 * that may be another's by now. */
static void who_is_closed_is_not_called_though_another_process_has_the_socket(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s);
    int held = dup(s.conn.fd);
    conn_close(&s.conn, &s.poller, false);
    s.conn = (struct conn){.fd = held, .watched = CONN_READABLE};
    assert_int_equal(send(s.peer, "x", 1, 0), 1);
    wait_readable(held);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    close(held);
    poller_close(&s.poller);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s.loop), 0);
    close(s.peer);
}

/* One of two that are ready lets the other be watched for nothing. Broken without the look at what
 * it is watched for. */
static void watch_the_other_no_more(struct conn *c, int events)
{
    (void)events;
    called++;
    assert_ptr_not_equal(c, &to_close->conn);
    conn_watch(&to_close->conn, closes_by, false, false);
}

static void who_is_watched_no_more_since_the_round_began_is_not_called(void **state)
{
    (void)state;
    struct scene s;
    struct scene other = {0};
    int fds[2];
    scene_open(&s);
    tcp_pair(fds);
    assert_true(conn_open(&other.conn, &s.poller, fds[0]));
    other.peer = fds[1];
    assert_int_equal(send(s.peer, "x", 1, 0), 1);
    wait_readable(s.conn.fd);
    assert_int_equal(send(other.peer, "x", 1, 0), 1);
    wait_readable(other.conn.fd);
    to_close = &other;
    closes_by = &s.poller;
    called = 0;
    s.poller.ready = watch_the_other_no_more;
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(called, 1);
    conn_close(&other.conn, &s.poller, false);
    close(other.peer);
    scene_close(&s, false);
}

static void what_is_no_socket_stays_the_caller_s(void **state)
{
    (void)state;
    struct conn c;
    struct poller poller;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(poller_open(&poller, &loop, ready), 0);
    assert_false(conn_open(&c, &poller, -1));
    poller_close(&poller);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(the_end_of_the_stream_is_read_as_0_and_the_other_way_goes_on),
        cmocka_unit_test(a_full_socket_takes_a_part_then_nothing),
        cmocka_unit_test(a_peer_that_is_gone_is_broken),
        cmocka_unit_test(it_is_called_for_what_is_watched_only),
        cmocka_unit_test(a_close_ends_the_stream_and_a_reset_breaks_it),
        cmocka_unit_test(who_is_watched_for_nothing_is_not_called_when_the_peer_goes),
        cmocka_unit_test(who_was_closed_in_the_same_round_is_not_called),
        cmocka_unit_test(who_is_closed_is_not_called_though_another_process_has_the_socket),
        cmocka_unit_test(who_is_watched_no_more_since_the_round_began_is_not_called),
        cmocka_unit_test(what_is_no_socket_stays_the_caller_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
