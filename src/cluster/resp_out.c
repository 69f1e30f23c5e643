#include "cluster/resp_out.h"

#include <string.h>

#include "base/die.h"

enum { KEEP_MOST = 1 << 20, MOVE_FROM = 64 << 10, HEAD_MOST = 24 };

void resp_out_fini(struct resp_out *out)
{
    buf_fini(&out->bytes);
    *out = (struct resp_out){0};
}

/* A mark, a number and the end of the line. */
static size_t head_write(char *to, char mark, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    size_t len = sizeof digits - at;
    to[0] = mark;
    memcpy(to + 1, digits + at, len);
    memcpy(to + 1 + len, "\r\n", 2);
    return len + 3;
}

void resp_out_begin(struct resp_out *out, unsigned arguments)
{
    MUST_DEBUG(out->arguments == 0 && out->piece == 0);
    struct buf *b = &out->bytes;
    out->command = b->len;
    out->arguments = arguments;
    if (buf_reserve(b, HEAD_MOST))
        b->len += head_write(b->data + b->len, '*', arguments);
}

void resp_out_arg_begin(struct resp_out *out, size_t len)
{
    MUST_DEBUG(out->arguments > 0 && out->piece == 0);
    struct buf *b = &out->bytes;
    out->arguments--;
    out->piece = len;
    /* With room for all of it, so that its pieces need not ask for more. */
    if (!buf_reserve(b, len) || !buf_reserve(b, len + HEAD_MOST + 2))
        return;
    b->len += head_write(b->data + b->len, '$', len);
    if (len == 0)
        buf_append(b, "\r\n", 2);
}

void resp_out_piece(struct resp_out *out, struct text piece)
{
    MUST_DEBUG(piece.len <= out->piece);
    if (piece.len == 0)
        return;
    out->piece -= piece.len;
    buf_append_text(&out->bytes, piece);
    if (out->piece == 0)
        buf_append(&out->bytes, "\r\n", 2);
}

void resp_out_arg(struct resp_out *out, struct text argument)
{
    resp_out_arg_begin(out, argument.len);
    resp_out_piece(out, argument);
}

void resp_out_number(struct resp_out *out, uint64_t number)
{
    char text[HEAD_MOST];
    size_t len = head_write(text, '$', number);
    resp_out_arg(out, (struct text){text + 1, len - 3});
}

bool resp_out_end(struct resp_out *out)
{
    MUST(out->arguments == 0 && out->piece == 0);
    if (!out->bytes.failed)
        return true;
    resp_out_undo(out);
    return false;
}

void resp_out_undo(struct resp_out *out)
{
    out->bytes.len = out->command;
    out->bytes.failed = false;
}

void resp_out_sent(struct resp_out *out, size_t len)
{
    struct buf *b = &out->bytes;
    out->sent += len;
    if (out->sent == b->len) {
        resp_out_clear(out, false);
    } else if (out->sent >= MOVE_FROM && out->sent >= b->len / 2) {
        b->len -= out->sent;
        memmove(b->data, b->data + out->sent, b->len);
        out->sent = 0;
    }
}

void resp_out_clear(struct resp_out *out, bool secret)
{
    struct buf *b = &out->bytes;
    if (secret && b->cap > 0)
        explicit_bzero(b->data, b->cap);
    if (b->cap > KEEP_MOST)
        buf_fini(b);
    buf_clear(b);
    out->sent = out->command = out->piece = 0;
    out->arguments = 0;
}
