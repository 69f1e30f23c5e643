#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/link.h"

struct presence {
    struct link link;
    struct link_options options;
    const char *topic;
    bool json;
};

static int ask(const struct presence *p)
{
    return hermes_client_presence(p->link.client, p->topic, strlen(p->topic), 0);
}

static void opened(struct link *l)
{
    int code = ask((const struct presence *)l);
    if (code == HERMES_CLIENT_OK)
        return;
    link_error(l, "%s", hermes_client_error(code));
    link_finish(l, CLI_FAILED);
}

static void answer(struct link *l, struct hermes_answer *a)
{
    const struct presence *p = (const struct presence *)l;
    const char *client;
    size_t len;
    bool any = false;
    if (a->kind == HERMES_ANSWER_ERROR)
        link_refused(l, a);
    if (a->kind != HERMES_ANSWER_PRESENCE || l->finishing)
        return;
    if (p->json)
        printf("%.*s\n", (int)a->text_len, a->text);
    for (; !p->json && hermes_answer_client(a, &client, &len); any = true)
        printf("%.*s\n", (int)len, client);
    if (!p->json && !any)
        link_notice(l, "nobody is subscribed to %s", p->topic);
    link_finish(l, fflush(stdout) == 0 ? CLI_OK : CLI_FAILED);
}

static const struct link_command presence_command = {.opened = opened, .answer = answer};

static int option_read(const struct args *a, int option, void *user)
{
    (void)a;
    (void)option;
    ((struct presence *)user)->json = true;
    return CLI_OK;
}

static int run(struct presence *p, const char *command)
{
    int code = link_init(&p->link, command, &presence_command, &p->options);
    if (code != CLI_OK)
        return code;
    if (ask(p) == HERMES_CLIENT_BAD_TOPIC) {
        link_error(&p->link, "%s: '%s'", hermes_client_error(HERMES_CLIENT_BAD_TOPIC), p->topic);
        return link_abandon(&p->link, CLI_USAGE);
    }
    return link_run(&p->link);
}

int cli_presence(int argc, char **argv)
{
    static const struct option options[] = {
        ARGS_LINK_OPTIONS,
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    struct presence p = {
        .options = {.level = 2, .timeout_ms = 10000, .timeout_for_all = true, .close_ms = 1000}};
    struct args a;
    args_init(&a, options, "", argc, argv);
    int code = args_read(&a, &p.options, option_read, &p);
    if (code == CLI_OK)
        code = args_topic(&a, &p.topic);
    if (code == CLI_OK)
        code = run(&p, a.command);
    return args_end(&a, code);
}
