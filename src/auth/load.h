/* Reading what the operator configured, and saying in one line what is wrong with it. */
#ifndef HERMES_AUTH_LOAD_H
#define HERMES_AUTH_LOAD_H

#include <stddef.h>

#include "auth/secret.h"

enum auth_load {
    AUTH_LOADED,
    AUTH_UNUSABLE,   /* what it holds cannot be right */
    AUTH_UNREADABLE, /* the system would not let us read it */
    AUTH_LOAD_NO_MEMORY,
};

/* What is being read, and where to say what is wrong. */
struct auth_source {
    const char *name; /* of the file or setting: the line begins with it */
    char *error;
    size_t size;
};

/* Writes "NAME: " and what is wrong, as one line whatever the name holds; returns the code. Never
 * to be given anything of what a secret holds. */
enum auth_load auth_refuse(const struct auth_source *source, enum auth_load code,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The whole of a regular file with at most `most` bytes. */
enum auth_load auth_read(const struct auth_source *source, size_t most, struct secret *out);

#endif
