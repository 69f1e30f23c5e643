/* A strict, bounded reader of the header that a proxy sends in front of a connection: the PROXY
 * protocol, version 1 (one line) or 2 (binary).
 *
 * Order: proxy_head_read is called again with all bytes so far until it says something else than
 *   PROXY_MORE. It keeps no state between the calls. Whatever can be refused is refused with the
 *   first byte that shows it. While it wants more, all bytes so far are the header's: they may be
 *   taken from the socket without touching what follows, which may be of another protocol.
 *
 * What it refuses: any other protocol, addresses of another family than is said, ports out of
 *   range or with leading zeros, other than single spaces, a lone CR or LF; commands and families
 *   that version 2 does not have, and lengths too short for the family's addresses or over the
 *   limit. Of a datagram family (a client that came to the proxy by QUIC) the address is taken all
 *   the same.
 * Threads: any. */
#ifndef HERMES_NET_PROXY_HEAD_H
#define HERMES_NET_PROXY_HEAD_H

#include <stddef.h>

#include "net/endpoint.h"

/* V1: as the protocol has it, CR and LF included. V2: it allows 16 + 65535; what stands behind the
 * addresses (TLVs) is skipped, and nobody has to send that much of it. */
enum { PROXY_HEAD_V1_MAX = 107, PROXY_HEAD_V2_MAX = 4096, PROXY_HEAD_MAX = PROXY_HEAD_V2_MAX };

enum proxy_result {
    PROXY_MORE,
    PROXY_DONE, /* `used` bytes are the header; what follows is not */
    PROXY_BAD,
};

/* `source`: the client that came to the proxy; unknown when the proxy speaks for itself (LOCAL,
 * health checks), does not know (UNKNOWN, unspecified) or has it from a UNIX socket: then the
 * connection's own peer is meant. Only to be looked at after PROXY_DONE. */
enum proxy_result proxy_head_read(
    struct endpoint *source, const char *bytes, size_t len, size_t *used);

#endif
