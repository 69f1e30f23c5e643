/* The client's side of TLS, between two streams of bytes: whoever owns the socket carries what is
 * encrypted, in and out.
 *
 * Order: tls_trust_load once; for each connection tls_client_new, then tls_client_shake whenever
 *   bytes were fed until it is done, then reading and writing. Behind each call that is not
 *   tls_client_read, and behind that too, what tls_client_output says has to be sent.
 * Ownership: tls_trust is counted, each connection holds it. tls_client is its maker's.
 * Memory: some 40 KiB a connection during its handshake; then 3 to 4 KiB while nothing is half read
 *   (see net/tls_lend.h), and output that is not sent yet.
 * Threads: one at a time for a tls_trust and all that is made with it. */
#ifndef HERMES_NET_TLS_CLIENT_H
#define HERMES_NET_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/text.h"
#include "net/tls_files.h"

/* Paths; NULL: as said. */
struct tls_client_paths {
    const char *ca;          /* whom to believe; NULL: whom the system believes */
    const char *certificate; /* to show to who asks; NULL: none */
    const char *key;         /* NULL: in the same file */
    bool insecure;           /* believe any certificate: whoever is in between can read all */
};

struct tls_trust;

/* NULL: the report's error says why in one line. */
struct tls_trust *tls_trust_load(const struct tls_client_paths *paths, struct tls_report *report);
void tls_trust_drop(struct tls_trust *trust);

enum { TLS_CLIENT_AGAIN = -1, TLS_CLIENT_BROKEN = -2 };

struct tls_client;

/* `host`: a name or an IP address, which the server's certificate has to be for. NULL: no memory.
 */
struct tls_client *tls_client_new(struct tls_trust *trust, const char *host);
void tls_client_free(struct tls_client *c);

/* Encrypted bytes from the socket; with a length of 0, that it has ended. False: no memory. */
bool tls_client_feed(struct tls_client *c, const void *bytes, size_t len);

/* Goes on with the handshake, to begin with as well: 0 when it is done, TLS_CLIENT_AGAIN when it
 * needs more bytes, TLS_CLIENT_BROKEN. */
int tls_client_shake(struct tls_client *c);

/* Bytes read, 0 at the end, TLS_CLIENT_AGAIN when more has to be fed, or TLS_CLIENT_BROKEN. To be
 * called until it says one of the last three. */
ssize_t tls_client_read(struct tls_client *c, void *bytes, size_t len);

/* Takes all; false when it is broken. */
bool tls_client_write(struct tls_client *c, const void *bytes, size_t len);

/* How many bytes at most go into one record: what is written at once is cut into records of this
 * length and a rest, which all grow by as much. */
size_t tls_client_record(const struct tls_client *c);

/* Says that nothing more is written. */
void tls_client_finish(struct tls_client *c);

/* Encrypted bytes for the socket, and that so many of them were sent (or handed over). */
struct text tls_client_output(const struct tls_client *c);
void tls_client_sent(struct tls_client *c, size_t len);

enum tls_client_problem {
    TLS_PROBLEM_NONE,
    TLS_PROBLEM_NAME,     /* the server's certificate is for another host, */
    TLS_PROBLEM_STRANGER, /* of an authority that is not trusted, */
    TLS_PROBLEM_DATES,    /* expired or not valid yet, */
    TLS_PROBLEM_WEAK,     /* or no good otherwise */
    TLS_PROBLEM_OWN,      /* the server wants a certificate, or another */
    TLS_PROBLEM_REFUSED,  /* the server has no version, cipher or host that would fit */
    TLS_PROBLEM_PLAIN,    /* what came is no TLS */
    TLS_PROBLEM_CLOSED,   /* the connection ended during the handshake */
    TLS_PROBLEM_OTHER,
};

/* Why it is broken, for people: one line without the host's name. `kind` may be NULL. */
const char *tls_client_problem(const struct tls_client *c, enum tls_client_problem *kind);

#endif
