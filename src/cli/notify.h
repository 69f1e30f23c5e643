/* What a service manager is told, by systemd's protocol: sd_notify(3) and sd_listen_fds(3), without
 * its library. Where no such manager has started the program nothing happens.
 *
 * Threads: the main one. */
#ifndef HERMES_CLI_NOTIFY_H
#define HERMES_CLI_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Sends lines such as "READY=1". */
void notify(const char *lines);

/* "RELOADING=1", with the time that goes with it. */
void notify_reloading(void);

/* Every how many milliseconds a sign of life is to be given, a quarter of what is wanted: a worker
 * that hangs over one of them and is back for the next is not taken for dead. 0: none is. */
uint64_t notify_watchdog_ms(void);

/* The sockets that were handed over, one by one: `*name` is what the manager calls it, or empty.
 * Descriptors are numbered from 0; -1 when there is none any more. */
int notify_socket(int nth, char *name, unsigned name_size);

/* Children are not to take the sockets for theirs. */
void notify_forget(void);

#endif
