#include "base/buf.h"
#include "client/scan.h"
#include "hermes/client.h"
#include "proto/json.h"

static bool number_read(struct scan *s, uint64_t *number)
{
    struct text raw;
    *number = 0;
    return scan_value(s, &raw) && scan_number(raw, number);
}

/* Takes the next value out of the answer's rows; false when none is left. */
static bool take(struct hermes_answer *answer, struct text *row)
{
    struct scan s = {answer->rows, answer->rows_end};
    if (!scan_value(&s, row)) {
        answer->rows = answer->rows_end;
        return false;
    }
    if (scan_sees(&s, ','))
        s.at++;
    answer->rows = s.at;
    return true;
}

static bool decode(struct text raw, struct buf *space, struct text *out)
{
    buf_clear(space);
    buf_append_text(space, raw);
    bool done = !space->failed && json_string_decode(space->data, space->len, out);
    space->failed = false;
    return done;
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
    if (!decode(raw, space, &name))
        return false;
    row->name = name.at;
    row->name_len = name.len;
    row->text = text.at;
    row->text_len = text.len;
    return true;
}

bool hermes_answer_topic(struct hermes_answer *answer, struct hermes_topic *row)
{
    struct text text;
    while (take(answer, &text))
        if (row_read(text, row, answer->space))
            return true;
    return false;
}

bool hermes_answer_message(struct hermes_answer *answer, struct hermes_message *row)
{
    struct text text;
    while (take(answer, &text)) {
        struct scan s = {text.at, text.at + text.len};
        struct text key;
        struct text value;
        *row = (struct hermes_message){.text = text.at, .text_len = text.len};
        if (!scan_object(&s))
            continue;
        while (scan_member(&s, &key, &value)) {
            if (text_equal(key, TEXT("\"offset\""))) {
                (void)scan_number(value, &row->offset);
            } else if (text_equal(key, TEXT("\"data\""))) {
                row->data = value.at;
                row->data_len = value.len;
            }
        }
        if (row->data)
            return true;
    }
    return false;
}

bool hermes_answer_client(struct hermes_answer *answer, const char **client, size_t *client_len)
{
    struct text text;
    struct text name;
    while (take(answer, &text)) {
        if (text.at[0] != '"' || !decode(text, answer->space, &name))
            continue;
        *client = name.at;
        *client_len = name.len;
        return true;
    }
    return false;
}
