#include "check.h"

void check_join(struct check *c, uint64_t sent)
{
    *c = (struct check){sent, 0};
}

/* Out of the row, or the first. */
static bool take_other(struct check *c, uint64_t number, struct report_faults *faults)
{
    if (c->seen == 0 && number <= c->next) {
        *c = (struct check){number + 1, UINT64_MAX};
        return true;
    }
    if (number >= c->next) {
        uint64_t missing = number - c->next;
        uint64_t before = c->seen ? c->seen : UINT64_MAX;
        faults->lost += missing;
        *c = (struct check){number + 1, missing < 63 ? before << (missing + 1) | 1 : 1};
        return true;
    }
    uint64_t back = c->next - 1 - number;
    if (back < 64 && !(c->seen >> back & 1)) {
        c->seen |= (uint64_t)1 << back;
        faults->lost--;
        faults->reordered++;
        return true;
    }
    faults->doubled++;
    return false;
}

bool check_take(struct check *c, uint64_t number, struct report_faults *faults)
{
    if (number != c->next || c->seen == 0)
        return take_other(c, number, faults);
    c->next++;
    c->seen = c->seen << 1 | 1;
    return true;
}

uint64_t check_missing(const struct check *c, uint64_t sent)
{
    return sent > c->next ? sent - c->next : 0;
}
