#include "broker/relay.h"

#include <string.h>

#include "base/clock.h"
#include "broker/post.h"

/* What is left of a row when its first messages are known: a message of its own. NULL when there is
 * no memory. */
static struct message *rest_of(const struct message *m, uint32_t known)
{
    const char *at = m->frames;
    struct text data;
    for (uint32_t i = 0; i < known; i++)
        at = message_frame(at, &data);
    size_t len = m->len - (size_t)(at - m->frames);
    struct message *rest = message_begin(len);
    if (!rest)
        return NULL;
    memcpy(rest->frames, at, len);
    rest->len = (uint32_t)len;
    rest->count = m->count - known;
    rest->offset = m->offset + known;
    rest->except = m->except;
    rest->stamp = m->stamp;
    return rest;
}

/* Keeps nothing of what the topic has been. */
static void forget_past(struct search *s) NO_THREAD_SAFETY_ANALYSIS
{
    if (s->topic->kept)
        registry_keep(&s->route->registry, s->stripe, s->topic, (struct history_limits){0}, 0,
            clock_ns() / 1000);
}

static void post(
    struct search *s, struct message *m, struct relayed *relayed, struct post_workers *asleep)
{
    struct registry_topic *topic = s->topic;
    if (topic->live)
        search_apply_rule(s);
    search_keep(s);
    post_address(s, m);
    topic->quiet = 0;
    topic->offset = m->offset + m->count - 1;
    if (topic->live && topic->kept)
        post_keep(s, m);
    relayed->crowded = post_all(s, m, asleep);
}

/* Whether the messages are the next ones of a live topic. */
static enum relay_result judge(
    const struct registry_topic *topic, uint64_t epoch, const struct message *m)
{
    if (topic->epoch != epoch)
        return topic->live ? RELAY_HOLE : RELAY_DONE;
    if (m->offset + m->count - 1 <= topic->offset)
        return RELAY_KNOWN;
    return topic->live && m->offset > topic->offset + 1 ? RELAY_HOLE : RELAY_DONE;
}

struct relayed route_relay(struct route *r, struct route_rule rule, uint64_t hash,
    struct text topic, uint64_t epoch, struct message *m) NO_THREAD_SAFETY_ANALYSIS
{
    struct relayed relayed = {.result = RELAY_NOBODY, .crowded = -1};
    struct post_workers asleep = {{0}};
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    if (!search_begin(&s)) {
        relayed.result = RELAY_NO_MEMORY;
        return relayed;
    }
    if (!s.topic && s.fresh) {
        if (search_make(&s))
            s.topic->epoch = 0; /* it will be what the message is of */
        else
            relayed.result = RELAY_NO_MEMORY;
    }
    struct message *rest = NULL;
    bool keeps = false;
    if (s.topic) {
        relayed.live = s.topic->live;
        relayed.epoch = s.topic->epoch;
        relayed.offset = s.topic->offset;
        relayed.result = judge(s.topic, epoch, m);
        if (relayed.result == RELAY_DONE && s.topic->epoch == epoch &&
            m->offset <= s.topic->offset) {
            m = rest = rest_of(m, (uint32_t)(s.topic->offset + 1 - m->offset));
            if (!rest)
                relayed.result = RELAY_NO_MEMORY;
        }
        if (relayed.result == RELAY_DONE) {
            s.topic->epoch = epoch;
            post(&s, m, &relayed, &asleep);
            keeps = s.topic->kept != NULL;
        }
    }
    search_end(&s);
    post_wake(r, &asleep);
    if (rest)
        message_drop(rest);
    if (keeps)
        registry_trim(&r->registry);
    return relayed;
}

bool route_follow(struct route *r, struct route_rule rule, uint64_t hash, struct text topic,
    uint64_t epoch, uint64_t offset) NO_THREAD_SAFETY_ANALYSIS
{
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    search_plain(&s);
    bool there = s.topic || search_make(&s);
    if (there && !s.topic->live) {
        forget_past(&s);
        s.topic->live = true;
        if (s.topic->epoch != epoch || s.topic->offset < offset)
            s.topic->offset = offset;
        s.topic->epoch = epoch;
    }
    search_end(&s);
    return there;
}

bool route_unfollow(
    struct route *r, uint64_t hash, struct text topic, bool end) NO_THREAD_SAFETY_ANALYSIS
{
    struct search s = {.route = r, .hash = hash, .name = topic};
    search_plain(&s);
    bool wanted = s.topic && s.topic->live && s.topic->subscribers > 0;
    if (s.topic && s.topic->live && !wanted && end) {
        forget_past(&s);
        s.topic->live = false;
        registry_release(&r->registry, s.stripe, s.topic);
    }
    search_end(&s);
    return wanted;
}

bool route_place(struct route *r, uint64_t hash, struct text topic, struct relay_place *place)
{
    struct search s = {.route = r, .hash = hash, .name = topic};
    search_plain(&s);
    bool live = s.topic && s.topic->live;
    if (live)
        *place = (struct relay_place){s.topic->epoch, s.topic->offset, s.topic->subscribers};
    search_end(&s);
    return live;
}

void route_renumber(
    struct route *r, uint64_t hash, struct text topic, uint64_t epoch, uint64_t offset)
{
    struct search s = {.route = r, .hash = hash, .name = topic};
    search_plain(&s);
    if (s.topic && s.topic->live) {
        forget_past(&s);
        s.topic->epoch = epoch;
        s.topic->offset = offset;
    }
    search_end(&s);
}

bool route_tell(struct route *r, uint64_t hash, struct text topic, struct message *m)
{
    struct post_workers asleep = {{0}};
    struct search s = {.route = r, .rule = {&rule_default, 0}, .hash = hash, .name = topic};
    if (!search_begin(&s))
        return false;
    if (s.topic)
        search_keep(&s);
    post_address(&s, m);
    post_all(&s, m, &asleep);
    search_end(&s);
    post_wake(r, &asleep);
    return true;
}
