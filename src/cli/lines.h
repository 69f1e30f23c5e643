/* Lines for standard output: collected, and written once per turn of the loop, so that whoever
 * reads gets each without delay and a flood of them costs few system calls. */
#ifndef HERMES_CLI_LINES_H
#define HERMES_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/buf.h"
#include "cli/watch.h"

struct link;

struct lines {
    struct link *link;
    struct buf text;
    uv_check_t turn;
    struct watch reader; /* of standard output: whether it has gone */
};

/* Ends the link, quietly, as soon as nobody reads standard output any more. */
void lines_open(struct lines *l, struct link *link);

/* Nothing happens when it was not opened. */
void lines_close(struct lines *l);

/* Adds a JSON text as one line. Line breaks, which JSON has between its tokens only, become spaces.
 */
void lines_add(struct lines *l, const char *text, size_t len);

/* Writes what has been added; ends the link when that fails, or when a signal comes meanwhile. */
void lines_flush(struct lines *l);

#endif
