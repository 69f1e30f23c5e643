/* Log lines, to a descriptor: text for people, JSON for machines; one write a line.
 *
 * A line is a level, an event (a word or two that never change) and fields. What a stranger can
 * provoke goes through logger_limited: so many lines a second and kind, and the number left out
 * with the next line that is written.
 * Threads: any.
 * Lock: LOG, which is the last in the order; taken by limited lines only (a write of a line is one
 *   system call and needs none). */
#ifndef HERMES_BASE_LOGGER_H
#define HERMES_BASE_LOGGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log_ring.h"
#include "base/text.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* Kinds of lines that strangers can provoke, each with an allowance of its own. */
enum log_limit {
    LIMIT_ACCEPT,
    LIMIT_HANDSHAKE,
    LIMIT_OPEN,
    LIMIT_CLOSE,
    LIMIT_SLOW,
    LIMIT_REFUSED,
    LIMIT_TOKEN,
    LIMIT_CLUSTER,
    LIMIT_COUNT
};

struct log_allowance {
    uint64_t second;
    uint32_t written;
    uint32_t left_out;
};

struct logger {
    int fd;
    enum log_level level;
    bool json;
    struct log_ring *ring; /* that has the newest lines, too; NULL: none */
    pthread_mutex_t lock;
    struct log_allowance allowances[LIMIT_COUNT];
};

/* One field; made by the functions below. */
struct log_field {
    const char *name;
    enum { FIELD_TEXT, FIELD_NUMBER } kind;
    struct text text;
    int64_t number;
};

#define LOG_TEXT(name, value) ((struct log_field){(name), FIELD_TEXT, (value), 0})
#define LOG_STRING(name, value) ((struct log_field){(name), FIELD_TEXT, text_of(value), 0})
#define LOG_NUMBER(name, value) ((struct log_field){(name), FIELD_NUMBER, {0}, (int64_t)(value)})

void logger_init(struct logger *l, int fd, enum log_level level, bool json);
void logger_fini(struct logger *l);

/* Keeps the newest lines in memory as well, in so many bytes. Before other threads log. False when
 * there is no memory. */
bool logger_keep(struct logger *l, size_t bytes);

/* The level of that name, or LOG_OFF. */
enum log_level log_level_named(struct text name);

static inline bool logger_wants(const struct logger *l, enum log_level level)
{
    return level >= l->level;
}

void logger_write(struct logger *l, enum log_level level, const char *event,
    const struct log_field *fields, size_t count);
void logger_limited(struct logger *l, enum log_limit limit, enum log_level level, const char *event,
    const struct log_field *fields, size_t count);

/* LOG_LINE(logger, LOG_INFO, "listening", LOG_NUMBER("port", port)); at least one field. */
#define LOG_LINE(logger, level, event, ...)                                                        \
    do {                                                                                           \
        if (logger_wants(logger, level)) {                                                         \
            const struct log_field fields_[] = {__VA_ARGS__};                                      \
            logger_write(logger, level, event, fields_, sizeof fields_ / sizeof fields_[0]);       \
        }                                                                                          \
    } while (0)

#define LOG_LIMITED(logger, limit, level, event, ...)                                              \
    do {                                                                                           \
        if (logger_wants(logger, level)) {                                                         \
            const struct log_field fields_[] = {__VA_ARGS__};                                      \
            logger_limited(                                                                        \
                logger, limit, level, event, fields_, sizeof fields_ / sizeof fields_[0]);         \
        }                                                                                          \
    } while (0)

#endif
