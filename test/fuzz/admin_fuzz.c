/* Whole connections to the admin listener, with requests, bodies and all that is behind them: it
 * must answer in HTTP, or end, and never wait for more than there is. The first byte says how large
 * the pieces are in which the rest comes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

#define assert_true(condition) must((condition) != 0)
#define assert_false(condition) must((condition) == 0)
#define assert_non_null(pointer) must((pointer) != NULL)
#define assert_null(pointer) must((pointer) == NULL)
#define assert_int_equal(a, b) must((a) == (b))
#define assert_int_not_equal(a, b) must((a) != (b))
#define assert_memory_equal(a, b, len) must(memcmp(a, b, len) == 0)
#define assert_string_equal(a, b) must(strcmp(a, b) == 0)
#define fail_msg(...) abort()

#include "support/admin_harness.h"

/* Answers one after the other, each of which has a status and says how long it is. */
static void look_at(const struct buf *answers)
{
    if (answers->len == 0)
        return;
    const char *at = answers->data;
    const char *end = at + answers->len;
    while (at < end) {
        size_t left = (size_t)(end - at);
        must(left > 20 && memcmp(at, "HTTP/1.1 ", 9) == 0);
        const char *body = memmem(at, left, "\r\n\r\n", 4);
        must(body != NULL);
        int status = atoi(at + 9);
        must(status == 100 || (status >= 200 && status < 600));
        const char *length = memmem(at, (size_t)(body - at) + 2, "\r\nContent-Length: ", 18);
        must(length || status == 100 || status == 304);
        size_t len = length ? strtoul(length + 18, NULL, 10) : 0;
        at = body + 4;
        /* That of an answer to HEAD stays away. */
        if ((size_t)(end - at) < len ||
            ((size_t)(end - at) >= 9 && memcmp(at, "HTTP/1.1 ", 9) == 0))
            continue;
        at += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct desk *desk;
    struct buf answers = {0};
    if (!desk) {
        desk = calloc(1, sizeof *desk);
        must(desk != NULL);
        desk_open(desk, 1, TEXT(""));
    }
    if (size == 0)
        return 0;
    must(desk_ask(desk, (const char *)data + 1, size - 1, data[0], &answers));
    look_at(&answers);
    buf_fini(&answers);
    while (desk->admin->connection_count > 0)
        desk_turn(desk);
    must(desk->admin->held_bytes == 0);
    return 0;
}
