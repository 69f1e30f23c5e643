#include <string.h>

#include "cli/cli.h"

#define URL_HELP                                                                                   \
    "  -u, --url URL        the server, ws://host:port, or wss:// for TLS; default:\n"             \
    "                       $HERMES_URL, else ws://localhost:$WS_PORT, else\n"                     \
    "                       ws://localhost:443\n"                                                  \
    "      --token T        a token (a JWT) that says who this is; else $HERMES_TOKEN\n"           \
    "      --token-file F   the same, from a file; it is read again when it expires\n"             \
    "      --ca FILE        wss: who may have signed the server's certificate; else\n"             \
    "                       $HERMES_CA, else whom the system trusts\n"                             \
    "      --cert FILE      wss: a certificate of this client, for servers that ask;\n"            \
    "                       else $HERMES_CERT\n"                                                   \
    "      --key FILE       its key, else $HERMES_KEY; default: in the same file\n"                \
    "      --insecure       wss: believe any certificate. For tests: whoever is on\n"              \
    "                       the way can read and change everything\n"

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
    {"token", "usage: hermes token make [options] --sub USER\n"
              "       hermes token show [options] TOKEN\n"
              "\n"
              "Makes a token (a JWT), or shows what one holds. 'hermes token make --help' and\n"
              "'hermes token show --help' have the options.\n"
              "\n"
              "example: openssl rand -base64 48 > secret\n"
              "         hermes token make --secret-file secret --sub alice > token\n"
              "         hermes token show --secret-file secret - < token\n"},
    {"token make",
        "usage: hermes token make [options] --sub USER\n"
        "\n"
        "Makes a token, signed with a secret or a private key, and prints it.\n"
        "\n"
        "options:\n"
        "      --secret-file F  the secret, as the server has it (WS_JWT_SECRET_FILE)\n"
        "      --key F          a private key instead, in PEM: RSA, or on P-256, P-384 or\n"
        "                       P-521\n"
        "      --kid K          the name of the key, where the server has several\n"
        "      --alg A          HS256, RS384, ES512, ...; default: the key's first\n"
        "      --sub USER       who it is for\n"
        "      --exp T          how long it holds, as 90s, 15m or 24h; default 1h;\n"
        "                       0: for ever\n"
        "      --jti ID         its own name, by which it can be revoked\n"
        "      --aud A          the audience that the server is (WS_JWT_AUDIENCE)\n"
        "      --iss I          who makes it (WS_JWT_ISSUER)\n"
        "      --subscribe P    may only subscribe to what matches P; repeatable\n"
        "      --publish P      may only publish to what matches P; repeatable\n"
        "      --presence       may ask who is subscribed. Without any of these three it\n"
        "                       may do all that the server's rules allow; where one is\n"
        "                       given, a list that is not still sets no limit, but\n"
        "                       presence is not allowed unless given\n"
        "  -q, --quiet          do not warn of weak secrets\n"
        "  -h, --help\n"
        "\n"
        "exit code: 0 when it was made, 1 when not, 2 when called wrongly\n"
        "\n"
        "examples: hermes token make --secret-file secret --sub alice\n"
        "          hermes token make --key private.pem --sub sensor7 --exp 24h \\\n"
        "              --publish 'sensor:7:>' --subscribe 'command:7'\n"},
    {"token show",
        "usage: hermes token show [options] TOKEN\n"
        "       hermes token show [options] -\n"
        "\n"
        "Prints what a token holds, as JSON; with '-' one from standard input. With a\n"
        "secret or a public key it is verified too, as a server with these settings\n"
        "would.\n"
        "\n"
        "options:\n"
        "      --secret-file F  the secret\n"
        "      --public-key F   public keys or certificates in PEM, or a JWK set\n"
        "      --deny-file F    tokens and users that are refused\n"
        "      --aud A          the audience that it must be for\n"
        "      --iss I          the issuer that it must be of\n"
        "      --leeway S       seconds that clocks may differ; default 5\n"
        "  -q, --quiet          only errors on standard error: not that it holds, when it\n"
        "                       expires or that nothing was verified\n"
        "  -h, --help\n"
        "\n"
        "exit code: 0 when it holds, or nothing was verified, 1 when it does not,\n"
        "2 when called wrongly\n"},
    {"health", "usage: hermes health [options]\n"
               "\n"
               "Asks a server whether it is alive: exit code 0 when it is, 1 when not.\n"
               "\n"
               "options:\n"
               "  -u, --url URL        the server, http://host:port or https://host:port;\n"
               "                       default: where one with this environment is, by $WS_HOST\n"
               "                       (else 127.0.0.1) and $WS_PORT (else 443), with TLS if\n"
               "                       $WS_TLS_CERT is set and $WS_TLS_PORT is not\n"
               "      --ready          ask whether it takes new clients (/readyz, not /healthz)\n"
               "      --ca FILE        https: who must have signed its certificate, in PEM;\n"
               "                       without this any certificate will do\n"
               "      --cert FILE, --key FILE\n"
               "                       https: a certificate to show, else $HERMES_CERT and\n"
               "                       $HERMES_KEY. A server that wants one and is not given any\n"
               "                       counts as alive, but not as ready\n"
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
               "  token      make a token, or show what one holds\n"
               "  health     ask a server whether it is alive\n"
               "  help       this text; 'hermes help COMMAND' for that of a command\n"
               "\n"
               "options: --help, --version\n";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(command, texts[i].command) == 0)
            return texts[i].text;
    return NULL;
}
