#include "broker/patterns.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/pattern.h"

void patterns_init(struct patterns *p, unsigned workers)
{
    lock_init(&p->lock, LOCK_PATTERNS);
    p->worker_words = (workers + 63) / 64;
    atomic_init(&p->count, 0);
    atomic_init(&p->generation, 1);
    p->first = NULL;
    p->serial = 0;
}

void patterns_fini(struct patterns *p)
{
    MUST(!patterns_used(p));
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

static struct pattern *pattern_new(struct patterns *p, uint64_t hash, struct text text)
{
    size_t set = p->worker_words * sizeof(uint64_t);
    struct pattern *pattern = malloc(sizeof *pattern + set + text.len);
    if (!pattern)
        return NULL;
    *pattern = (struct pattern){
        .hash = hash, .references = 1, .text_len = (uint32_t)text.len, .serial = ++p->serial};
    memset(pattern->workers, 0, set);
    memcpy((char *)pattern->workers + set, text.at, text.len);
    return pattern;
}

static struct pattern *find(struct patterns *p, uint64_t hash, struct text text)
{
    struct pattern *at = p->first;
    while (at && !(at->hash == hash && text_equal(pattern_text(p, at), text)))
        at = at->next;
    return at;
}

/* After the change, so that no answer from before it passes for one from after it. */
static void changed(struct patterns *p)
{
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_seq_cst);
}

struct pattern *patterns_join(
    struct patterns *p, uint64_t hash, struct text text, unsigned worker, bool watches)
{
    lock_take(&p->lock);
    struct pattern *pattern = find(p, hash, text);
    if (!pattern && (pattern = pattern_new(p, hash, text))) {
        pattern->next = p->first;
        p->first = pattern;
        atomic_fetch_add(&p->count, 1);
    }
    if (pattern) {
        uint64_t bit = UINT64_C(1) << (worker % 64);
        atomic_fetch_add(&pattern->subscribers, 1);
        if (watches)
            atomic_fetch_add(&pattern->watchers, 1);
        if (!(pattern->workers[worker / 64] & bit)) {
            pattern->workers[worker / 64] |= bit;
            changed(p);
        }
    }
    lock_give(&p->lock);
    return pattern;
}

void patterns_leave(
    struct patterns *p, struct pattern *pattern, unsigned worker, bool last, bool watches)
{
    if (watches)
        atomic_fetch_sub(&pattern->watchers, 1);
    lock_take(&p->lock);
    bool gone = atomic_fetch_sub(&pattern->subscribers, 1) == 1;
    if (gone) {
        struct pattern **at = &p->first;
        while (*at != pattern)
            at = &(*at)->next;
        *at = pattern->next;
        atomic_fetch_sub(&p->count, 1);
    }
    if (last) {
        pattern->workers[worker / 64] &= ~(UINT64_C(1) << (worker % 64));
        changed(p);
    }
    lock_give(&p->lock);
    if (gone)
        pattern_drop(pattern);
}

bool patterns_match(
    struct patterns *p, struct text topic, struct match_set **set, uint64_t *generation)
{
    uint32_t count = 0;
    struct match_set *made = NULL;
    *set = NULL;
    lock_take(&p->lock);
    *generation = patterns_generation(p);
    for (struct pattern *at = p->first; at; at = at->next)
        count += pattern_matches(pattern_text(p, at), topic);
    if (count > 0) {
        size_t words = p->worker_words * sizeof(uint64_t);
        made = malloc(sizeof *made + count * sizeof made->patterns[0] + words + topic.len);
        if (!made) {
            lock_give(&p->lock);
            return false;
        }
        *made = (struct match_set){.references = 1, .count = count};
        made->workers = (uint64_t *)(void *)(made->patterns + count);
        memset(made->workers, 0, words);
        memcpy(made->workers + p->worker_words, topic.at, topic.len);
        made->topic = (struct text){(char *)(made->workers + p->worker_words), topic.len};
        for (struct pattern *at = p->first; at; at = at->next)
            if (pattern_matches(pattern_text(p, at), topic)) {
                made->patterns[--count] = at;
                atomic_fetch_add(&at->references, 1);
                for (unsigned i = 0; i < p->worker_words; i++)
                    made->workers[i] |= at->workers[i];
            }
    }
    lock_give(&p->lock);
    *set = made;
    return true;
}

void match_set_drop(struct match_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < set->count; i++)
        pattern_drop(set->patterns[i]);
    free(set);
}
