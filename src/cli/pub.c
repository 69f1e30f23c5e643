#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/die.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/lines.h"
#include "cli/link.h"

enum {
    LINE_MOST = 16 << 20,
    QUEUE_MOST = LINE_MOST * 4,
    QUEUE_FULL = 1 << 20, /* no more is read until the queue is shorter */
};

struct pub {
    struct link link;
    struct link_options options;
    struct input input;
    struct lines lines; /* for --json */
    const char *topic;
    bool json;
    bool from_input;
    bool ended; /* there is no more to publish */
    bool failed;
    bool asked; /* for a confirmation that has not come */
    uint64_t published;
    uint64_t settled; /* of these: confirmed (at level 2: answered), or reported as possibly lost */
    uint64_t settled_line; /* the input line of the last that is confirmed */
    uint64_t asked_line;
};

static bool is_level2(const struct pub *p)
{
    return p->options.level == 2;
}

static int exit_code(const struct pub *p)
{
    return p->failed ? CLI_FAILED : CLI_OK;
}

static void fail(struct pub *p)
{
    p->failed = true;
    p->link.code = CLI_FAILED;
}

/* What follows from how much is published, queued and confirmed. */
static void go_on(struct pub *p)
{
    struct hermes_client *c = p->link.client;
    size_t queued = hermes_client_queued_bytes(c);
    if (!p->ended && queued >= QUEUE_FULL)
        input_pause(&p->input);
    else if (!p->ended)
        input_resume(&p->input);
    if (!hermes_client_is_open(c))
        return;
    if (is_level2(p)) {
        if (p->ended && p->settled == p->published)
            link_finish(&p->link, exit_code(p));
    } else if (p->ended && queued == 0) {
        link_finish(&p->link, exit_code(p));
    } else if (!p->ended && !p->asked && p->published > p->settled &&
               hermes_client_confirm(c, p->published) == HERMES_CLIENT_OK) {
        p->asked = true;
        p->asked_line = p->input.line;
    }
}

static void opened(struct link *l)
{
    go_on((struct pub *)l);
}

static void drained(struct link *l)
{
    go_on((struct pub *)l);
}

static void confirmed(struct link *l, uint64_t token)
{
    struct pub *p = (struct pub *)l;
    p->asked = false;
    p->settled = token;
    p->settled_line = p->asked_line;
    go_on(p);
}

static void answer(struct link *l, struct hermes_answer *a)
{
    struct pub *p = (struct pub *)l;
    if (a->kind != HERMES_ANSWER_ERROR)
        return;
    link_error(l, "the server says: %.*s", (int)a->message_len, a->message);
    fail(p);
}

static void published(struct link *l, const struct hermes_published *answer)
{
    struct pub *p = (struct pub *)l;
    char where[32] = "";
    if (p->from_input)
        snprintf(where, sizeof where, "line %" PRIu64 ": ", answer->token);
    if (answer->outcome == HERMES_PUBLISH_UNKNOWN)
        return; /* report_loss tells of all of them */
    p->settled++;
    p->settled_line = answer->token;
    if (answer->outcome == HERMES_PUBLISH_REFUSED) {
        link_error(l, "%sthe server says: %.*s", where, (int)answer->message_len, answer->message);
        fail(p);
    } else if (p->json) {
        lines_add(&p->lines, answer->text, answer->text_len);
    } else if (!p->from_input) {
        link_notice(l, "published at offset %" PRIu64 ", subscribers: %" PRIu64, answer->offset,
            answer->subscribers);
    }
    go_on(p);
}

/* Reports what was handed to a connection that broke before it was confirmed. */
static void report_loss(struct pub *p)
{
    uint64_t queued = hermes_client_queued_texts(p->link.client);
    uint64_t lost = p->published - p->settled - queued;
    if (lost == 0)
        return;
    if (!p->from_input)
        link_error(&p->link, "%s: the message may not have been published", p->link.last);
    else
        link_error(&p->link,
            "%s: of what follows line %" PRIu64 ", the first %" PRIu64
            " messages may not have been published",
            p->link.last, p->settled_line, lost);
    p->settled += lost;
    fail(p);
}

static bool closed(struct link *l, const struct hermes_close *why)
{
    struct pub *p = (struct pub *)l;
    p->asked = false;
    if (why->clean)
        return false;
    report_loss(p);
    bool done = p->ended && hermes_client_queued_texts(l->client) == 0;
    if (done) {
        link_quit(l, exit_code(p));
        return true;
    }
    if (why->will_retry || !l->finishing || hermes_client_open(l->client) != HERMES_CLIENT_OK)
        return false;
    l->finishing = false;
    return true;
}

static void interrupted(struct link *l)
{
    struct pub *p = (struct pub *)l;
    if (p->from_input && !p->ended) {
        link_notice(
            l, "interrupted: what was read up to line %" PRIu64 " is still sent", p->input.line);
        p->ended = true;
        input_pause(&p->input);
        fail(p);
        if (hermes_client_queued_texts(l->client) > 0 || hermes_client_is_open(l->client)) {
            go_on(p);
            return;
        }
    }
    snprintf(l->last, sizeof l->last, "interrupted");
    report_loss(p);
    link_quit(l, CLI_FAILED);
}

static void gave_up(struct link *l)
{
    struct pub *p = (struct pub *)l;
    uint64_t queued = hermes_client_queued_texts(l->client);
    if (queued && p->from_input)
        link_error(l, "%" PRIu64 " messages, up to line %" PRIu64 ", were not published", queued,
            p->input.line);
}

static int publish(struct pub *p, const char *text, size_t len)
{
    struct hermes_publish_options o = {.ack = true, .token = p->input.line};
    size_t topic_len = strlen(p->topic);
    if (is_level2(p))
        return hermes_client_publish_with(p->link.client, p->topic, topic_len, text, len, &o);
    return hermes_client_publish(p->link.client, p->topic, topic_len, text, len);
}

static void publish_line(struct input *input, const char *line, size_t len)
{
    struct pub *p = input->user;
    if (!line) {
        link_error(&p->link, "line %" PRIu64 ": longer than %d bytes", input->line, LINE_MOST);
        fail(p);
        return;
    }
    if (strspn(line, " \t\r") == len)
        return;
    int code = publish(p, line, len);
    if (code == HERMES_CLIENT_OK) {
        p->published++;
        return;
    }
    link_error(&p->link, "line %" PRIu64 ": %s", input->line, hermes_client_error(code));
    fail(p);
}

static void after_piece(struct input *input, int error)
{
    struct pub *p = input->user;
    if (error != 0) {
        link_error(&p->link, "cannot read standard input: %s", strerror(error));
        fail(p);
    }
    p->ended = input->ended;
    go_on(p);
}

static void release(struct link *l)
{
    struct pub *p = (struct pub *)l;
    input_close(&p->input);
    lines_close(&p->lines);
}

static const struct link_command pub_command = {
    .opened = opened,
    .answer = answer,
    .confirmed = confirmed,
    .drained = drained,
    .published = published,
    .closed = closed,
    .interrupted = interrupted,
    .gave_up = gave_up,
    .release = release,
};

/* The one message of `pub TOPIC DATA`, queued before anything is connected. */
static int publish_word(struct pub *p, const char *text)
{
    int code = publish(p, text, strlen(text));
    p->published = 1;
    p->ended = true;
    if (code == HERMES_CLIENT_OK)
        return CLI_OK;
    if (code == HERMES_CLIENT_NOT_JSON)
        link_error(&p->link,
            "the data is not valid JSON: %.200s (a string needs quotes of its own: '\"hello\"')",
            text);
    else
        link_error(&p->link, "%s", hermes_client_error(code));
    return CLI_USAGE;
}

static int run(struct pub *p, const struct args *a)
{
    p->topic = a->words[0];
    p->from_input = strcmp(a->words[1], "-") == 0;
    int code = link_init(&p->link, a->command, &pub_command, &p->options);
    if (code != CLI_OK)
        return code;
    if (p->from_input) {
        /* The topic is tried on a message that is not JSON: nothing is queued by it. */
        code = publish(p, "", 0);
        if (code == HERMES_CLIENT_BAD_TOPIC) {
            link_error(&p->link, "%s: '%s'", hermes_client_error(code), p->topic);
            return link_abandon(&p->link, CLI_USAGE);
        }
    } else {
        code = publish_word(p, a->words[1]);
        if (code != CLI_OK)
            return link_abandon(&p->link, code);
    }
    if (p->json)
        lines_open(&p->lines, &p->link);
    if (p->from_input)
        input_open(&p->input, &p->link.loop, LINE_MOST, publish_line, after_piece, p);
    return link_run(&p->link);
}

static int option_read(const struct args *a, int option, void *user)
{
    struct pub *p = user;
    (void)a;
    p->options.level = 2;
    p->json |= option == 'j';
    return CLI_OK;
}

int cli_pub(int argc, char **argv)
{
    static const struct option options[] = {
        ARGS_LINK_OPTIONS,
        {"v2", no_argument, NULL, '2'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    struct pub p = {.options = {.max_queued = QUEUE_MOST, .timeout_ms = 30000}};
    struct args a;
    args_init(&a, options, "", argc, argv);
    int code = args_read(&a, &p.options, option_read, &p);
    if (code == CLI_OK && a.word_count < 2)
        code = args_fault(a.command, a.word_count ? "which data? JSON, or - for standard input"
                                                  : "which topic, and which data?");
    if (code == CLI_OK && a.word_count > 2)
        code = args_fault(
            a.command, "one topic and one JSON text, not '%s' too: quote the data", a.words[2]);
    if (code == CLI_OK)
        code = run(&p, &a);
    return args_end(&a, code);
}
