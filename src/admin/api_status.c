/* What the broker is and how it does. */
#include "admin/admin.h"
#include "admin/api.h"

void api_status(struct exchange *x)
{
    struct buf body = {0};
    buf_append_string(&body, "{\"version\":\"" HERMES_VERSION "\"}\n");
    exchange_json(x, 200, &body);
}
