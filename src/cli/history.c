#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/die.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/link.h"

enum { PAGE = 1000 }; /* the most that a server gives at once */

struct history {
    struct link link;
    struct lines lines;
    struct link_options options;
    const char *topic;
    uint64_t left; /* messages still wanted; 0: none was said */
    bool json;
    bool lost; /* some of what was asked for is no longer there */
    /* Where to go on; without an epoch the newest are asked for, all at once. */
    struct buf epoch;
    uint64_t offset;
};

static void set_epoch(struct history *h, const char *epoch, size_t len)
{
    buf_clear(&h->epoch);
    buf_append(&h->epoch, epoch, len);
    MUST(!h->epoch.failed);
}

static int ask(struct history *h)
{
    struct hermes_history_options o = {
        .epoch = h->epoch.data, .epoch_len = h->epoch.len, .offset = h->offset};
    if (h->left || h->epoch.data)
        o.limit = h->left && h->left < PAGE ? (unsigned)h->left : PAGE;
    return hermes_client_history(h->link.client, h->topic, strlen(h->topic), &o);
}

static void go_on(struct history *h)
{
    int code = ask(h);
    if (code == HERMES_CLIENT_OK)
        return;
    link_error(&h->link, "%s", hermes_client_error(code));
    link_finish(&h->link, CLI_FAILED);
}

static void opened(struct link *l)
{
    /* Behind a lost connection it goes on where it was. */
    go_on((struct history *)l);
}

/* Whether a page is only a part of what was asked for: more follow. */
static bool page(struct history *h, struct hermes_answer *a)
{
    struct hermes_message m;
    uint64_t rows = 0;
    for (; hermes_answer_message(a, &m); rows++) {
        lines_add(&h->lines, h->json ? m.text : m.data, h->json ? m.text_len : m.data_len);
        h->offset = m.offset;
    }
    if (!h->epoch.data || rows == 0 || h->offset >= a->offset)
        return false;
    if (h->left == 0)
        return true;
    h->left -= rows < h->left ? rows : h->left;
    return h->left > 0;
}

static void answer(struct link *l, struct hermes_answer *a)
{
    struct history *h = (struct history *)l;
    if (a->kind == HERMES_ANSWER_ERROR)
        link_refused(l, a);
    if (a->kind != HERMES_ANSWER_HISTORY || l->finishing)
        return;
    bool more = page(h, a);
    if (a->recovered == HERMES_RECOVERED_NO) {
        if (!h->lost)
            link_error(l, "the server does not have all that followed; this is what it has");
        h->lost = true;
        set_epoch(h, a->epoch, a->epoch_len);
    }
    if (more) {
        go_on(h);
        return;
    }
    link_notice(l, "%s is at %.*s:%" PRIu64, h->topic, (int)a->epoch_len, a->epoch ? a->epoch : "",
        a->offset);
    link_finish(l, h->lost ? CLI_FAILED : CLI_OK);
}

static void release(struct link *l)
{
    lines_close(&((struct history *)l)->lines);
}

static const struct link_command history_command = {
    .opened = opened, .answer = answer, .release = release};

static int option_read(const struct args *a, int option, void *user)
{
    struct history *h = user;
    struct args_since since;
    switch (option) {
    case 's':
        if (args_since(a, &since) != CLI_OK)
            return CLI_USAGE;
        set_epoch(h, since.epoch, since.epoch_len);
        h->offset = since.offset;
        return CLI_OK;
    case 'l':
        return args_number(a, "--limit", 1, UINT64_MAX, &h->left);
    default:
        h->json = true;
        return CLI_OK;
    }
}

static int run(struct history *h, const struct args *a)
{
    int code = link_init(&h->link, a->command, &history_command, &h->options);
    if (code != CLI_OK)
        return code;
    if (ask(h) == HERMES_CLIENT_BAD_TOPIC) {
        link_error(&h->link, "%s: '%s'", hermes_client_error(HERMES_CLIENT_BAD_TOPIC), h->topic);
        return link_abandon(&h->link, CLI_USAGE);
    }
    lines_open(&h->lines, &h->link);
    return link_run(&h->link);
}

int cli_history(int argc, char **argv)
{
    static const struct option options[] = {
        ARGS_LINK_OPTIONS,
        {"since", required_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    struct history h = {
        .options = {.level = 2, .timeout_ms = 10000, .timeout_for_all = true, .close_ms = 1000}};
    struct args a;
    args_init(&a, options, "l:", argc, argv);
    int code = args_read(&a, &h.options, option_read, &h);
    if (code == CLI_OK)
        code = args_topic(&a, &h.topic);
    if (code == CLI_OK && !h.epoch.data && h.left > PAGE)
        code = args_fault(a.command, "--limit is at most %d without --since", PAGE);
    if (code == CLI_OK)
        code = run(&h, &a);
    buf_fini(&h.epoch);
    return args_end(&a, code);
}
