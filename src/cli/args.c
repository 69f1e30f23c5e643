#include "cli/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "cli/cli.h"

void args_init(
    struct args *a, const struct option *options, const char *shorts, int argc, char **argv)
{
    *a = (struct args){.command = argv[0], .options = options, .argc = argc, .argv = argv};
    a->words = calloc((size_t)argc + 1, sizeof *a->words);
    MUST(a->words);
    /* '-': words come as the option 1, where they stand; ':': a missing value as ':'. */
    snprintf(a->shorts, sizeof a->shorts, "-:hqu:%s", shorts);
    opterr = 0;
    optind = 0;
}

void args_fini(struct args *a)
{
    free(a->words);
}

int args_fault(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "hermes %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (see 'hermes %s --help')\n", command);
    va_end(args);
    return CLI_USAGE;
}

static bool is_number(const char *word)
{
    return word[0] == '-' && word[1] >= '0' && word[1] <= '9';
}

/* The rest of the arguments, from `from` on, as if they were all. */
static void restart(struct args *a, int from)
{
    a->argv += from - 1;
    a->argc -= from - 1;
    optind = 0;
}

int args_next(struct args *a)
{
    for (;;) {
        int at = optind ? optind : 1;
        if (at < a->argc && is_number(a->argv[at])) {
            a->words[a->word_count++] = a->argv[at];
            restart(a, at + 1);
            continue;
        }
        int option = getopt_long(a->argc, a->argv, a->shorts, a->options, NULL);
        switch (option) {
        case -1:
            while (optind < a->argc)
                a->words[a->word_count++] = a->argv[optind++];
            return ARGS_END;
        case 1:
            a->words[a->word_count++] = optarg;
            break;
        case 'h':
            fputs(cli_help(a->command), stdout);
            return ARGS_HELP;
        case ':':
            args_fault(a->command, "%s needs a value", a->argv[optind - 1]);
            return ARGS_BAD;
        case '?':
            if (optopt && a->argv[at][1] != '-')
                args_fault(a->command, "unknown option '-%c'", optopt);
            else
                args_fault(a->command, "unknown option '%s'", a->argv[at]);
            return ARGS_BAD;
        default:
            return option;
        }
    }
}

bool args_tls(struct cli_tls *tls, int option)
{
    switch (option) {
    case ARGS_CA:
        tls->ca = optarg;
        return true;
    case ARGS_CERT:
        tls->certificate = optarg;
        return true;
    case ARGS_KEY:
        tls->key = optarg;
        return true;
    case ARGS_INSECURE:
        tls->insecure = true;
        return true;
    default:
        return false;
    }
}

int args_read(struct args *a, struct link_options *link, args_option *each, void *user)
{
    for (;;) {
        uint64_t seconds;
        int code = CLI_OK;
        int option = args_next(a);
        switch (option) {
        case ARGS_END:
            return CLI_OK;
        case ARGS_BAD:
            return CLI_USAGE;
        case ARGS_HELP:
            return ARGS_HELP;
        case 'u':
            link->url = optarg;
            break;
        case 't':
            code = args_number(a, "--timeout", 0, ARGS_SECONDS_MAX, &seconds);
            if (code == CLI_OK)
                link->timeout_ms = seconds * 1000;
            break;
        case 'q':
            link->quiet = true;
            break;
        case ARGS_TOKEN:
            link->token = optarg;
            break;
        case ARGS_TOKEN_FILE:
            link->token_file = optarg;
            break;
        default:
            if (!args_tls(&link->tls, option))
                code = each(a, option, user);
        }
        if (code != CLI_OK)
            return code;
    }
}

int args_topic(const struct args *a, const char **topic)
{
    if (a->word_count == 0)
        return args_fault(a->command, "which topic?");
    if (a->word_count > 1)
        return args_fault(a->command, "one topic, not '%s' too", a->words[1]);
    *topic = a->words[0];
    return CLI_OK;
}

int args_end(struct args *a, int code)
{
    args_fini(a);
    return code == ARGS_HELP ? CLI_OK : code;
}

int args_since(const struct args *a, struct args_since *out)
{
    const char *colon = strrchr(optarg, ':');
    char *end = NULL;
    errno = 0;
    if (colon && colon > optarg && colon[1] >= '0' && colon[1] <= '9')
        out->offset = strtoull(colon + 1, &end, 10);
    if (!end || *end || errno != 0)
        return args_fault(
            a->command, "--since must be EPOCH:OFFSET, as 'hermes sub' tells it, not '%s'", optarg);
    out->epoch = optarg;
    out->epoch_len = (size_t)(colon - optarg);
    return CLI_OK;
}

int args_number(
    const struct args *a, const char *option, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(optarg, &end, 10);
    if (*optarg >= '0' && *optarg <= '9' && *end == 0 && errno == 0 && *out >= least &&
        *out <= most)
        return CLI_OK;
    if (most == UINT64_MAX)
        return args_fault(a->command, "%s must be a whole number from %llu on, not '%s'", option,
            (unsigned long long)least, optarg);
    return args_fault(a->command, "%s must be a whole number from %llu to %llu, not '%s'", option,
        (unsigned long long)least, (unsigned long long)most, optarg);
}
