#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", cli_serve},
    {"sub", cli_sub},
    {"pub", cli_pub},
    {"topics", cli_topics},
    {"history", cli_history},
    {"presence", cli_presence},
    {"token", cli_token},
    {"health", cli_health},
};

static int help(int argc, char **argv)
{
    if (argc < 2) {
        fputs(cli_help(NULL), stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "serve") == 0) {
        char flag[] = "--help";
        char *serve[] = {argv[1], flag, NULL};
        return cli_serve(2, serve);
    }
    const char *text = cli_help(argv[1]);
    if (!text) {
        fprintf(stderr, "hermes: no command '%s' (see 'hermes --help')\n", argv[1]);
        return CLI_USAGE;
    }
    fputs(text, stdout);
    return CLI_OK;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2)
        return cli_serve(argc, argv);
    const char *word = argv[1];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(word, "help") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(1, argv);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        puts("hermes " HERMES_VERSION);
        return CLI_OK;
    }
    if (word[0] == '-')
        fprintf(stderr,
            "hermes: unknown option '%s': the server's options follow 'hermes serve' (see "
            "'hermes --help')\n",
            word);
    else
        fprintf(stderr, "hermes: unknown command '%s' (see 'hermes --help')\n", word);
    return CLI_USAGE;
}
