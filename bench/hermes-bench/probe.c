#include "probe.h"

#include <hermes/client.h>
#include <hermes/protocol.h>
#include <stdio.h>
#include <uv.h>

#include "options.h"

enum { GREETING_MS = 5000 };

struct attempt {
    struct hermes_client *client;
    uv_timer_t timer;
    const char *url;
    char *fault;
    size_t fault_size;
    bool greeted;
};

static void over(struct attempt *a)
{
    hermes_client_free(a->client);
    a->client = NULL;
    if (!uv_is_closing((uv_handle_t *)&a->timer))
        uv_close((uv_handle_t *)&a->timer, NULL);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    struct attempt *a = user;
    if (answer->kind != HERMES_ANSWER_INFO)
        return;
    a->greeted = true;
    hermes_client_close(c, HERMES_CLOSE_NORMAL, NULL);
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct attempt *a = user;
    (void)c;
    if (!a->greeted)
        snprintf(a->fault, a->fault_size, "%s: %.*s", a->url, (int)why->reason_len, why->reason);
    over(a);
}

static void on_timer(uv_timer_t *timer)
{
    struct attempt *a = timer->data;
    if (!a->greeted)
        snprintf(
            a->fault, a->fault_size, "%s: connected, but no greeting came: not a Hermes?", a->url);
    over(a);
}

bool probe(const struct options *o, char *fault, size_t fault_size)
{
    static const struct hermes_client_events events = {
        .on_answer = on_answer, .on_close = on_close};
    struct attempt a = {.url = o->url, .fault = fault, .fault_size = fault_size};
    struct hermes_client_options options;
    options_client(o, &options, 0);
    options.events = &events;
    options.user = &a;
    options.retry_ms = HERMES_CLIENT_NEVER;
    options.connect_ms = GREETING_MS;
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) {
        snprintf(fault, fault_size, "cannot make an event loop");
        return false;
    }
    struct hermes_client_group *group = hermes_client_group_new(&loop, NULL);
    uv_timer_init(&loop, &a.timer);
    a.timer.data = &a;
    uv_timer_start(&a.timer, on_timer, 2 * GREETING_MS, 0);
    int code = group ? hermes_client_new(&a.client, group, &options) : HERMES_CLIENT_NO_MEMORY;
    if (code == HERMES_CLIENT_OK)
        code = hermes_client_open(a.client);
    if (code != HERMES_CLIENT_OK) {
        snprintf(fault, fault_size, "%s: %s", o->url,
            code == HERMES_CLIENT_BAD_TLS ? hermes_client_group_problem(group)
                                          : hermes_client_error(code));
        over(&a);
    }
    hermes_client_group_free(group);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return a.greeted;
}
