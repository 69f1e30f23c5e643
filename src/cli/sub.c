#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/link.h"
#include "hermes/protocol.h"

struct sub {
    struct link link;
    struct lines lines;
    uint64_t left; /* messages until the end; 0: there is none */
    bool json;

    /* What is asked for. */
    struct link_options options;
    char **topics;
    const char **patterns;
    int pattern_count;
    struct args_since since;
    uint64_t replay;
    enum hermes_slow policy;
    bool presence;
};

static void opened(struct link *l)
{
    (void)l; /* the client asks for the topics by itself */
}

static void message(struct sub *s, const char *text, size_t len)
{
    if (s->link.finishing)
        return;
    lines_add(&s->lines, text, len);
    if (s->left && --s->left == 0)
        link_finish(&s->link, CLI_OK);
}

static void data(struct link *l, const char *text, size_t len)
{
    message((struct sub *)l, text, len);
}

static void delivery(struct link *l, const struct hermes_delivery *d)
{
    struct sub *s = (struct sub *)l;
    message(s, s->json ? d->text : d->data, s->json ? d->text_len : d->data_len);
}

static void gap_anew(const struct link *l, const struct hermes_gap *g)
{
    char missed[64] = "";
    if (g->to > 0)
        (void)snprintf(missed, sizeof missed,
            ", and %" PRIu64 " to %" PRIu64 " of these were missed", g->from, g->to);
    link_error(l,
        "messages of %.*s may be lost: its offsets have started anew, at %.*s:%" PRIu64 "%s",
        (int)g->topic_len, g->topic, (int)g->epoch_len, g->epoch, g->to, missed);
}

static void gap(struct link *l, const struct hermes_gap *g)
{
    struct sub *s = (struct sub *)l;
    if (l->finishing)
        return;
    if (s->json)
        lines_add(&s->lines, g->text, g->text_len);
    else if (g->pattern)
        link_error(l,
            "messages by pattern %.*s may be lost: the brokers were cut off from each other",
            (int)g->pattern_len, g->pattern);
    else if (g->epoch)
        gap_anew(l, g);
    else
        link_notice(l,
            "%" PRIu64 " messages of %.*s were left out, offsets %" PRIu64 " to %" PRIu64,
            g->to - g->from + 1, (int)g->topic_len, g->topic, g->from, g->to);
}

static void member(struct link *l, const struct hermes_member *m)
{
    struct sub *s = (struct sub *)l;
    if (l->finishing)
        return;
    if (s->json)
        lines_add(&s->lines, m->text, m->text_len);
    else
        link_notice(l, "%.*s %s %.*s", (int)m->client_len, m->client, m->joined ? "joined" : "left",
            (int)m->topic_len, m->topic);
}

static void subscribed(struct link *l, const struct hermes_answer *a)
{
    if (a->recovered == HERMES_RECOVERED_NO)
        link_error(l, "messages of %.*s are lost: the server does not have all that followed",
            (int)a->topic_len, a->topic);
    if (l->options.level < 2)
        link_notice(l, "subscribed to %.*s", (int)a->topic_len, a->topic);
    else if (a->pattern)
        link_notice(l, "subscribed to pattern %.*s", (int)a->pattern_len, a->pattern);
    else
        link_notice(l, "subscribed to %.*s at %.*s:%" PRIu64 "%s", (int)a->topic_len, a->topic,
            (int)a->epoch_len, a->epoch, a->offset,
            a->recovered == HERMES_RECOVERED_YES ? ", nothing was missed" : "");
}

static void answer(struct link *l, struct hermes_answer *a)
{
    if (a->kind == HERMES_ANSWER_SUBSCRIBED)
        subscribed(l, a);
    else if (a->kind == HERMES_ANSWER_ERROR)
        link_refused(l, a);
}

static void release(struct link *l)
{
    lines_close(&((struct sub *)l)->lines);
}

static const struct link_command sub_command = {.opened = opened,
    .data = data,
    .answer = answer,
    .delivery = delivery,
    .gap = gap,
    .member = member,
    .release = release};

static int told(const struct sub *s, int code, const char *name)
{
    if (code == HERMES_CLIENT_OK)
        return CLI_OK;
    link_error(&s->link, "%s: '%s'", hermes_client_error(code), name);
    return CLI_USAGE;
}

static int subscribe(const struct sub *s)
{
    struct hermes_client *c = s->link.client;
    struct hermes_subscribe_options o = {.policy = s->policy, .presence = s->presence};
    int code = CLI_OK;
    for (int i = 0; i < s->pattern_count && code == CLI_OK; i++)
        code =
            told(s, hermes_client_subscribe_pattern(c, s->patterns[i], strlen(s->patterns[i]), &o),
                s->patterns[i]);
    o.epoch = s->since.epoch;
    o.epoch_len = s->since.epoch_len;
    o.offset = s->since.offset;
    o.replay = (uint32_t)s->replay;
    for (char **topic = s->topics; *topic && code == CLI_OK; topic++)
        code = told(s,
            s->options.level < 2 ? hermes_client_subscribe(c, *topic, strlen(*topic))
                                 : hermes_client_subscribe_with(c, *topic, strlen(*topic), &o),
            *topic);
    return code;
}

static int run(struct sub *s, const struct args *a)
{
    int code = link_init(&s->link, a->command, &sub_command, &s->options);
    if (code != CLI_OK)
        return code;
    lines_open(&s->lines, &s->link);
    code = subscribe(s);
    return code == CLI_OK ? link_run(&s->link) : link_abandon(&s->link, code);
}

static int policy_read(const struct args *a, enum hermes_slow *out)
{
    static const char *const names[] = {
        HERMES_POLICY_DISCONNECT, HERMES_POLICY_DROP_OLDEST, HERMES_POLICY_LATEST};
    for (int i = 0; i < 3; i++) {
        if (strcmp(optarg, names[i]) == 0) {
            *out = (enum hermes_slow)(HERMES_SLOW_DISCONNECT + i);
            return CLI_OK;
        }
    }
    return args_fault(
        a->command, "--policy must be disconnect, drop_oldest or latest, not '%s'", optarg);
}

static int option_read(const struct args *a, int option, void *user)
{
    struct sub *s = user;
    if (option == 'n')
        return args_number(a, "--count", 1, UINT64_MAX, &s->left);
    /* All others are of level 2. */
    s->options.level = 2;
    switch (option) {
    case 'p':
        s->patterns[s->pattern_count++] = optarg;
        return CLI_OK;
    case 's':
        return args_since(a, &s->since);
    case 'r':
        return args_number(a, "--replay", 1, UINT32_MAX, &s->replay);
    case 'o':
        return policy_read(a, &s->policy);
    case 'P':
        s->presence = true;
        return CLI_OK;
    case 'j':
        s->json = true;
        return CLI_OK;
    default: /* --v2 */
        return CLI_OK;
    }
}

/* What each option may be and all of them together may not. */
static int check(const struct sub *s, const struct args *a)
{
    if (a->word_count == 0 && s->pattern_count == 0)
        return args_fault(a->command, "which topic?");
    if (s->since.epoch && s->replay)
        return args_fault(a->command, "--since or --replay, not both");
    if (s->since.epoch && a->word_count != 1)
        return args_fault(
            a->command, "--since is a place in one topic: name one, not %d", a->word_count);
    if (s->replay && a->word_count == 0)
        return args_fault(a->command, "--replay is for topics: patterns have no history");
    return CLI_OK;
}

int cli_sub(int argc, char **argv)
{
    static const struct option options[] = {
        ARGS_LINK_OPTIONS,
        {"count", required_argument, NULL, 'n'},
        {"v2", no_argument, NULL, '2'},
        {"pattern", required_argument, NULL, 'p'},
        {"since", required_argument, NULL, 's'},
        {"replay", required_argument, NULL, 'r'},
        {"policy", required_argument, NULL, 'o'},
        {"presence", no_argument, NULL, 'P'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    struct sub s = {.options = {.close_ms = 1000}};
    struct args a;
    args_init(&a, options, "n:", argc, argv);
    s.topics = a.words;
    s.patterns = calloc((size_t)argc + 1, sizeof *s.patterns);
    MUST(s.patterns);
    int code = args_read(&a, &s.options, option_read, &s);
    if (code == CLI_OK)
        code = check(&s, &a);
    if (code == CLI_OK)
        code = run(&s, &a);
    free(s.patterns);
    return args_end(&a, code);
}
