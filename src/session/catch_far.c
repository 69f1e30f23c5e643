/* Catching up with a far topic, of whose past only a part is kept here: the rest is fetched, one
 * piece at a time. */
#include <stdlib.h>
#include <string.h>

#include "session/catch_up_state.h"
#include "session/far.h"
#include "session/worker.h"

/* Milliseconds until what could not be had is asked for again; doubled each time, up to so much. */
enum { AGAIN_MS = 100, AGAIN_DOUBLED = 4 };

struct far_piece {
    struct errand errand;
    struct catch_up *catch_up; /* NULL: it has ended */
    char name[];
};

static void piece_free(struct far_piece *piece)
{
    buf_fini(&piece->errand.found);
    free(piece);
}

static void lost(struct errand *e)
{
    piece_free(LIST_ITEM(e, struct far_piece, errand));
}

void catch_up_drop_found(struct catch_up *c)
{
    c->session->worker->catching_found -= c->found.len;
    buf_fini(&c->found);
    c->found_count = 0;
}

void catch_up_take(struct catch_up *c, struct errand *e)
{
    catch_up_drop_found(c);
    c->session->worker->catching_found += e->found.len;
    c->found = e->found;
    c->found_first = e->first;
    c->found_count = e->count;
    e->found = (struct buf){0};
}

/* The next turn gives pieces to those whose time has come. */
static void look_again(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    bool more = false;
    for (struct list *at = w->catching.next; at != &w->catching; at = at->next) {
        struct catch_up *c = LIST_ITEM(at, struct catch_up, node);
        if (c->again_ms <= uv_now(&w->loop))
            c->again_ms = 0;
        more |= c->again_ms > 0;
    }
    if (!more)
        uv_timer_stop(timer);
}

/* For as long as it takes: it is there, and a gap is told of what is not. */
static void ask_again(struct catch_up *c)
{
    struct worker *w = c->session->worker;
    c->again_ms = uv_now(&w->loop) + ((uint64_t)AGAIN_MS << c->failures);
    c->failures += c->failures < AGAIN_DOUBLED;
    if (!uv_is_active((uv_handle_t *)&w->catching_again))
        uv_timer_start(&w->catching_again, look_again, AGAIN_MS, AGAIN_MS);
}

/* What Redis does not have is gone; that is not asked for twice. */
static void take(struct catch_up *c, struct errand *e)
{
    bool good = e->outcome == ERRAND_DONE && e->epoch == c->epoch && e->count > 0;
    c->failures = 0;
    c->gone = good ? e->first : UINT64_MAX;
    if (good)
        catch_up_take(c, e);
}

static void done(struct errand *e)
{
    struct far_piece *piece = LIST_ITEM(e, struct far_piece, errand);
    struct catch_up *c = piece->catch_up;
    if (c) {
        c->fetching = NULL;
        c->session->fetching = false;
        if (e->outcome == ERRAND_UNAVAILABLE && !e->refused)
            ask_again(c);
        else
            take(c, e);
    }
    piece_free(piece);
}

void catch_up_forget_fetched(struct catch_up *c)
{
    if (c->fetching) {
        c->fetching->catch_up = NULL;
        c->session->fetching = false;
    }
    c->fetching = NULL;
    catch_up_drop_found(c);
}

bool catch_up_fetch(struct catch_up *c, uint64_t first)
{
    struct worker *w = c->session->worker;
    struct text name = {c->name, c->name_len};
    struct route_rule rule = worker_rule(w, name);
    if (c->gone >= first || rule.rule->history.messages == 0 ||
        !route_is_far(&w->shop->route, rule.rule))
        return false;
    c->wants = c->session->fetching;
    if (c->wants)
        return true;
    struct far_piece *piece = calloc(1, sizeof *piece + c->name_len);
    if (!piece)
        return false;
    memcpy(piece->name, c->name, c->name_len);
    piece->catch_up = c;
    struct errand *e = &piece->errand;
    e->kind = ERRAND_FETCH;
    e->home = &w->box;
    e->done = done;
    e->lost = lost;
    e->hash = c->hash;
    e->name = (struct text){piece->name, c->name_len};
    e->weight = (uint32_t)(sizeof *piece + c->name_len);
    e->from = c->next;
    e->most = UINT32_MAX;
    e->bytes = CATCH_UP_PIECE;
    far_fetch_limits(e, rule);
    c->fetching = piece;
    c->session->fetching = true;
    backplane_send(&w->shop->route, e);
    return true;
}
