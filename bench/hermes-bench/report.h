/* What a run found, and the forms it is given in: a table, JSON, a page, a comparison.
 *
 * Order: report_init, filled by the run, report_json; all other forms are made from that JSON, so
 * that a file shows again whatever the run showed. Ownership: a report owns what was added to it.
 * Threads: the main one. Durations are nanoseconds, sizes bytes, rates per second. */
#ifndef HERMES_BENCH_REPORT_H
#define HERMES_BENCH_REPORT_H

#include "histogram.h"

#include <jansson.h>
#include <stdio.h>

/* What a file says first, so that one of another shape is refused. */
enum { REPORT_SHAPE = 1 };

/* One reading, taken some times a second. Rates are those since the point before. */
struct report_point {
    double
        at; /* seconds since the start of the measurement, of a search the first; negative before */
    double published, deliveries, connects; /* per second */
    uint64_t connections;                   /* open */
    uint64_t p50, p99, most;                /* latency of what came since the point before; ns */
    uint64_t rss;                           /* the server's; 0: not known */
    double cpu;                             /* the server's, in processors; negative: not known */
};

/* One rate tried by --find-knee. */
struct report_step {
    double rate, delivered; /* asked for, and what came of it; messages per second */
    uint64_t p50, p99, p999, most;
    bool held;
    char why[96]; /* what broke; empty when it held */
};

/* All count towards an exit code that is not zero. */
struct report_faults {
    uint64_t lost, doubled, reordered; /* deliveries */
    uint64_t disordered;  /* subscribers that saw another order of one topic than the others did */
    uint64_t damaged;     /* deliveries that are not what was published */
    uint64_t refused;     /* answers that were errors */
    uint64_t closed;      /* connections that ended though the scenario did not want it */
    uint64_t unconnected; /* that never came to be */
    /* Level 2 only. A loss leaves a gap in the offsets, too, and counts here as well. */
    uint64_t misnumbered; /* deliveries whose offset did not follow the last one */
    uint64_t unrecovered; /* subscribers that came back and were not told all they had missed */
};

struct report {
    char scenario[16];
    char url[300];
    char started[32];       /* RFC 3339, UTC */
    double warmup, seconds; /* the measured time without the warm-up */
    json_t *settings;       /* an object: what was asked for, in the order to be shown */
    uint64_t published, deliveries, delivered_bytes, connects, leaves;
    uint64_t unsent;          /* due by the schedule, but never sent: latency does not know them */
    struct histogram latency; /* from the intended moment of sending to the arrival */
    struct histogram connect; /* from the start of a connection to the greeting */
    struct histogram served;  /* churn: a whole round; storm: from the cut to the first delivery */
    struct report_faults faults;
    struct {
        bool known; /* --pid was given and could be read */
        bool gone;  /* but not to the end: of CPU and of memory after it there is nothing */
        long pid;
        uint64_t cpu; /* user and system, all threads, within the measured time */
        uint64_t rss_before, rss_after, rss_peak;
        uint64_t connections; /* by which rss grew, where that was measured: else 0 */
    } server;
    struct {
        unsigned threads;
        uint64_t cpu;
        double busiest;        /* thread: share of the measured time that it was on a processor */
        double machine;        /* share of all processors that was in use by anything */
        struct histogram late; /* how much after the intended moment the tool itself sent */
    } tool;
    bool saturating; /* a window was kept full: there is no intended rate */
    double rate;     /* asked for; 0 when saturating */
    struct report_point *points;
    size_t point_count;
    struct report_step *steps; /* --find-knee */
    size_t step_count;
    double *rounds; /* storm: seconds from the cut until all were served again */
    size_t round_count;
    struct { /* storm --recover, from the return to all having caught up, of all rounds */
        bool measured;
        uint64_t messages;                        /* that were missed and came */
        uint64_t cpu;                             /* the server's; memory too, if it is known */
        uint64_t rss_before, rss_peak, rss_after; /* of the first, of any, of the last */
    } recovery;
    double knee; /* the highest rate that held; 0: none */
    char slo[96];
    json_t *notes; /* an array of sentences a reader must see, such as who the bottleneck was */
};

/* Leaves all at zero (a histogram of zeros is an empty one), but for settings and notes, which are
 * empty and may be filled with jansson. */
void report_init(struct report *r);
void report_fini(struct report *r);

/* They copy. Here and below, want of memory ends the program with a message. */
void report_add_point(struct report *r, const struct report_point *point);
void report_add_step(struct report *r, const struct report_step *step);
void report_add_round(struct report *r, double seconds);
void report_note(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether nothing of report_faults was seen. */
bool report_is_clean(const struct report *r);

/* Owned by the caller. The shape is described where it is made. */
json_t *report_json(const struct report *r);

/* ---- from JSON ---- */

/* Reads what report_json's file holds; NULL with one line in `fault` when it is not such a file. */
json_t *report_read(const char *path, char *fault, size_t fault_size);

/* False, with errno, when the file could not be written whole. */
bool report_write(const json_t *report, const char *path);
bool report_save(const char *path, const char *text, size_t length);

/* "server.cpu"; NaN when it is not there or no number. Of any JSON object. */
double report_number(const json_t *report, const char *path);
const char *report_text(const json_t *report, const char *key); /* "" when it is not there */

/* Fits 80 columns. */
void report_table(const json_t *report, FILE *out);

/* "nothing lost, doubled or reordered", or what was; true when all is well. */
bool report_verdict(const json_t *report, char *text, size_t size);

/* One page that needs nothing else: opens offline, in light and dark. False, with errno. */
bool report_page(const json_t *report, const char *path);

/* Two runs side by side with the ratio of B to A. */
void report_compare(const json_t *a, const json_t *b, FILE *out);

#endif
