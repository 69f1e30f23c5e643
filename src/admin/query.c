/* Parameters of a request. */
#include "admin/exchange.h"

enum query_result query_find(struct text query, const char *name, struct buf *out)
{
    struct text wanted = text_of(name);
    struct text key;
    struct text value;
    while (query_next(&query, &key, &value))
        if (text_equal(key, wanted))
            return percent_decode(out, value, true) ? QUERY_FOUND : QUERY_BAD;
    return QUERY_NONE;
}

bool query_has(struct text query, const char *name)
{
    struct text wanted = text_of(name);
    struct text key;
    struct text value;
    while (query_next(&query, &key, &value))
        if (text_equal(key, wanted))
            return true;
    return false;
}

enum query_result query_number(struct text query, const char *name, uint64_t most, uint64_t *out)
{
    struct buf value = {0};
    uint64_t number = 0;
    enum query_result result = query_find(query, name, &value);
    if (result == QUERY_FOUND && value.len == 0)
        result = QUERY_BAD;
    for (size_t i = 0; result == QUERY_FOUND && i < value.len; i++) {
        unsigned next = (unsigned char)value.data[i] - '0';
        if (next > 9 || next > most || number > (most - next) / 10)
            result = QUERY_BAD;
        else
            number = number * 10 + next;
    }
    buf_fini(&value);
    if (result == QUERY_FOUND)
        *out = number;
    return result;
}
