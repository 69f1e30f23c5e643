/* The JSON of a token's parts: an object, no name in it twice, and not nested without end. */
#ifndef HERMES_AUTH_JSON_H
#define HERMES_AUTH_JSON_H

#include <jansson.h>

#include "auth/result.h"
#include "base/text.h"

enum { AUTH_JSON_DEPTH_MAX = 32 };

/* AUTH_OK, AUTH_MALFORMED or AUTH_NO_MEMORY; `*out` is the caller's. Numbers are all reals. */
enum auth_result auth_json_read(struct text json, json_t **out);

#endif
