#include "admin/pages.h"

void page_metrics(struct exchange *x)
{
    struct buf body = {0};
    exchange_answer(x, 200, "text/plain; version=0.0.4", NULL, &body);
}
