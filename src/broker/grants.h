/* What a client may do, as its token says: patterns of topics that it may subscribe and publish to.
 *
 * They only ever take away from what the rules allow. NULL stands for grants without any limit in
 * them, which most clients have.
 * Memory: one allocation: 40 bytes, and each pattern with 2 more.
 * Ownership: counted; immutable once made.
 * Threads: one at a time; not handed from one to another while they are shared. */
#ifndef HERMES_BROKER_GRANTS_H
#define HERMES_BROKER_GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum grant {
    GRANT_SUBSCRIBE,
    GRANT_PUBLISH,
    GRANT_COUNT,
};

enum { GRANTS_PATTERNS_MAX = 1000, GRANTS_BYTES_MAX = 65536 };

/* One list of a token. */
struct grants_list {
    const struct text *at;
    size_t count;
    bool limited; /* there is a list, be it empty: only what matches it is allowed */
};

struct grants_wish {
    struct grants_list lists[GRANT_COUNT];
    bool presence;
};

struct grants;

/* NULL, and `*out` with a reference for the caller (which may be NULL: no limit); or a sentence for
 * the person who made the token, static, and nothing in `*out`: a pattern that is none, as
 * pattern_fault says it, too many of them, or grants_no_memory. */
const char *grants_new(const struct grants_wish *wish, size_t topic_bytes, struct grants **out);
extern const char grants_no_memory[];

void grants_hold(struct grants *grants); /* NULL is ignored, by both */
void grants_drop(struct grants *grants);

/* Whether a topic is among those granted. As many comparisons as there are patterns. */
bool grants_allow(const struct grants *grants, enum grant which, struct text topic);

/* Whether all topics are that a pattern can match, by one of the patterns granted or by several
 * together. */
bool grants_allow_pattern(const struct grants *grants, enum grant which, struct text pattern);

/* Whether its bearer may ask, and be told, who is subscribed. */
bool grants_allow_presence(const struct grants *grants);

#endif
