#include "cluster/redis_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "cluster/redis_link_state.h"

enum { REST_FIRST_MS = 50, REST_MOST_MS = 2000, STEADY_MS = 1000, TOLD_MS = 10000 };

static void dial(uv_timer_t *timer);

/* ---- log ---- */

/* Without a reason all is well; never anything else of the url, which has a password in it. */
static void tell(const struct redis_link *l, const char *event, const char *reason)
{
    const struct redis_url *url = l->set.url;
    const char *use = l->set.subscribes ? "subscriptions" : "commands";
    char server[280];
    bool ipv6 = strchr(url->host, ':') != NULL;
    snprintf(server, sizeof server, ipv6 ? "[%s]:%s" : "%s:%s", url->host, url->port);
    if (reason)
        LOG_LINE(l->set.logger, LOG_WARN, event, LOG_STRING("server", server),
            LOG_STRING("use", use), LOG_STRING("reason", reason));
    else
        LOG_LINE(l->set.logger, LOG_INFO, event, LOG_STRING("server", server),
            LOG_STRING("use", use), LOG_NUMBER("attempts", l->failed));
}

/* Connects fail at a pace that nobody wants to read: why is told when it is something else. */
static void tell_failed(struct redis_link *l)
{
    uint64_t now = uv_now(l->loop);
    l->failed++;
    if (l->told_at != 0 && now - l->told_at < TOLD_MS && strcmp(l->told, l->reason) == 0)
        return;
    memcpy(l->told, l->reason, sizeof l->told);
    l->told_at = now ? now : 1;
    tell(l, "redis cannot be used", l->reason);
}

/* ---- the end of a connection ---- */

static void disconnect(struct redis_link *l)
{
    struct redis_wanted wanted;
    if (l->wire)
        redis_wire_close(l->wire);
    l->wire = NULL;
    resp_out_clear(&l->out, false);
    l->unconfirmed = 0;
    l->pinged = false;
    l->given = l->answered = l->hurried = l->wrote_at = 0;
    l->leaves = false;
    uv_timer_stop(&l->late);
    while (redis_waiting_take(&l->waiting, &wanted))
        wanted.answered(NULL, wanted.user);
}

/* Full jitter: those that lost the same server at once must not come back at once. */
static uint64_t rest_ms(unsigned attempt)
{
    uint64_t most = REST_FIRST_MS;
    uint32_t random = 0;
    while (attempt-- > 0 && most < REST_MOST_MS)
        most *= 2;
    if (most > REST_MOST_MS)
        most = REST_MOST_MS;
    if (uv_random(NULL, NULL, &random, sizeof random, 0, NULL) != 0)
        random = (uint32_t)uv_hrtime();
    return (most + 1) * random >> 32;
}

static void break_now(struct redis_link *l)
{
    bool was_up = l->was_up;
    l->state = LINK_RESTING;
    uv_idle_stop(&l->turn);
    uv_timer_stop(&l->timer);
    if (was_up && uv_now(l->loop) - l->up_at >= STEADY_MS)
        l->attempt = 0;
    else
        l->attempt++;
    disconnect(l);
    if (l->state == LINK_CLOSED)
        return;
    uv_timer_start(&l->timer, dial, rest_ms(l->attempt), 0);
    if (!was_up) {
        tell_failed(l);
        return;
    }
    tell(l, "redis lost", l->reason);
    if (l->set.events->down)
        l->set.events->down(l, l->reason, l->set.user);
}

static void break_turn(uv_idle_t *handle)
{
    break_now(handle->data);
}

void redis_link_fail(struct redis_link *l, const char *reason, struct text detail)
{
    if (l->state == LINK_BREAKING || l->state == LINK_RESTING || l->state == LINK_CLOSED)
        return;
    int len = snprintf(l->reason, sizeof l->reason, "%s%s%.*s", reason, detail.len ? ": " : "",
        (int)(detail.len < 150 ? detail.len : 150), detail.len ? detail.at : "");
    for (int i = 0; i < len && i < REASON_MOST - 1; i++)
        if (l->reason[i] < ' ' || l->reason[i] > '~')
            l->reason[i] = '?';
    l->was_up = l->state == LINK_UP;
    l->state = LINK_BREAKING;
    uv_idle_stop(&l->turn);
    uv_idle_start(&l->turn, break_turn);
}

void redis_link_break(struct redis_link *l, const char *reason)
{
    redis_link_fail(l, reason, TEXT(""));
}

/* ---- time ---- */

static void tick(uv_timer_t *timer)
{
    struct redis_link *l = timer->data;
    if (l->paused)
        return;
    l->ticks++;
    if (redis_link_awaits(l)) {
        if (l->ticks > SILENCE_TICKS)
            redis_link_fail(l, "the server is silent", TEXT(""));
    } else if (l->ticks >= PING_TICKS) {
        redis_talk_ping(l);
    }
}

/* ---- what the wire says ---- */

static void on_ready(void *user)
{
    struct redis_link *l = user;
    uint64_t pace = l->set.silence_ms / SILENCE_TICKS;
    l->state = LINK_GREETING;
    if (l->paused)
        redis_wire_read(l->wire, false);
    l->ticks = 0;
    uv_timer_start(&l->timer, tick, pace ? pace : 1, pace ? pace : 1);
    redis_greet(l);
}

static void on_bytes(void *user, const char *bytes, size_t len)
{
    redis_talk_heard(user, bytes, len);
}

static void on_read(void *user)
{
    struct redis_link *l = user;
    if (l->state == LINK_UP && l->set.events->settled)
        l->set.events->settled(l, l->set.user);
}

static void on_room(void *user)
{
    redis_link_flush(user);
}

static void on_broken(void *user, const char *reason)
{
    redis_link_fail(user, reason, TEXT(""));
}

static const struct redis_wire_events wire_events = {
    on_ready, on_bytes, on_read, on_room, on_broken};

void redis_link_up(struct redis_link *l)
{
    l->state = LINK_UP;
    l->up_at = uv_now(l->loop);
    tell(l, "redis connected", NULL);
    l->told_at = l->failed = 0;
    if (l->set.events->up)
        l->set.events->up(l, l->set.user);
}

static void dial(uv_timer_t *timer)
{
    struct redis_link *l = timer->data;
    l->state = LINK_DIALLING;
    /* One reads one connection: what it has of the last one is no beginning. */
    resp_in_free(l->in);
    l->in = resp_in_new();
    l->wire = l->in ? redis_wire_open(
                          l->loop, l->set.url, l->set.trust, l->set.silence_ms, &wire_events, l)
                    : NULL;
    if (!l->wire)
        redis_link_fail(l, "out of memory", TEXT(""));
}

/* ---- the link ---- */

struct redis_link *redis_link_new(uv_loop_t *loop, const struct redis_link_settings *settings)
{
    struct redis_link *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->loop = loop;
    l->set = *settings;
    while (settings->scripts && settings->scripts[l->scripts])
        l->scripts++;
    if (l->scripts > 0 && !(l->shas = calloc(l->scripts, sizeof *l->shas))) {
        free(l);
        return NULL;
    }
    uv_timer_init(loop, &l->timer);
    uv_timer_init(loop, &l->late);
    uv_idle_init(loop, &l->turn);
    l->handles = 3;
    l->timer.data = l->late.data = l->turn.data = l;
    uv_timer_start(&l->timer, dial, 0, 0);
    return l;
}

static void handle_closed(uv_handle_t *handle)
{
    struct redis_link *l = handle->data;
    if (--l->handles > 0)
        return;
    resp_in_free(l->in);
    resp_out_fini(&l->out);
    redis_waiting_fini(&l->waiting);
    free(l->shas);
    free(l);
}

void redis_link_close(struct redis_link *l)
{
    MUST(l->state != LINK_CLOSED);
    l->state = LINK_CLOSED;
    disconnect(l);
    uv_close((uv_handle_t *)&l->timer, handle_closed);
    uv_close((uv_handle_t *)&l->late, handle_closed);
    uv_close((uv_handle_t *)&l->turn, handle_closed);
}

void redis_link_pause(struct redis_link *l, bool yes)
{
    l->paused = yes;
    l->ticks = 0;
    if (l->wire && (l->state == LINK_GREETING || l->state == LINK_UP))
        redis_wire_read(l->wire, !yes && !l->leaves);
}

bool redis_link_is_up(const struct redis_link *l)
{
    return l->state == LINK_UP;
}

struct text redis_script(const struct redis_link *l, unsigned index)
{
    MUST_DEBUG(index < l->scripts);
    return (struct text){l->shas[index], SCRIPT_SHA};
}

struct text redis_link_run(const struct redis_link *l)
{
    return (struct text){l->run, l->run_len};
}
