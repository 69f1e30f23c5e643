/* Options and words of one command, in any order; what begins with a minus and a digit is a word,
 * so that numbers can be published. */
#ifndef HERMES_CLI_ARGS_H
#define HERMES_CLI_ARGS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/link.h"

struct args {
    const char *command;
    const struct option *options; /* each with a `val` that args_next returns */
    char shorts[32];
    int argc;
    char **argv;
    char **words; /* what is no option, in order; NULL-terminated */
    int word_count;
};

/* What args_next returns besides the values of the options. */
enum {
    ARGS_END = -1,
    ARGS_BAD = -2,  /* the fault has been told: exit with CLI_USAGE */
    ARGS_HELP = -3, /* the help has been printed */
};

enum { ARGS_SECONDS_MAX = 1000000000 };

/* Options that all commands with a connection have, and no letter. */
enum { ARGS_TOKEN = 256, ARGS_TOKEN_FILE, ARGS_CA, ARGS_CERT, ARGS_KEY, ARGS_INSECURE };

/* `shorts` are the command's one-letter options beside -h, -q and -u, as getopt has them. To be
 * followed by args_fini, whatever comes. */
void args_init(
    struct args *a, const struct option *options, const char *shorts, int argc, char **argv);
void args_fini(struct args *a);

/* The next option; its value is in `optarg`. */
int args_next(struct args *a);

/* What is about TLS, and what every command with a connection takes, for their tables of options.
 */
#define ARGS_TLS_OPTIONS                                                                           \
    {"ca", required_argument, NULL, ARGS_CA}, {"cert", required_argument, NULL, ARGS_CERT},        \
        {"key", required_argument, NULL, ARGS_KEY},                                                \
    {                                                                                              \
        "insecure", no_argument, NULL, ARGS_INSECURE                                               \
    }
#define ARGS_LINK_OPTIONS                                                                          \
    {"url", required_argument, NULL, 'u'}, {"timeout", required_argument, NULL, 't'},              \
        {"quiet", no_argument, NULL, 'q'}, {"token", required_argument, NULL, ARGS_TOKEN},         \
        {"token-file", required_argument, NULL, ARGS_TOKEN_FILE}, ARGS_TLS_OPTIONS,                \
    {                                                                                              \
        "help", no_argument, NULL, 'h'                                                             \
    }

/* One of a command's own options, its value in `optarg`; tells what is wrong with it and returns
 * CLI_USAGE, or CLI_OK. */
typedef int args_option(const struct args *a, int option, void *user);

/* All arguments of such a command: `link` is changed by the options above, `each` is called for the
 * others; it may be NULL when there are none. CLI_OK to go on; otherwise nothing is left to do but
 * args_end. */
int args_read(struct args *a, struct link_options *link, args_option *each, void *user);

/* One of the TLS options; false when it is none of them. */
bool args_tls(struct cli_tls *tls, int option);

/* The one word of a command that wants a topic; tells what is wrong and returns CLI_USAGE, or
 * CLI_OK. */
int args_topic(const struct args *a, const char **topic);

/* args_fini; the code to exit with when the command, or args_read, came to `code`. */
int args_end(struct args *a, int code);

/* A place in a topic, as --since takes it: EPOCH:OFFSET. `epoch` points into `optarg`. Tells what
 * is wrong and returns CLI_USAGE, or CLI_OK. */
struct args_since {
    const char *epoch; /* not terminated; NULL: none was given */
    size_t epoch_len;
    uint64_t offset;
};
int args_since(const struct args *a, struct args_since *out);

/* Reads the value of an option as a whole number; tells the fault and returns CLI_USAGE when it is
 * none, or not within bounds; CLI_OK else. */
int args_number(
    const struct args *a, const char *option, uint64_t least, uint64_t most, uint64_t *out);

/* Says in one line what is wrong and how to find out more; returns CLI_USAGE. */
int args_fault(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
