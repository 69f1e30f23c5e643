/* The rules file: JSON text to rules, checked as a whole. README.md has its keys.
 *
 * Threads: any. */
#ifndef HERMES_SERVER_RULES_FILE_H
#define HERMES_SERVER_RULES_FILE_H

#include <stddef.h>

#include "base/text.h"
#include "broker/rules.h"

enum {
    RULES_FILE_MAX = 16 << 20, /* bytes */
    RULES_MAX = 10000,         /* looked through one by one for a topic that is not known yet */
};

/* HERMES_OK, and `*out` with a reference for the caller; or HERMES_INVALID, HERMES_NO_MEMORY or
 * HERMES_SYSTEM (it cannot be read), and one line for a person in `error` that begins with the
 * path. No pattern may be longer than `topic_bytes`; 0 is no limit. */
int rules_file_read(
    const char *path, size_t topic_bytes, struct rules **out, char *error, size_t size);

/* The same of a text that is there already; `name` stands for the path. */
int rules_file_parse(const char *name, struct text json, size_t topic_bytes, struct rules **out,
    char *error, size_t size);

#endif
