#include "client/level2.h"

#include <string.h>

#include "client/carry.h"
#include "client/client.h"
#include "client/heard.h"
#include "hermes/protocol.h"

/* ---- deliveries ---- */

static struct subscription *live_topic(struct hermes_client *c, struct text topic)
{
    struct subscription *s = wanted_find(&c->wanted, c->group->key, topic, false);
    return s && s->live ? s : NULL;
}

static void deliver(struct hermes_client *c, const struct hermes_delivery *d)
{
    struct subscription *s =
        d->pattern ? NULL : live_topic(c, (struct text){d->topic, d->topic_len});
    if (s && d->offset <= s->seen)
        return;
    if (s)
        s->seen = d->offset;
    if (c->events->on_delivery)
        c->events->on_delivery(c, d, c->user);
    else if (c->events->on_data)
        c->events->on_data(c, d->data, d->data_len, c->user);
}

static void hear_message(struct hermes_client *c, const struct heard *h, struct text text)
{
    deliver(c, &(struct hermes_delivery){h->topic.at, h->topic.len, h->data.at, h->data.len,
                   h->offset, h->pattern.at, h->pattern.len, text.at, text.len});
}

static bool hear_gap(struct hermes_client *c, const struct heard *h, struct text text)
{
    struct subscription *s = h->topic.at ? live_topic(c, h->topic) : NULL;
    /* Who subscribed when they had started anew already may be told all the same. */
    bool anew = s && h->epoch.at && !text_equal(h->epoch, s->epoch);
    if (anew && !subscription_set(s, h->epoch, h->to)) {
        c->ending = "out of memory";
        return false;
    }
    if (s && s->seen < h->to)
        s->seen = h->to; /* the program knows; it is not to come once more */
    if (c->events->on_gap)
        c->events->on_gap(c,
            &(struct hermes_gap){
                .topic = h->topic.at ? h->topic.at : "",
                .topic_len = h->topic.len,
                .from = h->from,
                .to = h->to,
                .text = text.at,
                .text_len = text.len,
                .epoch = h->epoch.at,
                .epoch_len = h->epoch.len,
                .pattern = h->topic.at ? NULL : h->pattern.at,
                .pattern_len = h->topic.at ? 0 : h->pattern.len,
            },
            c->user);
    return true;
}

static void hear_member(struct hermes_client *c, const struct heard *h, struct text text)
{
    if (c->events->on_member)
        c->events->on_member(c,
            &(struct hermes_member){h->topic.at, h->topic.len, h->client.at, h->client.len,
                h->type == HEARD_JOIN, text.at, text.len},
            c->user);
}

/* ---- answers ---- */

/* Where the topic stands now is where the next connection goes on. */
static bool subscribed(struct hermes_client *c, const struct heard *h, uint64_t number)
{
    struct subscription *s =
        h->pattern.at ? NULL : wanted_find(&c->wanted, c->group->key, h->topic, false);
    if (!s || number < s->command || !s->command)
        return true; /* it has been unsubscribed, and perhaps subscribed anew, since then */
    uint64_t seen = h->offset;
    if (s->known && h->recovered == HERMES_RECOVERED_YES)
        seen = s->seen;
    else if (!s->known)
        seen = h->offset > s->replay ? h->offset - s->replay : 0;
    if (!subscription_set(s, h->epoch, seen))
        return false;
    s->live = true;
    return true;
}

static void published(struct hermes_client *c, struct hermes_published *p)
{
    if (c->events->on_published && !c->freed)
        c->events->on_published(c, p, c->user);
}

/* Answers come in order: those that were asked for before it were refused without one of theirs. */
static void refuse_earlier(struct hermes_client *c, uint64_t number)
{
    struct hermes_published p = {.outcome = HERMES_PUBLISH_REFUSED,
        .message = "the server did not answer",
        .message_len = strlen("the server did not answer")};
    while (!c->freed && pending_take_publish(&c->pending, number, &p.token))
        published(c, &p);
}

static void hear_published(
    struct hermes_client *c, const struct heard *h, struct text text, uint64_t number)
{
    refuse_earlier(c, number);
    if (c->freed)
        return;
    uint64_t token = pending_take(&c->pending, number).token;
    published(c, &(struct hermes_published){token,
                     h->type == HEARD_ERROR ? HERMES_PUBLISH_REFUSED : HERMES_PUBLISH_ACCEPTED,
                     h->offset, h->subscribers, h->topic.at, h->topic.len, h->code.at, h->code.len,
                     h->message.at, h->message.len, text.at, text.len});
}

static enum hermes_answer_kind kind_of(const struct heard *h)
{
    switch (h->type) {
    case HEARD_INFO:
        return HERMES_ANSWER_INFO;
    case HEARD_ACK_SUBSCRIBE:
        return HERMES_ANSWER_SUBSCRIBED;
    case HEARD_ACK_UNSUBSCRIBE:
        return HERMES_ANSWER_UNSUBSCRIBED;
    case HEARD_ACK_PUBLISH:
        return HERMES_ANSWER_PUBLISHED;
    case HEARD_TOPICS:
        return HERMES_ANSWER_TOPICS;
    case HEARD_HISTORY:
        return HERMES_ANSWER_HISTORY;
    case HEARD_PRESENCE:
        return HERMES_ANSWER_PRESENCE;
    case HEARD_ACK_AUTH:
        return HERMES_ANSWER_AUTHENTICATED;
    case HEARD_ERROR:
        return text_equal(h->code, TEXT(HERMES_ERROR_NOT_SUBSCRIBED)) ? HERMES_ANSWER_NOT_SUBSCRIBED
                                                                      : HERMES_ANSWER_ERROR;
    default:
        return HERMES_ANSWER_OTHER;
    }
}

static bool hear_answer(struct hermes_client *c, const struct heard *h, struct text text)
{
    uint64_t number = pending_id_read(h->id);
    if (number && pending_kind(&c->pending, number) == PENDING_PUBLISH &&
        (h->type == HEARD_ACK_PUBLISH || h->type == HEARD_ERROR)) {
        hear_published(c, h, text, number);
        return true;
    }
    uint64_t token = number ? pending_take(&c->pending, number).token : 0;
    if (h->type == HEARD_ACK_SUBSCRIBE && number && !subscribed(c, h, number)) {
        c->ending = "out of memory";
        return false;
    }
    if (h->type == HEARD_ACK_AUTH)
        c->fresh = false;
    if (!c->events->on_answer)
        return true;
    c->events->on_answer(c,
        &(struct hermes_answer){
            .kind = kind_of(h),
            .topic = h->topic.at,
            .topic_len = h->topic.len,
            .message = h->message.at,
            .message_len = h->message.len,
            .next = h->next.at,
            .next_len = h->next.len,
            .rows = h->rows.at,
            .rows_end = h->rows.at ? h->rows.at + h->rows.len : NULL,
            .space = &c->group->rows,
            .token = token,
            .pattern = h->pattern.at,
            .pattern_len = h->pattern.len,
            .epoch = h->epoch.at,
            .epoch_len = h->epoch.len,
            .offset = h->offset,
            .recovered = h->recovered,
            .subscribers = h->subscribers,
            .expires = h->expires,
            .code = h->code.at,
            .code_len = h->code.len,
            .client = h->client.at,
            .client_len = h->client.len,
            .id = number ? NULL : h->id.at,
            .id_len = number ? 0 : h->id.len,
            .text = text.at,
            .text_len = text.len,
        },
        c->user);
    return true;
}

bool level2_heard(struct hermes_client *c, const char *text, size_t len)
{
    struct hermes_delivery d;
    if (heard_delivery(&d, text, len)) {
        deliver(c, &d);
        return client_connected(c);
    }
    struct heard h;
    struct text whole = {text, len};
    if (!heard_read(&h, text, len, &c->group->names)) {
        c->ending = "out of memory";
        return false;
    }
    bool go_on = true;
    switch (h.type) {
    case HEARD_MESSAGE:
        hear_message(c, &h, whole);
        break;
    case HEARD_GAP:
        go_on = hear_gap(c, &h, whole);
        break;
    case HEARD_JOIN:
    case HEARD_LEAVE:
        hear_member(c, &h, whole);
        break;
    case HEARD_RECONNECT: /* the server gives each of its clients another time, from now on */
        c->told_when = true;
        c->told_at = uv_now(c->group->loop);
        c->after_ms =
            h.after_ms < c->settings.retry_max_ms ? (uint32_t)h.after_ms : c->settings.retry_max_ms;
        h.type = HEARD_OTHER;
        go_on = hear_answer(c, &h, whole);
        break;
    default:
        go_on = hear_answer(c, &h, whole);
    }
    return go_on && client_connected(c);
}

/* ---- from one connection to the next ---- */

static bool resubscribe(struct hermes_client *c, struct buf *to, bool patterns)
{
    size_t at = 0;
    for (struct subscription *s; (s = wanted_next(&c->wanted, &at)) != NULL;) {
        if (s->pattern != patterns)
            continue;
        s->live = false;
        if (!send_subscribe2(c, to, s))
            return false;
    }
    return true;
}

bool level2_resubscribe(struct hermes_client *c, struct buf *to)
{
    /* Topics first: what is missed of them must not come by a pattern before the replay. */
    return resubscribe(c, to, false) && resubscribe(c, to, true);
}

void level2_ended(struct hermes_client *c)
{
    struct hermes_published p = {.outcome = HERMES_PUBLISH_UNKNOWN};
    if (c->pending.queue.len == 0)
        return;
    uint64_t below = c->pending.last + 1;
    uint64_t kept = carry_first_number(&c->out);
    pending_forget_commands(&c->pending, below);
    if (kept && kept < below)
        below = kept;
    while (!c->freed && pending_take_publish(&c->pending, below, &p.token))
        published(c, &p);
}
