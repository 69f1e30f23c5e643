/* A worker's append-only log of encoded bytes, which all its sessions send from.
 *
 * A byte's position never changes; the log covers positions [base, end). Chunks are given back from
 * the front as soon as no session holds one. When nothing is held at all the log starts over in the
 * same memory, which therefore stays in the cache.
 * Memory: `size` counts chunks and what is kept beside the log; the owner keeps it below
 *   `budget` by cutting off whoever holds the oldest chunk. With no memory for a chunk the process
 *   dies: what has been accepted must not be lost in silence.
 * Threads: the worker's. */
#ifndef HERMES_NET_BYTE_LOG_H
#define HERMES_NET_BYTE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"

enum { LOG_CHUNK = 256 * 1024, LOG_SPARES = 2, LOG_SPARE_OUTBOXES = 256 };

struct log_chunk {
    struct list holders; /* blocked outboxes whose oldest byte is in here */
    char *bytes;
};

struct byte_log {
    struct log_chunk **chunks; /* a row of `count` that begins at `head` */
    size_t head;
    size_t count;
    size_t cap;
    uint64_t base; /* position of the first chunk's first byte */
    uint64_t end;
    char *spares[LOG_SPARES];
    size_t spare_count;
    size_t charged;      /* bytes that outboxes keep beside the log, */
    size_t owed;         /* and those of them that are gaps to be told of, see session/arrears.h */
    size_t noted;        /* bytes that its owner keeps beside it as long as it is */
    size_t budget;       /* 0: none */
    struct list stalled; /* blocked outboxes, the one longest without progress first */
    struct outbox_more *spare_outboxes[LOG_SPARE_OUTBOXES];
    size_t spare_outbox_count;
};

void log_init(struct byte_log *log, size_t budget);

/* No outbox may hold anything. */
void log_fini(struct byte_log *log);

/* Appends; the bytes are at [returned position, log->end). */
uint64_t log_append(struct byte_log *log, const void *bytes, size_t len);

/* Frees the chunks in front that nobody holds, or starts over when nothing is needed at all.
 * `needed`: the oldest position that an outbox which is no holder still has to send; log->end for
 * none. */
void log_trim(struct byte_log *log, uint64_t needed);

static inline size_t log_size(const struct byte_log *log)
{
    return log->count * LOG_CHUNK + log->charged + log->noted;
}

static inline bool log_over(const struct byte_log *log)
{
    return log->budget != 0 && log_size(log) > log->budget;
}

static inline struct log_chunk *log_chunk_at(const struct byte_log *log, uint64_t position)
{
    return log->chunks[log->head + (position - log->base) / LOG_CHUNK];
}

/* The position at which the chunk that holds `position` ends. */
static inline uint64_t log_chunk_end(const struct byte_log *log, uint64_t position)
{
    return log->base + ((position - log->base) / LOG_CHUNK + 1) * LOG_CHUNK;
}

/* The longest run of bytes of [from, to) that lies in one piece. */
static inline struct iovec log_piece(const struct byte_log *log, uint64_t from, uint64_t to)
{
    uint64_t offset = (from - log->base) % LOG_CHUNK;
    uint64_t len = to - from;
    if (len > LOG_CHUNK - offset)
        len = LOG_CHUNK - offset;
    return (struct iovec){log_chunk_at(log, from)->bytes + offset, len};
}

/* Copies bytes that are there, in however many pieces. */
void log_read(const struct byte_log *log, uint64_t position, void *bytes, size_t len);

#endif
