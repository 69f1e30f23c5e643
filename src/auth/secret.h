/* Memory for what nobody may see: in no core dump, in no swap where the system lets us, and wiped
 * before it is given back.
 *
 * Memory: whole pages. */
#ifndef HERMES_AUTH_SECRET_H
#define HERMES_AUTH_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret {
    unsigned char *at; /* NULL: none; a zero byte follows the last one */
    size_t len;
    size_t mapped;
};

/* Room for `len` bytes, all zero; false when there is no memory. */
bool secret_init(struct secret *s, size_t len);
void secret_fini(struct secret *s);

#endif
