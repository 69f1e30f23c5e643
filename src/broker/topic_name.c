#include "broker/topic_name.h"

#include "base/utf8.h"
#include "base/word.h"

/* Whether a text that is valid UTF-8 has a control character. */
static bool has_control(struct text name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.at[i];
        if (c < 0x20 || c == 0x7F)
            return true;
        /* U+0080 to U+009F are C2 80 to C2 9F; C2 is never the last byte of a valid text. */
        if (c == 0xC2 && (unsigned char)name.at[i + 1] < 0xA0)
            return true;
    }
    return false;
}

/* Whether all of it is ASCII without control characters, as most names are. */
static bool is_plain(struct text name)
{
    const char *at = name.at;
    const char *end = at + name.len;
    uint64_t found = 0;
    for (; end - at >= 8; at += 8) {
        uint64_t word = word_load(at);
        found |= word_high(word) | word_below(word, 0x20) | word_equal(word, 0x7F);
    }
    for (; at < end; at++)
        found |= (unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7F;
    return found == 0;
}

const char *topic_name_fault(struct text name, size_t max)
{
    if (name.len == 0)
        return "Topic is empty.";
    if (max && name.len > max)
        return "Topic is longer than the limit.";
    if (is_plain(name))
        return NULL;
    if (!utf8_valid(name.at, name.len))
        return "Topic is not UTF-8.";
    if (has_control(name))
        return "Topic contains control characters.";
    return NULL;
}
