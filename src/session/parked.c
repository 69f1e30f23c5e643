#include "session/parked.h"

#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "broker/topic_name.h"
#include "proto/command.h"
#include "session/answer.h"
#include "session/aside.h"
#include "session/bearer.h"
#include "session/catch_up.h"
#include "session/far.h"
#include "session/worker.h"

/* AHEAD_MOST: errands of one session that are under way at once. TRIES: how often what was had for
 * a command may be gone again when its turn comes. TURN_MOST: commands done in one turn. PART: of
 * the budget, for the commands of all. */
enum { AHEAD_MOST = 256, TRIES = 3, TURN_MOST = 512, PART = 16 };

/* A command that waits. */
struct parked {
    struct list node; /* in the session's */
    struct session *session;
    struct list waits; /* struct far_wait */
    uint32_t left;     /* of those, that are not back */
    uint32_t at;       /* the name that is being looked at, while it is done */
    uint8_t tries;     /* waits for its first name */
    bool looked;       /* what it wants has been asked for */
    bool fetches;      /* of the past: one piece at a time, for the first command alone */
    bool again;        /* it has been begun, and so paid for */
    bool behind;       /* it waits for what the session has published */
    bool answer;       /* no command, but an answer that has to wait */
    size_t found;      /* bytes that its errands have brought */
    size_t len;
    char text[];
};

/* --- errands ---------------------------------------------------------------------------------- */

static void wait_free(struct far_wait *wait)
{
    buf_fini(&wait->errand.found);
    free(wait);
}

static void wait_lost(struct errand *e)
{
    wait_free(LIST_ITEM(e, struct far_wait, errand));
}

static struct parked *first_of(const struct aside *a)
{
    return list_empty(&a->commands) ? NULL : LIST_ITEM(a->commands.next, struct parked, node);
}

/* Its first command has what it waited for. */
static void go_on(struct session *s)
{
    struct aside *a = s->aside;
    if (list_empty(&a->resumable))
        list_append(&s->worker->resumable, &a->resumable);
}

static void wait_done(struct errand *e)
{
    struct far_wait *wait = LIST_ITEM(e, struct far_wait, errand);
    struct parked *p = wait->parked;
    if (!p) {
        wait_free(wait);
        return;
    }
    struct session *s = p->session;
    size_t found = e->found.len;
    wait->back = true;
    p->found += found;
    s->aside->parked_bytes += found;
    s->worker->parked_bytes += found;
    s->aside->under_way--;
    if (--p->left == 0 && first_of(s->aside) == p)
        go_on(s);
}

/* What the wait is for has been asked for, or, without memory, not. */
static bool send_errand(struct parked *p, const struct command *c, struct text name, uint32_t index,
    enum errand_kind kind)
{
    struct session *s = p->session;
    struct worker *w = s->worker;
    struct far_wait *wait = calloc(1, sizeof *wait + name.len);
    if (!wait)
        return false;
    memcpy(wait->name, name.at, name.len);
    wait->parked = p;
    wait->index = index;
    wait->joins = c->kind == COMMAND_SUBSCRIBE;
    struct errand *e = &wait->errand;
    e->kind = kind;
    e->home = &w->box;
    e->done = wait_done;
    e->lost = wait_lost;
    e->name = (struct text){wait->name, name.len};
    e->hash = registry_hash(&w->shop->route.registry, name);
    e->weight = (uint32_t)(sizeof *wait + name.len);
    list_init(&e->node);
    if (kind == ERRAND_FETCH)
        far_fetch(e, s, c, worker_rule(w, name));
    else
        e->watches = c->presence && s->enveloped;
    list_append(&p->waits, &e->node);
    p->fetches |= kind == ERRAND_FETCH;
    p->left++;
    s->aside->under_way++;
    s->aside->joining += wait->joins;
    backplane_send(&w->shop->route, e);
    return true;
}

/* --- looking at what a command will want ------------------------------------------------------ */

/* From the name of that index on, as far as there is room. */
static void look_at_topics(struct parked *p, struct command *c, uint32_t from)
{
    struct session *s = p->session;
    struct worker *w = s->worker;
    const struct aside *a = s->aside;
    struct text name = c->topic;
    bool more = c->topics.len == 0 || command_next_topic(&c->topics, &name);
    for (uint32_t i = 0; more; i++) {
        struct route_rule rule = worker_rule(w, name);
        enum errand_kind kind;
        if (a->under_way >= AHEAD_MOST && (p != first_of(a) || p->left >= AHEAD_MOST))
            return;
        if (c->kind == COMMAND_SUBSCRIBE && !session_has_room(s, a->joining))
            return;
        if (i >= from && !topic_name_fault(name, w->shop->limits.topic_bytes) &&
            session_may(s, GRANT_SUBSCRIBE, rule.rule, name) &&
            (!c->presence || (rule.rule->presence && session_may_see(s))) &&
            far_lacks(s, c, name, registry_hash(&w->shop->route.registry, name), rule, &kind) &&
            (kind != ERRAND_FETCH || (p == first_of(a) && !p->fetches)))
            send_errand(p, c, name, i, kind);
        more = c->topics.len > 0 && command_next_topic(&c->topics, &name);
    }
}

static void look_at_pattern(struct parked *p, const struct command *c)
{
    struct session *s = p->session;
    if (session_has_room(s, s->aside->joining) &&
        !pattern_fault(c->pattern, s->worker->shop->limits.topic_bytes) &&
        session_may_pattern(s, c->pattern) && (!c->presence || session_may_see(s)))
        send_errand(p, c, c->pattern, 0, ERRAND_PATTERN);
}

/* Reads a copy, for reading changes the text. Whatever is not asked for now will be when its turn
 * comes. */
static void look(struct parked *p, uint32_t from)
{
    struct session *s = p->session;
    struct command c;
    char *copy = malloc(p->len);
    p->looked = true;
    if (!copy)
        return;
    memcpy(copy, p->text, p->len);
    command_decode(&c, copy, p->len, s->enveloped ? 2 : 1);
    if (c.kind == COMMAND_SUBSCRIBE && c.pattern.len > 0 && from == 0)
        look_at_pattern(p, &c);
    else if (c.kind == COMMAND_SUBSCRIBE && c.pattern.len == 0)
        look_at_topics(p, &c, from); /* a history is paid for first, so its turn has to come */
    explicit_bzero(copy, p->len);
    free(copy);
}

static void look_ahead(struct aside *a)
{
    for (struct list *at = a->commands.next; at != &a->commands; at = at->next) {
        struct parked *p = LIST_ITEM(at, struct parked, node);
        if (a->under_way >= AHEAD_MOST && p != first_of(a))
            return;
        if (!p->looked)
            look(p, 0);
    }
}

/* --- the row of commands ---------------------------------------------------------------------- */

static size_t size_of(const struct parked *p)
{
    return sizeof *p + p->len + p->found;
}

static bool is_full(const struct session *s, size_t part)
{
    const struct worker *w = s->worker;
    size_t most = w->log.budget / PART;
    return s->aside->parked_bytes > PARKED_MOST / part ||
           (most != 0 && w->parked_bytes > most && s->aside->parked_bytes > 0);
}

static struct parked *parked_new(struct session *s, size_t len)
{
    struct aside *a = session_aside(s);
    struct parked *p = a ? malloc(sizeof *p + len) : NULL;
    if (!p) {
        session_close(s, CLOSE_NO_MEMORY);
        return NULL;
    }
    *p = (struct parked){.session = s, .len = len};
    list_init(&p->waits);
    a->parked_bytes += size_of(p);
    s->worker->parked_bytes += size_of(p);
    s->parked = true;
    return p;
}

/* Takes it out of the row. */
static void unpark(struct parked *p)
{
    struct session *s = p->session;
    list_remove(&p->node);
    s->aside->parked_bytes -= size_of(p);
    s->worker->parked_bytes -= size_of(p);
}

static void parked_free(struct parked *p)
{
    for (struct list *at = p->waits.next, *next; at != &p->waits; at = next) {
        struct errand *e = LIST_ITEM(at, struct errand, node);
        struct far_wait *wait = LIST_ITEM(e, struct far_wait, errand);
        next = at->next;
        list_remove(at);
        wait->parked = NULL;
        if (p->session->aside) {
            p->session->aside->joining -= wait->joins;
            p->session->aside->under_way -= !wait->back;
        }
        if (wait->back)
            wait_free(wait);
    }
    explicit_bzero(p->text, p->len);
    free(p);
}

static void hold_if_full(struct session *s)
{
    if (!s->held && is_full(s, 1)) {
        s->held = true;
        session_watch(s);
    }
}

static void release_if_room(struct session *s)
{
    if (s->held && !is_full(s, 2)) {
        s->held = false;
        session_watch(s);
    }
}

void session_keep(struct session *s, size_t bytes)
{
    s->aside->parked_bytes += bytes;
    s->worker->parked_bytes += bytes;
    hold_if_full(s);
}

void session_keep_less(struct session *s, size_t bytes)
{
    s->aside->parked_bytes -= bytes;
    s->worker->parked_bytes -= bytes;
    if (s->state == SESSION_OPEN)
        release_if_room(s);
}

void session_park(struct session *s, char *text, size_t len)
{
    struct parked *p = parked_new(s, len);
    if (!p)
        return;
    memcpy(p->text, text, len);
    explicit_bzero(text, len);
    list_append(&s->aside->commands, &p->node);
    if (s->aside->under_way < AHEAD_MOST)
        look(p, 0);
    hold_if_full(s);
}

bool session_answers_later(struct session *s)
{
    if (!s->worker->shop->route.backplane)
        return false;
    worker_post_gathered(s->worker);
    return session_publishes_far(s) || (s->parked && !s->aside->current);
}

void session_park_answer(struct session *s, struct text frames)
{
    struct parked *p = parked_new(s, frames.len);
    if (!p)
        return;
    struct aside *a = s->aside;
    memcpy(p->text, frames.at, frames.len);
    p->answer = p->looked = true;
    p->behind = a->current || list_empty(&a->commands);
    list_append(a->current ? a->commands.next : &a->commands, &p->node);
    if (p->behind)
        session_hurry_far(s);
    hold_if_full(s);
}

void session_park_behind_publishes(struct session *s, struct text text, bool again)
{
    struct parked *p = parked_new(s, text.len);
    if (!p)
        return;
    memcpy(p->text, text.at, text.len);
    p->again = again;
    p->behind = true;
    list_append(s->aside->commands.next, &p->node); /* in front of the first */
    session_hurry_far(s);
}

void session_published_far(struct session *s)
{
    const struct parked *p = first_of(s->aside);
    if (p && p->behind && p->left == 0)
        go_on(s);
}

void session_wait(struct session *s, const struct command *c, const struct text *names,
    size_t count, enum errand_kind kind)
{
    struct parked *before = s->aside ? s->aside->current : NULL;
    struct buf text = {0};
    far_command_write(&text, s, c, names, count);
    struct parked *p = text.failed ? NULL : parked_new(s, text.len);
    if (text.failed)
        session_close(s, CLOSE_NO_MEMORY);
    if (p) {
        memcpy(p->text, text.data, text.len);
        p->again = true;
        p->looked = true;
        if (before && before->at == 0)
            p->tries = before->tries + 1;
        list_append(s->aside->commands.next, &p->node); /* in front of the first */
        if (!send_errand(p, c, c->pattern.len ? c->pattern : names[0], 0, kind))
            session_close(s, CLOSE_NO_MEMORY);
        else
            look(p, 1);
    }
    buf_fini(&text);
}

struct far_wait *session_waited(struct session *s, uint32_t index)
{
    struct parked *p = s->aside ? s->aside->current : NULL;
    if (!p)
        return NULL;
    p->at = index;
    for (struct list *at = p->waits.next, *next; at != &p->waits; at = next) {
        struct far_wait *wait =
            LIST_ITEM(LIST_ITEM(at, struct errand, node), struct far_wait, errand);
        next = at->next;
        if (wait->index >= index)
            return wait->index == index ? wait : NULL;
        list_remove(at);
        s->aside->joining -= wait->joins;
        wait_free(wait);
    }
    return NULL;
}

bool session_waited_enough(const struct session *s)
{
    const struct parked *p = s->aside ? s->aside->current : NULL;
    return p && p->at == 0 && p->tries >= TRIES;
}

/* If it is a publish. */
static void publish_last(struct parked *p)
{
    struct command c;
    if (p->answer)
        return;
    command_decode(&c, p->text, p->len, p->session->enveloped ? 2 : 1);
    c.id = TEXT("");
    if (c.kind == COMMAND_PUBLISH)
        session_publish(p->session, &c);
}

void session_forget_parked(struct session *s)
{
    struct aside *a = s->aside;
    if (!s->parked)
        return;
    s->parked = false;
    s->held = false;
    list_remove(&a->resumable);
    worker_post_gathered(s->worker);
    s->state = SESSION_CLOSING; /* nobody is answered, and no publish waits for another */
    for (struct list *at = a->commands.next, *next; at != &a->commands; at = next) {
        struct parked *p = LIST_ITEM(at, struct parked, node);
        next = at->next;
        unpark(p);
        publish_last(p);
        parked_free(p);
    }
    worker_post_gathered(s->worker);
    s->state = SESSION_OPEN;
}

/* --- going on --------------------------------------------------------------------------------- */

/* Nothing waits any more. */
static void unparked(struct session *s)
{
    int farewell = s->aside->farewell;
    s->parked = false;
    list_remove(&s->aside->resumable); /* something may have linked it again meanwhile */
    session_tidy_aside(s);
    if (farewell != 0)
        session_part(s, farewell);
}

/* Whether it has to wait for what the session has published. */
static bool waits(struct parked *p)
{
    struct session *s = p->session;
    if (p->answer && !p->behind) {
        worker_post_gathered(s->worker);
        p->behind = session_publishes_far(s);
        if (p->behind)
            session_hurry_far(s);
    }
    return p->behind && session_publishes_far(s);
}

static void say(struct session *s, const struct parked *p)
{
    buf_append(answer_begin(s), p->text, p->len);
    answer_send(s);
}

/* Does what can be done, up to `*most` commands. */
static void resume(struct session *s, unsigned *most)
{
    struct worker *w = s->worker;
    struct aside *a;
    struct parked *p;
    while (*most > 0 && s->state == SESSION_OPEN && (a = s->aside) != NULL &&
           (p = first_of(a)) != NULL) {
        if (!p->looked)
            look(p, 0);
        if (p->left > 0 || waits(p))
            break;
        unpark(p);
        a->current = p;
        if (p->answer)
            say(s, p);
        else
            session_obey(s, p->text, p->len, p->again);
        if (s->aside)
            s->aside->current = NULL;
        parked_free(p);
        --*most;
    }
    worker_post_gathered(w);
    a = s->aside;
    if (s->state != SESSION_OPEN || !a)
        return;
    look_ahead(a);
    p = first_of(a);
    release_if_room(s);
    if (!p)
        unparked(s);
    else if (p->left == 0 && !waits(p))
        go_on(s);
}

bool worker_resume_parked(struct worker *w)
{
    unsigned most = TURN_MOST;
    while (most > 0 && !list_empty(&w->resumable)) {
        struct aside *a = LIST_ITEM(w->resumable.next, struct aside, resumable);
        list_remove(&a->resumable);
        resume(a->session, &most);
    }
    return !list_empty(&w->resumable);
}
