/* What one subscription is owed by one publisher: the numbers in a row, each once.
 *
 * A number that is left out counts as lost; when it comes after all, within the 64 behind the
 * highest, it is reordered instead; one that had come, or is older than that, is doubled. */
#ifndef HERMES_BENCH_CHECK_H
#define HERMES_BENCH_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "report.h"

struct check {
    uint64_t next; /* the lowest number that is higher than all that came */
    uint64_t seen; /* which of the 64 below it came, the highest in bit 0; 0: none has come yet */
};

/* The subscription was acknowledged when the publisher had sent `sent` messages: numbers from there
 * on are owed; those before may come, if they are all that follow. Right before the first, too. */
void check_join(struct check *c, uint64_t sent);

/* True when the number had not come before. */
bool check_take(struct check *c, uint64_t number, struct report_faults *faults);

/* At the end, or when the subscription goes: what of `sent` never came. */
uint64_t check_missing(const struct check *c, uint64_t sent);

#endif
