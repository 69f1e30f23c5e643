#include "admin/loads.h"

#include <time.h>

#include "base/clock.h"
#include "session/worker.h"

bool load_cpu(const struct worker *w, uint64_t *ns)
{
    struct timespec used;
    if (w->cpu_clock == CLOCK_REALTIME || clock_gettime(w->cpu_clock, &used) != 0)
        return false;
    *ns = (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    return true;
}

double load_look(struct load *load, const struct worker *w)
{
    uint64_t now = clock_ns();
    uint64_t cpu;
    if (now - load->at_ns < LOAD_SPAN_MS * UINT64_C(1000000))
        return load->busy;
    if (!load_cpu(w, &cpu))
        return 0;
    load->busy = (double)(cpu - load->cpu_ns) / (double)(now - load->at_ns);
    load->busy = load->busy > 1 ? 1 : load->busy;
    load->cpu_ns = cpu;
    load->at_ns = now;
    return load->busy;
}
