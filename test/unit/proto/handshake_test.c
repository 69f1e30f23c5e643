#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/handshake.h"

#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define GOOD UPGRADE CONNECTION KEY VERSION

/* One request at a time is looked at; its texts point in here. */
struct asked {
    char bytes[2048];
    struct http_head head;
    struct request request;
};

static struct request *ask(struct asked *a, const char *line, const char *headers)
{
    size_t used = 0;
    int len = snprintf(a->bytes, sizeof a->bytes, "%s\r\nHost: h\r\n%s\r\n", line, headers);
    assert_in_range(len, 1, sizeof a->bytes - 1);
    assert_int_equal(http_head_read(&a->head, a->bytes, (size_t)len, &used), HTTP_DONE);
    request_read(&a->request, &a->head);
    return &a->request;
}

static void assert_refused(const char *line, const char *headers, int status)
{
    struct asked a;
    struct request *r = ask(&a, line, headers);
    if (r->kind != REQUEST_REFUSED || r->status != status)
        print_error("%s with\n%s", line, headers);
    assert_int_equal(r->kind, REQUEST_REFUSED);
    assert_int_equal(r->status, status);
    /* A sentence for a person. */
    assert_non_null(r->reason);
    assert_int_equal(r->reason[strlen(r->reason) - 1], '.');
}

static void assert_accepted(const char *line, const char *headers, const char *protocol)
{
    struct asked a;
    struct request *r = ask(&a, line, headers);
    if (r->kind != REQUEST_UPGRADE)
        print_error("%s with\n%s: %s", line, headers, r->reason);
    assert_int_equal(r->kind, REQUEST_UPGRADE);
    assert_int_equal(r->key.len, 24);
    assert_int_equal(r->protocol.len, strlen(protocol));
    if (r->protocol.len)
        assert_memory_equal(r->protocol.at, protocol, r->protocol.len);
}

static void the_handshake_of_the_rfc_is_answered(void **state)
{
    (void)state;
    struct asked a;
    struct buf out = {0};
    struct request *r = ask(&a, "GET /chat HTTP/1.1",
        GOOD "Origin: http://example.com\r\n"
             "Sec-WebSocket-Protocol: chat, superchat\r\n");
    assert_int_equal(r->kind, REQUEST_UPGRADE);
    handshake_accept(&out, r);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, "HTTP/1.1 101 Switching Protocols\r\n"
                                  "Upgrade: websocket\r\n"
                                  "Connection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                  "\r\n");
    buf_fini(&out);
}

static void any_path_upgrades(void **state)
{
    (void)state;
    assert_accepted("GET / HTTP/1.1", GOOD, "");
    assert_accepted("GET /any/where?x=y HTTP/1.1", GOOD, "");
    assert_accepted("GET /healthz HTTP/1.1", GOOD, "");
    assert_accepted("GET http://h/ HTTP/1.1", GOOD, "");
}

static void names_and_tokens_are_compared_without_case(void **state)
{
    (void)state;
    assert_accepted("GET / HTTP/1.1",
        "UPGRADE: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n"
        "sec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n",
        "");
}

static void extensions_offered_are_ignored(void **state)
{
    (void)state;
    struct asked a;
    struct buf out = {0};
    struct request *r = ask(&a, "GET / HTTP/1.1",
        GOOD "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    assert_int_equal(r->kind, REQUEST_UPGRADE);
    handshake_accept(&out, r);
    buf_append_char(&out, '\0');
    assert_null(strstr(out.data, "Extensions"));
    buf_fini(&out);
}

static void a_known_subprotocol_is_chosen_from_what_is_offered(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        const char *chosen;
    } rows[] = {
        {"", ""},
        {"Sec-WebSocket-Protocol: hermes.v1\r\n", "hermes.v1"},
        {"Sec-WebSocket-Protocol: mqtt , hermes.v1,x\r\n", "hermes.v1"},
        {"Sec-WebSocket-Protocol: a\r\nsec-websocket-protocol: hermes.v1\r\n", "hermes.v1"},
        {"Sec-WebSocket-Protocol: hermes.v1, hermes.v1\r\n", "hermes.v1"},
        {"Sec-WebSocket-Protocol: , hermes.v1,\r\n", "hermes.v1"},
        {"Sec-WebSocket-Protocol: hermes.v2\r\n", "hermes.v2"},
        {"Sec-WebSocket-Protocol: hermes.v1, hermes.v2\r\n", "hermes.v2"},
        {"Sec-WebSocket-Protocol: hermes.v2, hermes.v1\r\n", "hermes.v2"},
        {"Sec-WebSocket-Protocol: hermes.v1\r\nSec-WebSocket-Protocol: x,hermes.v2\r\n",
            "hermes.v2"},
        {"Sec-WebSocket-Protocol: hermes.v3, hermes.v1\r\n", "hermes.v1"},
        {"Sec-WebSocket-Protocol: mqtt\r\n", ""},
        {"Sec-WebSocket-Protocol: HERMES.V1, hermes.v11, hermes\r\n", ""},
        {"Sec-WebSocket-Protocol:\r\n", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char headers[512];
        strcat(strcpy(headers, GOOD), rows[i].offer);
        assert_accepted("GET / HTTP/1.1", headers, rows[i].chosen);
    }
}

static void the_chosen_subprotocol_is_in_the_answer(void **state)
{
    (void)state;
    struct asked a;
    struct buf out = {0};
    handshake_accept(
        &out, ask(&a, "GET / HTTP/1.1", GOOD "Sec-WebSocket-Protocol: x, hermes.v1\r\n"));
    buf_append_char(&out, '\0');
    assert_non_null(strstr(out.data, "\r\nSec-WebSocket-Protocol: hermes.v1\r\n\r\n"));
    buf_fini(&out);
}

/* An empty one is there, too: only no browser leaves it out. */
static void the_origin_is_handed_on_when_there_is_one(void **state)
{
    (void)state;
    struct asked a;
    struct request *r = ask(&a, "GET / HTTP/1.1", GOOD);
    assert_null(r->origin.at);
    r = ask(&a, "GET / HTTP/1.1", GOOD "Origin: \r\n");
    assert_non_null(r->origin.at);
    assert_int_equal(r->origin.len, 0);
    r = ask(&a, "GET / HTTP/1.1", GOOD "oRIGIN:  https://example.com \r\n");
    assert_int_equal(r->kind, REQUEST_UPGRADE);
    assert_true(text_equal(r->origin, TEXT("https://example.com")));
    assert_refused("GET / HTTP/1.1", GOOD "Origin: null\r\nOrigin: null\r\n", 400);
}

static void malformed_handshakes_get_400(void **state)
{
    (void)state;
    static const char *const rows[] = {
        CONNECTION KEY VERSION,                           /* no Upgrade */
        "Upgrade: websockets\r\n" CONNECTION KEY VERSION, /* another token */
        UPGRADE KEY VERSION,                              /* no Connection */
        UPGRADE "Connection: keep-alive\r\n" KEY VERSION,
        UPGRADE CONNECTION VERSION, /* no key */
        GOOD KEY,                   /* two keys */
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key:\r\n",
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: short\r\n",
        /* 15 bytes, 17 bytes, 18 bytes, then 16 with characters that are not base64's. */
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n",
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n",
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: AAAAAAAAAAA-AAAAAAAAAA==\r\n",
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: AAAAAAAAAAA AAAAAAAAAA==\r\n",
        UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=\r\n",
        UPGRADE CONNECTION KEY, /* no version */
        GOOD VERSION,           /* two versions */
        UPGRADE CONNECTION KEY "Sec-WebSocket-Version:\r\n",
        UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 013\r\n",
        UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 13x\r\n",
        UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 13, 8\r\n",
        UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 256\r\n",
        UPGRADE CONNECTION KEY "Sec-WebSocket-Version: -1\r\n",
        GOOD "Sec-WebSocket-Protocol: a b\r\n",
        GOOD "Sec-WebSocket-Protocol: hermes.v1, (x)\r\n",
        GOOD "Sec-WebSocket-Protocol: hermes.v1\r\nSec-WebSocket-Protocol: \"x\"\r\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused("GET / HTTP/1.1", rows[i], 400);
    assert_refused("GET / HTTP/1.0", GOOD, 400);
    assert_refused("HEAD / HTTP/1.1", GOOD, 400);
}

static void another_version_gets_426(void **state)
{
    (void)state;
    assert_refused("GET / HTTP/1.1", UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 8\r\n", 426);
    assert_refused("GET / HTTP/1.1", UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 0\r\n", 426);
    assert_refused("GET / HTTP/1.1", UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 255\r\n", 426);
    /* Whatever else that version does differently. */
    assert_refused("GET / HTTP/1.1", UPGRADE CONNECTION "Sec-WebSocket-Version: 14\r\n", 426);
}

static void health_pages_are_asked_for_without_an_upgrade(void **state)
{
    (void)state;
    struct asked a;
    assert_int_equal(ask(&a, "GET /healthz HTTP/1.1", "")->kind, REQUEST_HEALTHZ);
    assert_false(a.request.head_only);
    assert_int_equal(ask(&a, "GET /readyz HTTP/1.0", "")->kind, REQUEST_READYZ);
    assert_int_equal(ask(&a, "HEAD /readyz?x HTTP/1.1", "")->kind, REQUEST_READYZ);
    assert_true(a.request.head_only);
    /* An upgrade to something else may be ignored, and is. */
    assert_int_equal(
        ask(&a, "GET /healthz HTTP/1.1", "Upgrade: h2c\r\n" CONNECTION)->kind, REQUEST_HEALTHZ);
}

static void other_pages_are_refused(void **state)
{
    (void)state;
    assert_refused("GET / HTTP/1.1", "", 426);
    assert_refused("GET /?x HTTP/1.1", "", 426);
    assert_refused("GET /favicon.ico HTTP/1.1", "", 404);
    assert_refused("GET /healthz/ HTTP/1.1", "", 404);
    assert_refused("HEAD /x HTTP/1.1", "", 404);
    assert_refused("GET /metrics HTTP/1.1", "", 404);
}

static void other_methods_get_405(void **state)
{
    (void)state;
    assert_refused("POST / HTTP/1.1", "", 405);
    assert_refused("POST /healthz HTTP/1.1", "", 405);
    assert_refused("OPTIONS * HTTP/1.1", "", 405);
    assert_refused("OPTIONS /ssd HTTP/1.1", "", 405);
    assert_refused("POST /sse HTTP/1.1", "", 405);
    assert_refused("get / HTTP/1.1", GOOD, 405);
    assert_refused("POST / HTTP/1.1", GOOD, 405);
}

static void answers_are_whole_http(void **state)
{
    (void)state;
    struct buf out = {0};
    http_answer(&out, 404, "Not here.", false);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, "HTTP/1.1 404 Not Found\r\n"
                                  "Content-Type: text/plain; charset=utf-8\r\n"
                                  "Content-Length: 10\r\n"
                                  "Cache-Control: no-store\r\n"
                                  "Connection: close\r\n"
                                  "\r\n"
                                  "Not here.\n");
    buf_clear(&out);
    http_answer(&out, 200, "ok", true);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, "HTTP/1.1 200 OK\r\n"
                                  "Content-Type: text/plain; charset=utf-8\r\n"
                                  "Content-Length: 3\r\n"
                                  "Cache-Control: no-store\r\n"
                                  "Connection: close\r\n"
                                  "\r\n");
    buf_fini(&out);
}

static void answers_carry_what_their_status_asks_for(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *line;
        const char *header;
    } rows[] = {
        {400, "HTTP/1.1 400 Bad Request\r\n", "\r\nConnection: close\r\n"},
        {401, "HTTP/1.1 401 Unauthorized\r\n", "\r\nWWW-Authenticate: Bearer\r\n"},
        {403, "HTTP/1.1 403 Forbidden\r\n", "\r\nConnection: close\r\n"},
        {405, "HTTP/1.1 405 Method Not Allowed\r\n", "\r\nAllow: GET, HEAD\r\n"},
        {426, "HTTP/1.1 426 Upgrade Required\r\n", "\r\nSec-WebSocket-Version: 13\r\n"},
        {426, "HTTP/1.1 426 ", "\r\nUpgrade: websocket\r\n"},
        {426, "HTTP/1.1 426 ", "\r\nConnection: upgrade, close\r\n"},
        {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n", "\r\nConnection: close\r\n"},
        {503, "HTTP/1.1 503 Service Unavailable\r\n", "\r\nRetry-After: 5\r\n"},
        {599, "HTTP/1.1 599 Error\r\n", "\r\nConnection: close\r\n"},
    };
    struct buf out = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        http_answer(&out, rows[i].status, "x", false);
        buf_append_char(&out, '\0');
        assert_ptr_equal(strstr(out.data, rows[i].line), out.data);
        assert_non_null(strstr(out.data, rows[i].header));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_handshake_of_the_rfc_is_answered),
        cmocka_unit_test(any_path_upgrades),
        cmocka_unit_test(names_and_tokens_are_compared_without_case),
        cmocka_unit_test(extensions_offered_are_ignored),
        cmocka_unit_test(a_known_subprotocol_is_chosen_from_what_is_offered),
        cmocka_unit_test(the_chosen_subprotocol_is_in_the_answer),
        cmocka_unit_test(the_origin_is_handed_on_when_there_is_one),
        cmocka_unit_test(malformed_handshakes_get_400),
        cmocka_unit_test(another_version_gets_426),
        cmocka_unit_test(health_pages_are_asked_for_without_an_upgrade),
        cmocka_unit_test(other_pages_are_refused),
        cmocka_unit_test(other_methods_get_405),
        cmocka_unit_test(answers_are_whole_http),
        cmocka_unit_test(answers_carry_what_their_status_asks_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
