#include "broker/patterns.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

void patterns_init(struct patterns *p, unsigned workers)
{
    lock_init(&p->lock, LOCK_PATTERNS);
    p->worker_words = (workers + 63) / 64;
    atomic_init(&p->count, 0);
    atomic_init(&p->watchers, 0);
    atomic_init(&p->generation, 1);
    pattern_tree_init(&p->tree);
    p->serial = 0;
}

void patterns_fini(struct patterns *p)
{
    MUST(!patterns_used(p));
    pattern_tree_fini(&p->tree);
    lock_fini(&p->lock);
}

struct text pattern_text(const struct patterns *p, const struct pattern *pattern)
{
    return (struct text){(const char *)(pattern->workers + p->worker_words), pattern->text_len};
}

static void pattern_drop(struct pattern *pattern)
{
    if (atomic_fetch_sub_explicit(&pattern->references, 1, memory_order_acq_rel) == 1)
        free(pattern);
}

/* --- joining and leaving ---------------------------------------------------------------------- */

/* The index's reference is the first one. */
static struct pattern *add(struct patterns *p, uint64_t hash, struct text text) REQUIRES(p->lock)
{
    size_t set = p->worker_words * sizeof(uint64_t);
    struct pattern *pattern = malloc(sizeof *pattern + set + text.len);
    if (!pattern)
        return NULL;
    *pattern = (struct pattern){
        .hash = hash, .serial = p->serial + 1, .references = 1, .text_len = (uint32_t)text.len};
    memset(pattern->workers, 0, set);
    memcpy((char *)pattern->workers + set, text.at, text.len);
    if (!pattern_tree_add(&p->tree, text, pattern)) {
        free(pattern);
        return NULL;
    }
    p->serial++;
    atomic_fetch_add_explicit(&p->count, 1, memory_order_seq_cst);
    return pattern;
}

/* A pattern that comes or goes does so with its first or last worker. */
static void set_worker(struct patterns *p, struct pattern *pattern, unsigned worker, bool there)
    REQUIRES(p->lock)
{
    uint64_t bit = UINT64_C(1) << (worker % 64);
    uint64_t *word = &pattern->workers[worker / 64];
    if (there == ((*word & bit) != 0))
        return;
    *word ^= bit;
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_seq_cst);
}

struct pattern *patterns_join(
    struct patterns *p, uint64_t hash, struct text text, unsigned worker, bool watches)
{
    lock_take(&p->lock);
    struct pattern *pattern = pattern_tree_find(&p->tree, text);
    if (!pattern)
        pattern = add(p, hash, text);
    if (pattern) {
        atomic_fetch_add_explicit(&pattern->subscribers, 1, memory_order_relaxed);
        if (watches)
            patterns_watch(p, 1);
        set_worker(p, pattern, worker, true);
    }
    lock_give(&p->lock);
    return pattern;
}

void patterns_leave(
    struct patterns *p, struct pattern *pattern, unsigned worker, bool last, bool watches)
{
    if (watches)
        patterns_watch(p, -1);
    if (!last) {
        MUST(atomic_fetch_sub_explicit(&pattern->subscribers, 1, memory_order_relaxed) > 1);
        return;
    }
    lock_take(&p->lock);
    uint32_t before = atomic_fetch_sub_explicit(&pattern->subscribers, 1, memory_order_relaxed);
    MUST(before > 0);
    if (before == 1) {
        pattern_tree_remove(&p->tree, pattern_text(p, pattern));
        atomic_fetch_sub_explicit(&p->count, 1, memory_order_seq_cst);
    }
    set_worker(p, pattern, worker, false);
    lock_give(&p->lock);
    if (before == 1)
        pattern_drop(pattern);
}

bool patterns_wanted(struct patterns *p, struct pattern *pattern, unsigned worker)
{
    lock_take(&p->lock);
    bool known = pattern->workers[worker / 64] >> (worker % 64) & 1;
    set_worker(p, pattern, worker, true);
    lock_give(&p->lock);
    return known;
}

/* --- first segments --------------------------------------------------------------------------- */

bool patterns_begin_with(struct patterns *p, struct text segment)
{
    lock_take(&p->lock);
    bool any = pattern_tree_begins_with(&p->tree, segment) ||
               (segment.len == 0 && pattern_tree_begins_wild(&p->tree));
    lock_give(&p->lock);
    return any;
}

bool patterns_each_first(
    struct patterns *p, bool (*each)(void *user, struct text segment), void *user)
{
    size_t at = 0;
    struct text segment;
    bool all = true;
    lock_take(&p->lock);
    while (all && (segment = pattern_tree_next_first(&p->tree, &at)).at)
        all = each(user, segment);
    lock_give(&p->lock);
    return all;
}

/* --- matching --------------------------------------------------------------------------------- */

static struct match_set *match_set_new(const struct patterns *p, uint32_t count, struct text topic)
{
    struct match_set *set;
    size_t patterns = count * sizeof set->patterns[0];
    size_t workers = p->worker_words * sizeof set->workers[0];
    patterns = (patterns + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
    set = malloc(sizeof *set + patterns + workers + topic.len);
    if (!set)
        return NULL;
    *set = (struct match_set){.references = 1, .count = count};
    char *behind = (char *)set->patterns + patterns;
    set->workers = memset(behind, 0, workers);
    set->topic = (struct text){memcpy(behind + workers, topic.at, topic.len), topic.len};
    return set;
}

static struct match_set *collect(
    const struct patterns *p, struct pattern *first, uint32_t count, struct text topic)
{
    struct match_set *set = match_set_new(p, count, topic);
    if (!set)
        return NULL;
    for (struct pattern *at = first; at; at = at->next) {
        atomic_fetch_add_explicit(&at->references, 1, memory_order_relaxed);
        set->patterns[--count] = at;
        for (unsigned i = 0; i < p->worker_words; i++)
            set->workers[i] |= at->workers[i];
    }
    return set;
}

static int by_age(const void *a, const void *b)
{
    const struct pattern *const *x = a;
    const struct pattern *const *y = b;
    return ((*x)->serial > (*y)->serial) - ((*x)->serial < (*y)->serial);
}

bool patterns_match(
    struct patterns *p, struct text topic, struct match_set **set, uint64_t *generation)
{
    uint32_t count = 0;
    *set = NULL;
    lock_take(&p->lock);
    *generation = patterns_generation(p);
    struct pattern *first = pattern_tree_match(&p->tree, topic);
    for (const struct pattern *at = first; at; at = at->next)
        count++;
    if (count > 0)
        *set = collect(p, first, count, topic);
    lock_give(&p->lock);
    if (count > 1 && *set)
        qsort((*set)->patterns, count, sizeof(*set)->patterns[0], by_age);
    return count == 0 || *set;
}

void match_set_drop(struct match_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < set->count; i++)
        pattern_drop(set->patterns[i]);
    free(set);
}
