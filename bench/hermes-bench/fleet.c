#include "fleet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

void tally_clear(struct tally *t)
{
    memset(t, 0, sizeof *t);
}

void faults_add(struct report_faults *into, const struct report_faults *from)
{
    into->lost += from->lost;
    into->doubled += from->doubled;
    into->reordered += from->reordered;
    into->disordered += from->disordered;
    into->damaged += from->damaged;
    into->refused += from->refused;
    into->closed += from->closed;
    into->unconnected += from->unconnected;
    into->misnumbered += from->misnumbered;
    into->unrecovered += from->unrecovered;
}

void tally_add(struct tally *into, const struct tally *from)
{
    into->published += from->published;
    into->deliveries += from->deliveries;
    into->bytes += from->bytes;
    into->connects += from->connects;
    into->leaves += from->leaves;
    histogram_add(&into->latency, &from->latency);
    histogram_add(&into->connect, &from->connect);
    histogram_add(&into->served, &from->served);
    histogram_add(&into->late, &from->late);
    faults_add(&into->faults, &from->faults);
    if (!into->said[0])
        memcpy(into->said, from->said, sizeof into->said);
}

void tally_say(struct tally *t, const char *format, ...)
{
    if (t->said[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(t->said, sizeof t->said, format, args);
    va_end(args);
}

static void on_async(uv_async_t *async)
{
    struct lane *lane = async->data;
    void (*call)(struct lane *, void *) = atomic_exchange(&lane->call, NULL);
    if (call) {
        call(lane, lane->call_user);
        if (lane->stop) {
            uv_close((uv_handle_t *)&lane->async, NULL);
            hermes_client_group_free(lane->group);
        }
        sem_post(&lane->done);
    }
    if (lane->on_wake && !lane->stop)
        lane->on_wake(lane);
}

static void run(void *user)
{
    struct lane *lane = user;
    uv_run(&lane->loop, UV_RUN_DEFAULT);
}

static int lane_open(struct lane *lane)
{
    int code = uv_loop_init(&lane->loop);
    if (code != 0)
        return code;
    lane->async.data = lane;
    sem_init(&lane->done, 0, 0);
    tally_clear(&lane->tally);
    code = uv_async_init(&lane->loop, &lane->async, on_async);
    if (code == 0 && !(lane->group = hermes_client_group_new(&lane->loop, NULL)))
        code = UV_ENOMEM;
    return code == 0 ? uv_thread_create(&lane->thread, run, lane) : code;
}

bool fleet_open(struct fleet *fleet, unsigned count, char *fault, size_t fault_size)
{
    fleet->lanes = memory_new(count, sizeof *fleet->lanes);
    for (fleet->count = 0; fleet->count < count; fleet->count++) {
        struct lane *lane = &fleet->lanes[fleet->count];
        lane->fleet = fleet;
        lane->index = fleet->count;
        int code = lane_open(lane);
        if (code != 0) {
            /* The program ends then: what the thread that failed had is not taken back. */
            snprintf(
                fault, fault_size, "cannot start thread %u: %s", lane->index, uv_strerror(code));
            return false;
        }
    }
    return true;
}

static void lane_call(struct lane *lane, void (*call)(struct lane *, void *), void *user)
{
    lane->call_user = user;
    atomic_store(&lane->call, call);
    uv_async_send(&lane->async);
    while (sem_wait(&lane->done) != 0)
        ;
}

void fleet_call(struct fleet *fleet, void (*call)(struct lane *lane, void *user), void *user)
{
    for (unsigned i = 0; i < fleet->count; i++)
        lane_call(&fleet->lanes[i], call, user);
}

static void stop(struct lane *lane, void *user)
{
    (void)user;
    lane->stop = true;
}

void fleet_close(struct fleet *fleet)
{
    fleet_call(fleet, stop, NULL);
    for (unsigned i = 0; i < fleet->count; i++) {
        struct lane *lane = &fleet->lanes[i];
        uv_thread_join(&lane->thread);
        uv_loop_close(&lane->loop);
        sem_destroy(&lane->done);
    }
    free(fleet->lanes);
    *fleet = (struct fleet){0};
}

void lane_wake(struct lane *lane)
{
    uv_async_send(&lane->async);
}
