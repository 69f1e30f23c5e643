#include "cluster/ask.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/topic_name.h"
#include "broker/topic_page.h"
#include "cluster/redis_link.h"

/* UNCONFIRMED_MOST: questions that are over, too, for which Redis has not said yet that it has
 * them. LOOK_MS: how often it is looked whose time is over. */
enum { UNCONFIRMED_MOST = 4 * ASK_MOST, LOOK_MS = 100 };

/* What one of the others has answered. */
struct reply {
    uint64_t node;
    uint32_t part; /* that comes next */
    bool done;     /* nothing more is waited for */
    bool whole;    /* it said all that it had to */
    uint32_t count;
    struct buf bytes;
    struct buf next;
};

struct question {
    struct list node;
    struct ask *ask;
    struct errand *errand; /* NULL: it has been given back, only `confirmed` is waited for */
    uint64_t id;
    uint64_t until_ms;
    bool confirmed; /* Redis has said something to it, or will not */
    bool short_of_memory;
    size_t waiting; /* for so many */
    size_t count;
    struct reply replies[]; /* one each other broker */
};

/* --- what comes of it ------------------------------------------------------------------------- */

/* Whole ids only: it may be cut. */
static void gather_clients(const struct question *q, struct errand *e)
{
    for (size_t i = 0; i < q->count; i++) {
        const struct buf *bytes = &q->replies[i].bytes;
        buf_append(&e->found, bytes->data, bytes->len - bytes->len % sizeof(uint64_t));
    }
    e->count = (uint32_t)(e->found.len / sizeof(uint64_t));
}

/* A page that begins where it was asked to and ends where it says. */
static bool is_page(const struct reply *r, const struct topic_page *page, struct text after)
{
    bool ends = r->next.len > 0;
    struct text next = buf_text(&r->next);
    if (page->count > 0 && text_compare(page->rows[0].name, after) <= 0)
        return false;
    return !ends || (text_compare(next, after) > 0 && !topic_name_fault(next, 0));
}

/* The pages of those who have answered, as far as they are pages; false: no memory. */
static bool read_pages(const struct question *q, struct topic_page *pages, size_t *count)
{
    for (size_t i = 0; i < q->count; i++) {
        const struct reply *r = &q->replies[i];
        if (!r->whole)
            continue;
        enum topic_page_result result = topic_page_read(&pages[*count], buf_text(&r->bytes));
        if (result == PAGE_NO_MEMORY)
            return false;
        if (result == PAGE_BAD || !is_page(r, &pages[*count], q->errand->after)) {
            topic_page_fini(&pages[*count]);
            continue;
        }
        if (r->next.len > 0)
            pages[*count].next = buf_text(&r->next);
        ++*count;
    }
    return true;
}

/* It goes on behind its last row, if it has one: where it was cut may be a topic that is no far
 * one.
 */
static void write_page(struct errand *e, const struct topic_page *page)
{
    struct text next = page->next;
    if (next.at && page->count > 0)
        next = page->rows[page->count - 1].name;
    for (size_t i = 0; i < page->count; i++)
        topic_page_write(&e->found, page->rows[i].name, page->rows[i].subscribers);
    size_t rows_len = e->found.len;
    e->count = (uint32_t)page->count;
    if (!next.at)
        return;
    /* Behind the rows, which do not count it. */
    buf_append_text(&e->found, next);
    e->found.len = rows_len;
    if (!e->found.failed)
        e->next = (struct text){e->found.data + rows_len, next.len};
}

static bool gather_topics(const struct question *q, struct errand *e)
{
    struct topic_page *pages = calloc(q->count, sizeof *pages);
    struct topic_page joined;
    size_t count = 0;
    bool ok =
        pages && read_pages(q, pages, &count) && topic_page_join(&joined, pages, count, e->limit);
    if (ok) {
        write_page(e, &joined);
        topic_page_fini(&joined);
    }
    for (size_t i = 0; pages && i < q->count; i++)
        topic_page_fini(&pages[i]);
    free(pages);
    return ok;
}

static void gather(const struct question *q, struct errand *e)
{
    bool ok = !q->short_of_memory;
    e->outcome = ERRAND_DONE;
    e->count = 0;
    if (e->ask == ASK_PRESENCE)
        gather_clients(q, e);
    else if (e->ask == ASK_TOPICS)
        ok = ok && gather_topics(q, e);
    else
        for (size_t i = 0; i < q->count; i++)
            e->count += q->replies[i].count;
    if (!ok || e->found.failed)
        e->outcome = ERRAND_NO_MEMORY;
}

/* --- its end ---------------------------------------------------------------------------------- */

static void forget_replies(struct question *q)
{
    for (size_t i = 0; i < q->count; i++) {
        q->ask->bytes -= q->replies[i].bytes.cap;
        buf_fini(&q->replies[i].bytes);
        buf_fini(&q->replies[i].next);
    }
    q->count = 0;
}

static void give_back(struct ask *a, struct errand *e, enum errand_outcome outcome)
{
    e->outcome = outcome;
    a->settings.done(e, a->settings.user);
}

static void end(struct question *q, bool unavailable)
{
    struct ask *a = q->ask;
    struct errand *e = q->errand;
    enum errand_outcome outcome = ERRAND_UNAVAILABLE;
    MUST(e); /* it is in the list of those that are not over */
    if (!unavailable) {
        gather(q, e);
        outcome = e->outcome;
    }
    forget_replies(q);
    list_remove(&q->node);
    a->slots[q->id % ASK_SLOTS] = NULL;
    a->count--;
    q->errand = NULL;
    if (q->confirmed)
        free(q);
    if (a->count == 0)
        uv_timer_stop(&a->timer);
    give_back(a, e, outcome);
}

static void time_over(uv_timer_t *timer)
{
    struct ask *a = timer->data;
    uint64_t now = uv_now(a->settings.loop);
    for (struct list *at = a->questions.next, *next; at != &a->questions; at = next) {
        struct question *q = LIST_ITEM(at, struct question, node);
        next = at->next;
        if (q->until_ms > now)
            break;
        LOG_LINE(a->settings.logger, LOG_DEBUG, "nodes did not answer",
            LOG_NUMBER("missing", q->waiting), LOG_NUMBER("asked", q->count));
        end(q, false);
    }
}

/* One less is waited for. */
static void reply_done(struct question *q, struct reply *r)
{
    r->done = true;
    if (--q->waiting == 0)
        end(q, false);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void confirmed(const struct resp *answer, void *user)
{
    struct question *q = user;
    q->confirmed = true;
    q->ask->unconfirmed--;
    if (!q->errand)
        free(q);
    else if (!answer || answer->kind == RESP_ERROR)
        end(q, true); /* nobody has it, or no answer can come */
}

static bool publish(struct ask *a, struct question *q)
{
    const struct errand *e = q->errand;
    struct redis_link *l = a->settings.link;
    struct ask_question wire = {.kind = e->ask,
        .asker = a->asked.settings.id,
        .id = q->id,
        .name = e->name,
        .prefix = e->prefix,
        .after = e->after,
        .pattern = e->pattern,
        .limit = e->limit,
        .user = e->user,
        .client = e->client,
        .code = e->code,
        .reason = e->reason};
    struct buf out = {0};
    ask_question_write(&out, &wire);
    bool sent = false;
    if (!out.failed) {
        redis_begin(l, 3);
        redis_arg(l, TEXT("PUBLISH"));
        redis_arg(l, TEXT(ASK_CHANNEL_ALL));
        redis_arg(l, buf_text(&out));
        sent = redis_send(l, confirmed, q);
    }
    buf_fini(&out);
    return sent;
}

/* An id whose slot is free: there are more of them than questions. */
static uint64_t next_id(struct ask *a)
{
    do
        a->last_id++;
    while (a->slots[a->last_id % ASK_SLOTS]);
    return a->last_id;
}

static bool begin(struct ask *a, struct errand *e)
{
    const struct nodes *nodes = a->settings.nodes;
    struct question *q = calloc(1, sizeof *q + nodes->count * sizeof q->replies[0]);
    if (!q)
        return false;
    q->ask = a;
    q->errand = e;
    q->id = next_id(a);
    q->until_ms = uv_now(a->settings.loop) + ASK_WAIT_MS;
    q->count = q->waiting = nodes->count;
    for (size_t i = 0; i < q->count; i++)
        q->replies[i].node = nodes->ids[i];
    if (!publish(a, q)) {
        free(q);
        return false;
    }
    a->slots[q->id % ASK_SLOTS] = q;
    a->count++;
    a->unconfirmed++;
    list_append(&a->questions, &q->node);
    if (a->count == 1)
        uv_timer_start(&a->timer, time_over, LOOK_MS, LOOK_MS);
    return true;
}

void ask_begin(struct ask *a, struct errand *e)
{
    e->count = 0;
    e->next = (struct text){NULL, 0};
    if (a->stopping || !nodes_known(a->settings.nodes) || !redis_link_is_up(a->settings.link) ||
        redis_link_full(a->settings.link) || a->count >= ASK_MOST ||
        a->unconfirmed >= UNCONFIRMED_MOST)
        give_back(a, e, ERRAND_UNAVAILABLE);
    else if (a->settings.nodes->count == 0)
        give_back(a, e, ERRAND_DONE);
    else if (!begin(a, e))
        give_back(a, e, ERRAND_UNAVAILABLE);
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct reply *reply_of(struct question *q, uint64_t node)
{
    for (size_t i = 0; i < q->count; i++)
        if (q->replies[i].node == node && !q->replies[i].done)
            return &q->replies[i];
    return NULL;
}

/* False: no room for it. */
static bool keep(struct question *q, struct reply *r, const struct ask_part *p)
{
    struct ask *a = q->ask;
    size_t before = r->bytes.cap;
    if (a->bytes >= ASK_BYTES_MOST || r->bytes.len > ASKED_ANSWER_MOST)
        return false;
    buf_append_text(&r->bytes, p->bytes);
    if (p->next.at)
        buf_append_text(&r->next, p->next);
    a->bytes += r->bytes.cap - before;
    return !r->bytes.failed && !r->next.failed;
}

static void hear(struct question *q, struct reply *r, const struct ask_part *p)
{
    if (p->failed || p->part != r->part) {
        reply_done(q, r);
        return;
    }
    r->part++;
    r->count = p->count;
    if (!keep(q, r, p)) {
        q->short_of_memory = true;
        reply_done(q, r);
    } else if (!p->more) {
        r->whole = true;
        reply_done(q, r);
    }
}

void ask_message(struct ask *a, struct text payload)
{
    struct ask_question question;
    struct ask_part part;
    enum ask_message message = ask_read(payload, &question, &part);
    if (message == ASK_NEWS)
        nodes_look(a->settings.nodes);
    if (message == ASK_QUESTION && question.asker != a->asked.settings.id)
        asked_question(&a->asked, &question, payload);
    if (message != ASK_PART)
        return;
    struct question *q = a->slots[part.id % ASK_SLOTS];
    struct reply *r = q && q->id == part.id ? reply_of(q, part.node) : NULL;
    if (r)
        hear(q, r, &part);
}

void ask_node(struct ask *a, uint64_t node, bool here)
{
    if (here)
        return;
    for (struct list *at = a->questions.next, *next; at != &a->questions; at = next) {
        struct question *q = LIST_ITEM(at, struct question, node);
        next = at->next;
        struct reply *r = reply_of(q, node);
        if (r)
            reply_done(q, r);
    }
}

/* --- start and end ---------------------------------------------------------------------------- */

void ask_init(struct ask *a, const struct ask_settings *settings)
{
    memset(a, 0, sizeof *a);
    a->settings = *settings;
    struct asked_settings asked = {.loop = settings->loop,
        .shop = settings->shop,
        .home = settings->home,
        .link = settings->link,
        .id = settings->nodes->settings.id,
        .logger = settings->logger};
    asked_init(&a->asked, &asked);
    list_init(&a->questions);
    uv_timer_init(settings->loop, &a->timer);
    a->timer.data = a;
}

void ask_stop(struct ask *a)
{
    a->stopping = true;
    asked_stop(&a->asked);
    for (struct list *at = a->questions.next, *next; at != &a->questions; at = next) {
        next = at->next;
        end(LIST_ITEM(at, struct question, node), true);
    }
}

void ask_close(struct ask *a)
{
    ask_stop(a);
    uv_close((uv_handle_t *)&a->timer, NULL);
    asked_close(&a->asked);
}

void ask_fini(struct ask *a)
{
    MUST(list_empty(&a->questions) && a->unconfirmed == 0);
    asked_fini(&a->asked);
}
