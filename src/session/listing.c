#include "session/listing.h"

#include <stdlib.h>
#include <string.h>

#include "broker/backplane.h"
#include "broker/topic_page.h"
#include "hermes/protocol.h"
#include "proto/reply.h"
#include "session/answer.h"
#include "session/waiting.h"
#include "session/worker.h"

/* ROUNDS_MOST: pages of other brokers' topics, of which the session may know of none. */
enum { ROUNDS_MOST = 256 };

struct listing {
    struct waiting waiting;
    struct errand errand;
    struct worker *worker;
    struct topic_list here;
    uint32_t limit;
    bool chosen; /* the session is not to know of all */
    bool sent;
    unsigned rounds;
    struct buf after; /* where the page of the others begins */
    size_t id_len;
    char texts[]; /* the command's id */
};

static void listing_free(struct listing *l)
{
    topic_list_fini(&l->here);
    buf_fini(&l->errand.found);
    buf_fini(&l->after);
    free(l);
}

static struct text id_of(const struct listing *l)
{
    return (struct text){l->texts, l->id_len};
}

/* --- asking ----------------------------------------------------------------------------------- */

static void lost(struct errand *e)
{
    listing_free(LIST_ITEM(e, struct listing, errand));
}

static void done(struct errand *e);

static void send_on(struct listing *l)
{
    struct errand *e = &l->errand;
    l->sent = true;
    buf_fini(&e->found);
    e->next = (struct text){NULL, 0};
    e->after = buf_text(&l->after);
    e->done = done;
    e->lost = lost;
    e->home = &l->worker->box;
    backplane_send(&l->worker->shop->route, e);
}

static void send_next(const struct session *s)
{
    struct waiting *next = waiting_first(s, WAITING_TOPICS);
    if (next)
        send_on(LIST_ITEM(next, struct listing, waiting));
}

/* It has not had its turn; else it comes back. */
static void forgotten(struct waiting *waiting)
{
    struct listing *l = LIST_ITEM(waiting, struct listing, waiting);
    if (!l->sent)
        listing_free(l);
}

/* --- the answer ------------------------------------------------------------------------------- */

/* Leaves out what the session is not to know of. */
static void choose(const struct session *s, struct topic_page *page)
{
    size_t kept = 0;
    for (size_t i = 0; i < page->count; i++)
        if (session_is_shown(s, page->rows[i].name))
            page->rows[kept++] = page->rows[i];
    page->count = kept;
}

enum outcome { ANSWERED, AGAIN, TOO_MANY, NO_MEMORY };

/* Where the others' page ends, or where all of it was left out: what is there must not show. */
static enum outcome look_further(struct listing *l, struct text end)
{
    if (++l->rounds == ROUNDS_MOST)
        return TOO_MANY;
    struct buf after = {0}; /* `end` may be in the old one */
    buf_append_text(&after, end);
    buf_fini(&l->after);
    l->after = after;
    return after.failed ? NO_MEMORY : AGAIN;
}

static enum outcome join(struct listing *l, struct session *s, struct topic_page *there)
{
    struct topic_page joined;
    if (l->chosen)
        choose(s, there);
    struct topic_page pages[] = {
        {.rows = l->here.rows, .count = l->here.count, .next = l->here.next}, *there};
    if (!topic_page_join(&joined, pages, 2, l->limit))
        return NO_MEMORY;
    enum outcome outcome = ANSWERED;
    if (joined.next.at && l->chosen) {
        if (joined.count > 0)
            joined.next = joined.rows[joined.count - 1].name;
        else
            outcome = look_further(l, joined.next);
    }
    if (outcome == ANSWERED) {
        struct buf *out = answer_begin_here(s);
        session_write_topics(
            s, out, id_of(l), joined.rows, joined.count, joined.next.at ? &joined.next : NULL);
        answer_send(s);
    }
    topic_page_fini(&joined);
    return outcome;
}

/* Without the others the page is of this broker: it may have more of it than nothing. */
static enum outcome answer(struct listing *l, struct session *s)
{
    struct topic_page there = {.count = 0};
    enum outcome outcome = NO_MEMORY;
    if (l->errand.outcome == ERRAND_DONE &&
        topic_page_read(&there, buf_text(&l->errand.found)) == PAGE_NO_MEMORY)
        return NO_MEMORY;
    if (l->errand.outcome == ERRAND_DONE)
        there.next = l->errand.next;
    if (l->errand.outcome != ERRAND_NO_MEMORY) {
        worker_listed(s->worker, s, there.count);
        outcome = join(l, s, &there);
    }
    topic_page_fini(&there);
    return outcome;
}

static void answer_fault(struct session *s, struct text id, enum outcome outcome)
{
    struct text sentence =
        outcome == TOO_MANY ? TEXT(HERMES_TEXT_TOPICS_FEW) : TEXT(HERMES_TEXT_NO_TOPICS);
    struct buf *out = answer_begin_here(s);
    metric_add(&s->worker->metrics, METRIC_errors_sent_total, 1);
    if (s->enveloped)
        reply2_error(out, ERROR_UNAVAILABLE, sentence, id, TEXT(""), TEXT(""));
    else
        reply_error(out, sentence);
    answer_send(s);
}

static void done(struct errand *e)
{
    struct listing *l = LIST_ITEM(e, struct listing, errand);
    struct session *s = l->waiting.session;
    enum outcome outcome = ANSWERED;
    if (s && s->state == SESSION_OPEN)
        outcome = answer(l, s);
    if (outcome == AGAIN && l->waiting.session) {
        send_on(l);
        return;
    }
    s = waiting_end(&l->waiting); /* the answer may have been its end */
    if (s && outcome != ANSWERED)
        answer_fault(s, id_of(l), outcome);
    listing_free(l);
    if (s && s->state == SESSION_OPEN)
        send_next(s);
}

/* --- the question ----------------------------------------------------------------------------- */

static struct listing *listing_new(const struct session *s, const struct command *c)
{
    const struct text texts[] = {c->id, c->prefix, c->pattern};
    struct text *kept[3];
    size_t len = c->id.len + c->prefix.len + c->pattern.len;
    struct listing *l = calloc(1, sizeof *l + len);
    if (!l)
        return NULL;
    struct text id;
    kept[0] = &id;
    kept[1] = &l->errand.prefix;
    kept[2] = &l->errand.pattern;
    char *at = l->texts;
    for (size_t i = 0; i < 3; i++) {
        *kept[i] = (struct text){at, texts[i].len};
        if (texts[i].len > 0)
            memcpy(at, texts[i].at, texts[i].len);
        at += texts[i].len;
    }
    l->id_len = id.len;
    buf_append_text(&l->after, c->after);
    if (l->after.failed) {
        listing_free(l);
        return NULL;
    }
    l->worker = s->worker;
    l->limit = c->limit;
    l->chosen = session_is_kept_from(s);
    l->errand.kind = ERRAND_ASK;
    l->errand.ask = ASK_TOPICS;
    l->errand.limit = l->chosen ? COMMAND_LIMIT_MAX : c->limit;
    l->errand.weight = (uint32_t)(sizeof *l + len + c->after.len);
    return l;
}

void session_list_everywhere(struct session *s, const struct command *c, struct topic_list *list)
{
    struct listing *l = listing_new(s, c);
    if (!l) {
        topic_list_fini(list);
        answer_error(
            s, &(struct fault){
                   .code = ERROR_UNAVAILABLE, .message = TEXT(HERMES_TEXT_NO_TOPICS), .id = c->id});
        return;
    }
    l->here = *list;
    *list = (struct topic_list){0};
    l->waiting.forgotten = forgotten;
    waiting_begin(&l->waiting, s, WAITING_TOPICS);
    if (waiting_first(s, WAITING_TOPICS) == &l->waiting)
        send_on(l);
}
