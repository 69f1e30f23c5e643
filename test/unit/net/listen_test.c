#include "net/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 8, BACKLOG = 16 };

static int listen_on(
    const char *host, int *port, int *fds, int most, char *error, size_t error_size)
{
    struct listen_at at = {
        .host = host, .host_setting = "WS_HOST", .port_setting = "WS_PORT", .backlog = BACKLOG};
    return listen_open(&at, port, fds, most, error, error_size);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* A socket connected there, or -1. */
static int connected(int port, int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET,
        .sin_port = htons((in_port_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
        .sin6_port = htons((in_port_t)port),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0)
        return -1;
    int code = family == AF_INET ? connect(client, (struct sockaddr *)&v4, sizeof v4)
                                 : connect(client, (struct sockaddr *)&v6, sizeof v6);
    if (code == 0)
        return client;
    close(client);
    return -1;
}

/* Connects there and returns the accepted socket, or -1 when there is nobody. */
static int accepted(int listener, int port, int family)
{
    int client = connected(port, family);
    if (client < 0)
        return -1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(client);
    return fd;
}

static void close_all(const int *fds, int count)
{
    while (count > 0)
        close(fds[--count]);
}

static void any_free_port_is_found_and_told(void **state)
{
    (void)state;
    int fds[MOST];
    char error[256];
    int port = 0;
    int count = listen_on("127.0.0.1", &port, fds, MOST, error, sizeof error);
    assert_int_equal(count, 1);
    assert_in_range(port, 1, 65535);
    assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(option(fds[0], SOL_SOCKET, SO_ACCEPTCONN), 1);
    int fd = accepted(fds[0], port, AF_INET);
    assert_true(fd >= 0);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    close(fd);
    close_all(fds, count);
}

static void without_a_host_both_families_are_served(void **state)
{
    (void)state;
    int fds[MOST];
    char error[256];
    int port = 0;
    int count = listen_on("", &port, fds, MOST, error, sizeof error);
    assert_int_equal(count, 1);
    int fd = accepted(fds[0], port, AF_INET);
    assert_true(fd >= 0);
    close(fd);
    if (option(fds[0], SOL_SOCKET, SO_DOMAIN) == AF_INET6 &&
        (fd = accepted(fds[0], port, AF_INET6)) >= 0)
        close(fd); /* else this machine has no loopback in IPv6 */
    close_all(fds, count);
}

static void all_addresses_of_a_name_get_one_port(void **state)
{
    (void)state;
    int fds[MOST];
    char error[256];
    int port = 0;
    int count = listen_on("localhost", &port, fds, MOST, error, sizeof error);
    assert_in_range(count, 1, MOST);
    for (int i = 0; i < count; i++) {
        int fd = accepted(fds[i], port, option(fds[i], SOL_SOCKET, SO_DOMAIN));
        assert_true(fd >= 0);
        close(fd);
    }
    close_all(fds, count);
    port = 0;
    assert_int_equal(listen_on("localhost", &port, fds, 1, error, sizeof error), 1);
    close_all(fds, 1);
}

/* Each is one sentence that names what to change. */
static void assert_refused(const char *host, int port, const char *said)
{
    int fds[MOST];
    char error[256] = "";
    assert_int_equal(listen_on(host, &port, fds, MOST, error, sizeof error), -1);
    if (!strstr(error, said))
        fail_msg("%s", error);
    assert_null(strchr(error, '\n'));
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    int fds[MOST];
    char error[256];
    char said[32];
    int port = 0;
    int count = listen_on("127.0.0.1", &port, fds, MOST, error, sizeof error);
    assert_int_equal(count, 1);
    snprintf(said, sizeof said, "port %d on 127.0.0.1 is in use", port);
    assert_refused("127.0.0.1", port, said);
    snprintf(said, sizeof said, "port %d on all addresses", port);
    assert_refused("", port, said);
    close_all(fds, count);
    assert_refused("192.0.2.1", 0, "192.0.2.1 is no address of this machine");
    /* No name at all, so that no server is asked for it. */
    assert_refused("no..name", 0, "WS_HOST=no..name cannot be resolved");
}

/* Broken by a socket without SO_REUSEADDR: fails. */
static void a_port_that_was_closed_is_free_at_once(void **state)
{
    (void)state;
    int fds[MOST];
    char error[256];
    int port = 0;
    for (int i = 0; i < 3; i++) {
        int before = port;
        assert_int_equal(listen_on("127.0.0.1", &port, fds, MOST, error, sizeof error), 1);
        assert_true(before == 0 || before == port);
        int client = connected(port, AF_INET);
        int fd = accept4(fds[0], NULL, NULL, SOCK_CLOEXEC);
        assert_true(fd >= 0);
        close_all(fds, 1);
        close(fd); /* the server first: its end waits for a while */
        close(client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_free_port_is_found_and_told),
        cmocka_unit_test(without_a_host_both_families_are_served),
        cmocka_unit_test(all_addresses_of_a_name_get_one_port),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_port_that_was_closed_is_free_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
