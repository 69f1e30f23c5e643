#include <string.h>

#include "cli/cli.h"

#define URL_HELP                                                                                   \
    "  -u, --url URL        the server, ws://host:port; default: $HERMES_URL, else\n"              \
    "                       ws://localhost:$WS_PORT, else ws://localhost:443\n"

static const struct {
    const char *command;
    const char *text;
} texts[] = {
    {"sub", "usage: hermes sub [options] TOPIC...\n"
            "\n"
            "Subscribes to topics and prints each message as one line. Connects again when\n"
            "the connection is lost; what is published meanwhile is not seen. Ends at Ctrl-C.\n"
            "\n"
            "options:\n" URL_HELP "  -n, --count N        end after N messages\n"
            "      --timeout S      give up after S seconds without a connection;\n"
            "                       default 0: never\n"
            "  -q, --quiet          say nothing on standard error but errors\n"
            "  -h, --help\n"
            "\n"
            "exit code: 0 at the end, 1 on a failure, 2 when called wrongly\n"
            "\n"
            "example: hermes sub stock:AAPL stock:MSFT\n"},
    {"pub", "usage: hermes pub [options] TOPIC DATA\n"
            "       hermes pub [options] TOPIC -\n"
            "\n"
            "Publishes one message, or with '-' one for each line of standard input, and\n"
            "ends when the server has confirmed them. DATA is JSON: a string needs quotes of\n"
            "its own. A line that is not JSON is reported and left out; blank lines are\n"
            "passed over.\n"
            "\n"
            "options:\n" URL_HELP
            "      --timeout S      give up after S seconds without a connection;\n"
            "                       default 30; 0: never\n"
            "  -q, --quiet          say nothing on standard error but errors\n"
            "  -h, --help\n"
            "\n"
            "exit code: 0 when all was published, 1 on a failure, 2 when called wrongly\n"
            "\n"
            "examples: hermes pub stock:AAPL '{\"price\":170.50}'\n"
            "          hermes pub greetings '\"hello\"'\n"
            "          seq 100 | hermes pub numbers -\n"},
    {"topics", "usage: hermes topics [options]\n"
               "\n"
               "Lists the topics that have subscribers, and how many, in order of their names.\n"
               "\n"
               "options:\n" URL_HELP "  -p, --prefix P       only topics whose name begins with P\n"
               "  -l, --limit N        at most N topics; default: all\n"
               "      --json           one JSON object a line instead of a table\n"
               "      --timeout S      give up after S seconds; default 10; 0: never\n"
               "  -q, --quiet          say nothing on standard error but errors\n"
               "  -h, --help\n"},
    {"health", "usage: hermes health [options]\n"
               "\n"
               "Asks a server whether it is alive: exit code 0 when it is, 1 when not.\n"
               "\n"
               "options:\n"
               "  -u, --url URL        the server, http://host:port; default: $WS_HOST (else\n"
               "                       127.0.0.1) and $WS_PORT (else 443)\n"
               "      --ready          ask whether it takes new clients (/readyz, not /healthz)\n"
               "      --timeout S      seconds to wait; default 5\n"
               "  -q, --quiet          say nothing\n"
               "  -h, --help\n"},
};

const char *cli_help(const char *command)
{
    if (!command)
        return "usage: hermes [command]\n"
               "\n"
               "commands:\n"
               "  serve      run the server (so does no command at all)\n"
               "  sub        subscribe to topics and print what is published to them\n"
               "  pub        publish to a topic\n"
               "  topics     list the topics that have subscribers\n"
               "  health     ask a server whether it is alive\n"
               "  help       this text; 'hermes help COMMAND' for that of a command\n"
               "\n"
               "options: --help, --version\n";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(command, texts[i].command) == 0)
            return texts[i].text;
    return NULL;
}
