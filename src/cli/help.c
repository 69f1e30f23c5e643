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
            "the connection is lost; what is published meanwhile is not seen, except at\n"
            "level 2 in topics with history. Ends at Ctrl-C.\n"
            "\n"
            "options:\n" URL_HELP "  -n, --count N        end after N messages\n"
            "      --v2             speak level 2 of the protocol; so do all that follow:\n"
            "      --pattern P      all topics that match P, as stock:* or sensor:>\n"
            "      --since E:O      first what followed that place, as a notice told it\n"
            "      --replay N       first the newest N messages of each topic's history\n"
            "      --policy P       when this reader is too slow: disconnect, drop_oldest or\n"
            "                       latest (keep the newest message of each topic)\n"
            "      --presence       tell who joins and leaves\n"
            "      --json           print whole frames: topic, offset and data, gaps, who\n"
            "                       joins and leaves\n"
            "      --timeout S      give up after S seconds without a connection;\n"
            "                       default 0: never\n"
            "  -q, --quiet          say nothing on standard error but errors\n"
            "  -h, --help\n"
            "\n"
            "exit code: 0 at the end, 1 on a failure, 2 when called wrongly\n"
            "\n"
            "examples: hermes sub stock:AAPL stock:MSFT\n"
            "          hermes sub --pattern 'stock:*' --json\n"
            "          hermes sub --replay 10 stock:AAPL\n"},
    {"pub", "usage: hermes pub [options] TOPIC DATA\n"
            "       hermes pub [options] TOPIC -\n"
            "\n"
            "Publishes one message, or with '-' one for each line of standard input, and\n"
            "ends when the server has confirmed them. DATA is JSON: a string needs quotes of\n"
            "its own. A line that is not JSON is reported and left out; blank lines are\n"
            "passed over.\n"
            "\n"
            "options:\n" URL_HELP
            "      --v2             speak level 2 of the protocol: the server answers each\n"
            "                       message, and one that it refuses is a failure\n"
            "      --json           the same, and its answers are printed: topic, offset and\n"
            "                       subscribers\n"
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
    {"history", "usage: hermes history [options] TOPIC\n"
                "\n"
                "Prints the messages that the server keeps of a topic, oldest first, each as one\n"
                "line. Then tells where the topic is, in the form that --since takes.\n"
                "\n"
                "options:\n" URL_HELP
                "      --since E:O      what followed that place, instead of the newest\n"
                "  -l, --limit N        at most N messages; default: all that followed, or the\n"
                "                       newest 100\n"
                "      --json           one JSON object a line: offset and data\n"
                "      --timeout S      give up after S seconds; default 10; 0: never\n"
                "  -q, --quiet          say nothing on standard error but errors\n"
                "  -h, --help\n"
                "\n"
                "exit code: 0 when all was printed, 1 on a failure or when some of what followed\n"
                "is no longer kept, 2 when called wrongly\n"},
    {"presence", "usage: hermes presence [options] TOPIC\n"
                 "\n"
                 "Prints the ids of the clients that are subscribed to a topic, by a pattern too.\n"
                 "\n"
                 "options:\n" URL_HELP "      --json           the server's answer as it is\n"
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
               "  history    print the messages that are kept of a topic\n"
               "  presence   list who is subscribed to a topic\n"
               "  health     ask a server whether it is alive\n"
               "  help       this text; 'hermes help COMMAND' for that of a command\n"
               "\n"
               "options: --help, --version\n";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(command, texts[i].command) == 0)
            return texts[i].text;
    return NULL;
}
