/* One connection to the admin listener: requests in, answers out, one at a time.
 *
 * Order: HEAD (of the first), IDLE (between requests), HEAD and BODY (one is half there), ANSWERING
 * (the handler has it; nothing is read), WRITING, then IDLE again, or LINGERING (the answer is out,
 * what still comes is thrown away so that it is not lost with it). What is pipelined waits in `in`.
 * Memory: an idle one has no buffers. What all together hold of requests is bounded.
 * Threads: the listener's. */
#ifndef HERMES_ADMIN_HTTP_CONN_H
#define HERMES_ADMIN_HTTP_CONN_H

#include <stdbool.h>
#include <uv.h>

#include "admin/exchange.h"
#include "base/buf.h"
#include "base/list.h"
#include "loop/wheel.h"

enum http_state {
    HTTP_IDLE,
    HTTP_HEAD,
    HTTP_BODY,
    HTTP_ANSWERING,
    HTTP_WRITING,
    HTTP_LINGERING,
    HTTP_CLOSED,
};

struct http_conn {
    struct list node; /* the listener's; the idle ones in the order in which they became so */
    struct admin *admin;
    uv_tcp_t tcp;
    uv_write_t write;
    struct deadline deadline;
    enum http_state state;
    bool peer_ended; /* it sends no more */
    bool continued;  /* it waited to be told to send the body, and was */
    struct buf in;   /* of the request under way, and what follows it */
    size_t head_len; /* of that request; 0: its head is not whole yet */
    struct buf out_head;
    struct buf out_body;
    struct exchange exchange;
};

/* Takes over an accepted socket. Without memory it is closed. */
void http_conn_open(struct admin *a, int fd);

/* The listener ends: whoever waits for an answer still gets it, all others are closed. */
void http_conn_end(struct http_conn *c);

/* Closes the one that has been idle for longest, or when none is the one that has been at its head
 * for longest; false when none is either. */
bool http_conn_make_room(struct admin *a);

/* Its deadline was met. */
void http_conn_deadline(struct deadline *d, void *user);

/* exchange.c: the head of an answer is in `out_head`, its body in `out_body`. */
void http_conn_send(struct http_conn *c);

#endif
