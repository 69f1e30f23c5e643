#include "cluster/asked.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/logger.h"
#include "broker/pattern.h"
#include "broker/topic_name.h"
#include "broker/topic_page.h"
#include "cluster/nodes.h"
#include "cluster/redis_link.h"
#include "session/dismissal.h"
#include "session/roll.h"

/* SENDING_MOST: bytes that Redis has not confirmed yet. */
enum { RETRY_MS = 10, SENDING_MOST = ASK_PART_MOST };

/* Whom to answer. */
struct asker {
    struct asked *asked;
    uint64_t node;
    uint64_t id;
    uint64_t until_ms;
};

struct answer {
    struct list node;
    struct asker to;
    struct buf bytes;
    size_t at; /* so much of them is sent */
    uint32_t part;
    uint32_t count;
    struct buf next;
    bool has_next;
    bool failed;
};

struct page_job {
    struct list node;
    struct asker to;
    size_t len;
    char payload[]; /* the question */
};

static void send_some(struct asked *a);

static struct asker asker_of(struct asked *a, const struct ask_question *q)
{
    return (struct asker){a, q->asker, q->id, uv_now(a->settings.loop) + ASKED_LIFE_MS};
}

/* --- sending ---------------------------------------------------------------------------------- */

/* What one PUBLISH carries. */
struct sent {
    struct asked *asked;
    size_t bytes;
};

static void confirmed(const struct resp *answer, void *user)
{
    struct sent *sent = user;
    struct asked *a = sent->asked;
    a->sending -= sent->bytes;
    free(sent);
    if (answer) /* else the link is being broken */
        send_some(a);
}

static bool publish(struct asked *a, uint64_t to, struct text payload)
{
    struct redis_link *l = a->settings.link;
    struct node_text id = node_text(to);
    struct sent *sent = malloc(sizeof *sent);
    if (!sent)
        return false;
    *sent = (struct sent){a, payload.len};
    redis_begin(l, 3);
    redis_arg(l, TEXT("PUBLISH"));
    redis_arg_begin(l, sizeof ASK_CHANNEL_NODE - 1 + sizeof id.digits);
    redis_arg_piece(l, TEXT(ASK_CHANNEL_NODE));
    redis_arg_piece(l, (struct text){id.digits, sizeof id.digits});
    redis_arg(l, payload);
    if (!redis_send(l, confirmed, sent)) {
        free(sent);
        return false;
    }
    a->sending += payload.len;
    return true;
}

static void answer_free(struct answer *answer)
{
    struct asked *a = answer->to.asked;
    a->bytes -= answer->bytes.cap + answer->next.cap;
    a->count--;
    list_remove(&answer->node);
    buf_fini(&answer->bytes);
    buf_fini(&answer->next);
    free(answer);
}

/* Sends its next part; false: no more of it is to be sent. */
static bool send_part(struct asked *a, struct answer *answer)
{
    struct buf out = {0};
    size_t left = answer->bytes.len - answer->at;
    bool more = left > ASK_PART_MOST;
    struct ask_part part = {.node = a->settings.id,
        .id = answer->to.id,
        .part = answer->part++,
        .more = more,
        .failed = answer->failed,
        .count = answer->count,
        .bytes = {answer->bytes.data + answer->at, more ? ASK_PART_MOST : left}};
    if (!more && answer->has_next)
        part.next = buf_text(&answer->next);
    ask_part_write(&out, &part);
    answer->at += part.bytes.len;
    bool sent = !out.failed && publish(a, answer->to.node, buf_text(&out));
    buf_fini(&out);
    return sent && more;
}

static void retry(uv_timer_t *timer)
{
    send_some(timer->data);
}

/* As much as the link and Redis take; large answers do not hold up others for longer than a part.
 */
static void send_some(struct asked *a)
{
    struct redis_link *l = a->settings.link;
    for (struct list *at = a->answers.next, *next; at != &a->answers; at = next) {
        struct answer *answer = LIST_ITEM(at, struct answer, node);
        bool late = uv_now(a->settings.loop) > answer->to.until_ms;
        next = at->next;
        if (late || !redis_link_is_up(l)) {
            answer_free(answer);
        } else if (a->sending >= SENDING_MOST) {
            return; /* goes on when they are confirmed */
        } else if (redis_link_full(l)) {
            uv_timer_start(&a->retry, retry, RETRY_MS, 0);
            return;
        } else if (send_part(a, answer)) {
            list_remove(&answer->node);
            list_append(&a->answers, &answer->node);
        } else {
            answer_free(answer);
        }
    }
}

/* Takes the bytes, whatever comes of it. `next` of NULL: none. */
static void answer_with(
    const struct asker *to, struct buf *bytes, uint32_t count, const struct text *next)
{
    struct asked *a = to->asked;
    struct answer *answer = calloc(1, sizeof *answer);
    if (!answer) {
        buf_fini(bytes);
        a->count--;
        return;
    }
    answer->to = *to;
    answer->bytes = *bytes;
    answer->count = count;
    answer->has_next = next != NULL;
    *bytes = (struct buf){0};
    if (next)
        buf_append_text(&answer->next, *next);
    answer->failed = answer->bytes.failed || answer->next.failed ||
                     answer->bytes.cap > ASKED_BYTES_MOST - a->bytes;
    if (answer->failed) {
        buf_fini(&answer->bytes);
        answer->bytes = (struct buf){0};
    }
    a->bytes += answer->bytes.cap + answer->next.cap;
    list_append(&a->answers, &answer->node);
    send_some(a);
}

static void answer_failed(const struct asker *to)
{
    struct buf none = {.failed = true};
    answer_with(to, &none, 0, NULL);
}

/* --- who subscribes --------------------------------------------------------------------------- */

static void roll_done(struct roll *r, void *context)
{
    struct asker *to = context;
    struct buf clients = {0};
    to->asked->inquiries--;
    for (unsigned i = 0; i < r->inquiry.count; i++) {
        const struct buf *found = &r->inquiry.parts[i].found;
        size_t room = ASKED_ANSWER_MOST - clients.len;
        clients.failed |= found->failed;
        buf_append(&clients, found->data, found->len < room ? found->len : room);
    }
    answer_with(to, &clients, 0, NULL);
    roll_free(r);
    free(to);
}

/* A rule may differ for as long as not all brokers have loaded the same. */
static bool is_far(const struct asked *a, struct text topic)
{
    struct rules *rules = rules_box_take(&a->settings.shop->rules);
    bool far = !rules_find(rules, topic)->local;
    rules_drop(rules);
    return far;
}

static bool look_for_clients(struct asked *a, struct asker *to, const struct ask_question *q)
{
    struct workshop *shop = a->settings.shop;
    if (topic_name_fault(q->name, shop->limits.topic_bytes) || !is_far(a, q->name))
        return false;
    struct roll *r = roll_new(shop, a->settings.home, q->name);
    if (!r)
        return false;
    r->done = roll_done;
    r->context = to;
    a->inquiries++;
    inquiry_ask(&r->inquiry, shop, r->workers);
    return true;
}

/* --- who is to go ----------------------------------------------------------------------------- */

static void dismissal_done(struct dismissal *d, void *context)
{
    struct asker *to = context;
    struct buf none = {0};
    struct node_text by = node_text(to->node);
    to->asked->inquiries--;
    if (d->count > 0)
        LOG_LINE(to->asked->settings.logger, LOG_INFO, "clients disconnected",
            LOG_NUMBER("count", d->count), LOG_NUMBER("code", d->code),
            LOG_TEXT("by_node", ((struct text){by.digits, sizeof by.digits})));
    answer_with(to, &none, d->count < UINT32_MAX ? (uint32_t)d->count : UINT32_MAX, NULL);
    dismissal_free(d);
    free(to);
}

static bool dismiss(struct asked *a, struct asker *to, const struct ask_question *q)
{
    struct dismissal *d =
        dismissal_new(a->settings.shop, a->settings.home, q->client, q->user, q->code, q->reason);
    if (!d)
        return false;
    d->done = dismissal_done;
    d->context = to;
    a->inquiries++;
    inquiry_ask(&d->inquiry, a->settings.shop, NULL);
    return true;
}

/* --- which topics ----------------------------------------------------------------------------- */

static void answer_page(const struct asker *to, const struct topic_list *list)
{
    struct buf rows = {0};
    struct rules *rules = rules_box_take(&to->asked->settings.shop->rules);
    const struct text *next = list->next.at ? &list->next : NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct topic_row *row = &list->rows[i];
        if (rules_find(rules, row->name)->local)
            continue;
        if (rows.len + row->name.len > ASKED_ANSWER_MOST - sizeof(struct ask_row)) {
            next = &list->rows[i - 1].name;
            break;
        }
        topic_page_write(&rows, row->name, row->subscribers);
    }
    rules_drop(rules);
    answer_with(to, &rows, 0, next);
}

static void look_up(struct page_job *job)
{
    struct asked *a = job->to.asked;
    struct ask_question q;
    struct ask_part part;
    struct topic_list list;
    MUST(ask_read((struct text){job->payload, job->len}, &q, &part) == ASK_QUESTION);
    bool wanted = uv_now(a->settings.loop) <= job->to.until_ms && !a->stopping &&
                  (q.pattern.len == 0 || !pattern_fault(q.pattern, 0));
    if (!wanted || !topic_list_take(&list, &a->settings.shop->route.registry, q.prefix, q.after,
                       q.pattern, q.limit)) {
        answer_failed(&job->to);
        return;
    }
    answer_page(&job->to, &list);
    topic_list_fini(&list);
}

static void job_free(struct page_job *job)
{
    job->to.asked->bytes -= job->len;
    list_remove(&job->node);
    free(job);
}

static void turn(uv_idle_t *idle)
{
    struct asked *a = idle->data;
    struct page_job *job = LIST_ITEM(a->pages.next, struct page_job, node);
    look_up(job);
    job_free(job);
    if (list_empty(&a->pages))
        uv_idle_stop(&a->turn);
}

static bool queue_page(struct asked *a, const struct asker *to, struct text payload)
{
    struct page_job *job = malloc(sizeof *job + payload.len);
    if (!job)
        return false;
    job->to = *to;
    job->len = payload.len;
    memcpy(job->payload, payload.at, payload.len);
    a->bytes += job->len;
    list_append(&a->pages, &job->node);
    uv_idle_start(&a->turn, turn);
    return true;
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool begin(struct asked *a, const struct ask_question *q, struct text payload)
{
    struct asker to = asker_of(a, q);
    if (a->stopping || a->count > ASKED_MOST || payload.len > ASKED_BYTES_MOST - a->bytes)
        return false;
    if (q->kind == ASK_TOPICS)
        return queue_page(a, &to, payload);
    struct asker *kept = malloc(sizeof *kept);
    if (!kept)
        return false;
    *kept = to;
    if (q->kind == ASK_PRESENCE ? look_for_clients(a, kept, q) : dismiss(a, kept, q))
        return true;
    free(kept);
    return false;
}

void asked_question(struct asked *a, const struct ask_question *q, struct text payload)
{
    struct asker to = asker_of(a, q);
    if (a->count >= 2 * ASKED_MOST)
        return; /* even the refusals pile up */
    a->count++;
    if (!begin(a, q, payload))
        answer_failed(&to);
}

void asked_init(struct asked *a, const struct asked_settings *settings)
{
    *a = (struct asked){.settings = *settings};
    list_init(&a->pages);
    list_init(&a->answers);
    uv_idle_init(settings->loop, &a->turn);
    uv_timer_init(settings->loop, &a->retry);
    a->turn.data = a;
    a->retry.data = a;
}

void asked_stop(struct asked *a)
{
    a->stopping = true;
}

void asked_close(struct asked *a)
{
    a->stopping = true;
    uv_close((uv_handle_t *)&a->turn, NULL);
    uv_close((uv_handle_t *)&a->retry, NULL);
}

void asked_fini(struct asked *a)
{
    MUST(a->inquiries == 0 && a->sending == 0);
    for (struct list *at = a->answers.next, *next; at != &a->answers; at = next) {
        next = at->next;
        answer_free(LIST_ITEM(at, struct answer, node));
    }
    for (struct list *at = a->pages.next, *next; at != &a->pages; at = next) {
        next = at->next;
        job_free(LIST_ITEM(at, struct page_job, node));
    }
}
