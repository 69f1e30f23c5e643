/* From a request to its handler, past what it has to satisfy first.
 *
 * Order: router_accepts with the head alone; router_refuse where that said no; else router_run
 *   when the body is there.
 * What is asked of a request, in this order: that it was not sent by a page of another site, which
 *   a browser tells by Host and Origin (guard.h); that there is something at its path; its method;
 *   the token; the form and length of its body. */
#ifndef HERMES_ADMIN_ROUTER_H
#define HERMES_ADMIN_ROUTER_H

#include <stdbool.h>

#include "admin/exchange.h"

struct refusal {
    int status;
    const char *code;
    const char *message;
    const char *headers; /* or NULL */
};

/* Sets `head_only` too. */
bool router_accepts(struct exchange *x, struct refusal *refusal);
void router_refuse(struct exchange *x, const struct refusal *refusal);
void router_run(struct exchange *x);

#endif
