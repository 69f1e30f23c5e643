#include "broker/topic_list.h"

#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "broker/patterns.h"

/* LOOK: topics under one lock; WORK: in one call, besides those for the rows. */
enum { LOOK = 16, WORK = 8192, NAMES_FIRST = 4096, NAMES_MOST = 65536 };

/* Copied names, freed all at once. */
struct topic_names {
    struct topic_names *next;
    size_t used;
    size_t room;
    char bytes[];
};

/* What was read ahead of one stripe: some rows, and how far it was looked at for them. */
struct source {
    struct topic_row *rows;
    uint32_t at;
    uint32_t count;
    bool ended;       /* nothing comes behind the rows */
    struct text seen; /* the last name that was looked at */
};

/* All stripes' rows in one order. */
struct merge {
    struct topic_list *list;
    struct registry *registry;
    /* the range, and what is wanted of it */
    struct text start;
    bool inclusive; /* from `start` itself on */
    struct text prefix;
    struct text pattern;
    bool exact;     /* `prefix` is the one name there can be */
    uint32_t ahead; /* rows read at once */
    const struct topic_choice *choice;
    struct source sources[REGISTRY_STRIPES];
    /* a heap of those that have not ended, by key, the smallest first */
    unsigned count;
    struct {
        struct text key;
        struct source *source;
    } heap[REGISTRY_STRIPES];
};

/* --- names ------------------------------------------------------------------------------------ */

/* `at` is NULL when there is no memory. */
static struct text copy(struct topic_list *list, struct text name)
{
    struct topic_names *n = list->names;
    if (!n || n->room - n->used < name.len) {
        size_t room = n ? 2 * n->room : NAMES_FIRST;
        room = room > NAMES_MOST ? NAMES_MOST : room;
        room = room < name.len ? name.len : room;
        n = malloc(sizeof *n + room);
        if (!n)
            return (struct text){0};
        *n = (struct topic_names){.next = list->names, .room = room};
        list->names = n;
    }
    char *at = n->bytes + n->used;
    memcpy(at, name.at, name.len);
    n->used += name.len;
    return (struct text){at, name.len};
}

/* --- what a pattern narrows ------------------------------------------------------------------- */

/* What all names begin with that it matches. */
static struct text literal_of(struct text pattern)
{
    size_t begin = 0; /* of a segment */
    for (size_t i = 0; i <= pattern.len; i++) {
        if (i < pattern.len && pattern.at[i] != ':')
            continue;
        if (i - begin == 1 && (pattern.at[begin] == '*' || pattern.at[begin] == '>'))
            return (struct text){pattern.at, begin};
        begin = i + 1;
    }
    return pattern;
}

/* False when there is no name in the range. */
static bool set_range(struct merge *m, struct text prefix, struct text after)
{
    if (m->pattern.len > 0) {
        struct text literal = literal_of(m->pattern);
        m->exact = literal.len == m->pattern.len;
        if (text_starts_with(literal, prefix))
            prefix = literal;
        else if (!text_starts_with(prefix, literal))
            return false;
    }
    m->prefix = prefix;
    m->inclusive = text_compare(after, prefix) < 0;
    m->start = m->inclusive ? prefix : after;
    return m->inclusive || text_starts_with(after, prefix);
}

static bool in_range(const struct merge *m, struct text name)
{
    return text_starts_with(name, m->prefix) && (!m->exact || name.len == m->prefix.len);
}

/* --- reading a stripe ------------------------------------------------------------------------- */

bool topic_is_active(const struct registry_topic *topic, uint32_t *subscribers)
{
    uint32_t count = topic->subscribers;
    if (topic->matches)
        for (uint32_t i = 0; i < topic->matches->count; i++)
            count += atomic_load_explicit(
                &topic->matches->patterns[i]->subscribers, memory_order_relaxed);
    *subscribers = count;
    return count > 0 || (topic->kept && topic->kept->history.count > 0);
}

/* Looks at the next topics of a stripe, from behind the last it looked at. Its rows are used up. */
static bool read_ahead(struct merge *m, struct source *s)
{
    struct stripe *stripe = &m->registry->stripes[s - m->sources];
    struct topic_walk walk;
    struct text name = {0};
    bool ok = true;
    s->at = 0;
    s->count = 0;
    lock_take(&stripe->lock);
    topic_walk_begin(&walk, &stripe->order, m->registry, s->seen.at ? s->seen : m->start,
        !s->seen.at && m->inclusive);
    for (unsigned looks = 0; looks < LOOK && s->count < m->ahead && ok; looks++) {
        const struct registry_topic *topic = topic_walk_next(&walk);
        s->ended = !topic || !in_range(m, name = registry_name(m->registry, topic));
        if (s->ended)
            break;
        m->list->seen++;
        struct topic_row row;
        if ((m->pattern.len == 0 || pattern_matches(m->pattern, name)) &&
            topic_is_active(topic, &row.subscribers)) {
            row.name = name = copy(m->list, name);
            s->rows[s->count++] = row;
            ok = row.name.at != NULL;
        }
    }
    /* The last one's name is needed when it was not taken. */
    if (ok && !s->ended) {
        s->seen =
            s->count > 0 && s->rows[s->count - 1].name.at == name.at ? name : copy(m->list, name);
        ok = s->seen.at != NULL;
    }
    lock_give(&stripe->lock);
    return ok;
}

/* --- the heap --------------------------------------------------------------------------------- */

/* Moves the one at `at` down to its place. */
static void sift(struct merge *m, unsigned at)
{
    struct text key = m->heap[at].key;
    struct source *source = m->heap[at].source;
    for (unsigned below; (below = 2 * at + 1) < m->count; at = below) {
        if (below + 1 < m->count && text_compare(m->heap[below + 1].key, m->heap[below].key) < 0)
            below++;
        if (text_compare(key, m->heap[below].key) <= 0)
            break;
        m->heap[at] = m->heap[below];
    }
    m->heap[at].key = key;
    m->heap[at].source = source;
}

/* Gives the one at `at` the key that its source has now: its first row's name, or how far it was
 * looked at without finding another. Takes it out when it has ended. */
static void settle(struct merge *m, unsigned at)
{
    struct source *s = m->heap[at].source;
    if (s->at < s->count)
        m->heap[at].key = s->rows[s->at].name;
    else if (!s->ended)
        m->heap[at].key = s->seen;
    else
        m->heap[at] = m->heap[--m->count];
    sift(m, at);
}

/* Begins with a few rows of every stripe. */
static bool begin(struct merge *m, struct topic_row *ahead)
{
    for (size_t i = 0; i < REGISTRY_STRIPES; i++) {
        struct source *s = &m->sources[i];
        s->rows = ahead + i * m->ahead;
        if (!read_ahead(m, s))
            return false;
        m->heap[i].source = s;
    }
    m->count = REGISTRY_STRIPES;
    for (unsigned i = REGISTRY_STRIPES; i-- > 0;)
        settle(m, i);
    return true;
}

/* Rows in order, until there are enough, or no more, or it was enough work. */
static bool take(struct merge *m, size_t limit)
{
    const struct topic_choice *choice = m->choice;
    struct topic_list *list = m->list;
    for (; m->count > 0; settle(m, 0)) {
        struct source *s = m->heap[0].source;
        if (s->at < s->count) {
            if (choice->wanted && !choice->wanted(choice->user, s->rows[s->at].name)) {
                s->at++;
                continue;
            }
            if (list->count == limit) {
                list->next = list->rows[limit - 1].name;
                return true;
            }
            list->rows[list->count++] = s->rows[s->at++];
        } else if (list->seen >= WORK + 2 * limit && (!choice->wanted || list->count > 0)) {
            /* Up to here nothing was left out, in no stripe. */
            list->next = choice->wanted ? list->rows[list->count - 1].name : s->seen;
            return true;
        } else if (!read_ahead(m, s)) {
            return false;
        }
    }
    return true;
}

bool topic_list_take(struct topic_list *list, struct registry *r, struct text prefix,
    struct text after, struct text pattern, size_t limit)
{
    struct topic_choice choice = {
        .prefix = prefix, .after = after, .pattern = pattern, .limit = limit};
    return topic_list_choose(list, r, &choice);
}

bool topic_list_choose(
    struct topic_list *list, struct registry *r, const struct topic_choice *choice)
{
    size_t limit = choice->limit;
    *list = (struct topic_list){.rows = malloc(limit * sizeof *list->rows)};
    struct merge *m = malloc(sizeof *m);
    struct topic_row *ahead = NULL;
    bool ok = list->rows && m;
    if (ok) {
        *m = (struct merge){
            .list = list, .registry = r, .pattern = choice->pattern, .choice = choice};
        /* What a stripe has of a page if all have as much, and a little more. */
        m->ahead =
            limit < LOOK * REGISTRY_STRIPES ? (uint32_t)(limit / REGISTRY_STRIPES) + 2 : LOOK;
        if (set_range(m, choice->prefix, choice->after)) {
            ahead = malloc(REGISTRY_STRIPES * m->ahead * sizeof *ahead);
            ok = ahead && begin(m, ahead) && take(m, limit);
        }
    }
    free(ahead);
    free(m);
    if (!ok)
        topic_list_fini(list);
    return ok;
}

void topic_list_fini(struct topic_list *list)
{
    while (list->names) {
        struct topic_names *n = list->names;
        list->names = n->next;
        free(n);
    }
    free(list->rows);
    *list = (struct topic_list){0};
}
