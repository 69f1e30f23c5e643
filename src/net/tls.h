/* A connection's TLS: the handshake, and what stands behind net/conn.h once that is done.
 *
 * Order: conn_open; tls_handshake until it is done, has failed, or finds that this is no TLS; then
 *   conn_read, conn_write, conn_flush, conn_finish; conn_close, at any time, ends it.
 * Memory: nothing before the first byte; some 45 KiB during the handshake; then, while nothing is
 *   half read or half sent, 3 to 4 KiB, see net/tls_lend.h.
 * Threads: the worker's. */
#ifndef HERMES_NET_TLS_H
#define HERMES_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct conn;
struct tls;
struct tls_config;

enum tls_failure {
#define TLS_FAILURE(name, metric, text) TLS_FAULT_##name,
#include "net/tls_failures.def"
#undef TLS_FAILURE
};

enum tls_step {
    TLS_DONE,       /* the connection may be used; there may be bytes to be read already */
    TLS_WANT_READ,  /* go on when it is readable */
    TLS_WANT_WRITE, /* go on when it is writable */
    TLS_AGAIN,      /* something expensive was done and more is to be done: go on when it is its
                       turn again */
    TLS_PLAIN,      /* the first byte is none of TLS. Nothing was read, no memory was taken: the
                       connection is a plain one, to read the request from and to answer */
    TLS_FAILED,     /* an alert was sent where there is one: close the connection */
};

/* Why. `code` is the library's, for the log. */
struct tls_fault {
    enum tls_failure failure;
    int code;
};

/* Goes on with the handshake. One call does one expensive step at most (a signature, an agreement
 * on keys, a check of a certificate: up to a millisecond or two), so whoever has many at once can
 * stop when a turn's time is over. Whoever waits for TLS_WANT_READ need not be watched for
 * writing. Sets `fault` on TLS_FAILED. */
enum tls_step tls_handshake(struct conn *c, struct tls_config *config, struct tls_fault *fault);

const char *tls_failure_text(enum tls_failure failure);

/* Who the client's certificate names, as UTF-8 with a 0 behind it: its common name, or else its
 * first mail address or DNS name. False without a certificate, or when it has no name that fits,
 * or one with a control character. */
bool tls_user(const struct conn *c, char *name, size_t size);

/* "TLSv1.2" or "TLSv1.3", and the suite. */
const char *tls_version(const struct conn *c);
const char *tls_suite(const struct conn *c);

/* --- for conn.c ------------------------------------------------------------------------------- */

ssize_t tls_read(struct tls *t, void *bytes, size_t len);
ssize_t tls_write(struct tls *t, const struct iovec *pieces, int count);
ssize_t tls_flush(struct tls *t);
bool tls_pending(const struct tls *t);
uint32_t tls_take_sent(struct tls *t);
void tls_finish(struct tls *t);

/* `polite`: says that this is the end, if there is room for that. */
void tls_close(struct tls *t, bool polite);

#endif
