#include "session/verdict.h"

/* Two clocks that are read at different times are only so exact. */
enum { SLACK_MS = 50 };

/* By their numbers: the message was given to the worker's sessions behind the fact `after`, and in
 * front of `before`. */
struct bounds {
    int64_t after;  /* -1: nothing is known */
    int64_t before; /* the number of facts: now */
};

enum position { INSIDE, IN_FRONT, BEHIND, UNKNOWN };

/* One subscription, from one fact to another. */
struct stretch {
    const struct reason *reason;
    const struct fact *begin; /* NULL: forgotten */
    const struct fact *end;   /* NULL: it is still there */
    int64_t begin_at;
    int64_t end_at;
};

struct search {
    const struct verdict_case *c;
    const struct fact_row *row;
    uint32_t epoch;
    struct bounds bounds;
    struct stretch inside; /* these are found when their `reason` is set */
    struct stretch unknown;
    struct stretch nameless; /* by a pattern that may have matched */
    bool untracked;          /* there are more of these than were looked at */
    struct stretch behind;   /* the last one that ended before the message */
    struct stretch in_front; /* the first one that began after it */
};

static int64_t oldest(const struct search *s)
{
    return (int64_t)facts_first(s->row);
}

/* How far the topic had got at a fact of it. */
static uint64_t reached(const struct fact *fact)
{
    return fact->kind == FACT_SUBSCRIBED ? fact->offset + fact->count - 1 : fact->offset;
}

static bool is_of_topic(const struct search *s, const struct fact *fact)
{
    return fact->hash == s->c->reasons[0].hash && !fact->is_pattern && fact->epoch == s->epoch &&
           fact->kind != FACT_CLOSED_ALL;
}

/* Of a topic that is gone the epoch is that of whoever asks was there last. */
static uint32_t epoch_of(const struct verdict_case *c)
{
    const struct fact_row *row = &c->facts->subscriptions;
    if (c->epoch)
        return (uint32_t)c->epoch;
    for (uint64_t n = row->count; n-- > facts_first(row);) {
        const struct fact *fact = facts_at(row, n);
        if (fact->client == c->client && fact->hash == c->reasons[0].hash && !fact->is_pattern &&
            fact->kind != FACT_CLOSED_ALL)
            return fact->epoch;
    }
    return 0;
}

static struct bounds find_bounds(const struct search *s)
{
    const struct verdict_case *c = s->c;
    struct bounds b = {-1, (int64_t)s->row->count};
    for (uint64_t n = facts_first(s->row); n < s->row->count; n++) {
        const struct fact *fact = facts_at(s->row, n);
        if (c->published_ms && fact->ms + SLACK_MS < c->published_ms)
            b.after = (int64_t)n;
        if (!is_of_topic(s, fact) || fact->apart)
            continue;
        if (reached(fact) < c->offset)
            b.after = (int64_t)n;
        else if (b.before > (int64_t)n)
            b.before = (int64_t)n;
    }
    return b;
}

/* --- where the message lies ------------------------------------------------------------------- */

static enum position behind_fact(const struct search *s, int64_t number)
{
    return s->bounds.after >= number ? INSIDE : s->bounds.before <= number ? IN_FRONT : UNKNOWN;
}

static enum position before_end(const struct search *s, const struct stretch *at)
{
    if (s->bounds.before <= at->end_at)
        return INSIDE;
    return s->bounds.after >= at->end_at ? BEHIND : UNKNOWN;
}

/* Of a subscription to the topic offsets tell. */
static enum position place_by_offset(const struct search *s, const struct stretch *at)
{
    uint64_t offset = s->c->offset;
    if (at->begin && offset < at->begin->offset)
        return IN_FRONT;
    if (at->end && at->end->kind != FACT_CLOSED_ALL && offset > at->end->offset)
        return BEHIND;
    if (!at->begin && s->bounds.after < oldest(s))
        return UNKNOWN;
    if (at->end && at->end->kind == FACT_CLOSED_ALL && !(at->begin && offset <= reached(at->begin)))
        return before_end(s, at);
    return INSIDE;
}

static enum position place_by_order(const struct search *s, const struct stretch *at)
{
    enum position begin = behind_fact(s, at->begin ? at->begin_at : oldest(s));
    enum position end = at->end ? before_end(s, at) : INSIDE;
    if (!at->begin && begin == IN_FRONT)
        begin = UNKNOWN; /* it lies further back than the facts go */
    return begin == IN_FRONT || end == INSIDE ? begin : end == BEHIND ? BEHIND : UNKNOWN;
}

/* Of several the one of the last reason, and of that the newest. */
static void keep(struct stretch *kept, struct stretch at)
{
    if (!kept->reason || at.reason >= kept->reason)
        *kept = at;
}

static void consider(struct search *s, struct stretch at)
{
    enum position position =
        at.reason->is_pattern ? place_by_order(s, &at) : place_by_offset(s, &at);
    if (at.reason->name.len == 0) {
        if (position == INSIDE || position == UNKNOWN)
            s->nameless = at;
        return;
    }
    switch (position) {
    case INSIDE:
        keep(&s->inside, at);
        break;
    case UNKNOWN:
        keep(&s->unknown, at);
        break;
    case BEHIND:
        if (!s->behind.reason || at.end_at > s->behind.end_at)
            s->behind = at;
        break;
    case IN_FRONT:
        if (!s->in_front.reason || at.begin_at < s->in_front.begin_at)
            s->in_front = at;
        break;
    }
}

/* The client's subscriptions by one topic or pattern each, while the facts are gone through, in one
 * pass whatever the number of reasons. A pattern that is no reason is one that does not match, or
 * one that nobody has any more: which of them is not known, but for those the client still has. */
enum { SLOTS = 1024, SLOTS_USED = 768 };

struct tracks {
    struct stretch slots[SLOTS]; /* `reason`: NULL in a free one */
    uint64_t hashes[SLOTS];
    size_t used;
};

static const struct reason nameless = {.is_pattern = true};

/* The slot of that one, or the free one for it. */
static struct stretch *track_find(struct tracks *all, uint64_t hash, bool is_pattern)
{
    size_t i = hash % SLOTS;
    while (all->slots[i].reason &&
           (all->hashes[i] != hash || all->slots[i].reason->is_pattern != is_pattern))
        i = (i + 1) % SLOTS;
    all->hashes[i] = hash;
    return &all->slots[i];
}

static struct stretch *track(
    struct search *s, struct tracks *all, uint64_t hash, const struct reason *reason)
{
    struct stretch *at = track_find(all, hash, reason->is_pattern);
    if (at->reason)
        return at;
    if (all->used == SLOTS_USED) {
        s->untracked = true;
        return NULL;
    }
    all->used++;
    at->reason = reason;
    return at;
}

static struct stretch *track_of(struct search *s, struct tracks *all, const struct fact *fact)
{
    if (fact->is_pattern)
        return s->c->by_pattern ? track(s, all, fact->hash, &nameless) : NULL;
    if (!is_of_topic(s, fact))
        return NULL;
    return track_find(all, fact->hash, false);
}

static void track_end(struct search *s, struct stretch *at, const struct fact *fact, int64_t number)
{
    at->end = fact;
    at->end_at = number;
    consider(s, *at);
    *at = (struct stretch){.reason = at->reason};
}

static void track_fact(
    struct search *s, struct tracks *all, const struct fact *fact, int64_t number)
{
    if (fact->kind == FACT_CLOSED_ALL) { /* the client's last one */
        for (size_t i = 0; i < SLOTS; i++)
            if (all->slots[i].reason && all->slots[i].begin)
                track_end(s, &all->slots[i], fact, number);
        return;
    }
    struct stretch *at = track_of(s, all, fact);
    if (at && fact->kind == FACT_SUBSCRIBED) {
        at->begin = fact;
        at->begin_at = number;
    } else if (at) {
        track_end(s, at, fact, number);
    }
}

/* Goes through the client's subscriptions. */
static void walk(struct search *s)
{
    const struct verdict_case *c = s->c;
    struct tracks all = {.used = 0};
    for (size_t i = 0; i < c->reason_count; i++)
        if (i == 0 || c->by_pattern)
            track(s, &all, c->reasons[i].hash, &c->reasons[i]);
    for (uint64_t n = facts_first(s->row); n < s->row->count; n++)
        if (facts_at(s->row, n)->client == c->client)
            track_fact(s, &all, facts_at(s->row, n), (int64_t)n);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct stretch *at = &all.slots[i];
        if (at->reason &&
            (at->reason == &nameless ? c->more_reasons && at->begin : at->reason->now || at->begin))
            consider(s, *at);
    }
}

/* --- what was lost ---------------------------------------------------------------------------- */

/* The newest fact that the message was not given for, in the time of that subscription. */
static const struct fact *find_loss(const struct search *s, const struct stretch *at)
{
    const struct verdict_case *c = s->c;
    const struct fact_row *row = &c->facts->losses;
    for (uint64_t n = row->count; n-- > facts_first(row);) {
        const struct fact *fact = facts_at(row, n);
        if (at->begin && fact->ms < at->begin->ms)
            return NULL;
        if (fact->kind != FACT_REFUSED && fact->client == c->client &&
            fact->hash == c->reasons[0].hash && (fact->epoch == 0 || fact->epoch == s->epoch) &&
            fact->offset <= c->offset && c->offset - fact->offset < fact->count)
            return fact;
    }
    return NULL;
}

const struct reason *verdict_reason(const struct verdict_case *c, const struct fact *fact)
{
    if (!fact->is_pattern)
        return fact->hash == c->reasons[0].hash ? &c->reasons[0] : NULL;
    size_t low = 1, high = c->reason_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->reasons[middle].hash < fact->hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->reason_count && c->reasons[low].hash == fact->hash ? &c->reasons[low] : NULL;
}

static const struct fact *find_refusal(const struct search *s)
{
    const struct verdict_case *c = s->c;
    const struct fact_row *row = &c->facts->losses;
    for (uint64_t n = row->count; n-- > facts_first(row);) {
        const struct fact *fact = facts_at(row, n);
        if (fact->kind != FACT_REFUSED || fact->client != c->client)
            continue;
        if (verdict_reason(c, fact))
            return fact;
    }
    return NULL;
}

/* Whether all losses since the message came are remembered, or there cannot be any. */
static bool losses_known(const struct search *s, const struct stretch *at)
{
    const struct fact_row *row = &s->c->facts->losses;
    if (facts_first(row) == 0)
        return true;
    bool lenient = !at->begin || at->begin->why != POLICY_DISCONNECT ||
                   (at->reason->now && at->reason->policy != POLICY_DISCONNECT);
    if (!lenient)
        return true;
    uint64_t since = facts_at(row, facts_first(row))->ms;
    return s->c->published_ms >= since || (at->begin && at->begin->ms >= since) ||
           (s->bounds.after >= oldest(s) &&
               facts_at(s->row, (uint64_t)s->bounds.after)->ms >= since);
}

/* --- the verdict ------------------------------------------------------------------------------ */

static enum verdict_kind kind_of_loss(const struct fact *fact)
{
    return fact->kind == FACT_DROPPED     ? VERDICT_DROPPED
           : fact->kind == FACT_FORGOTTEN ? VERDICT_HISTORY_GONE
           : fact->kind == FACT_OWN       ? VERDICT_OWN
                                          : VERDICT_MISSED;
}

static struct verdict of(enum verdict_kind kind, const struct stretch *at, const struct fact *fact)
{
    return (struct verdict){kind, at->reason, at->begin, fact, 0};
}

/* The least that a message takes in a queue. */
static uint64_t frame_least(const struct verdict_case *c, bool enveloped)
{
    static const char around[] = "xx{\"type\":\"message\",\"topic\":\"\",\"data\":0,\"offset\":0}";
    return enveloped ? sizeof around - 1 + c->topic.len : sizeof "xx0" - 1;
}

/* Whether the message cannot be among the last `bytes` of a queue, for there would not be room for
 * all those of its topic behind it, up to `newest`. Who loses some by policy may have fewer. */
static bool lies_before(const struct search *s, const struct stretch *at, uint64_t newest,
    uint64_t bytes, bool enveloped)
{
    bool strict = !at->reason->is_pattern && at->begin && at->begin->why == POLICY_DISCONNECT &&
                  (!at->reason->now || at->reason->policy == POLICY_DISCONNECT);
    uint64_t offset = s->c->offset;
    return strict && newest > offset && newest - offset >= bytes / frame_least(s->c, enveloped);
}

/* The client's end, behind that subscription, with which the message may have been thrown away. */
static const struct fact *find_cut(const struct search *s, const struct stretch *at)
{
    for (uint64_t n = (uint64_t)at->end_at; n < s->row->count; n++) {
        const struct fact *fact = facts_at(s->row, n);
        if (fact->client != s->c->client ||
            (fact->kind != FACT_CLOSED && fact->kind != FACT_CLOSED_ALL))
            continue;
        uint64_t newest = at->end->kind == FACT_CLOSED_ALL ? 0 : at->end->offset;
        bool all =
            fact->count == 0 ||
            (fact->count < UINT32_MAX && lies_before(s, at, newest, fact->count, fact->enveloped));
        return all ? NULL : fact;
    }
    return NULL;
}

static struct verdict judge_ended(const struct search *s, const struct stretch *at)
{
    const struct fact *cut = find_cut(s, at);
    return cut ? of(VERDICT_CUT_OFF, at, cut) : of(VERDICT_DELIVERED, at, at->end);
}

static bool may_be_queued(const struct search *s, const struct stretch *at)
{
    const struct verdict_case *c = s->c;
    uint64_t newest = at->end ? at->end->offset : c->delivered;
    return c->queued == QUEUED_PERHAPS && !lies_before(s, at, newest, c->unsent, c->enveloped);
}

static struct verdict judge_inside(const struct search *s)
{
    const struct verdict_case *c = s->c;
    const struct stretch *at = &s->inside;
    const struct fact *loss = find_loss(s, at);
    if (loss)
        return of(kind_of_loss(loss), at, loss);
    if (!losses_known(s, at))
        return of(VERDICT_FORGOTTEN, at, NULL);
    if (!at->end && c->catching && !at->reason->is_pattern && c->offset >= c->next)
        return of(VERDICT_CATCHING_UP, at, NULL);
    if (!at->end && c->on_its_way)
        return of(VERDICT_ON_ITS_WAY, at, NULL);
    if (c->open && c->queued == QUEUED_YES)
        return of(VERDICT_QUEUED, at, NULL);
    if (c->open && may_be_queued(s, at))
        return of(VERDICT_QUEUED_OR_DELIVERED, at, NULL);
    return at->end ? judge_ended(s, at) : of(VERDICT_DELIVERED, at, NULL);
}

static struct verdict judge_outside(const struct search *s)
{
    const struct fact *refusal = find_refusal(s);
    if (s->behind.end)
        return of(s->behind.end->kind == FACT_LEFT ? VERDICT_LEFT : VERDICT_CLOSED, &s->behind,
            s->behind.end);
    if (s->in_front.reason)
        return of(VERDICT_SUBSCRIBED_LATER, &s->in_front, s->in_front.begin);
    if (refusal)
        return of(VERDICT_REFUSED, &(struct stretch){.reason = NULL}, refusal);
    bool known = oldest(s) == 0 || s->bounds.after >= oldest(s);
    return of(known ? VERDICT_NOT_SUBSCRIBED : VERDICT_FORGOTTEN, &(struct stretch){.reason = NULL},
        NULL);
}

static struct verdict judge(struct search *s)
{
    const struct verdict_case *c = s->c;
    const struct stretch nothing = {.reason = NULL};
    if (!c->known)
        return of(VERDICT_UNKNOWN_CLIENT, &nothing, NULL);
    if (c->epoch && c->offset > c->newest)
        return of(VERDICT_NOT_PUBLISHED, &nothing, NULL);
    if (!c->epoch && s->bounds.before == (int64_t)s->row->count)
        return of(VERDICT_EPOCH_ENDED, &nothing, NULL);
    walk(s);
    if (s->inside.reason)
        return judge_inside(s);
    const struct stretch *at = s->unknown.reason ? &s->unknown : &s->nameless;
    if (!at->reason && !s->untracked)
        return judge_outside(s);
    const struct fact *loss = find_loss(s, at);
    return of(loss ? kind_of_loss(loss) : VERDICT_FORGOTTEN, at, loss);
}

struct verdict verdict_find(const struct verdict_case *c)
{
    struct search s = {.c = c, .row = &c->facts->subscriptions, .epoch = epoch_of(c)};
    s.bounds = find_bounds(&s);
    struct verdict v = judge(&s);
    if (facts_first(s.row) > 0)
        v.remembered_ms = facts_at(s.row, facts_first(s.row))->ms;
    return v;
}
