/* The handlers of admin/api.def. */
#ifndef HERMES_ADMIN_API_H
#define HERMES_ADMIN_API_H

#include "admin/exchange.h"

#define ROUTE(method, path, reach, access, handler) void handler(struct exchange *x);
#include "admin/api.def"
#undef ROUTE

#endif
