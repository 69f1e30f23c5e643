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
    struct conn conn; /* first: the poll's data is not needed */
    uv_loop_t loop;
    int peer;
    int status; /* of the last call */
    int events;
    unsigned calls;
    bool closed;
};

static struct scene *scene_of(struct conn *c)
{
    return (struct scene *)(void *)c;
}

static void ready(uv_poll_t *poll, int status, int events)
{
    struct scene *s = scene_of(conn_of(poll));
    s->status = status;
    s->events = events;
    s->calls++;
}

static void closed(uv_handle_t *handle)
{
    scene_of(conn_of((uv_poll_t *)handle))->closed = true;
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
    assert_int_equal(conn_open(&s->conn, &s->loop, fds[0], ready), 0);
}

static void scene_close(struct scene *s, bool reset)
{
    conn_close(&s->conn, reset, closed);
    assert_int_equal(s->conn.fd, -1);
    assert_false(s->closed);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_true(s->closed);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    close(s->peer);
}

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
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
    assert_int_equal(s.status, 0);
    assert_int_equal(s.events, UV_READABLE);
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
    /* Told again once the peer has read. */
    conn_watch(&s.conn, false, true);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    while (sum > 0) {
        ssize_t got = recv(s.peer, bytes, sizeof bytes, 0);
        assert_true(got > 0);
        sum -= (size_t)got;
    }
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, UV_WRITABLE);
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
    assert_true(s.status < 0); /* libuv watches it no more */
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
    conn_watch(&s.conn, false, false);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.calls, 0);
    conn_watch(&s.conn, false, true);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, UV_WRITABLE);
    conn_watch(&s.conn, true, true);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, UV_READABLE | UV_WRITABLE);
    conn_watch(&s.conn, true, false);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, UV_READABLE);
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

static void what_is_no_socket_stays_the_caller_s(void **state)
{
    (void)state;
    struct conn c;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_true(conn_open(&c, &loop, -1, ready) < 0);
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
        cmocka_unit_test(what_is_no_socket_stays_the_caller_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
