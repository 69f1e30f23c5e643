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
    size_t at_once;             /* not paced, so many are under way together; 0: all */
    size_t sources;             /* addresses to connect from; 0: the system's choice of one */
    const char *host;           /* the server's; a local one is looked at more closely */
    uint16_t port;
    long pid; /* the server's, or 0 */
    unsigned threads;
};

/* Raises this process's own descriptor limit, then prints a line to `out` for each thing that will
 * limit the run, or one that says that nothing will. False when the run cannot be made as asked
 * for. */
bool preflight_check(const struct preflight *p, FILE *out);

/* ---- its two halves ---- */

/* 0 is "not known" everywhere. */
struct preflight_facts {
    uint64_t files;        /* descriptors this process may have */
    uint64_t server_files; /* and the server, by its pid */
    uint64_t server_open;  /* those it has now */
    uint64_t ports;        /* a source address has so many for one destination address and port */
    uint64_t time_wait;    /* ports of closed connections, held for a minute */
    bool time_wait_reused; /* after a second already, where that is safe */
    uint64_t somaxconn;    /* bounds every backlog; of this machine, so only for a local server */
    uint64_t backlog;      /* of the listening socket */
    uint64_t tracked;      /* connections that the firewall can remember */
    unsigned processors;
    bool local; /* the server runs on this machine */
};

void preflight_read(const struct preflight *p, struct preflight_facts *facts);
bool preflight_judge(const struct preflight *p, const struct preflight_facts *facts, FILE *out);

#endif
