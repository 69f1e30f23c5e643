#include "cluster/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "cluster/ask_wire.h"
#include "cluster/redis_link.h"

#define NODES_KEY TEXT("hermes:nodes")

/* KEYS: the set. ARGV: the node, for how long it lives. Returns all that live. The key goes with
 * the last of them. */
const char nodes_script[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "return redis.call('ZRANGE', KEYS[1], 0, -1)\n";

struct node_text node_text(uint64_t node)
{
    struct node_text text;
    for (size_t i = NODE_DIGITS; i-- > 0; node >>= 4)
        text.digits[i] = "0123456789abcdef"[node & 15];
    return text;
}

uint64_t node_read(struct text text)
{
    uint64_t node = 0;
    if (text.len != NODE_DIGITS)
        return 0;
    for (size_t i = 0; i < NODE_DIGITS; i++) {
        char c = text.at[i];
        if (c >= '0' && c <= '9')
            node = node << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            node = node << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return node;
}

/* --- who is there ----------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    uint64_t one, other;
    memcpy(&one, a, sizeof one);
    memcpy(&other, b, sizeof other);
    return one < other ? -1 : one > other;
}

static bool has(const uint64_t *ids, size_t count, uint64_t node)
{
    return count > 0 && bsearch(&node, ids, count, sizeof *ids, by_id);
}

bool nodes_has(const struct nodes *n, uint64_t node)
{
    return has(n->ids, n->count, node);
}

static void tell(struct nodes *n, uint64_t node, bool here)
{
    struct node_text id = node_text(node);
    struct text text = {id.digits, sizeof id.digits};
    LOG_LINE(n->settings.logger, LOG_INFO, here ? "node joined" : "node gone",
        LOG_TEXT("node", text), LOG_NUMBER("nodes", nodes_count(n)));
    if (n->settings.changed)
        n->settings.changed(node, here, n->settings.user);
}

/* Puts others in the place of those that were there, and tells what is different. */
static void replace(struct nodes *n, uint64_t *ids, size_t count)
{
    uint64_t *old = n->ids;
    size_t old_count = n->count;
    n->ids = ids;
    n->count = count;
    for (size_t i = 0; i < old_count; i++)
        if (!has(ids, count, old[i]))
            tell(n, old[i], false);
    for (size_t i = 0; i < count; i++)
        if (!has(old, old_count, ids[i]))
            tell(n, ids[i], true);
    free(old);
}

/* Sorts, and leaves out who is there twice. */
static size_t settle(uint64_t *ids, size_t count)
{
    size_t kept = 0;
    qsort(ids, count, sizeof *ids, by_id);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || ids[kept - 1] != ids[i])
            ids[kept++] = ids[i];
    return kept < NODES_MOST ? kept : NODES_MOST;
}

/* `all`: nobody else is there. */
static void take(struct nodes *n, const struct resp *living, bool all)
{
    size_t most = living->count < NODES_MOST ? living->count : NODES_MOST;
    uint64_t *ids = malloc((most + n->count + 1) * sizeof *ids);
    size_t count = 0;
    if (!ids)
        return; /* the next second */
    for (size_t i = 0; i < most; i++) {
        const struct resp *item = &living->items[i];
        uint64_t node = item->kind == RESP_TEXT ? node_read(item->text) : 0;
        if (node != 0 && node != n->settings.id)
            ids[count++] = node;
    }
    if (!all && n->count > 0) {
        memcpy(ids + count, n->ids, n->count * sizeof *ids);
        count += n->count;
    }
    replace(n, ids, settle(ids, count));
}

/* Who is missing for a while may only not have got there yet. */
static void doubt(struct nodes *n)
{
    if (n->count > 0)
        n->trusted_ms = uv_now(n->settings.loop) + NODES_LIFE_MS;
}

/* --- renewing --------------------------------------------------------------------------------- */

static void ignore(const struct resp *answer, void *user)
{
    (void)answer;
    (void)user;
}

/* The others need not wait for their next second. */
static void publish_news(struct nodes *n)
{
    struct redis_link *l = n->settings.link;
    struct buf out = {0};
    ask_news_write(&out, n->settings.id);
    if (!out.failed) {
        redis_begin(l, 3);
        redis_arg(l, TEXT("PUBLISH"));
        redis_arg(l, TEXT(ASK_CHANNEL_ALL));
        redis_arg(l, buf_text(&out));
        redis_send(l, ignore, NULL);
    }
    buf_fini(&out);
}

static void renew(struct nodes *n);

static void answered(const struct resp *answer, void *user)
{
    struct nodes *n = user;
    n->asking = false;
    if (n->closing || !answer || answer->kind != RESP_ARRAY)
        return;
    uint64_t now = uv_now(n->settings.loop);
    if (now - n->answered_ms > NODES_LIFE_MS / 2) /* the server was slow, so others may be late */
        doubt(n);
    n->answered_ms = now;
    take(n, answer, now >= n->trusted_ms);
    if (!n->known)
        publish_news(n);
    n->known = true;
    if (n->again)
        renew(n);
}

static void renew(struct nodes *n)
{
    struct redis_link *l = n->settings.link;
    struct node_text id = node_text(n->settings.id);
    n->again = n->asking;
    if (n->asking || !redis_link_is_up(l))
        return;
    redis_begin(l, 6);
    redis_arg(l, TEXT("EVALSHA"));
    redis_arg(l, redis_script(l, n->settings.script));
    redis_arg_number(l, 1);
    redis_arg(l, NODES_KEY);
    redis_arg(l, (struct text){id.digits, sizeof id.digits});
    redis_arg_number(l, NODES_LIFE_MS);
    n->asking = redis_send(l, answered, n);
}

static void second_over(uv_timer_t *timer)
{
    struct nodes *n = timer->data;
    if (!n->asking)
        renew(n);
}

void nodes_look(struct nodes *n)
{
    if (n->known && !n->closing)
        renew(n);
}

void nodes_init(struct nodes *n, const struct nodes_settings *settings)
{
    *n = (struct nodes){.settings = *settings};
    uv_timer_init(settings->loop, &n->timer);
    n->timer.data = n;
}

void nodes_up(struct nodes *n)
{
    if (n->closing)
        return;
    doubt(n);
    n->known = false;
    uv_timer_start(&n->timer, second_over, 0, NODES_RENEW_MS);
}

void nodes_close(struct nodes *n)
{
    struct redis_link *l = n->settings.link;
    struct node_text id = node_text(n->settings.id);
    if (n->closing)
        return;
    n->closing = true;
    uv_close((uv_handle_t *)&n->timer, NULL);
    if (!redis_link_is_up(l))
        return;
    redis_begin(l, 3);
    redis_arg(l, TEXT("ZREM"));
    redis_arg(l, NODES_KEY);
    redis_arg(l, (struct text){id.digits, sizeof id.digits});
    if (redis_send(l, ignore, NULL)) {
        publish_news(n);
        redis_link_flush(l);
    }
}

void nodes_fini(struct nodes *n)
{
    free(n->ids);
    n->ids = NULL;
    n->count = 0;
}
