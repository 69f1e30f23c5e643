#include "client/group.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/die.h"
#include "client/client.h"
#include "client/trust.h"
#include "hermes/client.h"

enum { DEFAULT_MESSAGE_BYTES = 64 << 20, FRAGMENTS_MAX = 1 << 20, SPARE_READERS = 16 };

static void turn(uv_idle_t *idle)
{
    struct hermes_client_group *g = idle->data;
    struct list due;
    list_init(&due);
    /* On a list of their own, so that who becomes due meanwhile has to wait for the next turn. */
    while (!list_empty(&g->due)) {
        struct list *node = g->due.next;
        list_remove(node);
        list_append(&due, node);
    }
    uv_idle_stop(idle);
    while (!list_empty(&due)) {
        struct hermes_client *c = LIST_ITEM(due.next, struct hermes_client, due);
        list_remove(&c->due);
        client_turn(c);
    }
}

static void deadline_met(struct deadline *d, void *user)
{
    (void)user;
    client_deadline(LIST_ITEM(d, struct hermes_client, deadline));
}

struct hermes_client_group *hermes_client_group_new(
    struct uv_loop_s *loop, const struct hermes_client_group_options *options)
{
    struct hermes_client_group *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    size_t max = options ? options->max_message_bytes : 0;
    g->frames = ws_pool_new(&(struct ws_settings){.max_message = max ? max : DEFAULT_MESSAGE_BYTES,
        .max_fragments = FRAGMENTS_MAX,
        .server = false,
        .spare = SPARE_READERS});
    if (!g->frames) {
        free(g);
        return NULL;
    }
    g->loop = loop;
    g->key = hash_key_random();
    g->random_used = sizeof g->random;
    list_init(&g->due);
    /* Neither can fail on Linux. */
    MUST(wheel_open(&g->wheel, loop, deadline_met, g) == 0);
    MUST(uv_idle_init(loop, &g->turn) == 0);
    g->turn.data = g;
    g->open_handles = 2;
    return g;
}

static void handle_closed(struct hermes_client_group *g)
{
    if (--g->open_handles > 0)
        return;
    for (unsigned i = 0; i < g->spare_count; i++)
        buf_fini(&g->spares[i]);
    trust_fini(g);
    buf_fini(&g->text);
    buf_fini(&g->rows);
    buf_fini(&g->names);
    ws_pool_free(g->frames);
    free(g);
}

static void wheel_closed(uv_handle_t *handle)
{
    handle_closed(LIST_ITEM(handle, struct hermes_client_group, wheel.timer));
}

static void turn_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void close_when_unused(struct hermes_client_group *g)
{
    if (!g->freed || g->clients > 0)
        return;
    wheel_close(&g->wheel, wheel_closed);
    uv_close((uv_handle_t *)&g->turn, turn_closed);
}

void hermes_client_group_free(struct hermes_client_group *group)
{
    if (!group)
        return;
    group->freed = true;
    close_when_unused(group);
}

const char *hermes_client_group_problem(const struct hermes_client_group *group)
{
    return group->problem;
}

void group_leave(struct hermes_client_group *g)
{
    g->clients--;
    close_when_unused(g);
}

void group_due(struct hermes_client_group *g, struct list *node)
{
    if (!list_empty(node))
        return;
    if (list_empty(&g->due))
        uv_idle_start(&g->turn, turn);
    list_append(&g->due, node);
}

void group_random(struct hermes_client_group *g, void *out, size_t len)
{
    if (sizeof g->random - g->random_used < len) {
        for (size_t got = 0; got < sizeof g->random;) {
            ssize_t more = getrandom(g->random + got, sizeof g->random - got, 0);
            MUST(more > 0 || errno == EINTR);
            got += more > 0 ? (size_t)more : 0;
        }
        g->random_used = 0;
    }
    memcpy(out, g->random + g->random_used, len);
    g->random_used += len;
}

void group_lend(struct hermes_client_group *g, struct buf *b)
{
    if (b->cap == 0 && g->spare_count > 0)
        *b = g->spares[--g->spare_count];
}

void group_take_back(struct hermes_client_group *g, struct buf *b)
{
    buf_clear(b);
    if (b->cap == 0)
        return;
    if (b->cap <= GROUP_SPARE_BYTES && g->spare_count < GROUP_SPARES) {
        g->spares[g->spare_count++] = *b;
        *b = (struct buf){0};
    } else {
        buf_fini(b);
    }
}
