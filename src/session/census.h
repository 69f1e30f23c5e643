/* Who is connected and how each does: the first so many by one figure, asked from outside.
 *
 * Order: census_new, the filters, inquiry_ask; `done` on the asker's thread, which has the rows, in
 *   order; census_free.
 * Memory: `limit` rows a worker.
 * Threads: the asker's, but for what the inquiry does. What costs a system call is asked only of
 *   those who may be among the first, or where the order depends on it. */
#ifndef HERMES_SESSION_CENSUS_H
#define HERMES_SESSION_CENSUS_H

#include "net/endpoint.h"
#include "session/inquiry.h"

enum census_sort {
    CENSUS_QUEUED, /* the most first, and so on */
    CENSUS_UNSENT,
    CENSUS_RTT,
    CENSUS_RETRANSMITS,
    CENSUS_AGE,    /* the oldest first */
    CENSUS_CLIENT, /* by id, the least first: for paging */
};

struct census_row {
    uint64_t mark; /* by which they are in order, the highest first; then by client */
    uint64_t client;
    struct endpoint address;
    char *user; /* the row's own, with a terminator; NULL: none */
    size_t user_len;
    uint64_t queued; /* bytes that were not written to its socket yet */
    uint32_t unsent; /* bytes that the kernel holds, not acknowledged */
    uint32_t rtt_us; /* 0: unknown */
    uint32_t retransmits;
    uint32_t topics; /* subscriptions, patterns too */
    uint32_t age;    /* seconds */
    uint16_t worker;
    bool enveloped; /* speaks level 2 */
    bool events;    /* by server-sent events */
    bool tls;
    bool blocked; /* its socket takes no more */
};

struct census {
    struct inquiry inquiry;
    enum census_sort sort;
    size_t limit;
    /* Filters: */
    bool by_client, by_after, by_address;
    uint64_t client;
    uint64_t after;          /* only ids greater than that */
    struct endpoint address; /* port 0: any */
    struct text user;        /* `at` NULL: any; its own copy */
    void (*done)(struct census *c, void *context);
    void *context;
    /* When it is done: */
    struct census_row *rows;
    size_t count;
    uint64_t total; /* whom the filters let pass */
    bool failed;    /* no memory */
};

/* `limit`: 1 or more. NULL when there is no memory. */
struct census *census_new(const struct workshop *shop, struct mailbox *home, enum census_sort sort,
    size_t limit, struct text user);
void census_free(struct census *c);

#endif
