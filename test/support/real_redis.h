/* A redis-server of the system's package, on a port and in a directory of its own.
 *
 * Order: real_redis_open, real_redis_start, real_redis_kill or signals, start again as wanted,
 *   real_redis_close. It ends with its test, however that ends. */
#ifndef HERMES_SUPPORT_REAL_REDIS_H
#define HERMES_SUPPORT_REAL_REDIS_H

#include <sys/types.h>

struct real_redis {
    char folder[64];
    unsigned port;
    pid_t pid;
};

void real_redis_open(struct real_redis *r);

/* With more arguments, ended by NULL. Does not wait until it listens. */
void real_redis_start(struct real_redis *r, const char *const *arguments);
void real_redis_kill(struct real_redis *r);
void real_redis_close(struct real_redis *r);

#endif
