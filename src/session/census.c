#include "session/census.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "session/bearer.h"
#include "session/worker.h"

/* Less than 0: `a` comes before `b`. */
static int compare(const struct census_row *a, const struct census_row *b)
{
    if (a->mark != b->mark)
        return a->mark > b->mark ? -1 : 1;
    return a->client < b->client ? -1 : a->client > b->client;
}

/* --- one worker's rows: a heap, the last in the order first ----------------------------------- */

static struct census_row *rows_of(const struct inquiry_part *part, size_t *count)
{
    *count = part->found.len / sizeof(struct census_row);
    return (struct census_row *)(void *)part->found.data;
}

static void put_down(struct census_row *rows, size_t count, struct census_row row)
{
    size_t at = 0;
    for (size_t below; (below = 2 * at + 1) < count; at = below) {
        if (below + 1 < count && compare(&rows[below + 1], &rows[below]) > 0)
            below++;
        if (compare(&row, &rows[below]) >= 0)
            break;
        rows[at] = rows[below];
    }
    rows[at] = row;
}

static void put_up(struct census_row *rows, size_t at, struct census_row row)
{
    for (; at > 0 && compare(&row, &rows[(at - 1) / 2]) > 0; at = (at - 1) / 2)
        rows[at] = rows[(at - 1) / 2];
    rows[at] = row;
}

/* --- looking at one session ------------------------------------------------------------------- */

static void look_at_kernel(const struct session *s, struct census_row *row)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(s->conn.fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    row->rtt_us = info.tcpi_rtt;
    row->retransmits = info.tcpi_total_retrans;
}

static uint32_t age_of(const struct session *s)
{
    return ((uint32_t)(clock_ns() / 1000000000u) - s->conn.opened) & CONN_OPENED;
}

/* What the order goes by. */
static uint64_t mark_of(enum census_sort sort, struct session *s, struct census_row *row)
{
    switch (sort) {
    case CENSUS_QUEUED:
        return outbox_unsent(&s->out);
    case CENSUS_UNSENT:
        return conn_unacknowledged(&s->conn);
    case CENSUS_RTT:
        look_at_kernel(s, row);
        return row->rtt_us;
    case CENSUS_RETRANSMITS:
        look_at_kernel(s, row);
        return row->retransmits;
    case CENSUS_AGE:
        return age_of(s);
    case CENSUS_CLIENT:
        break;
    }
    return UINT64_MAX - s->client;
}

/* False when there is no memory. */
static bool complete(enum census_sort sort, struct session *s, struct census_row *row)
{
    if (sort != CENSUS_RTT && sort != CENSUS_RETRANSMITS)
        look_at_kernel(s, row);
    row->address = session_caller(s);
    row->queued = outbox_unsent(&s->out);
    row->unsent = (uint32_t)conn_unacknowledged(&s->conn);
    row->topics = s->subscriber.count + s->catching;
    row->age = age_of(s);
    row->worker = (uint16_t)s->worker->index;
    row->enveloped = s->enveloped;
    row->events = s->conn.unframed;
    row->tls = s->conn.tls != NULL;
    row->blocked = s->blocked;
    struct text user = s->bearer ? s->bearer->claims->user : TEXT("");
    if (user.len == 0)
        return true;
    row->user = malloc(user.len + 1);
    if (!row->user)
        return false;
    memcpy(row->user, user.at, user.len);
    row->user[user.len] = '\0';
    row->user_len = user.len;
    return true;
}

static bool passes(const struct census *c, const struct session *s)
{
    if (s->state != SESSION_OPEN || (c->by_client && s->client != c->client))
        return false;
    if (c->user.at && !(s->bearer && text_equal(s->bearer->claims->user, c->user)))
        return false;
    if (!c->by_address)
        return true;
    struct endpoint at = session_caller(s);
    return memcmp(&at.ip, &c->address.ip, sizeof at.ip) == 0 &&
           (c->address.port == 0 || c->address.port == at.port);
}

static void look_at(void *item, void *user)
{
    struct session *s = item;
    struct inquiry_part *part = user;
    const struct census *c = LIST_ITEM(part->inquiry, struct census, inquiry);
    size_t count;
    if (!passes(c, s))
        return;
    part->count++;
    if (c->by_after && s->client <= c->after)
        return;
    struct census_row row = {.client = s->client};
    row.mark = mark_of(c->sort, s, &row);
    struct census_row *rows = rows_of(part, &count);
    bool full = count == c->limit;
    if ((full && compare(&row, &rows[0]) >= 0) || part->found.failed)
        return;
    if (!full && !buf_reserve(&part->found, sizeof row))
        return;
    if (!complete(c->sort, s, &row)) {
        part->found.failed = true;
        return;
    }
    if (full) {
        free(rows[0].user);
        put_down(rows, count, row);
    } else {
        part->found.len += sizeof row;
        put_up(rows_of(part, &count), count, row);
    }
}

static bool look(struct inquiry *q, struct worker *w, struct inquiry_part *part)
{
    (void)q;
    return !slab_step(&w->sessions, &part->cursor, look_at, part);
}

/* --- putting it together ---------------------------------------------------------------------- */

static int by_order(const void *a, const void *b)
{
    return compare(a, b);
}

static void gather(struct census *c)
{
    size_t all = 0;
    size_t count;
    for (unsigned i = 0; i < c->inquiry.count; i++) {
        const struct inquiry_part *part = &c->inquiry.parts[i];
        if (part->lost) /* its worker has ended, and its clients before: they are not there */
            continue;
        all += part->found.len / sizeof *c->rows;
        c->total += part->count;
        c->failed |= part->found.failed;
    }
    c->rows = malloc((all ? all : 1) * sizeof *c->rows);
    if (!c->rows) {
        c->failed = true;
        return;
    }
    for (unsigned i = 0; i < c->inquiry.count; i++) {
        struct inquiry_part *part = &c->inquiry.parts[i];
        const struct census_row *rows = rows_of(part, &count);
        if (part->lost)
            continue;
        if (count > 0)
            memcpy(c->rows + c->count, rows, count * sizeof *rows);
        c->count += count;
        part->found.len = 0; /* the users are the rows' here now */
    }
    qsort(c->rows, c->count, sizeof *c->rows, by_order);
    while (c->count > c->limit)
        free(c->rows[--c->count].user);
}

static void done(struct inquiry *q)
{
    struct census *c = LIST_ITEM(q, struct census, inquiry);
    gather(c);
    c->done(c, c->context);
}

struct census *census_new(const struct workshop *shop, struct mailbox *home, enum census_sort sort,
    size_t limit, struct text user)
{
    struct census *c = calloc(1, sizeof *c + user.len);
    if (!c)
        return NULL;
    if (!inquiry_init(&c->inquiry, shop, home)) {
        free(c);
        return NULL;
    }
    c->inquiry.look = look;
    c->inquiry.done = done;
    c->sort = sort;
    c->limit = limit;
    if (user.at) {
        char *copy = (char *)(c + 1);
        memcpy(copy, user.at, user.len);
        c->user = (struct text){copy, user.len};
    }
    return c;
}

void census_free(struct census *c)
{
    size_t count;
    for (unsigned i = 0; i < c->inquiry.count; i++) {
        struct census_row *rows = rows_of(&c->inquiry.parts[i], &count);
        for (size_t j = 0; j < count; j++)
            free(rows[j].user);
    }
    for (size_t i = 0; i < c->count; i++)
        free(c->rows[i].user);
    free(c->rows);
    inquiry_fini(&c->inquiry);
    free(c);
}
