#include "broker/pattern.h"

#include "base/utf8.h"
#include "broker/topic_name.h"

/* The same faults as a topic's name has, told of a pattern. */
static const char *name_fault(struct text pattern, size_t max)
{
    if (!topic_name_fault(pattern, max))
        return NULL;
    if (pattern.len == 0)
        return "Pattern is empty.";
    if (max && pattern.len > max)
        return "Pattern is longer than the limit.";
    if (!utf8_valid(pattern.at, pattern.len))
        return "Pattern is not UTF-8.";
    return "Pattern contains control characters.";
}

static bool has_wildcard(struct text segment)
{
    for (size_t i = 0; i < segment.len; i++)
        if (segment.at[i] == '*' || segment.at[i] == '>')
            return true;
    return false;
}

const char *pattern_fault(struct text pattern, size_t max)
{
    const char *fault = name_fault(pattern, max);
    if (fault)
        return fault;
    for (struct text rest = pattern; rest.at;) {
        struct text segment = segment_take(&rest);
        if (segment.len > 1 && has_wildcard(segment))
            return "Pattern has * or > beside other characters in a segment.";
        if (segment_is_rest(segment) && rest.at)
            return "Pattern has > before its last segment.";
    }
    return NULL;
}

bool pattern_matches(struct text pattern, struct text topic)
{
    while (pattern.at && topic.at) {
        struct text wanted = segment_take(&pattern);
        if (segment_is_rest(wanted))
            return true;
        struct text segment = segment_take(&topic);
        if (!segment_is_star(wanted) && !text_equal(wanted, segment))
            return false;
    }
    return !pattern.at && !topic.at;
}
