/* For the program around the broker, when a service manager looks after that: sockets that it has
 * bound, and whether the broker is alive. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/server.h"

int hermes_listen_on(struct hermes *h, const char *setting, int fd)
{
    static const char *const settings[LISTENERS] = {"WS_PORT", "WS_TLS_PORT", "WS_ADMIN_PORT"};
    size_t kind = 0;
    while (kind < LISTENERS && strcmp(settings[kind], setting) != 0)
        kind++;
    if (kind == LISTENERS) {
        snprintf(h->error, sizeof h->error, "there is no listener %s", setting);
        return HERMES_UNKNOWN;
    }
    struct listen_given *given = &h->given[kind];
    if (!listen_is_good(fd)) {
        snprintf(h->error, sizeof h->error,
            "descriptor %d, for %s, is no TCP socket that listens: correct the socket unit", fd,
            setting);
        return HERMES_INVALID;
    }
    if (h->started || given->count == LISTEN_GIVEN_MAX) {
        snprintf(h->error, sizeof h->error, "too many sockets, or too late, for %s", setting);
        return HERMES_TOO_LARGE;
    }
    given->fds[given->count++] = fd;
    return HERMES_OK;
}

void hermes_forget_given(struct hermes *h)
{
    for (size_t kind = 0; kind < LISTENERS; kind++)
        while (h->given[kind].count > 0)
            close(h->given[kind].fds[--h->given[kind].count]);
}

int hermes_alive(struct hermes *h)
{
    const struct workshop *shop = &h->shop;
    int alive = h->started && !h->joined;
    if (alive && atomic_load_explicit(&shop->unready, memory_order_relaxed))
        return 1; /* workers end, one by one */
    for (unsigned i = 0; alive && i < shop->count; i++)
        alive = atomic_load_explicit(&shop->workers[i].alive, memory_order_relaxed) == h->alive;
    if (!alive)
        return 0; /* whoever is late with an answer is not asked again */
    h->alive++;
    for (unsigned i = 0; i < shop->count; i++)
        mailbox_post(shop->route.boxes[i], (struct mail){.kind = MAIL_ALIVE, .word = h->alive});
    return 1;
}
