/* Who may ask what of the admin listener.
 *
 * A browser sends requests for any page that is open in it. So without a token only who names this
 * machine by an address or as localhost is answered: a page of a name that its owner lets point
 * here (DNS rebinding) would send that name as Host. And what changes something has to be of a type
 * that pages may not send to other sites without asking, and of the same origin where the browser
 * tells one. */
#ifndef HERMES_ADMIN_GUARD_H
#define HERMES_ADMIN_GUARD_H

#include <stdbool.h>

#include "base/text.h"
#include "proto/http_head.h"

/* Whether a Host header's value is localhost or an address, with or without a port. */
bool guard_host_is_local(struct text host);

/* Whether Origin, if there is one, is that of Host. */
bool guard_same_origin(const struct http_head *head);

/* Whether it says that its body is JSON. */
bool guard_is_json(const struct http_head *head);

/* Whether it has this bearer token, told in the same time whatever is wrong with it. */
bool guard_has_token(const struct http_head *head, struct text token);

#endif
