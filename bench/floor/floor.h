/* What the parts of the floor share; main.c says what the floor is.
 *
 * Order of a round: peers are read (floor_publish appends to the batch and notes runs;
 * floor_subscribe and floor_unsubscribe change the topics), then floor_flush sends.
 * Ownership: the floor owns everything. Memory: what is too much ends the program.
 * Threads: one. */
#ifndef HERMES_BENCH_FLOOR_H
#define HERMES_BENCH_FLOOR_H

#include "../load.h"

#include <stddef.h>

enum { READ_BYTES = 1 << 18, BATCH_LIMIT = 1 << 30 };

struct peer;

/* A peer's place among a topic's subscribers, and a topic among those of a peer. */
struct place {
    struct peer *peer;
    uint32_t member; /* of the peer's topics */
};
struct member {
    struct topic *topic;
    uint32_t place; /* of the topic's subscribers */
};

struct topic {
    struct topic *next; /* of the same bucket */
    struct place *places;
    uint32_t count, cap;
    uint32_t hash, len;
    char name[];
};

/* Neighbouring messages of one topic in the batch. */
struct run {
    struct topic *topic;
    uint32_t from, len;
};

/* Neighbouring bytes of the batch that one peer gets. */
struct span {
    uint32_t from, len, next;
};

struct peer {
    int fd;
    bool upgraded, waits_to_write;
    struct peer_tls *tls;           /* NULL: plain */
    uint32_t first_span, last_span; /* 0: none */
    uint32_t member_count, member_cap;
    struct member *members, one; /* most have one topic */
    unsigned char *out;          /* what a socket did not take */
    size_t out_from, out_len, out_cap;
    struct load_conn rest; /* the beginning of a frame */
};

struct floor {
    int epoll, listener;
    struct peer *peers; /* by descriptor; as many as there can be */
    struct topic **buckets;
    uint32_t bucket_count, topic_count;
    unsigned char *batch, *gather, *in;
    size_t batch_len, batch_cap, gather_cap;
    struct run *runs;
    uint32_t run_count, run_cap;
    struct span *spans;
    uint32_t span_count, span_cap; /* span 0 is none */
    struct peer **touched;         /* those with spans */
    uint32_t touched_count, touched_cap;
    struct floor_tls *tls; /* NULL: plain */
};

/* The first byte has the mask's byte `phase`. */
static inline void unmask(unsigned char *to, const unsigned char *from, size_t len, size_t phase,
    const unsigned char mask[4])
{
    typedef uint32_t words __attribute__((vector_size(16)));
    unsigned char turned[4];
    words m, a, b;
    size_t i = 0;
    for (size_t k = 0; k < 4; k++)
        turned[k] = mask[(phase + k) & 3];
    for (size_t k = 0; k < 4; k++)
        memcpy((unsigned char *)&m + 4 * k, turned, 4);
    for (; i + 32 <= len; i += 32) {
        memcpy(&a, from + i, 16);
        memcpy(&b, from + i + 16, 16);
        a ^= m;
        b ^= m;
        memcpy(to + i, &a, 16);
        memcpy(to + i + 16, &b, 16);
    }
    for (uint32_t word; i + 4 <= len; i += 4) {
        memcpy(&word, from + i, 4);
        word ^= m[0];
        memcpy(to + i, &word, 4);
    }
    for (; i < len; i++)
        to[i] = from[i] ^ turned[i & 3];
}

/* Doubles an array's room; there is always an answer. */
void *floor_grow(void *array, uint32_t *cap, size_t size);

/* ---- topics.c ---- */

/* NULL when nobody ever subscribed it. The text is not terminated. */
struct topic *floor_topic(const struct floor *f, const unsigned char *name, size_t len);

/* False: it was one already, or was none. Both route what was published before. */
bool floor_subscribe(struct floor *f, struct peer *p, const unsigned char *name, size_t len);
bool floor_unsubscribe(struct floor *f, struct peer *p, const unsigned char *name, size_t len);
void floor_forget(struct peer *p); /* all its subscriptions */

/* ---- frames.c ---- */

/* One masked frame of a client; returns its size, 0 when it is not whole yet, or -1 when the
 * client is to be dropped. */
ptrdiff_t peer_frame(struct floor *f, struct peer *p, const unsigned char *bytes, size_t have);

/* Answers a handshake; false when there is no key in it. */
bool peer_greet(struct floor *f, struct peer *p, const char *head, size_t len);

/* ---- send.c ---- */

void floor_publish(struct floor *f, struct topic *topic, const unsigned char *data, size_t len,
    size_t phase, const unsigned char mask[4]);
void floor_route(struct floor *f); /* runs to spans */
void floor_flush(struct floor *f);
void peer_send(struct floor *f, struct peer *p, const void *bytes, size_t len);
void peer_put(struct floor *f, struct peer *p, const void *bytes, size_t len); /* below TLS */
void peer_gather(struct floor *f, struct peer *p); /* sends its spans by one send */
void peer_write(struct floor *f, struct peer *p);  /* what was not taken */

/* ---- tls.c ---- */

struct floor_tls *floor_tls_new(const char *certificate, const char *key);
void peer_secure(struct floor *f, struct peer *p);

/* As recv with room for `len` bytes, but 0 is nothing yet and -1 the end; sets `more` when there
 * may be more. */
ssize_t peer_unseal(struct floor *f, struct peer *p, unsigned char *to, size_t len, bool *more);
void peer_seal(struct floor *f, struct peer *p, const unsigned char *bytes, size_t len);
void peer_unsecure(struct peer *p);

#endif
