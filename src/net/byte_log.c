#include "net/byte_log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/die.h"

void log_init(struct byte_log *log, size_t budget)
{
    *log = (struct byte_log){.budget = budget};
    list_init(&log->stalled);
}

/* Mapped, not from the heap: pages that are never written cost nothing, and a chunk that is given
 * back is given back to the system. */
static char *bytes_new(struct byte_log *log)
{
    if (log->spare_count > 0)
        return log->spares[--log->spare_count];
    char *bytes = mmap(NULL, LOG_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        die("no memory for the log");
    return bytes;
}

static void bytes_free(struct byte_log *log, char *bytes)
{
    if (log->spare_count < LOG_SPARES)
        log->spares[log->spare_count++] = bytes;
    else
        munmap(bytes, LOG_CHUNK);
}

static void chunk_free(struct byte_log *log, struct log_chunk *chunk)
{
    MUST(list_empty(&chunk->holders));
    bytes_free(log, chunk->bytes);
    free(chunk);
}

static void chunk_add(struct byte_log *log)
{
    if (log->head + log->count == log->cap) {
        if (log->head > log->cap / 2) {
            memmove(log->chunks, log->chunks + log->head, log->count * sizeof(log->chunks[0]));
            log->head = 0;
        } else {
            log->cap = log->cap ? log->cap * 2 : 16;
            log->chunks = realloc(log->chunks, log->cap * sizeof(log->chunks[0]));
        }
    }
    struct log_chunk *chunk = malloc(sizeof *chunk);
    if (!log->chunks || !chunk)
        die("no memory for the log");
    list_init(&chunk->holders);
    chunk->bytes = bytes_new(log);
    log->chunks[log->head + log->count++] = chunk;
}

void log_fini(struct byte_log *log)
{
    MUST(list_empty(&log->stalled));
    for (size_t i = 0; i < log->count; i++)
        chunk_free(log, log->chunks[log->head + i]);
    for (size_t i = 0; i < log->spare_count; i++)
        munmap(log->spares[i], LOG_CHUNK);
    free(log->chunks);
}

uint64_t log_append(struct byte_log *log, const void *bytes, size_t len)
{
    const char *from = bytes;
    uint64_t start = log->end;
    while (len > 0) {
        if (log->end == log->base + (uint64_t)log->count * LOG_CHUNK)
            chunk_add(log);
        struct iovec room = log_piece(log, log->end, log->end + len);
        memcpy(room.iov_base, from, room.iov_len);
        from += room.iov_len;
        log->end += room.iov_len;
        len -= room.iov_len;
    }
    return start;
}

void log_read(const struct byte_log *log, uint64_t position, void *bytes, size_t len)
{
    char *to = bytes;
    while (len > 0) {
        struct iovec piece = log_piece(log, position, position + len);
        memcpy(to, piece.iov_base, piece.iov_len);
        to += piece.iov_len;
        position += piece.iov_len;
        len -= piece.iov_len;
    }
}

void log_trim(struct byte_log *log, uint64_t needed)
{
    while (log->count > 1 && needed >= log->base + LOG_CHUNK &&
           list_empty(&log->chunks[log->head]->holders)) {
        chunk_free(log, log->chunks[log->head]);
        log->head++;
        log->count--;
        log->base += LOG_CHUNK;
    }
    if (log->count == 1 && needed == log->end && list_empty(&log->chunks[log->head]->holders))
        log->base = log->end;
}
