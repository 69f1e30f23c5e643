#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netdb.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "unit/client/world.h"

static void a_refused_handshake_says_whether_to_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        const char *log;
    } rows[] = {
        {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n",
            "close 1006 retry the server answered 503 Service Unavailable\n"},
        {"HTTP/1.1 429 Slow\r\n\r\n", "close 1006 retry the server answered 429 Slow\n"},
        {"HTTP/1.1 404 Not Found\r\n\r\n", "close 1006 the server answered 404 Not Found\n"},
        {"HTTP/1.1 403 No\r\n\r\n", "close 1006 the server answered 403 No\n"},
        {"HTTP/1.1 400 Bad\r\n\r\nSay why.\nAnd more.",
            "close 1006 the server answered 400 Bad: Say why.\n"},
        {"HTTP/1.1 400 Bad\r\n\r\n<html>", "close 1006 the server answered 400 Bad\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", "close 1006 the server answered 200 OK\n"},
        {"HELO\r\n", "close 1006 retry not a WebSocket server: no HTTP\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        world_open(&w);
        w.fake.answer = rows[i].answer;
        w.events.on_close = world_done_close;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        world_log_is(&w, rows[i].log);
        world_close(&w);
    }
}

static void a_wrong_handshake_is_not_taken(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w;
        world_open(&w);
        w.fake.wrong_accept = i == 0;
        w.fake.extra = i == 1 ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : NULL;
        w.events.on_close = world_done_close;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        world_log_is(&w,
            i == 0
                ? "close 1006 retry not a WebSocket server: a wrong Sec-WebSocket-Accept\n"
                : "close 1006 retry not a WebSocket server: an extension that was not asked for\n");
        world_close(&w);
    }
}

static void an_unreachable_server_is_tried_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    int tries = 0;
    w.options.url = "ws://127.0.0.1:1";
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    for (; tries < 5; tries++)
        world_run(&w);
    assert_true(w.last.will_retry && !w.last.opened);
    buf_clear(&w.log);
    world_run(&w);
    world_log_is(&w, "close 1006 retry cannot connect to 127.0.0.1 port 1: connection refused\n");
    world_close(&w);
}

/* Takes the place of the C library's: every name has the same two addresses, and the server listens
 * on the second. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
HERMES_API int getaddrinfo(
    const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    static const char *const addresses[] = {"127.0.0.3", "127.0.0.1"};
    (void)hints;
    (void)host;
    *found = NULL;
    for (int i = 1; i >= 0; i--) {
        struct addrinfo *one = calloc(1, sizeof *one + sizeof(struct sockaddr_in));
        if (!one)
            return EAI_MEMORY;
        one->ai_family = AF_INET;
        one->ai_addr = (struct sockaddr *)(one + 1);
        one->ai_addrlen = sizeof(struct sockaddr_in);
        uv_ip4_addr(addresses[i], (int)strtol(port, NULL, 10), (struct sockaddr_in *)(one + 1));
        one->ai_next = *found;
        *found = one;
    }
    return 0;
}

HERMES_API void freeaddrinfo(struct addrinfo *found)
{
    while (found) {
        struct addrinfo *next = found->ai_next;
        free(found);
        found = next;
    }
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

static void every_address_of_a_name_is_tried(void **state)
{
    (void)state;
    struct world w;
    char url[64];
    world_open(&w);
    snprintf(url, sizeof url, "ws://two.example:%s", strrchr(w.fake.url, ':') + 1);
    w.options.url = url;
    w.events.on_open = world_done_open;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_close(&w);
}

static void open_again(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    (void)why;
    ((struct world *)user)->done = true;
    assert_int_equal(hermes_client_open(c), HERMES_CLIENT_OK);
}

static void who_is_opened_again_at_once_dials_once(void **state)
{
    (void)state;
    struct world w;
    char url[64];
    world_open(&w);
    snprintf(url, sizeof url, "ws://two.example:%s", strrchr(w.fake.url, ':') + 1);
    w.options.url = url;
    w.events.on_open = world_done_open;
    w.events.on_close = open_again;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    for (unsigned i = 1; i < 20; i++) {
        hermes_client_close(w.client, 1000, NULL);
        world_run(&w);
        world_run(&w);
        assert_int_equal(w.fake.connections, i + 1);
    }
    world_close(&w);
}

static void the_source_address_is_the_one_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct sockaddr_storage peer;
    int size = sizeof peer;
    char name[64];
    world_open(&w);
    w.options.source = "127.0.0.77";
    w.events.on_open = world_done_open;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    assert_int_equal(uv_tcp_getpeername(&w.fake.all->tcp, (struct sockaddr *)&peer, &size), 0);
    uv_ip4_name((struct sockaddr_in *)&peer, name, sizeof name);
    assert_string_equal(name, "127.0.0.77");
    world_close(&w);

    world_open(&w);
    w.options.source = "::1";
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    assert_int_equal(w.last.code, HERMES_CLOSE_LOST);
    assert_int_equal(w.fake.connections, 0);
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_handshake_says_whether_to_come_back),
        cmocka_unit_test(a_wrong_handshake_is_not_taken),
        cmocka_unit_test(an_unreachable_server_is_tried_again),
        cmocka_unit_test(every_address_of_a_name_is_tried),
        cmocka_unit_test(who_is_opened_again_at_once_dials_once),
        cmocka_unit_test(the_source_address_is_the_one_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
