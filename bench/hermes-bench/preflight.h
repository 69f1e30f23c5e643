/* What will limit a run, said before it starts. */
#ifndef HERMES_BENCH_PREFLIGHT_H
#define HERMES_BENCH_PREFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct preflight {
    size_t connections;         /* at the same time */
    double connects_per_second; /* 0: not paced */
    size_t sources;             /* addresses to connect from; 0: the system's choice of one */
    const char *host;           /* the server's; a local one is looked at more closely */
    uint16_t port;
    long pid; /* the server's, or 0 */
    unsigned threads;
};

/* Raises this process's own descriptor limit, then prints a line to `out` for each thing that will
 * limit the run: the descriptor limits here and of the server, ports by source address
 * (ip_local_port_range, and those in TIME_WAIT), somaxconn and the backlog of the listening socket,
 * fewer processors than threads. False when the run cannot be made as asked for. */
bool preflight_check(const struct preflight *p, FILE *out);

#endif
