/* Each worker's share of the stripes, gone through at a slow pace. */
#include "broker/sweep.h"
#include "session/worker.h"

/* SLICES: a round takes so many periods. */
enum { PERIOD_MS = 125, SLICES = 8 };

static void sweep(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    struct workshop *shop = w->shop;
    unsigned slice = w->sweeps++ % SLICES;
    if (slice == 0)
        w->sweep_on = w->rules != NULL || patterns_used(&shop->route.patterns);
    for (unsigned i = w->index + slice * shop->count; i < REGISTRY_STRIPES;
         i += SLICES * shop->count)
        w->sweep_on |= route_sweep(&shop->route, w->rules, i);
    if (slice == SLICES - 1 && !w->sweep_on)
        uv_timer_stop(timer);
}

void worker_sweep(struct worker *w)
{
    if (!uv_is_active((const uv_handle_t *)&w->sweeper))
        uv_timer_start(&w->sweeper, sweep, PERIOD_MS, PERIOD_MS);
}
