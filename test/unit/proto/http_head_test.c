#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/http_head.h"

#define HOST "Host: h\r\n"

/* Reads from memory of exactly that size, so that a sanitizer sees any look past its end. */
static enum http_result read_exact(
    struct http_head *head, const char *bytes, size_t len, size_t *used, char **copy)
{
    *copy = malloc(len ? len : 1);
    assert_non_null(*copy);
    memcpy(*copy, bytes, len);
    return http_head_read(head, *copy, len, used);
}

static enum http_result read_bytes(const char *bytes, size_t len)
{
    struct http_head head;
    size_t used = 0;
    char *copy;
    enum http_result result = read_exact(&head, bytes, len, &used, &copy);
    free(copy);
    return result;
}

static enum http_result read_string(const char *string)
{
    return read_bytes(string, strlen(string));
}

static void assert_text(struct text t, const char *want)
{
    assert_int_equal(t.len, strlen(want));
    assert_memory_equal(t.at, want, t.len);
}

static void a_head_is_taken_apart(void **state)
{
    (void)state;
    static const char bytes[] = "GET /a/b?c=d?e HTTP/1.1\r\n"
                                "Host: example.org:80\r\n"
                                "X-Empty:\r\n"
                                "x-space: \t two  words \t \r\n"
                                "X-Bytes: gr\xc3\xbc\xc3\x9f\r\n"
                                "\r\n\x81\x85rest";
    struct http_head head;
    size_t used = 0;
    assert_int_equal(http_head_read(&head, bytes, sizeof bytes - 1, &used), HTTP_DONE);
    assert_int_equal(used, sizeof bytes - 1 - 6);
    assert_text(head.method, "GET");
    assert_text(head.target, "/a/b?c=d?e");
    assert_text(head.path, "/a/b");
    assert_text(head.query, "c=d?e");
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.header_count, 4);
    assert_text(head.headers[0].name, "Host");
    assert_text(head.headers[0].value, "example.org:80");
    assert_text(head.headers[1].value, "");
    assert_text(head.headers[2].value, "two  words");
    assert_text(head.headers[3].value, "gr\xc3\xbc\xc3\x9f");
}

static void every_prefix_of_a_good_head_asks_for_more(void **state)
{
    (void)state;
    static const char bytes[] = "OPTIONS http://h:1/p?q HTTP/1.1\r\n"
                                "Host: h\r\nA: b\r\nContent-Length: 0\r\n\r\n";
    for (size_t len = 0; len < sizeof bytes - 1; len++)
        assert_int_equal(read_bytes(bytes, len), HTTP_MORE);
    assert_int_equal(read_bytes(bytes, sizeof bytes - 1), HTTP_DONE);
}

static void what_is_no_http_is_refused_at_the_first_byte_that_shows_it(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t bad_at; /* so many bytes are refused, one less are not */
    } rows[] = {
        {"\x16\x03\x01\x02", 1},              /* TLS */
        {" GET / HTTP/1.1", 1},               /* space before the method */
        {"\r\nGET / HTTP/1.1", 1},            /* empty line before the request */
        {"GE(", 3},                           /* method that is no token */
        {"GET\t/", 4},                        /* tab for a space */
        {"GET  /", 5},                        /* two spaces */
        {"GET /\x7f", 6},                     /* control character in the target */
        {"GET /\xc3\xa4", 6},                 /* raw UTF-8 in the target */
        {"GET /#", 6},                        /* fragment */
        {"GET /\r\n", 6},                     /* HTTP/0.9 */
        {"GET / HTTP/2", 12},                 /* version */
        {"GET / HTTP/1.2", 14},               /* version */
        {"GET / http", 7},                    /* lower case */
        {"GET / HTTP/1.1 \r", 15},            /* space behind the version */
        {"GET / HTTP/1.1\n", 15},             /* lone LF */
        {"GET / HTTP/1.1\rH", 16},            /* lone CR */
        {"GET x ", 6},                        /* target that is no path */
        {"GET h:443 ", 10},                   /* authority-form */
        {"GET ftp://h/ ", 13},                /* scheme */
        {"GET http:/// ", 13},                /* no host */
        {"GET * ", 6},                        /* '*' is for OPTIONS */
        {"GET / HTTP/1.1\r\n A: b", 17},      /* folding at the first header */
        {"GET / HTTP/1.1\r\nA: b\r\n c", 23}, /* folding */
        {"GET / HTTP/1.1\r\nA : b", 18},      /* space before the colon */
        {"GET / HTTP/1.1\r\n:b", 17},         /* no name */
        {"GET / HTTP/1.1\r\nA\x80", 18},      /* name that is no token */
        {"GET / HTTP/1.1\r\nA\r\n", 18},      /* no colon */
        {"GET / HTTP/1.1\r\nA: b\x01", 21},   /* control character in a value */
        {"GET / HTTP/1.1\r\nA: b\x7f", 21},   /* DEL */
        {"GET / HTTP/1.1\r\nA: b\n", 21},     /* lone LF */
        {"GET / HTTP/1.1\r\nA: b\rc", 22},    /* lone CR */
        {"GET / HTTP/1.1\r\nA: b\r\r\n", 22},
        {"GET / HTTP/1.1\r\nHost: h\r\n\rX", 27},
        {"GET / HTTP/1.1\r\nHost: h\r\n\n", 26},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_bytes(rows[i].bytes, rows[i].bad_at - 1), HTTP_MORE);
        assert_int_equal(read_bytes(rows[i].bytes, rows[i].bad_at), HTTP_BAD);
    }
    assert_int_equal(read_bytes("\0\0", 1), HTTP_BAD);
    assert_int_equal(read_bytes("GET /\0", 6), HTTP_BAD);
    assert_int_equal(read_bytes("GET / HTTP/1.1\r\nA: \0", 20), HTTP_BAD);
}

static void a_method_that_never_ends_is_refused(void **state)
{
    (void)state;
    char bytes[33];
    memset(bytes, 'A', sizeof bytes);
    assert_int_equal(read_bytes(bytes, 32), HTTP_MORE);
    assert_int_equal(read_bytes(bytes, 33), HTTP_BAD);
}

static void what_only_the_whole_head_shows_is_refused_at_its_end(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        HOST "hOST: h\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@h\r\n",
        HOST "Content-Length: 5\r\n",
        HOST "Content-Length: 0, 0\r\n",
        HOST "Content-Length:\r\n",
        HOST "content-length: 0\r\nContent-Length: 1\r\n",
        HOST "Transfer-Encoding: chunked\r\n",
        HOST "transfer-encoding: identity\r\n",
    };
    static const char *const good[] = {
        HOST,
        "Host:\r\n",
        "Host: [::1]:8080\r\n",
        HOST "Content-Length: 0\r\n",
    };
    char head[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        strcat(strcat(strcpy(head, "GET / HTTP/1.1\r\n"), bad[i]), "\r\n");
        assert_int_equal(read_bytes(head, strlen(head) - 1), HTTP_MORE);
        assert_int_equal(read_string(head), HTTP_BAD);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        strcat(strcat(strcpy(head, "GET / HTTP/1.1\r\n"), good[i]), "\r\n");
        assert_int_equal(read_string(head), HTTP_DONE);
    }
}

static void http_1_0_needs_no_host(void **state)
{
    (void)state;
    struct http_head head;
    size_t used = 0;
    static const char bytes[] = "GET /healthz HTTP/1.0\r\n\r\n";
    assert_int_equal(http_head_read(&head, bytes, sizeof bytes - 1, &used), HTTP_DONE);
    assert_int_equal(head.minor, 0);
    assert_int_equal(head.header_count, 0);
    assert_int_equal(read_string("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), HTTP_BAD);
}

static void targets_are_split_into_path_and_query(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *path;
        const char *query;
    } rows[] = {
        {"GET / HTTP/1.1\r\n", "/", ""},
        {"GET /? HTTP/1.1\r\n", "/", ""},
        {"GET /a%20b?c HTTP/1.1\r\n", "/a%20b", "c"},
        {"GET //x HTTP/1.1\r\n", "//x", ""},
        {"GET http://h HTTP/1.1\r\n", "/", ""},
        {"GET HTTPS://h:1/x/y?z HTTP/1.1\r\n", "/x/y", "z"},
        {"GET http://h?a=/b HTTP/1.1\r\n", "/", "a=/b"},
        {"OPTIONS * HTTP/1.1\r\n", "*", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char bytes[128];
        struct http_head head;
        size_t used = 0;
        strcat(strcpy(bytes, rows[i].line), HOST "\r\n");
        assert_int_equal(http_head_read(&head, bytes, strlen(bytes), &used), HTTP_DONE);
        assert_text(head.path, rows[i].path);
        assert_text(head.query, rows[i].query);
    }
}

/* A head of exactly `len` bytes. */
static void head_of_size(struct buf *b, size_t len)
{
    buf_append_string(b, "GET / HTTP/1.1\r\n" HOST "X: ");
    while (b->len < len - 4)
        buf_append_char(b, 'x');
    buf_append_string(b, "\r\n\r\n");
}

static void a_head_of_8192_bytes_is_read_and_one_more_is_too_large(void **state)
{
    (void)state;
    struct buf b = {0};
    head_of_size(&b, HTTP_HEAD_MAX);
    assert_int_equal(b.len, 8192);
    assert_int_equal(read_bytes(b.data, b.len - 1), HTTP_MORE);
    assert_int_equal(read_bytes(b.data, b.len), HTTP_DONE);
    buf_append_string(&b, "frames behind the head do not count");
    assert_int_equal(read_bytes(b.data, b.len), HTTP_DONE);

    buf_clear(&b);
    head_of_size(&b, HTTP_HEAD_MAX + 1);
    assert_int_equal(read_bytes(b.data, HTTP_HEAD_MAX - 1), HTTP_MORE);
    assert_int_equal(read_bytes(b.data, HTTP_HEAD_MAX), HTTP_LARGE);
    assert_int_equal(read_bytes(b.data, HTTP_HEAD_MAX + 1), HTTP_LARGE);
    buf_fini(&b);
}

static void the_65th_header_is_too_large(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_string(&b, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        buf_append_string(&b, "A: b\r\n");
    size_t full = b.len;
    buf_append_string(&b, "\r\n");
    assert_int_equal(read_bytes(b.data, b.len), HTTP_DONE);
    b.len = full;
    buf_append_string(&b, "B");
    assert_int_equal(read_bytes(b.data, b.len), HTTP_LARGE);
    buf_fini(&b);
}

static void headers_are_found_whatever_their_case(void **state)
{
    (void)state;
    static const char bytes[] = "GET / HTTP/1.1\r\nHOST: h\r\n"
                                "Connection: keep-alive,\t Upgrade \r\n"
                                "connection: x, , y\r\n"
                                "Upgrade: websocketx, xwebsocket, web socket\r\n"
                                "No`: 1\r\nNO@: x\r\n\r\n";
    struct http_head head;
    size_t used = 0;
    /* '@' is no token character: only its case-folded twin '`' may stand in a name. */
    assert_int_equal(http_head_read(&head, bytes, sizeof bytes - 1, &used), HTTP_BAD);
    static const char fine[] = "GET / HTTP/1.1\r\nHOST: h\r\n"
                               "Connection: keep-alive,\t Upgrade \r\n"
                               "connection: x, , y\r\n"
                               "Upgrade: websocketx, xwebsocket, web socket\r\n"
                               "No~: 1\r\nNO^: 2\r\n\r\n";
    assert_int_equal(http_head_read(&head, fine, sizeof fine - 1, &used), HTTP_DONE);
    assert_text(http_find(&head, "host")->value, "h");
    assert_text(http_find(&head, "CONNECTION")->value, "keep-alive,\t Upgrade");
    assert_int_equal(http_count(&head, "Connection"), 2);
    assert_int_equal(http_count(&head, "Conn"), 0);
    assert_null(http_find(&head, "Hos"));
    assert_null(http_find(&head, "Hosts"));
    assert_true(http_list_has(&head, "Connection", "upgrade"));
    assert_true(http_list_has(&head, "Connection", "KEEP-ALIVE"));
    assert_true(http_list_has(&head, "Connection", "y"));
    assert_false(http_list_has(&head, "Connection", "keep"));
    assert_false(http_list_has(&head, "Connection",
        ""
        "z"));
    assert_false(http_list_has(&head, "Upgrade", "websocket"));
    assert_text(http_find(&head, "no^")->value, "2");
    assert_text(http_find(&head, "no~")->value, "1");
}

static void lists_are_taken_element_by_element(void **state)
{
    (void)state;
    struct text list = TEXT(" a ,\tb,, c d ,");
    struct text e;
    assert_true(http_list_next(&list, &e));
    assert_text(e, "a");
    assert_true(http_list_next(&list, &e));
    assert_text(e, "b");
    assert_true(http_list_next(&list, &e));
    assert_text(e, "");
    assert_true(http_list_next(&list, &e));
    assert_text(e, "c d");
    assert_false(http_is_token(e));
    assert_false(http_list_next(&list, &e));
    assert_true(http_is_token(TEXT("hermes.v1")));
    assert_false(http_is_token(TEXT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_taken_apart),
        cmocka_unit_test(every_prefix_of_a_good_head_asks_for_more),
        cmocka_unit_test(what_is_no_http_is_refused_at_the_first_byte_that_shows_it),
        cmocka_unit_test(a_method_that_never_ends_is_refused),
        cmocka_unit_test(what_only_the_whole_head_shows_is_refused_at_its_end),
        cmocka_unit_test(http_1_0_needs_no_host),
        cmocka_unit_test(targets_are_split_into_path_and_query),
        cmocka_unit_test(a_head_of_8192_bytes_is_read_and_one_more_is_too_large),
        cmocka_unit_test(the_65th_header_is_too_large),
        cmocka_unit_test(headers_are_found_whatever_their_case),
        cmocka_unit_test(lists_are_taken_element_by_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
