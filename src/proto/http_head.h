/* A strict, bounded reader of one HTTP/1.1 request head (RFC 9112).
 *
 * Order: http_head_read is called again with all bytes so far until it says something else
 *   than HTTP_MORE. It keeps no state between the calls and copies nothing: all texts point
 *   into `bytes`. Whatever can be refused is refused with the first byte that shows it, so
 *   that a peer that speaks no HTTP (TLS, noise) does not have to be timed out.
 *
 * What it refuses: lone CR or LF, obsolete line folding, space before a colon, names that are
 *   no tokens, control characters in values, bodies (Content-Length other than 0, any
 *   Transfer-Encoding), doubled Host, a missing Host in HTTP/1.1, versions other than 1.0 and
 *   1.1, targets other than "/path?query", "http://host/path?query" (or https), and "*" for
 *   OPTIONS. http_head_read_with_body lets bodies be. */
#ifndef HERMES_PROTO_HTTP_HEAD_H
#define HERMES_PROTO_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum { HTTP_HEAD_MAX = 8192, HTTP_HEADERS_MAX = 64 };

struct http_header {
    struct text name;
    struct text value; /* without the space around it */
};

struct http_head {
    struct text method;
    struct text target; /* as sent */
    struct text path;   /* the target up to '?', without scheme and host; never empty */
    struct text query;  /* behind '?', may be empty */
    int minor;          /* HTTP/1.minor */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    uint64_t body_len; /* its Content-Length, or 0; UINT64_MAX for all that is larger */
    bool coded;        /* it has a Transfer-Encoding: nothing but that tells where its body ends */
};

enum http_result {
    HTTP_MORE,  /* no end yet, and still below the limit */
    HTTP_DONE,  /* `used` bytes are the head; what follows is not */
    HTTP_BAD,   /* answer 400 */
    HTTP_LARGE, /* answer 431: over HTTP_HEAD_MAX bytes or HTTP_HEADERS_MAX headers */
};

enum http_result http_head_read(
    struct http_head *head, const char *bytes, size_t len, size_t *used);

/* The same for requests that may have a body: `body_len` and `coded` tell how long it is. What is
 * still refused: both at once, two lengths, a length that is none. */
enum http_result http_head_read_with_body(
    struct http_head *head, const char *bytes, size_t len, size_t *used);

/* Whether a header has that name, ASCII case ignored. */
bool http_is_named(const struct http_header *header, const char *name);

/* The first header of that name (ASCII case ignored), or NULL. */
const struct http_header *http_find(const struct http_head *head, const char *name);

/* Whether a comma-separated list header (all its lines together) has that token, case ignored. */
bool http_list_has(const struct http_head *head, const char *name, const char *token);

/* How many lines of that name there are. */
size_t http_count(const struct http_head *head, const char *name);

/* Takes the next element, without the space around it (and then perhaps empty), from the front of a
 * comma-separated list; false when the list is used up. */
bool http_list_next(struct text *list, struct text *element);

/* Whether it is a token as RFC 9110 has it, one character at least. */
bool http_is_token(struct text t);

#endif
