/* The handlers of admin/pages.def. */
#ifndef HERMES_ADMIN_PAGES_H
#define HERMES_ADMIN_PAGES_H

#include "admin/exchange.h"

#define ROUTE(method, path, reach, access, handler) void handler(struct exchange *x);
#include "admin/pages.def"
#undef ROUTE

#endif
