#include "loop/wheel.h"

#include "base/die.h"

static void wheel_turn(uv_timer_t *timer);

int wheel_open(
    struct wheel *w, uv_loop_t *loop, void (*met)(struct deadline *d, void *user), void *user)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
    w->armed = 0;
    w->count = 0;
    w->met = met;
    w->user = user;
    int code = uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    w->now = code == 0 ? wheel_tick(w) : 0;
    return code;
}

void wheel_close(struct wheel *w, uv_close_cb closed)
{
    MUST(w->count == 0);
    uv_close((uv_handle_t *)&w->timer, closed);
}

void deadline_init(struct deadline *d)
{
    list_init(&d->node);
    d->due = 0;
}

uint32_t wheel_tick(const struct wheel *w)
{
    /* 1 and up, so that 0 can mean "not armed"; 32 bits of ticks last eight years. */
    return (uint32_t)(uv_now(w->timer.loop) / WHEEL_TICK_MS) + 1;
}

static void arm(struct wheel *w, uint32_t tick)
{
    uint64_t now = uv_now(w->timer.loop);
    uint64_t at = (uint64_t)(tick - 1) * WHEEL_TICK_MS;
    uv_timer_start(&w->timer, wheel_turn, at > now ? at - now : 0, 0);
    w->armed = tick;
}

static uint32_t due_after(const struct wheel *w, uint64_t ms)
{
    uint64_t at = uv_now(w->timer.loop) + ms;
    return (uint32_t)((at + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS) + 1;
}

void wheel_set(struct wheel *w, struct deadline *d, uint64_t ms)
{
    wheel_unset(w, d);
    uint32_t due = due_after(w, ms);
    if (due <= w->now)
        due = w->now + 1;
    d->due = due;
    list_append(&w->slots[due % WHEEL_SLOTS], &d->node);
    if (w->count++ == 0 || w->armed == 0 || due < w->armed)
        arm(w, due);
}

void wheel_unset(struct wheel *w, struct deadline *d)
{
    if (list_empty(&d->node))
        return;
    list_remove(&d->node);
    if (--w->count == 0) {
        uv_timer_stop(&w->timer);
        w->armed = 0;
    }
}

void wheel_hasten(struct wheel *w, struct deadline *d, uint64_t ms)
{
    if (list_empty(&d->node) || d->due > due_after(w, ms))
        wheel_set(w, d, ms);
}

/* Deadlines of one slot that are due; those of later rounds stay. */
static void meet_slot(struct wheel *w, struct list *slot, uint32_t now)
{
    struct list due;
    list_init(&due);
    for (struct list *node = slot->next, *next; node != slot; node = next) {
        next = node->next;
        if (LIST_ITEM(node, struct deadline, node)->due > now)
            continue;
        list_remove(node);
        list_append(&due, node);
    }
    /* On a list of their own, so that `met` may set deadlines into this slot and unset any. */
    while (!list_empty(&due)) {
        struct deadline *d = LIST_ITEM(due.next, struct deadline, node);
        list_remove(&d->node);
        w->count--;
        w->met(d, w->user);
    }
}

static void wheel_turn(uv_timer_t *timer)
{
    struct wheel *w = timer->data;
    uint32_t now = wheel_tick(w);
    uint32_t from = w->now + 1;
    w->armed = 0;
    w->now = now;
    if (now - from >= WHEEL_SLOTS)
        from = now - WHEEL_SLOTS + 1;
    for (uint32_t tick = from; (int32_t)(now - tick) >= 0; tick++)
        meet_slot(w, &w->slots[tick % WHEEL_SLOTS], now);
    if (w->count == 0) {
        uv_timer_stop(&w->timer);
        w->armed = 0;
        return;
    }
    /* The next slot with anything in it: at the latest one round from now. */
    uint32_t next = now + 1;
    while (next < now + WHEEL_SLOTS && list_empty(&w->slots[next % WHEEL_SLOTS]))
        next++;
    arm(w, next);
}
