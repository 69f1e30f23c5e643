/* A delivery as level 2 puts it: {"type":"message","topic":T,"data":D,"offset":n}.
 *
 * The tool reads it by itself, since the client library leaves out what has come before, and that
 * is what is looked for here. Threads: any. */
#ifndef HERMES_BENCH_ENVELOPE_H
#define HERMES_BENCH_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct envelope {
    const char *topic, *data;
    size_t topic_len, data_len;
    uint64_t offset;
};

/* False: it is something else, or a delivery in another form of JSON than Hermes's own. */
bool envelope_read(const char *text, size_t len, struct envelope *out);

#endif
