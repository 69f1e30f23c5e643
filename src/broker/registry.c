#include "broker/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/patterns.h"

void registry_init(struct registry *r, unsigned workers, size_t history_bytes)
{
    r->key = hash_key_random();
    r->epochs = hash_key_random().k0; /* not of the key: everyone sees epochs */
    r->worker_words = (workers + 63) / 64;
    r->budget.most = history_bytes;
    atomic_init(&r->budget.used, 0);
    for (size_t i = 0; i < REGISTRY_STRIPES; i++) {
        struct stripe *stripe = &r->stripes[i];
        *stripe = (struct stripe){.topics = {0}};
        lock_init(&stripe->lock, LOCK_STRIPE);
        keepers_init(&stripe->keepers);
    }
}

struct wanted {
    const struct registry *registry;
    struct text name;
};

static bool is_wanted(const void *item, const void *wanted)
{
    const struct wanted *w = wanted;
    return text_equal(registry_name(w->registry, item), w->name);
}

struct registry_topic *registry_find(
    struct registry *r, struct stripe *stripe, uint64_t hash, struct text name)
{
    return map_find(&stripe->topics, hash, is_wanted, &(struct wanted){r, name});
}

/* Never 0, which is no epoch, and never the same twice: an odd factor maps no two numbers to one.
 * The random part keeps it from being that of another broker, or of this one before it was
 * restarted. */
static uint64_t epoch_new(struct registry *r, struct stripe *stripe)
{
    uint64_t number = ++stripe->made * REGISTRY_STRIPES + (uint64_t)(stripe - r->stripes);
    uint64_t epoch = (r->epochs ^ number) * UINT64_C(0x9E3779B97F4A7C15);
    return epoch ? epoch : epoch_new(r, stripe);
}

struct registry_topic *registry_make(
    struct registry *r, struct stripe *stripe, uint64_t hash, struct text name)
{
    size_t set = r->worker_words * sizeof(uint64_t);
    struct registry_topic *topic = malloc(sizeof *topic + set + name.len);
    if (!topic)
        return NULL;
    *topic = (struct registry_topic){.hash = hash, .name_len = (uint32_t)name.len};
    memset(topic->workers, 0, set);
    memcpy((char *)topic->workers + set, name.at, name.len);
    if (!map_add(&stripe->topics, hash, topic)) {
        free(topic);
        return NULL;
    }
    topic->epoch = epoch_new(r, stripe);
    topic_order_add(&stripe->order, r, topic);
    stripe->transients++;
    return topic;
}

void registry_join(
    struct stripe *stripe, struct registry_topic *topic, unsigned worker, bool watches)
{
    topic->audited = 0;
    if (topic->subscribers++ == 0)
        stripe->transients--;
    if (watches)
        topic->watchers++;
    topic->workers[worker / 64] |= 1ULL << (worker % 64);
}

/* What a kept topic costs besides its messages: a million topics with one short value each are to
 * stay within the budget too. */
static size_t kept_weight(const struct registry *r, const struct registry_topic *topic)
{
    return sizeof(struct kept) + sizeof(struct kept *) + sizeof *topic + topic->name_len +
           r->worker_words * sizeof(uint64_t);
}

static void kept_free(struct registry *r, struct stripe *stripe, struct registry_topic *topic)
{
    struct kept *kept = topic->kept;
    keepers_remove(&stripe->keepers, kept);
    history_fini(&kept->history);
    atomic_fetch_sub_explicit(&r->budget.used, kept_weight(r, topic), memory_order_relaxed);
    topic->kept = NULL;
    free(kept);
}

/* Frees a topic that nobody needs. */
static void topic_free(struct registry *r, struct stripe *stripe, struct registry_topic *topic)
{
    stripe->transients--;
    topic_order_remove(&stripe->order, r, topic);
    map_remove(&stripe->topics, topic->hash, topic);
    match_set_drop(topic->matches);
    free(topic);
}

/* What a topic remembers of patterns may be of old. */
static bool has_subscribers(const struct match_set *matches)
{
    for (uint32_t i = 0; matches && i < matches->count; i++)
        if (atomic_load_explicit(&matches->patterns[i]->subscribers, memory_order_relaxed) > 0)
            return true;
    return false;
}

bool registry_release(struct registry *r, struct stripe *stripe, struct registry_topic *topic)
{
    if (topic->live || topic->subscribers > 0 || has_subscribers(topic->matches))
        return false;
    if (topic->kept && topic->kept->history.count > 0)
        return false;
    if (topic->kept)
        kept_free(r, stripe, topic);
    topic_free(r, stripe, topic);
    return true;
}

bool registry_leave(struct registry *r, struct stripe *stripe, struct registry_topic *topic,
    unsigned worker, bool last, bool watches)
{
    MUST(topic->subscribers > 0);
    topic->audited = 0;
    if (watches)
        topic->watchers--;
    if (last)
        topic->workers[worker / 64] &= ~(1ULL << (worker % 64));
    if (--topic->subscribers > 0)
        return false;
    stripe->transients++;
    return registry_release(r, stripe, topic);
}

/* --- what is kept ----------------------------------------------------------------------------- */

void registry_keep(struct registry *r, struct stripe *stripe, struct registry_topic *topic,
    struct history_limits limits, uint32_t version, uint64_t now_us)
{
    struct kept *kept = topic->kept;
    if (kept && limits.messages == 0) {
        kept_free(r, stripe, topic);
    } else if (kept) {
        history_limit(&kept->history, limits, now_us);
        kept->version = version;
    } else if (limits.messages > 0) {
        kept = calloc(1, sizeof *kept);
        if (!kept)
            return;
        kept->topic = topic;
        kept->version = version;
        if (!keepers_add(&stripe->keepers, kept)) {
            free(kept);
            return;
        }
        history_init(&kept->history, limits, &r->budget, topic->offset + 1);
        topic->kept = kept;
        atomic_fetch_add_explicit(&r->budget.used, kept_weight(r, topic), memory_order_relaxed);
    }
}

static bool over_budget(const struct registry *r)
{
    return r->budget.most != 0 &&
           atomic_load_explicit(&r->budget.used, memory_order_relaxed) > r->budget.most;
}

/* The stripe with the oldest message, and how old the next one's is. */
static struct stripe *oldest_stripe(struct registry *r, uint64_t *next)
{
    struct stripe *oldest = NULL;
    uint64_t least = UINT64_MAX;
    *next = UINT64_MAX;
    for (size_t i = 0; i < REGISTRY_STRIPES; i++) {
        uint64_t key = keepers_oldest(&r->stripes[i].keepers);
        if (key < least) {
            *next = least;
            least = key;
            oldest = &r->stripes[i];
        } else if (key < *next) {
            *next = key;
        }
    }
    return oldest;
}

void registry_trim(struct registry *r)
{
    uint64_t next;
    struct stripe *stripe;
    while (over_budget(r) && (stripe = oldest_stripe(r, &next)) != NULL) {
        struct kept *kept;
        lock_take(&stripe->lock);
        /* A key that has become exact may now be behind the next stripe's. */
        while (over_budget(r) && (kept = keepers_settle(&stripe->keepers)) != NULL &&
               kept->key <= next) {
            struct registry_topic *topic = kept->topic;
            history_evict(&kept->history);
            if (kept->history.count == 0) {
                kept_free(r, stripe, topic);
                registry_release(r, stripe, topic);
            }
        }
        lock_give(&stripe->lock);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

void registry_fini(struct registry *r) NO_THREAD_SAFETY_ANALYSIS
{
    for (size_t i = 0; i < REGISTRY_STRIPES; i++) {
        struct stripe *stripe = &r->stripes[i];
        size_t at = 0;
        struct registry_topic *topic;
        while ((topic = map_next(&stripe->topics, &at)) != NULL) {
            MUST(topic->subscribers == 0);
            if (topic->kept)
                kept_free(r, stripe, topic);
            match_set_drop(topic->matches);
            free(topic);
        }
        map_fini(&stripe->topics);
        keepers_fini(&stripe->keepers);
        lock_fini(&stripe->lock);
    }
}
