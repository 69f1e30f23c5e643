#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/link.h"

struct sub {
    struct link link;
    struct lines lines;
    uint64_t left; /* messages until the end; 0: there is none */
};

static void opened(struct link *l)
{
    (void)l; /* the client asks for the topics by itself */
}

static void data(struct link *l, const char *text, size_t len)
{
    struct sub *s = (struct sub *)l;
    if (l->finishing)
        return;
    lines_add(&s->lines, text, len);
    if (s->left && --s->left == 0)
        link_finish(l, CLI_OK);
}

static void answer(struct link *l, struct hermes_answer *a)
{
    if (a->kind == HERMES_ANSWER_SUBSCRIBED) {
        link_notice(l, "subscribed to %.*s", (int)a->topic_len, a->topic);
    } else if (a->kind == HERMES_ANSWER_ERROR) {
        link_error(l, "the server says: %.*s", (int)a->message_len, a->message);
        link_finish(l, CLI_FAILED);
    }
}

static void release(struct link *l)
{
    lines_close(&((struct sub *)l)->lines);
}

static const struct link_command sub_command = {
    .opened = opened, .data = data, .answer = answer, .release = release};

static int subscribe(struct sub *s, char **topics)
{
    for (; *topics; topics++) {
        int code = hermes_client_subscribe(s->link.client, *topics, strlen(*topics));
        if (code != HERMES_CLIENT_OK) {
            link_error(&s->link, "%s: '%s'", hermes_client_error(code), *topics);
            return CLI_USAGE;
        }
    }
    return CLI_OK;
}

static int run(struct args *a, const struct link_options *options, uint64_t count)
{
    struct sub s = {.left = count};
    int code = link_init(&s.link, a->command, &sub_command, options);
    if (code != CLI_OK)
        return code;
    lines_open(&s.lines, &s.link);
    code = subscribe(&s, a->words);
    return code == CLI_OK ? link_run(&s.link) : link_abandon(&s.link, code);
}

int cli_sub(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},
        {"count", required_argument, NULL, 'n'},
        {"timeout", required_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct link_options link = {.close_ms = 1000};
    uint64_t count = 0;
    uint64_t seconds = 0;
    struct args a;
    int code = CLI_OK;
    args_init(&a, options, "n:", argc, argv);
    for (int option; (option = args_next(&a)) != ARGS_END && code == CLI_OK;) {
        switch (option) {
        case 'u':
            link.url = optarg;
            break;
        case 'n':
            code = args_number(&a, "--count", 1, UINT64_MAX, &count);
            break;
        case 't':
            code = args_number(&a, "--timeout", 0, ARGS_SECONDS_MAX, &seconds);
            break;
        case 'q':
            link.quiet = true;
            break;
        default:
            args_fini(&a);
            return option == ARGS_HELP ? CLI_OK : CLI_USAGE;
        }
    }
    link.timeout_ms = seconds * 1000;
    if (code == CLI_OK && a.word_count == 0)
        code = args_fault(a.command, "which topic?");
    if (code == CLI_OK)
        code = run(&a, &link, count);
    args_fini(&a);
    return code;
}
