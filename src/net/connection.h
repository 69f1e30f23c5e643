/* An accepted socket on its way from the acceptor to a worker.
 *
 * Ownership: whoever holds it: the socket, and its place among those of its address. */
#ifndef HERMES_NET_CONNECTION_H
#define HERMES_NET_CONNECTION_H

#include <stdbool.h>

#include "loop/mailbox.h"
#include "net/addresses.h"

struct connection {
    int fd;
    enum connection_refusal refusal;
    bool tls;                /* it came to a port for TLS */
    struct address *address; /* what it is counted by; NULL: not counted */
};

static inline struct mail connection_mail(const struct connection *c)
{
    return (struct mail){
        .kind = MAIL_CONNECTION,
        .item = c->address,
        .word = (uint64_t)c->tls << 40 | (uint64_t)c->refusal << 32 | (uint32_t)c->fd,
    };
}

static inline struct connection connection_of(struct mail mail)
{
    return (struct connection){
        .fd = (int)(mail.word & 0xffffffff),
        .refusal = (enum connection_refusal)(mail.word >> 32 & 0xff),
        .tls = mail.word >> 40 & 1,
        .address = mail.item,
    };
}

#endif
