/* TLS for the fake server: bytes in, bytes out.
 *
 * Order: certificates are made once a process, by whoever asks first; fake_tls_new for each
 *   configuration of a server, fake_veil_new for each connection. */
#ifndef HERMES_TEST_FAKE_TLS_H
#define HERMES_TEST_FAKE_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum fake_certificate {
    FAKE_GOOD, /* for localhost and 127.0.0.1 */
    FAKE_OTHER_HOST,
    FAKE_EXPIRED,
    FAKE_NOT_YET,
    FAKE_STRANGER, /* of an authority that nobody knows */
    FAKE_SELF_SIGNED,
    FAKE_CERTIFICATES,
};

/* Files, good until the process ends. */
const char *fake_tls_ca(void);
const char *fake_tls_file(enum fake_certificate which); /* the certificate and its key */

struct fake_tls;

struct fake_tls *fake_tls_new(enum fake_certificate which, bool asks);
void fake_tls_free(struct fake_tls *t);

struct fake_veil;

struct fake_veil *fake_veil_new(struct fake_tls *t);
void fake_veil_free(struct fake_veil *v);

/* Takes bytes of the client's; appends what they hold to `in`, and what has to be sent to `out`.
 * False: the client ended it, or TLS broke. */
bool fake_veil_feed(
    struct fake_veil *v, const void *bytes, size_t len, struct buf *in, struct buf *out);

/* Appends to `out` what stands for those bytes; the handshake must be done. */
void fake_veil_write(struct fake_veil *v, const void *bytes, size_t len, struct buf *out);

/* The end in order. */
void fake_veil_finish(struct fake_veil *v, struct buf *out);

/* Whether the client has said that it ends. */
bool fake_veil_ended(const struct fake_veil *v);

#endif
