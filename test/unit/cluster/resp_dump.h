/* An answer as a line, to be compared: for tests and the fuzz target. */
#ifndef HERMES_TEST_RESP_DUMP_H
#define HERMES_TEST_RESP_DUMP_H

#include "base/buf.h"
#include "cluster/resp_in.h"

static inline void resp_dump(struct buf *out, const struct resp *r)
{
    static const char marks[] = "_+-:$*";
    buf_append_char(out, marks[r->kind]);
    switch (r->kind) {
    case RESP_NIL:
        break;
    case RESP_INTEGER:
        buf_appendf(out, "%lld", (long long)r->integer);
        break;
    case RESP_STATUS:
    case RESP_ERROR:
    case RESP_TEXT:
        buf_appendf(out, "%zu ", r->text.len);
        buf_append_text(out, r->text);
        break;
    case RESP_ARRAY:
        buf_append_char(out, '(');
        for (size_t i = 0; i < r->count; i++)
            resp_dump(out, r->items + i);
        buf_append_char(out, ')');
        break;
    }
    buf_append_char(out, ';');
}

#endif
