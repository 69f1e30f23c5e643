#include "ramp.h"

static void go_on(struct ramp *r)
{
    if (r->going)
        return;
    r->going = true;
    uint64_t now = uv_hrtime();
    while (r->next < r->count) {
        uint64_t moment = now;
        if (r->interval > 0) {
            moment = r->start + (uint64_t)((double)r->next * r->interval);
            if (moment > now) {
                pacer_set(&r->pacer, moment);
                break;
            }
        } else if (r->under_way >= r->most) {
            break;
        }
        r->under_way++;
        r->open(r->user, r->next++, moment);
    }
    r->going = false;
}

static void on_due(void *user)
{
    go_on(user);
}

bool ramp_open(struct ramp *r, uv_loop_t *loop, void (*open)(void *, size_t, uint64_t), void *user)
{
    *r = (struct ramp){.open = open, .user = user};
    return pacer_open(&r->pacer, loop, on_due, r);
}

void ramp_close(struct ramp *r)
{
    ramp_stop(r);
    pacer_close(&r->pacer);
}

void ramp_start(struct ramp *r, size_t count, double rate, uint64_t start, size_t most)
{
    r->count = count;
    r->next = 0;
    r->under_way = 0;
    r->most = most;
    r->start = start;
    r->interval = rate > 0 ? 1e9 / rate : 0;
    /* From the loop, where an open that fails at once finds everything in place. */
    pacer_set(&r->pacer, r->interval > 0 ? start : 1);
}

void ramp_stop(struct ramp *r)
{
    r->count = r->next = 0;
    pacer_unset(&r->pacer);
}

void ramp_settled(struct ramp *r)
{
    if (r->under_way > 0)
        r->under_way--;
    if (r->interval == 0)
        go_on(r);
}
