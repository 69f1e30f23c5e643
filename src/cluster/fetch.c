/* What Redis keeps of a topic.
 *
 * It costs Redis some milliseconds a piece, and strangers choose how many there are: few are under
 * way at once, so that publishes go between them and answers come steadily, and Redis has to hold
 * no more than these; the others wait here for their turn, first come, first served: no session
 * asks for many things at once. Topics that have missed something after a break are as many as
 * there are, and wait in a row of their own: the two take turns. */
#include <stdlib.h>

#include "cluster/followed.h"
#include "cluster/scripts.h"

/* Of a server. FETCHES: under way at once. FETCH_BYTES: asked for by those that wait; some 16,000
 * pieces, so that all who come back at once have room. */
enum { FETCHES = 4 };
#define FETCH_BYTES (UINT64_C(4) << 30)

bool fetch_send(struct shard *s, struct text topic, uint64_t from, uint32_t most, size_t bytes,
    struct history_limits limits, redis_answer answered, void *user)
{
    struct redis_link *l = s->commands;
    redis_begin(l, 3 + 2 + 5);
    redis_arg(l, TEXT("EVALSHA"));
    redis_arg(l, redis_script(l, SCRIPT_FETCH));
    redis_arg_number(l, 2);
    cluster_arg(l, TEXT("hermes:t:"), topic);
    cluster_arg(l, TEXT("hermes:h:"), topic);
    redis_arg_number(l, from);
    redis_arg_number(l, most);
    redis_arg_number(l, bytes);
    redis_arg_number(l, (limits.age_us + 999) / 1000);
    redis_arg_number(l, limits.retain);
    return redis_send(l, answered, user);
}

/* A number as Lua or Redis writes it. */
static bool read_number(const struct resp *r, uint64_t *number)
{
    uint64_t n = 0;
    if (r->kind != RESP_TEXT || r->text.len == 0 || r->text.len > 18)
        return false;
    for (size_t i = 0; i < r->text.len; i++) {
        if (r->text.at[i] < '0' || r->text.at[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(r->text.at[i] - '0');
    }
    *number = n;
    return true;
}

struct fetched fetch_read(const struct resp *answer)
{
    struct fetched f = {.failed = true};
    if (!answer || answer->kind != RESP_ARRAY || answer->count < 4)
        return f;
    const struct resp *r = answer->items;
    if (r[0].kind != RESP_TEXT || (r[0].text.len > 0 && !hex_read(r[0].text, &f.epoch)))
        return f;
    if (!read_number(&r[1], &f.offset) || !read_number(&r[2], &f.oldest) ||
        !read_number(&r[3], &f.first))
        return f;
    f.frames = r + 4;
    f.count = answer->count - 4;
    for (size_t i = 0; i < f.count; i++)
        if (f.frames[i].kind != RESP_TEXT || !payload_frames_good(f.frames[i].text, 1))
            return f;
    f.failed = false;
    return f;
}

bool fetch_comes_again(const struct resp *answer)
{
    static const char *const words[] = {
        "NOSCRIPT", "BUSY", "LOADING", "READONLY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN"};
    if (!answer)
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words && answer->kind == RESP_ERROR; i++)
        if (text_starts_with(answer->text, text_of(words[i])))
            return true;
    return false;
}

static void take_answer(struct errand *e, const struct resp *answer)
{
    struct shard *s = e->carrier;
    struct fetched f = fetch_read(answer);
    if (f.failed) {
        e->refused = !fetch_comes_again(answer);
        cluster_return(s->cluster, e, ERRAND_UNAVAILABLE);
        return;
    }
    e->epoch = f.epoch;
    e->offset = f.offset;
    e->oldest = f.oldest;
    e->first = f.first;
    e->count = (uint32_t)f.count;
    for (size_t i = 0; i < f.count; i++)
        buf_append_text(&e->found, f.frames[i].text);
    cluster_return(s->cluster, e, e->found.failed ? ERRAND_NO_MEMORY : ERRAND_DONE);
}

static void fetched(const struct resp *answer, void *user)
{
    struct errand *e = user;
    struct shard *s = e->carrier;
    s->fetches--;
    take_answer(e, answer);
    cluster_fetch_waiting(s);
}

static void ask(struct shard *s, struct errand *e)
{
    struct history_limits limits = {.age_us = e->age_us, .retain = e->retain};
    e->carrier = s;
    if (fetch_send(s, e->name, e->from, e->most, e->bytes, limits, fetched, e))
        s->fetches++;
    else
        cluster_return(s->cluster, e, ERRAND_UNAVAILABLE);
}

/* Whose worker has not taken what was fetched for it waits. */
static bool errand_may(const struct shard *s)
{
    const struct errand *e = s->fetch_waiting.first;
    return e && !mailbox_crowded(e->home, s->cluster->route->crowded);
}

/* Its messages may be for all workers. */
static bool topic_may(const struct shard *s)
{
    return !list_empty(&s->missing) && !s->cluster->crowded;
}

void cluster_fetch(struct cluster *c, struct errand *e)
{
    struct shard *s = cluster_shard(c, e->name);
    if (!redis_link_is_up(s->commands) || s->fetch_bytes + e->bytes > FETCH_BYTES) {
        cluster_return(c, e, ERRAND_UNAVAILABLE);
        return;
    }
    /* Publishers are not to be paused for it: there is a limit here. */
    mailbox_done(&c->box, e->weight);
    e->weight = 0;
    s->fetch_bytes += e->bytes;
    errands_add(&s->fetch_waiting, e);
    cluster_fetch_waiting(s);
}

static struct errand *take_waiting(struct shard *s)
{
    struct errand *e = errands_take(&s->fetch_waiting);
    if (e)
        s->fetch_bytes -= e->bytes;
    return e;
}

/* Where the link is down they are told so. */
void cluster_fetch_waiting(struct shard *s)
{
    while (s->fetches < FETCHES && !redis_link_full(s->commands)) {
        bool errand = errand_may(s);
        bool topic = topic_may(s);
        if (!errand && !topic)
            return;
        s->fetched_topic = topic && !(errand && s->fetched_topic);
        if (s->fetched_topic)
            followed_fetch(LIST_ITEM(s->missing.next, struct followed, queue));
        else
            ask(s, take_waiting(s));
    }
}

void cluster_fetch_fail_waiting(struct shard *s)
{
    struct errand *e;
    while ((e = take_waiting(s)) != NULL)
        cluster_return(s->cluster, e, ERRAND_UNAVAILABLE);
}
