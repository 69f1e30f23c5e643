#include "session/audit.h"

#include <string.h>

#include "proto/json.h"
#include "proto/reply2.h"
#include "session/catch_up.h"
#include "session/facts.h"
#include "session/session.h"
#include "session/worker.h"

/* TOPICS: looked at in a slice, of STRIPES at most: 0.2 ms a second for a million topics. CATCHING:
 * sessions that catch up, from which on a slice is left out, for they are gone through for each
 * topic. */
enum { PERIOD_MS = 1000, TOPICS = 1024, STRIPES = 64, CATCHING = 64, NAME_LOGGED = 512 };

struct mismatch {
    const char *what; /* NULL: none */
    int64_t registry; /* what it said, */
    int64_t found;    /* and what is true */
    bool missed;      /* messages up to `offset` may have been missed here */
    uint64_t offset;
    uint64_t epoch;
    uint64_t hash;
    const void *key;
    size_t name_len;
    char name[NAME_LOGGED];
};

static void note(struct mismatch *m, const char *what, int64_t registry, int64_t found)
{
    m->what = what;
    m->registry = registry;
    m->found = found;
}

static void note_name(struct mismatch *m, struct text name)
{
    m->name_len = name.len < sizeof m->name ? name.len : sizeof m->name;
    memcpy(m->name, name.at, m->name_len);
}

/* --- topics ----------------------------------------------------------------------------------- */

/* The worker wants the topic's messages, or does not. */
static void correct_interest(
    struct worker *w, struct registry_topic *topic, bool wanted, struct mismatch *m)
{
    topic->workers[w->index / 64] ^= UINT64_C(1) << (w->index % 64);
    note(m, "interest", !wanted, wanted);
    if (!wanted)
        return;
    mailbox_take(&w->box, &w->tray); /* what came by a pattern has not been missed */
    m->missed = true;
    m->offset = topic->offset;
    m->epoch = topic->epoch;
    m->hash = topic->hash;
    m->key = topic;
}

/* This may free the topic. */
static void correct_count(struct registry *r, struct stripe *stripe, struct registry_topic *topic,
    struct mismatch *m) REQUIRES(stripe->lock)
{
    uint32_t before = topic->subscribers;
    note(m, "subscribers", before, topic->counted);
    topic->subscribers = topic->counted;
    if (before == 0)
        stripe->transients--;
    if (topic->counted == 0) {
        stripe->transients++;
        registry_release(r, stripe, topic);
    }
}

/* This may free the topic when it finds something. */
static void look_at(struct worker *w, struct stripe *stripe, struct registry_topic *topic,
    struct mismatch *m) REQUIRES(stripe->lock)
{
    struct registry *registry = &w->shop->route.registry;
    const struct local_topic *local = local_find(&w->topics, topic->hash, topic);
    uint32_t here = (local ? local->count : 0) + catch_up_count(w, topic);
    bool interest = topic->workers[w->index / 64] >> (w->index % 64) & 1;
    if (interest != (here > 0)) {
        note_name(m, registry_name(registry, topic));
        correct_interest(w, topic, here > 0, m);
        return;
    }
    if (topic->audited != w->index)
        return; /* others have to count first */
    topic->counted = (w->index == 0 ? 0 : topic->counted) + here;
    if (++topic->audited < w->shop->count)
        return;
    topic->audited = 0;
    if (topic->counted != topic->subscribers) {
        note_name(m, registry_name(registry, topic));
        correct_count(registry, stripe, topic, m);
    }
}

/* Of the stripe that is being gone through, until something is found. Returns what is left of
 * `most`. */
static unsigned look_on(
    struct worker *w, unsigned most, struct mismatch *m) NO_THREAD_SAFETY_ANALYSIS
{
    struct stripe *stripe = &w->shop->route.registry.stripes[w->audit_stripe];
    struct registry_topic *topic = NULL;
    lock_take(&stripe->lock);
    for (; most > 0 && !m->what; most--) {
        topic = map_next(&stripe->topics, &w->audit_at);
        if (!topic)
            break;
        look_at(w, stripe, topic, m);
    }
    lock_give(&stripe->lock);
    if (!topic) {
        w->audit_at = 0;
        w->audit_stripe = (w->audit_stripe + 1) % REGISTRY_STRIPES;
    }
    return most;
}

/* --- patterns --------------------------------------------------------------------------------- */

/* Of a 64th of the local topics those that are patterns. Whether all that the index has of this
 * worker are here too is not looked for: that would cost messages nobody gets, and lose none. */
static void look_at_patterns(struct worker *w, unsigned part, struct mismatch *m)
{
    struct patterns *patterns = &w->shop->route.patterns;
    const struct map *map = &w->topics.parts[part];
    size_t at = 0;
    struct local_topic *local;
    while (!m->what && (local = map_next(map, &at)) != NULL) {
        if (!local->is_pattern || patterns_wanted(patterns, local->pattern, w->index))
            continue;
        note_name(m, pattern_text(patterns, local->pattern));
        note(m, "interest by pattern", 0, 1);
        m->missed = true;
        m->hash = local->hash;
        m->key = local->key;
    }
}

/* --- whoever missed messages ------------------------------------------------------------------ */

static void tell_gap(struct worker *w, struct session *s, const struct mismatch *m, uint64_t from)
{
    struct buf name = {0};
    struct buf frame = {0};
    struct registry_topic *topic = local_find(&w->topics, m->hash, m->key)->registered;
    json_string_append(&name, registry_name(&w->shop->route.registry, topic));
    reply2_gap(&frame, buf_text(&name), from, m->offset);
    frame.failed |= name.failed;
    if (frame.failed)
        s->unremembered = true; /* it is closed when it is flushed */
    else
        session_send(s, buf_text(&frame));
    worker_touch(w, s);
    session_note_loss(s, &(struct fact_loss){.kind = FACT_MISSED,
                             .hash = m->hash,
                             .epoch = m->epoch,
                             .from = from,
                             .to = m->offset});
    buf_fini(&frame);
    buf_fini(&name);
}

/* Those of level 1, or all: nobody could tell them what they have missed. */
static void close_places(struct worker *w, const struct mismatch *m, bool all)
{
    struct local_topic *local;
    while ((local = local_find(&w->topics, m->hash, m->key)) != NULL && (all || local->plain > 0))
        session_close(session_of(local_places(local)[0].subscriber), CLOSE_MISSED);
}

static void tell_missed(struct worker *w, const struct mismatch *m)
{
    worker_deliver(w);
    struct local_topic *local = local_find(&w->topics, m->hash, m->key);
    if (!local)
        return;
    if (local->is_pattern) {
        close_places(w, m, true);
        return;
    }
    uint64_t from = local->delivered + 1;
    if (from > m->offset)
        return;
    for (uint32_t i = local->plain; i < local->count; i++)
        tell_gap(w, session_of(local_places(local)[i].subscriber), m, from);
    local->delivered = m->offset;
    close_places(w, m, false);
}

static void report(struct worker *w, const struct mismatch *m)
{
    metric_add(&w->metrics, METRIC_registry_mismatches_total, 1);
    LOG_LINE(w->shop->logger, LOG_ERROR, "registry mismatch", LOG_STRING("what", m->what),
        LOG_TEXT("topic", ((struct text){m->name, m->name_len})), LOG_NUMBER("worker", w->index),
        LOG_NUMBER("registry", m->registry), LOG_NUMBER("found", m->found));
    if (m->missed)
        tell_missed(w, m);
}

/* --- the pace --------------------------------------------------------------------------------- */

bool worker_audit_slice(struct worker *w)
{
    unsigned stripes = STRIPES;
    unsigned most = TOPICS;
    if (w->catching_count > CATCHING)
        return false;
    while (most > 0 && stripes > 0) {
        unsigned before = w->audit_stripe;
        struct mismatch m = {.what = NULL};
        if (w->audit_at == 0 && before % (REGISTRY_STRIPES / LOCAL_PARTS) == 0 &&
            patterns_used(&w->shop->route.patterns))
            look_at_patterns(w, before / (REGISTRY_STRIPES / LOCAL_PARTS), &m);
        if (!m.what)
            most = look_on(w, most, &m);
        if (m.what)
            report(w, &m);
        if (w->audit_stripe == before)
            continue;
        if (w->audit_stripe == 0)
            return true;
        stripes--;
    }
    return false;
}

static void audit(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    if (worker_audit_slice(w) && metric_get(&w->metrics, METRIC_subscriptions) == 0 &&
        w->catching_count == 0)
        uv_timer_stop(timer);
}

void worker_audit(struct worker *w)
{
    if (!uv_is_active((const uv_handle_t *)&w->auditor))
        uv_timer_start(&w->auditor, audit, PERIOD_MS, PERIOD_MS);
}
