#include "net/gate.h"

#define SECOND_NS UINT64_C(1000000000)

void gate_init(struct gate *g, uint64_t per_second)
{
    g->each_ns = per_second ? SECOND_NS / per_second : 0;
    atomic_store(&g->earned_ns, 0);
    atomic_store(&g->turn_ns, 0);
}

/* Takes one token, if that leaves no more than `most_ns` of tokens to be earned. */
static bool spend(struct gate *g, uint64_t now_ns, uint64_t most_ns)
{
    uint64_t before = atomic_load_explicit(&g->earned_ns, memory_order_relaxed);
    uint64_t after;
    do {
        after = (before > now_ns ? before : now_ns) + g->each_ns;
        if (after - now_ns > most_ns)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &g->earned_ns, &before, after, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Places in a full queue differ by little, so seconds are taken from the number of the place. */
static unsigned wait_of(const struct gate *g, uint64_t now_ns, uint64_t turn_ns)
{
    const unsigned half = GATE_WAIT_MOST / 2;
    if (turn_ns - now_ns <= GATE_WAIT_MOST * SECOND_NS)
        return (unsigned)((turn_ns - now_ns + SECOND_NS - 1) / SECOND_NS);
    return half + (unsigned)(turn_ns / g->each_ns % half) + 1;
}

unsigned gate_enter(struct gate *g, uint64_t now_ns, bool comes_back)
{
    const uint64_t full_ns = (GATE_WAIT_MOST + GATE_WAIT_MOST / 2) * SECOND_NS;
    if (g->each_ns == 0 || spend(g, now_ns, comes_back ? 2 * SECOND_NS : SECOND_NS))
        return 0;
    uint64_t before = atomic_load_explicit(&g->turn_ns, memory_order_relaxed);
    uint64_t after;
    do {
        after = (before > now_ns ? before : now_ns) + g->each_ns;
        if (after - now_ns > full_ns) /* once around: the last places are given out again */
            after = now_ns + GATE_WAIT_MOST * SECOND_NS + g->each_ns;
    } while (!atomic_compare_exchange_weak_explicit(
        &g->turn_ns, &before, after, memory_order_relaxed, memory_order_relaxed));
    return wait_of(g, now_ns, after);
}
