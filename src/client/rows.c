#include "base/buf.h"
#include "client/scan.h"
#include "hermes/client.h"
#include "proto/json.h"

static bool number_read(struct scan *s, uint64_t *number)
{
    struct text raw;
    *number = 0;
    if (!scan_value(s, &raw))
        return false;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.at[i] < '0' || raw.at[i] > '9' || *number > (UINT64_MAX - 9) / 10)
            return false;
        *number = *number * 10 + (uint64_t)(raw.at[i] - '0');
    }
    return true;
}

/* {"topic":T,"subscribers":n}; more keys may follow. */
static bool row_read(struct text text, struct hermes_topic *row, struct buf *space)
{
    struct scan s = {text.at, text.at + text.len};
    struct text raw;
    struct text name;
    if (!scan_mark(&s, '{') || !scan_key(&s, "topic") || !scan_string(&s, &raw) ||
        !scan_mark(&s, ',') || !scan_key(&s, "subscribers") || !number_read(&s, &row->subscribers))
        return false;
    buf_clear(space);
    buf_append_text(space, raw);
    if (space->failed || !json_string_decode(space->data, space->len, &name))
        return false;
    row->name = name.at;
    row->name_len = name.len;
    row->text = text.at;
    row->text_len = text.len;
    return true;
}

bool hermes_answer_topic(struct hermes_answer *answer, struct hermes_topic *row)
{
    struct scan s = {answer->rows, answer->rows_end};
    struct text text;
    while (scan_value(&s, &text)) {
        if (scan_sees(&s, ','))
            s.at++;
        answer->rows = s.at;
        if (row_read(text, row, answer->space))
            return true;
    }
    answer->rows = answer->rows_end;
    return false;
}
