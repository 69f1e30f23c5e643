/* The command line: hermes serve | sub | pub | topics | history | presence | token | health.
 *
 * Each command is called with its own name as argv[0] and returns the exit code. */
#ifndef HERMES_CLI_CLI_H
#define HERMES_CLI_CLI_H

enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2, /* what was typed cannot be right */
};

/* Finds the command and runs it. */
int cli_main(int argc, char **argv);

int cli_serve(int argc, char **argv);
int cli_sub(int argc, char **argv);
int cli_pub(int argc, char **argv);
int cli_topics(int argc, char **argv);
int cli_history(int argc, char **argv);
int cli_presence(int argc, char **argv);
int cli_token(int argc, char **argv);
int cli_health(int argc, char **argv);

/* The help text of a command (NULL: of them all), or NULL when there is none of that name. */
const char *cli_help(const char *command);

#endif
