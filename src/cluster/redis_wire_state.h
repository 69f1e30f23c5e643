/* The inside of a wire, for the files it is made of: redis_wire.c has its bytes, redis_dial.c how
 * it comes to a socket. */
#ifndef HERMES_CLUSTER_REDIS_WIRE_STATE_H
#define HERMES_CLUSTER_REDIS_WIRE_STATE_H

#include "cluster/redis_wire.h"

struct tls_client;

/* A lookup cannot be called off once it runs, so it outlives the connection it was for. */
struct redis_lookup {
    uv_getaddrinfo_t request;
    struct redis_wire *wire; /* NULL: nobody waits for it any more */
};

/* One for each address that is tried: a handle's memory is the loop's until it has closed it. */
struct redis_plug {
    uv_poll_t poll;
    int fd;
    struct redis_wire *wire; /* NULL: it is being closed */
};

struct redis_wire {
    uv_loop_t *loop;
    const struct redis_url *url;
    struct tls_trust *trust;
    uint64_t patience_ms;
    const struct redis_wire_events *events;
    void *user;

    struct redis_lookup *lookup; /* while it runs */
    struct addrinfo *found;      /* to be freed */
    const struct addrinfo *next; /* to try */
    struct redis_plug *plug;
    uv_timer_t *timer;
    struct tls_client *tls;
    char *in; /* READ_BYTES */
    enum { WIRE_DIALLING, WIRE_SHAKING, WIRE_READY, WIRE_BROKEN } state;
    bool full;       /* the socket has not taken all */
    bool deaf;       /* nothing is read */
    unsigned inside; /* callbacks, so that it stays until they are left */
    bool closed;
    char problem[200]; /* the newest */
};

/* Looks its host up, to connect then; an error of libuv's. */
int redis_dial_start(struct redis_wire *w);
void redis_dial_stop(struct redis_wire *w);

/* What is tried now gets its time. */
void redis_dial_wait(struct redis_wire *w);

/* This address is none: the next. */
void redis_dial_failed(struct redis_wire *w, const char *why);

/* Around what may call the wire's user, who may close it there. */
void redis_wire_enter(struct redis_wire *w);
void redis_wire_leave(struct redis_wire *w);

void redis_wire_broken(struct redis_wire *w, const char *reason);

/* Lets go of the socket. */
void redis_wire_unplug(struct redis_wire *w);

/* The loop watches the socket for what the state needs. */
void redis_wire_watch(struct redis_wire *w);

#endif
