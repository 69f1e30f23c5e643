#include "session/bearer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/keys.h"
#include "auth/verifier.h"
#include "hermes/protocol.h"
#include "proto/reply.h"
#include "session/answer.h"
#include "session/carried.h"
#include "session/catch_up.h"
#include "session/worker.h"

/* BAD_TOKEN_COST: of a bad token, as so many topics listed. LOOK_MS: how long at most until the
 * clock is looked at again, which somebody may have set. */
enum { BAD_TOKEN_COST = 20000, WARN_MS = 30000, LOOK_MS = 3600 * 1000, COMPARISONS_AS_TOPIC = 16 };

static uint64_t since_1970_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- the bearer ------------------------------------------------------------------------------- */

bool bearer_may(const struct bearer *b, enum grant which, enum access access, struct text topic)
{
    if (access == ACCESS_NOBODY)
        return false;
    if (!b)
        return access == ACCESS_EVERYONE;
    const struct claims *c = b->claims;
    if (access == ACCESS_AUTHENTICATED && c->user.len == 0)
        return false;
    if (access == ACCESS_TOKEN && !(which == GRANT_PUBLISH ? c->publish : c->subscribe).limited)
        return false;
    return grants_allow(b->grants, which, topic);
}

/* Not set when it never ends. */
static void bearer_arm(struct bearer *b, uint64_t now)
{
    uint64_t next = b->warn_ms < b->end_ms ? b->warn_ms : b->end_ms;
    if (next == UINT64_MAX)
        return;
    uint64_t wait = next > now ? next - now : 0;
    wheel_set(&b->session->worker->bearers, &b->deadline, wait < LOOK_MS ? wait : LOOK_MS);
}

static void bearer_time(struct bearer *b, uint64_t leeway, uint64_t now)
{
    uint64_t expires = b->claims->expires;
    b->warn_ms = b->end_ms = UINT64_MAX;
    if (expires > UINT64_MAX / 2000)
        return;
    b->end_ms = (expires + leeway) * 1000;
    uint64_t left = b->end_ms > now ? b->end_ms - now : 0;
    b->warn_ms = b->end_ms - (left / 10 < WARN_MS ? left / 10 : WARN_MS);
}

static struct grants_list list_of(const struct claims_patterns *p)
{
    return (struct grants_list){p->at, p->count, p->limited};
}

/* Takes the claims over, whatever comes. */
static enum auth_result bearer_new(
    struct session *s, struct claims *claims, uint64_t now, struct bearer **out)
{
    const struct workshop *shop = s->worker->shop;
    struct grants_wish wish = {.presence = claims->presence};
    struct grants *grants;
    wish.lists[GRANT_SUBSCRIBE] = list_of(&claims->subscribe);
    wish.lists[GRANT_PUBLISH] = list_of(&claims->publish);
    const char *fault = grants_new(&wish, shop->limits.topic_bytes, &grants);
    struct bearer *b = fault ? NULL : malloc(sizeof *b);
    if (!b) {
        if (!fault)
            grants_drop(grants);
        claims_drop(claims);
        return fault && fault != grants_no_memory ? AUTH_BAD_CLAIMS : AUTH_NO_MEMORY;
    }
    *b = (struct bearer){.session = s, .claims = claims, .grants = grants};
    deadline_init(&b->deadline);
    bearer_time(b, s->worker->keys ? s->worker->keys->leeway : 0, now);
    *out = b;
    return AUTH_OK;
}

static void bearer_free(struct bearer *b)
{
    if (!b)
        return;
    wheel_unset(&b->session->worker->bearers, &b->deadline);
    claims_drop(b->claims);
    grants_drop(b->grants);
    free(b);
}

void session_forget_bearer(struct session *s)
{
    bearer_free(s->bearer);
    s->bearer = NULL;
}

/* --- checking a token ------------------------------------------------------------------------- */

static void count(struct worker *w, enum auth_result result)
{
    static const int metrics[AUTH_RESULT_COUNT] = {
        [AUTH_OK] = METRIC_tokens_accepted_total,
        [AUTH_MALFORMED] = METRIC_tokens_malformed_total,
        [AUTH_NO_KEY] = METRIC_tokens_forged_total,
        [AUTH_BAD_SIGNATURE] = METRIC_tokens_forged_total,
        [AUTH_BAD_CLAIMS] = METRIC_tokens_malformed_total,
        [AUTH_EXPIRED] = METRIC_tokens_expired_total,
        [AUTH_NOT_YET] = METRIC_tokens_expired_total,
        [AUTH_WRONG_ISSUER] = METRIC_tokens_misdirected_total,
        [AUTH_WRONG_AUDIENCE] = METRIC_tokens_misdirected_total,
        [AUTH_DENIED] = METRIC_tokens_denied_total,
        [AUTH_NO_MEMORY] = -1,
    };
    if (metrics[result] >= 0)
        metric_add(&w->metrics, (enum metric)metrics[result], 1);
    if (result != AUTH_OK)
        LOG_LIMITED(w->shop->logger, LIMIT_TOKEN, LOG_INFO, "token refused",
            LOG_STRING("reason", auth_result_word(result)));
}

/* Makes the session its bearer when it holds, or leaves everything as it is. */
static enum auth_result bear(struct session *s, struct text token)
{
    struct worker *w = s->worker;
    struct bearer *b = NULL;
    struct claims *claims;
    uint64_t now = since_1970_ms();
    enum auth_result result =
        w->verifier ? verifier_check(w->verifier, token, now / 1000, &claims) : AUTH_NO_MEMORY;
    if (result == AUTH_OK)
        result = bearer_new(s, claims, now, &b);
    count(w, result);
    if (!b)
        return result;
    bearer_free(s->bearer);
    s->bearer = b;
    bearer_arm(b, now);
    return AUTH_OK;
}

/* --- tokens of a handshake -------------------------------------------------------------------- */

bool session_certified(struct session *s, struct text user)
{
    struct claims *claims = claims_of_user(user);
    return claims && bearer_new(s, claims, since_1970_ms(), &s->bearer) == AUTH_OK;
}

bool session_admit(struct session *s, const struct http_head *head, struct admission *refusal)
{
    struct carried carried;
    if (!s->worker->keys)
        return true;
    if (s->bearer && deny_has(&s->worker->keys->deny.users, s->bearer->claims->user)) {
        count(s->worker, AUTH_DENIED);
        *refusal = (struct admission){.status = 401, .text = auth_result_text(AUTH_DENIED)};
        return false;
    }
    carried_find(&carried, head);
    if (carried.count == 0)
        return true;
    if (carried.count > 1) {
        *refusal = (struct admission){.status = 400, .text = "Give one token, and in one way."};
    } else {
        enum auth_result result = bear(s, carried.token);
        if (result == AUTH_OK)
            return true;
        *refusal = (struct admission){
            .status = result == AUTH_NO_MEMORY ? 503 : 401, .text = auth_result_text(result)};
    }
    return false;
}

/* --- the command auth ------------------------------------------------------------------------- */

/* A subscription that is to end; behind this its name. */
struct ended {
    uint32_t len;
    bool is_pattern;
};

static void note_end(struct buf *out, struct text name, bool is_pattern)
{
    struct ended ended = {(uint32_t)name.len, is_pattern};
    buf_append(out, &ended, sizeof ended);
    buf_append_text(out, name);
}

static bool may_keep(const struct session *s, struct text name, bool is_pattern)
{
    return is_pattern ? session_may_pattern(s, name)
                      : session_may(s, GRANT_SUBSCRIBE, worker_rule(s->worker, name).rule, name);
}

/* Notes all that the session may not have any more, and watches no more than it may. */
static void find_ends(struct session *s, struct buf *ends)
{
    const struct route *route = &s->worker->shop->route;
    bool sees = session_may_see(s);
    struct subscription *subscription;
    for (uint32_t at = 0; (subscription = subscriber_next(&s->subscriber, &at)) != NULL;) {
        const struct local_topic *local = subscription->topic;
        struct text name = local->is_pattern ? pattern_text(&route->patterns, local->pattern)
                                             : registry_name(&route->registry, local->registered);
        if (!may_keep(s, name, local->is_pattern))
            note_end(ends, name, local->is_pattern);
        else if (subscription->watches && !sees)
            session_change(s, subscription, (enum policy)subscription->policy, false);
    }
    for (struct catch_up *c = s->catch_ups; c; c = catch_up_next(c)) {
        if (!may_keep(s, catch_up_name(c), false))
            note_end(ends, catch_up_name(c), false);
        else if (!sees)
            catch_up_unwatch(c);
    }
}

/* Ends what the new token does not grant, and tells it. */
static void end_ungranted(struct session *s)
{
    struct buf ends = {0};
    find_ends(s, &ends);
    if (ends.failed)
        session_close(s, CLOSE_NO_MEMORY);
    for (size_t at = 0; at < ends.len && s->state == SESSION_OPEN;) {
        struct ended ended;
        memcpy(&ended, ends.data + at, sizeof ended);
        struct text name = {ends.data + at + sizeof ended, ended.len};
        at += sizeof ended + ended.len;
        if (session_leave(s, name, ended.is_pattern) != LEAVE_OK)
            continue;
        struct fault fault = {.code = ERROR_FORBIDDEN};
        fault.message = ended.is_pattern ? TEXT(HERMES_TEXT_MAY_NOT_PATTERN)
                                         : TEXT(HERMES_TEXT_MAY_NOT_SUBSCRIBE);
        *(ended.is_pattern ? &fault.pattern : &fault.topic) = name;
        answer_error(s, &fault);
    }
    buf_fini(&ends);
}

static void refuse(struct session *s, const struct command *c, enum auth_result result)
{
    enum error_code code = result == AUTH_EXPIRED     ? ERROR_TOKEN_EXPIRED
                           : result == AUTH_NO_MEMORY ? ERROR_UNAVAILABLE
                                                      : ERROR_UNAUTHORIZED;
    answer_error(s,
        &(struct fault){.code = code, .message = text_of(auth_result_text(result)), .id = c->id});
    worker_listed(s->worker, s, BAD_TOKEN_COST);
}

void session_authenticate(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct fault fault = {
        .code = ERROR_UNAVAILABLE, .message = TEXT(HERMES_TEXT_NO_TOKENS), .id = c->id};
    if (!w->keys) {
        answer_error(s, &fault);
        return;
    }
    if (!worker_may_list(w, s)) {
        fault.code = ERROR_RATE_LIMITED;
        fault.message = TEXT(HERMES_TEXT_TOKENS);
        answer_error(s, &fault);
        return;
    }
    enum auth_result result = bear(s, c->token);
    if (result != AUTH_OK) {
        refuse(s, c, result);
        return;
    }
    size_t looked = (s->subscriber.count + (size_t)s->catching) * (1 + session_patterns(s));
    end_ungranted(s);
    if (s->state != SESSION_OPEN)
        return;
    uint64_t expires = s->bearer->claims->expires;
    reply2_authenticated(answer_begin(s), c->id, expires == CLAIMS_NEVER ? NULL : &expires);
    answer_send(s);
    worker_listed(w, s, looked / COMPARISONS_AS_TOPIC);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void warn(struct session *s)
{
    struct worker *w = s->worker;
    time_t expires = (time_t)s->bearer->claims->expires;
    struct tm tm;
    char when[32] = "";
    char text[128];
    if (gmtime_r(&expires, &tm))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(text, sizeof text, HERMES_TEXT_TOKEN_EXPIRES_START "%s: %s.", when,
        s->enveloped && !s->conn.unframed ? "send a new one by auth"
                                          : "connect again with a new one");
    buf_clear(&w->scratch);
    if (s->enveloped)
        reply2_error(&w->scratch, ERROR_TOKEN_EXPIRED, text_of(text), TEXT(""), TEXT(""), TEXT(""));
    else
        reply_error(&w->scratch, text_of(text));
    metric_add(&w->metrics, METRIC_errors_sent_total, 1);
    if (!w->scratch.failed)
        session_send(s, buf_text(&w->scratch));
}

void bearer_due(struct deadline *d, void *user)
{
    struct bearer *b = LIST_ITEM(d, struct bearer, deadline);
    uint64_t now = since_1970_ms();
    (void)user;
    if (now >= b->end_ms) {
        session_close(b->session, CLOSE_TOKEN_EXPIRED);
        return;
    }
    if (now >= b->warn_ms) {
        b->warn_ms = UINT64_MAX;
        warn(b->session);
    }
    bearer_arm(b, now);
}

/* --- other keys ------------------------------------------------------------------------------- */

static void close_if_denied(void *item, void *user)
{
    struct session *s = item;
    const struct deny *deny = user;
    if (s->state != SESSION_OPEN || !s->bearer)
        return;
    const struct claims *c = s->bearer->claims;
    if (deny_has(&deny->ids, c->id) || deny_has(&deny->users, c->user))
        session_close(s, CLOSE_REVOKED);
}

void worker_take_keys(struct worker *w)
{
    struct auth_keys *keys = keys_box_take(&w->shop->keys);
    if (keys == w->keys && (!keys || w->verifier)) {
        auth_keys_drop(keys);
        return;
    }
    verifier_free(w->verifier);
    auth_keys_drop(w->keys);
    w->keys = keys;
    w->verifier = keys ? verifier_new(keys) : NULL;
    if (keys && !w->verifier)
        LOG_LINE(w->shop->logger, LOG_ERROR, "no token can be checked",
            LOG_STRING("reason", "out of memory"));
    if (keys && (keys->deny.ids.count > 0 || keys->deny.users.count > 0))
        slab_each(&w->sessions, close_if_denied, &keys->deny);
}
