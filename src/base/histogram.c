#include "base/histogram.h"

#define US 1000ULL
#define MS 1000000ULL
#define S 1000000000ULL

const uint64_t histogram_bounds_ns[HISTOGRAM_BOUNDS] = {50 * US, 100 * US, 250 * US, 500 * US,
    1 * MS, 2500 * US, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S,
    5 * S, 10 * S};

static void raise(_Atomic uint64_t *figure, uint64_t by)
{
    uint64_t now = atomic_load_explicit(figure, memory_order_relaxed);
    atomic_store_explicit(figure, now + by, memory_order_relaxed);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    unsigned i = 0;
    while (i < HISTOGRAM_BOUNDS && ns > histogram_bounds_ns[i])
        i++;
    raise(&h->counts[i], 1);
    raise(&h->sum_ns, ns);
}
