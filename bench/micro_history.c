/* What a history of 100 costs a publish: one message of 64 bytes added to a full one, the oldest
 * dropped, and a row of 32; taking a view and reading it.
 *
 * By itself it prints times, which wander; `valgrind --tool=callgrind` with
 * --toggle-collect='history_add' counts the instructions of all that is added: divide by the
 * messages printed. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/die.h"
#include "broker/history.h"

enum { KEPT = 100, DATA = 64, FRAME = DATA + 2 };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct message *row_of(uint32_t count)
{
    struct message *m = message_begin((size_t)count * FRAME);
    MUST(m);
    for (; m->count < count; m->count++, m->len += FRAME) {
        memset(m->frames + m->len, 'x', FRAME);
        m->frames[m->len] = (char)0x81;
        m->frames[m->len + 1] = DATA;
    }
    return m;
}

static void measure(struct history_limits limits, uint32_t count, uint64_t messages)
{
    struct history_budget budget = {0};
    struct history h;
    struct message *m = row_of(count);
    history_init(&h, limits, &budget, 1);
    m->offset = 1;
    double begin = now_ns();
    for (uint64_t i = 0; i < messages; i += count, m->offset += count)
        MUST(history_add(&h, m, i));
    double end = now_ns();

    uint64_t read = 0, offset;
    struct text data;
    double view_begin = now_ns();
    for (uint64_t i = 0; i < messages / 10; i += limits.messages) {
        struct history_view v = history_view(&h, 0, UINT32_MAX, false);
        while (history_view_next(&v, &offset, &data))
            read++;
        history_view_fini(&v);
    }
    double view_end = now_ns();
    printf("%8u %6u %12llu %10.1f %10.1f %12zu\n", limits.messages, count,
        (unsigned long long)messages, (end - begin) / (double)messages,
        (view_end - view_begin) / (double)read, atomic_load(&budget.used));
    history_fini(&h);
    message_drop(m);
}

int main(int argc, char **argv)
{
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    uint32_t only = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (messages < 10 * KEPT) {
        fputs("usage: micro_history [messages, 1000 or more; 10000000] [row]\n", stderr);
        return 2;
    }
    printf("%8s %6s %12s %10s %10s %12s\n", "history", "row", "messages", "ns add", "ns read",
        "bytes kept");
    static const uint32_t rows[] = {1, 32};
    for (size_t i = 0; i < 2; i++) {
        if (only && rows[i] != only)
            continue;
        measure((struct history_limits){.messages = KEPT}, rows[i], messages);
        if (only)
            continue;
        measure((struct history_limits){.messages = 1, .retain = true}, rows[i], messages);
        measure(
            (struct history_limits){
                .messages = KEPT, .bytes = KEPT * DATA / 2, .age_us = UINT32_MAX},
            rows[i], messages);
    }
    return 0;
}
