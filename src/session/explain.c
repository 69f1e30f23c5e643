#include "session/explain.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "broker/search.h"
#include "proto/envelope.h"
#include "proto/json.h"
#include "session/arrears.h"
#include "session/bearer.h"
#include "session/catch_up.h"
#include "session/session.h"
#include "session/verdict.h"

/* BLOCKS: of sessions, some hundred each, looked at in a turn. FRAMES: of a queue, in a turn;
 * TURNS: at most, for a queue may grow as fast. SHORT_TAIL, TAIL: of a frame, where its offset
 * stands. REASONS: patterns that are looked at. */
enum { BLOCKS = 8, FRAMES = 500, TURNS = 8192, SHORT_TAIL = 64, TAIL = 2048, REASONS = 256 };

/* --- which worker ----------------------------------------------------------------------------- */

/* See client_new in session/greet.c. */
#define CLIENT_FACTOR UINT64_C(0x9E3779B97F4A7C15)
#define CLIENT_INVERSE UINT64_C(0xF1DE83E19937733D)
_Static_assert(CLIENT_FACTOR *CLIENT_INVERSE == 1, "so that the one undoes the other");

static bool look(struct inquiry *q, struct worker *w, struct inquiry_part *part);

static void done(struct inquiry *q)
{
    struct explain *e = LIST_ITEM(q, struct explain, inquiry);
    e->done(e, e->context);
}

struct explain *explain_new(const struct workshop *shop, struct mailbox *home, uint64_t client,
    struct text topic, uint64_t offset)
{
    struct explain *e = calloc(1, sizeof *e + topic.len);
    if (!e)
        return NULL;
    if (!inquiry_init(&e->inquiry, shop, home)) {
        free(e);
        return NULL;
    }
    char *copy = (char *)(e + 1);
    memcpy(copy, topic.at, topic.len);
    uint64_t number = client * CLIENT_INVERSE ^ shop->client_key;
    e->inquiry.look = look;
    e->inquiry.done = done;
    e->worker = (unsigned)(number % shop->count);
    e->workers[e->worker / 64] = UINT64_C(1) << (e->worker % 64);
    e->number = number / shop->count;
    e->client = client;
    e->topic = (struct text){copy, topic.len};
    e->hash = registry_hash(&shop->route.registry, topic);
    e->offset = offset;
    return e;
}

void explain_free(struct explain *e)
{
    inquiry_fini(&e->inquiry);
    free(e);
}

bool explain_answer(const struct explain *e, const struct buf **members)
{
    *members = &e->inquiry.parts[e->worker].found;
    return !e->inquiry.parts[e->worker].lost;
}

/* --- the session's queue ---------------------------------------------------------------------- */

/* Looks for the number behind the last `,"offset":`, which within a string would have its quotes
 * escaped. It may not be there: the name of a pattern comes behind it, which may be long. */
static enum queued tail_is(const char *tail, size_t len, uint64_t offset)
{
    static const char key[] = ",\"offset\":";
    size_t at = len;
    while (at > 0 && (len - at < sizeof key - 1 || memcmp(tail + at, key, sizeof key - 1) != 0))
        at--;
    if (len < sizeof key || memcmp(tail + at, key, sizeof key - 1) != 0)
        return QUEUED_PERHAPS;
    uint64_t number = 0;
    for (at += sizeof key - 1; at < len && tail[at] >= '0' && tail[at] <= '9'; at++)
        number = number * 10 + (uint64_t)(tail[at] - '0');
    return number == offset ? QUEUED_YES : QUEUED_NO;
}

/* Of a frame of which these bytes are the last ones: its offset. */
static enum queued end_is(const struct byte_log *log, struct span bytes, uint64_t offset)
{
    static const size_t tails[] = {SHORT_TAIL, TAIL};
    enum queued is = QUEUED_PERHAPS;
    char tail[TAIL];
    size_t all = (size_t)(bytes.end - bytes.start);
    for (size_t i = 0; i < sizeof tails / sizeof *tails && is == QUEUED_PERHAPS; i++) {
        size_t len = all < tails[i] ? all : tails[i];
        log_read(log, bytes.end - len, tail, len);
        is = tail_is(tail, len, offset);
    }
    return is;
}

static enum queued frame_is(
    const struct byte_log *log, struct span payload, const struct buf *head, uint64_t offset)
{
    char bytes[TAIL];
    size_t len = (size_t)(payload.end - payload.start);
    for (size_t at = 0; at < head->len;) {
        size_t piece = head->len - at < sizeof bytes ? head->len - at : sizeof bytes;
        if (len < at + piece)
            return QUEUED_NO;
        log_read(log, payload.start + at, bytes, piece);
        if (memcmp(bytes, head->data + at, piece) != 0)
            return QUEUED_NO;
        at += piece;
    }
    return end_is(log, payload, offset);
}

/* The first span of which something lies behind that position. */
static size_t span_at(const struct outbox *box, uint64_t position)
{
    size_t low = 0, high = outbox_spans(box);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (outbox_span(box, middle).end <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Goes on through the whole frames of the queue, behind those it has been through. False when there
 * are more. */
static bool scan_frames(
    struct explain_scan *scan, const struct session *s, const struct buf *head, uint64_t offset)
{
    const struct byte_log *log = &s->worker->log;
    unsigned left = FRAMES;
    for (size_t i = span_at(&s->out, scan->at); i < outbox_spans(&s->out); i++) {
        struct span span = outbox_span(&s->out, i);
        if (i == 0)
            span.start += outbox_begun(log, &s->out);
        if (span.start < scan->at)
            span.start = scan->at;
        while (span.start < span.end) {
            if (left-- == 0)
                return false;
            struct span payload = outbox_frame(log, span.start);
            bool whole = payload.start <= payload.end && payload.end <= span.end;
            enum queued is = whole ? frame_is(log, payload, head, offset) : QUEUED_PERHAPS;
            scan->found |= is == QUEUED_YES;
            scan->unclear |= is == QUEUED_PERHAPS;
            if (scan->found)
                return true;
            scan->at = span.start = whole ? payload.end : span.end;
        }
    }
    return true;
}

/* What is left of a frame of which a part is written does not say its topic. */
static bool may_be_begun(const struct session *s, uint64_t offset)
{
    const struct byte_log *log = &s->worker->log;
    uint64_t begun = outbox_begun(log, &s->out);
    if (begun == 0 || outbox_spans(&s->out) == 0)
        return false;
    struct span rest = outbox_span(&s->out, 0);
    if (begun < rest.end - rest.start)
        rest.end = rest.start + begun;
    return end_is(log, rest, offset) != QUEUED_NO;
}

/* Whether the message is among the bytes that are not written yet: offsets do not tell by their
 * order, for what was subscribed again with a replay comes again. At level 1 a frame does not say
 * what it is, and events are no frames. False: there is more to look at, in a further turn. */
static bool find_queued(struct explain *e, const struct session *s)
{
    struct explain_scan *scan = &e->scan;
    struct envelope envelope = {{0}, {0}, 0};
    scan->queued = QUEUED_NO;
    if (outbox_unsent(&s->out) == 0)
        return true;
    scan->queued = QUEUED_PERHAPS;
    if (!s->enveloped || s->conn.unframed)
        return true;
    envelope_set(&envelope, e->topic, TEXT(""));
    bool failed = envelope.head.failed;
    bool all = failed || scan_frames(scan, s, &envelope.head, e->offset);
    envelope_fini(&envelope);
    if (!all && ++scan->turns < TURNS)
        return false;
    if (scan->found)
        scan->queued = QUEUED_YES;
    else if (all && !failed && !scan->unclear && outbox_private(&s->out) == 0 &&
             !may_be_begun(s, e->offset))
        scan->queued = QUEUED_NO;
    return true;
}

static bool is_untold(const struct session *s, uint64_t hash, uint64_t offset)
{
    const struct arrears *a = s->arrears;
    for (size_t i = 0; a && i < a->count; i++) {
        const struct note *note = a->notes[a->at + i];
        if (note->topic == hash && note->from <= offset && offset <= note->to)
            return true;
    }
    return false;
}

/* --- how things are --------------------------------------------------------------------------- */

struct reasons {
    struct reason list[1 + REASONS];
    size_t count;
};

static void add_reason(
    struct worker *w, struct session *s, struct reasons *all, struct reason reason, const void *key)
{
    const struct local_topic *local = s ? local_find(&w->topics, reason.hash, key) : NULL;
    const struct subscription *mine = local ? subscriber_find(&s->subscriber, local) : NULL;
    reason.now = mine != NULL;
    reason.policy = mine ? (enum policy)mine->policy : POLICY_DISCONNECT;
    all->list[all->count++] = reason;
}

/* Under the topic's stripe, with all mail of the topic that was posted so far in the tray. Returns
 * the topic, to be compared only, or NULL. */
static const void *look_at_topic(
    const struct explain *e, struct worker *w, struct verdict_case *c) NO_THREAD_SAFETY_ANALYSIS
{
    struct search s = {.route = &w->shop->route, .hash = e->hash, .name = e->topic};
    search_plain(&s);
    const struct registry_topic *topic = s.topic;
    if (topic) {
        c->epoch = topic->epoch;
        c->newest = topic->offset;
        if (topic->kept)
            c->published_ms = history_when_us(&topic->kept->history, e->offset) / 1000;
        mailbox_take(&w->box, &w->tray);
    }
    search_end(&s);
    return topic;
}

static bool is_in_tray(const struct worker *w, const void *topic, const struct explain *e)
{
    for (size_t i = w->tray.at; topic && i < w->tray.count; i++) {
        const struct message *m = w->tray.mails[i].item;
        if (w->tray.mails[i].kind == MAIL_MESSAGE && m->hash == e->hash && m->topic == topic &&
            m->offset <= e->offset && e->offset - m->offset < m->count)
            return true;
    }
    return false;
}

static void look_at_session(const struct explain *e, struct session *s, const void *topic,
    const struct rule *rule, struct verdict_case *c)
{
    const struct local_topic *local = topic ? local_find(&s->worker->topics, e->hash, topic) : NULL;
    const struct catch_up *catching = topic ? catch_up_find(s, topic) : NULL;
    c->open = true;
    c->enveloped = s->enveloped;
    c->may = session_may(s, GRANT_SUBSCRIBE, rule, e->topic);
    c->untold = is_untold(s, e->hash, e->offset);
    c->unsent = outbox_unsent(&s->out);
    c->delivered = local ? local->delivered : 0;
    c->queued = e->scan.queued;
    if (catching) {
        c->catching = true;
        c->next = catch_up_place(catching).next;
    }
}

static int by_hash(const void *left, const void *right)
{
    const struct reason *a = left, *b = right;
    return (a->hash > b->hash) - (a->hash < b->hash);
}

static void look_at_patterns(
    struct worker *w, struct session *s, struct match_set *matches, struct reasons *all)
{
    for (uint32_t i = 0; matches && i < matches->count && all->count <= REASONS; i++) {
        const struct pattern *pattern = matches->patterns[i];
        struct reason reason = {.name = pattern_text(&w->shop->route.patterns, pattern),
            .hash = pattern->hash,
            .is_pattern = true};
        add_reason(w, s, all, reason, pattern);
    }
    qsort(all->list + 1, all->count - 1, sizeof *all->list, by_hash);
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* `s`: the client's session, or NULL. */
static void answer(const struct explain *e, struct worker *w, struct session *s, struct buf *found)
{
    const struct rule *rule = worker_rule(w, e->topic).rule;
    struct match_set *matches;
    uint64_t generation;
    struct reasons *all = calloc(1, sizeof *all);
    if (!all || !patterns_match(&w->shop->route.patterns, e->topic, &matches, &generation)) {
        found->failed = true;
        free(all);
        return;
    }
    struct verdict_case c = {.topic = e->topic,
        .client = e->client,
        .offset = e->offset,
        .known = e->number < w->clients,
        .by_pattern = rule->subscribe == ACCESS_EVERYONE,
        .facts = &w->facts,
        .now_ms = clock_ms(),
        .wall_ms = wall_ms()};
    const void *topic = look_at_topic(e, w, &c);
    c.on_its_way = is_in_tray(w, topic, e);
    if (s)
        look_at_session(e, s, topic, rule, &c);
    add_reason(w, s, all, (struct reason){.name = e->topic, .hash = e->hash}, topic);
    look_at_patterns(w, s, matches, all);
    c.reasons = all->list;
    c.reason_count = all->count;
    c.more_reasons = matches && matches->count > REASONS;
    struct verdict v = verdict_find(&c);
    verdict_write(found, &c, &v);
    match_set_drop(matches);
    free(all);
}

/* --- finding the session ---------------------------------------------------------------------- */

struct quest {
    uint64_t client;
    struct session *found;
};

static void is_it(void *item, void *user)
{
    struct session *s = item;
    struct quest *quest = user;
    if (s->state == SESSION_OPEN && s->client == quest->client)
        quest->found = s;
}

/* Finds the client's session, and again in each further turn, for it may be gone by then. False:
 * not in this turn. */
static bool find_session(
    struct explain *e, struct worker *w, uintptr_t *cursor, struct session **found)
{
    struct quest quest = {.client = e->client};
    bool more = e->number < w->clients;
    for (int i = 0; more && !quest.found; i++) {
        if (i == BLOCKS)
            return false;
        uintptr_t here = *cursor;
        more = slab_step(&w->sessions, cursor, is_it, &quest);
        if (quest.found)
            *cursor = here;
    }
    *found = quest.found;
    return true;
}

/* part->count: 1 when the answer is there. */
static bool look(struct inquiry *q, struct worker *w, struct inquiry_part *part)
{
    struct explain *e = LIST_ITEM(q, struct explain, inquiry);
    struct session *s;
    if (part->count > 0)
        return true;
    if (!find_session(e, w, &part->cursor, &s) || (s && !find_queued(e, s)))
        return false;
    answer(e, w, s, &part->found);
    part->count = 1;
    /* Mail that has been taken out of the box keeps nobody awake but by a further turn. */
    return w->tray.at == w->tray.count;
}
