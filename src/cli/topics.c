#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/link.h"

enum { PAGE = 1000 }; /* the most that a server gives at once */

struct topics {
    struct link link;
    const char *prefix;
    uint64_t left; /* rows still wanted */
    bool json;
    struct buf names;  /* of the rows so far, each terminated; not for --json */
    struct buf counts; /* as uint64_t */
    struct buf last;   /* the name of the last row */
    size_t widest;
};

static void ask(struct topics *t, const char *after, size_t len)
{
    int code = hermes_client_topics(t->link.client, t->prefix, strlen(t->prefix), after, len,
        t->left < PAGE ? (unsigned)t->left : PAGE);
    if (code == HERMES_CLIENT_OK)
        return;
    link_error(&t->link, "%s", hermes_client_error(code));
    link_finish(&t->link, CLI_FAILED);
}

static void opened(struct link *l)
{
    struct topics *t = (struct topics *)l;
    /* Behind a lost connection it goes on where it was. */
    ask(t, t->last.data, t->last.len);
}

/* Columns on a terminal, near enough: characters. */
static size_t width(const char *text, size_t len)
{
    size_t columns = 0;
    for (size_t i = 0; i < len; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

static void row_add(struct topics *t, const struct hermes_topic *row)
{
    buf_clear(&t->last);
    buf_append(&t->last, row->name, row->name_len);
    if (t->json) {
        printf("%.*s\n", (int)row->text_len, row->text);
        return;
    }
    buf_append(&t->names, row->name, row->name_len);
    buf_append_char(&t->names, 0);
    buf_append(&t->counts, &row->subscribers, sizeof row->subscribers);
    size_t columns = width(row->name, row->name_len);
    if (columns > t->widest)
        t->widest = columns;
}

static void table_print(const struct topics *t)
{
    const uint64_t *counts = (const uint64_t *)(const void *)t->counts.data;
    size_t rows = t->counts.len / sizeof *counts;
    const char *name = t->names.data;
    if (rows == 0) {
        link_notice(&t->link, "no topic has subscribers");
        return;
    }
    int widest = (int)(t->widest > 5 ? t->widest : 5);
    printf("%-*s  SUBSCRIBERS\n", widest, "TOPIC");
    for (size_t i = 0; i < rows; i++) {
        size_t len = strlen(name);
        for (const char *at = name; *at; at++)
            putchar((unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at);
        printf("%*s  %11" PRIu64 "\n", widest - (int)width(name, len), "", counts[i]);
        name += len + 1;
    }
}

static void answer(struct link *l, struct hermes_answer *a)
{
    struct topics *t = (struct topics *)l;
    struct hermes_topic row;
    if (a->kind == HERMES_ANSWER_ERROR)
        link_refused(l, a);
    if (a->kind != HERMES_ANSWER_TOPICS || l->finishing)
        return;
    while (t->left > 0 && hermes_answer_topic(a, &row)) {
        row_add(t, &row);
        t->left--;
    }
    if (t->names.failed || t->counts.failed || t->last.failed) {
        link_error(l, "out of memory");
        link_finish(l, CLI_FAILED);
    } else if (t->left > 0 && a->next) {
        ask(t, a->next, a->next_len);
    } else {
        if (!t->json)
            table_print(t);
        link_finish(l, fflush(stdout) == 0 ? CLI_OK : CLI_FAILED);
    }
}

static void data(struct link *l, const char *text, size_t len)
{
    link_error(
        l, "the server does not know 'topics'; it said: %.*s", len < 200 ? (int)len : 200, text);
    link_finish(l, CLI_FAILED);
}

static const struct link_command topics_command = {
    .opened = opened, .data = data, .answer = answer};

static int option_read(const struct args *a, int option, void *user)
{
    struct topics *t = user;
    switch (option) {
    case 'p':
        t->prefix = optarg;
        return CLI_OK;
    case 'l':
        return args_number(a, "--limit", 1, UINT64_MAX, &t->left);
    default:
        t->json = true;
        return CLI_OK;
    }
}

static int run(struct topics *t, const char *command, const struct link_options *options)
{
    int code = link_init(&t->link, command, &topics_command, options);
    return code == CLI_OK ? link_run(&t->link) : code;
}

int cli_topics(int argc, char **argv)
{
    static const struct option options[] = {
        ARGS_LINK_OPTIONS,
        {"prefix", required_argument, NULL, 'p'},
        {"limit", required_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    struct topics t = {.prefix = "", .left = UINT64_MAX};
    struct link_options link = {.timeout_ms = 10000, .timeout_for_all = true, .close_ms = 1000};
    struct args a;
    args_init(&a, options, "p:l:", argc, argv);
    int code = args_read(&a, &link, option_read, &t);
    if (code == CLI_OK && a.word_count > 0)
        code = args_fault(a.command, "what is '%s'? For topics that begin with it: --prefix %s",
            a.words[0], a.words[0]);
    if (code == CLI_OK)
        code = run(&t, a.command, &link);
    buf_fini(&t.names);
    buf_fini(&t.counts);
    buf_fini(&t.last);
    return args_end(&a, code);
}
