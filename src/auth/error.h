/* What mbedTLS's error codes say: a high part of bits 7 up, of one module, plus a low one. */
#ifndef HERMES_AUTH_ERROR_H
#define HERMES_AUTH_ERROR_H

#include <stdbool.h>

bool auth_error_is_memory(int error);

#endif
