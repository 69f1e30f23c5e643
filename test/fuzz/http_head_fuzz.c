/* Request heads: what is said of the first bytes must hold for all of them, and no text may point
 * outside. What is a request is answered, too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/handshake.h"
#include "proto/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static enum http_result read_prefix(const uint8_t *data, size_t len, size_t *used)
{
    struct http_head head;
    char *copy = malloc(len ? len : 1);
    must(copy != NULL);
    memcpy(copy, data, len);
    enum http_result result = http_head_read(&head, copy, len, used);
    free(copy);
    return result;
}

static void must_lie_in(struct text t, const char *bytes, size_t len)
{
    must(t.at >= bytes && t.len <= len && (size_t)(t.at - bytes) <= len - t.len);
}

static void look_at(const struct http_head *head, const char *bytes, size_t used)
{
    struct request r;
    struct buf out = {0};

    must(used >= 16 && used <= HTTP_HEAD_MAX);
    must(memcmp(bytes + used - 4, "\r\n\r\n", 4) == 0);
    must(head->method.len > 0 && head->path.len > 0);
    must(head->minor == 0 || head->minor == 1);
    must_lie_in(head->method, bytes, used);
    must_lie_in(head->target, bytes, used);
    must_lie_in(head->query, bytes, used);
    for (size_t i = 0; i < head->header_count; i++) {
        must_lie_in(head->headers[i].name, bytes, used);
        must_lie_in(head->headers[i].value, bytes, used);
        must(http_is_token(head->headers[i].name));
        must(memchr(head->headers[i].value.at, '\n', head->headers[i].value.len) == NULL);
    }

    request_read(&r, head);
    if (r.kind == REQUEST_UPGRADE) {
        must(head->minor == 1 && r.key.len == 24);
        must_lie_in(r.key, bytes, used);
        handshake_accept(&out, &r);
        must(memmem(out.data, out.len, "=\r\n", 3) != NULL);
    } else if (r.kind == REQUEST_REFUSED) {
        must(r.reason != NULL && r.status >= 400);
        http_answer(&out, r.status, r.reason, r.head_only);
    }
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head head;
    size_t used = 0;
    char *copy = malloc(size ? size : 1);
    must(copy != NULL);
    memcpy(copy, data, size);
    enum http_result whole = http_head_read(&head, copy, size, &used);
    if (whole == HTTP_DONE)
        look_at(&head, copy, used);
    if (whole == HTTP_MORE)
        must(size < HTTP_HEAD_MAX);
    free(copy);

    for (size_t i = 0; i < 8; i++) {
        size_t part_used = 0;
        size_t len = whole == HTTP_DONE && i == 7 ? used - 1 : size * i / 8;
        enum http_result part = read_prefix(data, len, &part_used);
        must(part == HTTP_MORE || part == whole);
        must(part != HTTP_DONE || part_used == used);
        must(whole != HTTP_DONE || part == HTTP_MORE || len >= used);
    }
    return 0;
}
