#include "broker/grants.h"

#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"

const char grants_no_memory[] = "Out of memory.";

/* Each pattern is its length, in two bytes, and its bytes. */
struct grants {
    uint32_t references;
    bool presence;
    bool limited[GRANT_COUNT];
    uint32_t end[GRANT_COUNT]; /* of each list, in `bytes` */
    char bytes[];
};

static const char *check(const struct grants_wish *wish, size_t topic_bytes, size_t *bytes)
{
    size_t count = 0;
    *bytes = 0;
    for (size_t i = 0; i < GRANT_COUNT; i++) {
        const struct grants_list *list = &wish->lists[i];
        if (!list->limited)
            continue;
        if (list->count > GRANTS_PATTERNS_MAX - count)
            return "There are more than 1000 patterns.";
        count += list->count;
        for (size_t k = 0; k < list->count; k++) {
            const char *fault = pattern_fault(list->at[k], topic_bytes);
            if (fault)
                return fault;
            if (list->at[k].len > UINT16_MAX)
                return "Pattern is longer than the limit.";
            *bytes += list->at[k].len + sizeof(uint16_t);
        }
    }
    return *bytes > GRANTS_BYTES_MAX ? "The patterns have more than 65536 bytes." : NULL;
}

const char *grants_new(const struct grants_wish *wish, size_t topic_bytes, struct grants **out)
{
    size_t bytes;
    *out = NULL;
    const char *fault = check(wish, topic_bytes, &bytes);
    if (fault)
        return fault;
    if (wish->presence && !wish->lists[0].limited && !wish->lists[1].limited)
        return NULL;
    struct grants *g = malloc(sizeof *g + bytes);
    if (!g)
        return grants_no_memory;
    *g = (struct grants){.references = 1, .presence = wish->presence};
    uint32_t at = 0;
    for (size_t i = 0; i < GRANT_COUNT; i++) {
        const struct grants_list *list = &wish->lists[i];
        g->limited[i] = list->limited;
        for (size_t k = 0; list->limited && k < list->count; k++) {
            uint16_t len = (uint16_t)list->at[k].len;
            memcpy(g->bytes + at, &len, sizeof len);
            memcpy(g->bytes + at + sizeof len, list->at[k].at, len);
            at += sizeof len + len;
        }
        g->end[i] = at;
    }
    *out = g;
    return NULL;
}

void grants_hold(struct grants *grants)
{
    if (grants)
        grants->references++;
}

void grants_drop(struct grants *grants)
{
    if (grants && --grants->references == 0)
        free(grants);
}

/* Goes through a list: `at` begins as GRANTS_FIRST. */
#define GRANTS_FIRST UINT32_MAX
static bool next(const struct grants *g, enum grant which, uint32_t *at, struct text *pattern)
{
    uint16_t len;
    if (*at == GRANTS_FIRST)
        *at = which ? g->end[which - 1] : 0;
    if (*at == g->end[which])
        return false;
    memcpy(&len, g->bytes + *at, sizeof len);
    *pattern = (struct text){g->bytes + *at + sizeof len, len};
    *at += sizeof len + len;
    return true;
}

bool grants_allow(const struct grants *grants, enum grant which, struct text topic)
{
    struct text granted;
    if (!grants || !grants->limited[which])
        return true;
    for (uint32_t at = GRANTS_FIRST; next(grants, which, &at, &granted);)
        if (pattern_matches(granted, topic))
            return true;
    return false;
}

/* --- patterns --------------------------------------------------------------------------------- */

/* How much of the topics of so many segments that `asked` can match are all matched by `granted`.
 */
enum cover {
    COVER_NONE,
    COVER_LENGTH, /* all of this number of segments */
    COVER_REST,   /* and all of more of them */
};

/* There is no end to the words that a segment can be: where `asked` has a wildcard, one that no
 * grant spells out is among them, so only a wildcard covers it, and whichever grant matches the
 * topic of such words matches all topics of that length. That is why one grant at a time is enough
 * to look at for each length. */
static enum cover covers(struct text granted, struct text asked, size_t segments)
{
    for (size_t i = 0; i < segments; i++) {
        if (!granted.at)
            return COVER_NONE;
        struct text mine = segment_take(&granted);
        if (segment_is_rest(mine))
            return COVER_REST;
        /* Behind its end is what its `>` stands for. */
        struct text wanted = asked.at ? segment_take(&asked) : TEXT(">");
        if (segment_is_star(mine))
            continue;
        if (segment_is_star(wanted) || segment_is_rest(wanted) || !text_equal(mine, wanted))
            return COVER_NONE;
    }
    return granted.at ? COVER_NONE : COVER_LENGTH;
}

static enum cover best_cover(
    const struct grants *g, enum grant which, struct text asked, size_t segments)
{
    enum cover best = COVER_NONE;
    struct text granted;
    for (uint32_t at = GRANTS_FIRST; best != COVER_REST && next(g, which, &at, &granted);) {
        enum cover cover = covers(granted, asked, segments);
        best = cover > best ? cover : best;
    }
    return best;
}

bool grants_allow_pattern(const struct grants *grants, enum grant which, struct text pattern)
{
    if (!grants || !grants->limited[which])
        return true;
    size_t segments = 0;
    bool rest = false;
    for (struct text left = pattern; left.at; segments++)
        rest = segment_is_rest(segment_take(&left));
    /* Ends: each length needs a grant of its own, until one covers all that are left. */
    for (;; segments++) {
        enum cover cover = best_cover(grants, which, pattern, segments);
        if (cover == COVER_NONE)
            return false;
        if (cover == COVER_REST || !rest)
            return true;
    }
}

bool grants_allow_presence(const struct grants *grants)
{
    return !grants || grants->presence;
}
