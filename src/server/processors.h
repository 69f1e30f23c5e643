/* How many processors this process may use: its affinity, and a container's quota. */
#ifndef HERMES_SERVER_PROCESSORS_H
#define HERMES_SERVER_PROCESSORS_H

/* At least 1. */
unsigned processors_available(void);

/* The whole processors that a cgroup's limit amounts to, rounded up; 0 for none. `text` is what
 * stands in cpu.max: "max 100000", "150000 100000". */
unsigned processors_of_quota(const char *text);

#endif
