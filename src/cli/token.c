/* hermes token: makes tokens, and shows what they hold. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auth/keys.h"
#include "auth/make.h"
#include "auth/verifier.h"
#include "base/buf.h"
#include "base/die.h"
#include "base/units.h"
#include "cli/args.h"
#include "cli/cli.h"

enum { DURATION_MAX_SECONDS = 1000000000 };

/* One line on standard error; control characters become '?'. */
static int failed(const char *command, const char *text)
{
    fprintf(stderr, "hermes %s: ", command);
    for (; *text; text++)
        fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, stderr);
    fputc('\n', stderr);
    return CLI_FAILED;
}

static uint64_t now(void)
{
    time_t seconds = time(NULL);
    return seconds > 0 ? (uint64_t)seconds : 0;
}

/* --- make ------------------------------------------------------------------------------------- */

struct make {
    struct token_wish wish;
    const char **subscribe; /* room for as many as there are arguments */
    const char **publish;
    size_t subscribe_count;
    size_t publish_count;
    const char *secret_file;
    const char *private_file;
    bool quiet;
};

static int make_option(struct make *m, const struct args *a, int option)
{
    uint64_t ms;
    switch (option) {
    case 'S':
        m->secret_file = optarg;
        break;
    case 'K':
        m->private_file = optarg;
        break;
    case 'k':
        m->wish.name = optarg;
        break;
    case 'a':
        m->wish.alg = auth_alg_find(text_of(optarg));
        if (!m->wish.alg)
            return args_fault(a->command,
                "--alg must be one of HS, RS or ES with 256, 384 or 512 behind it, not '%s'",
                optarg);
        break;
    case 's':
        m->wish.user = optarg;
        break;
    case 'e':
        if (!units_time(optarg, &ms) || (ms > 0 && ms < 1000) || ms / 1000 > DURATION_MAX_SECONDS)
            return args_fault(
                a->command, "--exp must be a time from 1s on, as 15m or 24h, not '%s'", optarg);
        m->wish.expires = ms ? m->wish.issued + ms / 1000 : 0;
        break;
    case 'j':
        m->wish.id = optarg;
        break;
    case 'A':
        m->wish.audience = optarg;
        break;
    case 'I':
        m->wish.issuer = optarg;
        break;
    case 'b':
        m->subscribe[m->subscribe_count++] = optarg;
        break;
    case 'p':
        m->publish[m->publish_count++] = optarg;
        break;
    case 'P':
        m->wish.presence = true;
        break;
    case 'q':
        m->quiet = true;
        break;
    default:
        return args_fault(a->command, "unknown option '-%c'", option);
    }
    return CLI_OK;
}

static int make_check(const struct make *m, const struct args *a)
{
    if (a->word_count > 0)
        return args_fault(a->command, "what is '%s'?", a->words[0]);
    if (!m->secret_file == !m->private_file)
        return args_fault(a->command, "give one of --secret-file and --key");
    if (!m->wish.user)
        return args_fault(a->command, "who is it for? --sub USER");
    if (strlen(m->wish.user) > CLAIMS_USER_MAX)
        return args_fault(a->command, "--sub is longer than %d bytes", CLAIMS_USER_MAX);
    return CLI_OK;
}

static int make_run(struct make *m, const char *command)
{
    char error[400];
    struct token_key key;
    struct buf token = {0};
    struct auth_source source = {
        m->secret_file ? m->secret_file : m->private_file, error, sizeof error};
    m->wish.subscribe = m->subscribe_count ? m->subscribe : NULL;
    m->wish.publish = m->publish_count ? m->publish : NULL;
    enum auth_load code = m->secret_file ? token_key_read_secret(&key, &source)
                                         : token_key_read_private(&key, &source);
    const char *fault = code == AUTH_LOADED ? token_make(&key, &m->wish, &token) : error;
    if (!fault && m->secret_file && key.bytes.len < AUTH_SECRET_GOOD && !m->quiet)
        failed(command, "warning: the secret has fewer than 32 bytes, which can be guessed");
    token_key_fini(&key);
    int result = fault ? failed(command, fault) : CLI_OK;
    if (!fault && (printf("%.*s\n", (int)token.len, token.data) < 0 || fflush(stdout) != 0))
        result = failed(command, strerror(errno));
    buf_fini(&token);
    return result;
}

static int make(int argc, char **argv)
{
    static const struct option options[] = {
        {"secret-file", required_argument, NULL, 'S'},
        {"key", required_argument, NULL, 'K'},
        {"kid", required_argument, NULL, 'k'},
        {"alg", required_argument, NULL, 'a'},
        {"sub", required_argument, NULL, 's'},
        {"exp", required_argument, NULL, 'e'},
        {"jti", required_argument, NULL, 'j'},
        {"aud", required_argument, NULL, 'A'},
        {"iss", required_argument, NULL, 'I'},
        {"subscribe", required_argument, NULL, 'b'},
        {"publish", required_argument, NULL, 'p'},
        {"presence", no_argument, NULL, 'P'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct make m = {.wish.issued = now()};
    struct args a;
    int code = CLI_OK;
    m.wish.expires = m.wish.issued + 3600;
    m.subscribe = calloc((size_t)argc + 1, sizeof *m.subscribe);
    m.publish = calloc((size_t)argc + 1, sizeof *m.publish);
    MUST(m.subscribe && m.publish);
    args_init(&a, options, "", argc, argv);
    for (int option; code == CLI_OK && (option = args_next(&a)) != ARGS_END;)
        code = option == ARGS_HELP  ? ARGS_HELP
               : option == ARGS_BAD ? CLI_USAGE
                                    : make_option(&m, &a, option);
    if (code == CLI_OK)
        code = make_check(&m, &a);
    if (code == CLI_OK)
        code = make_run(&m, a.command);
    free(m.subscribe);
    free(m.publish);
    return args_end(&a, code);
}

/* --- show ------------------------------------------------------------------------------------- */

struct show {
    struct auth_settings settings;
    bool quiet;
};

static int show_option(struct show *s, const struct args *a, int option)
{
    switch (option) {
    case 'S':
        s->settings.secret_file = optarg;
        break;
    case 'K':
        s->settings.public_key_file = optarg;
        break;
    case 'D':
        s->settings.deny_file = optarg;
        break;
    case 'A':
        s->settings.audience = optarg;
        break;
    case 'I':
        s->settings.issuer = optarg;
        break;
    case 'l':
        return args_number(a, "--leeway", 0, AUTH_LEEWAY_MAX, &s->settings.leeway);
    case 'q':
        s->quiet = true;
        break;
    default:
        return args_fault(a->command, "unknown option '-%c'", option);
    }
    return CLI_OK;
}

/* Standard input without the blanks around it; one byte more than a token may have is enough. */
static struct text input_read(char *bytes, size_t room)
{
    size_t len = 0;
    ssize_t got = 1;
    while (len < room && got > 0) {
        got = read(STDIN_FILENO, bytes + len, room - len);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            len += (size_t)got;
    }
    while (len > 0 && memchr(" \t\r\n", bytes[len - 1], 4))
        len--;
    while (len > 0 && memchr(" \t\r\n", *bytes, 4)) {
        bytes++;
        len--;
    }
    return (struct text){bytes, len};
}

static void expiry_tell(const char *command, double expires)
{
    char date[40];
    char line[120];
    struct tm tm;
    time_t at = (time_t)expires;
    if (expires == TOKEN_NO_EXPIRY || expires > 253402300799.0 || !gmtime_r(&at, &tm)) {
        snprintf(line, sizeof line, "it does not expire");
    } else {
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
        int64_t left = (int64_t)at - (int64_t)now();
        snprintf(line, sizeof line,
            left > 0 ? "it expires at %s, in %" PRId64 " seconds"
                     : "it expired at %s, %" PRId64 " seconds ago",
            date, left > 0 ? left : -left);
    }
    failed(command, line);
}

/* CLI_OK, and the keys (NULL: none are given), or the code to exit with. */
static int keys_load(const struct show *s, const char *command, struct verifier **out)
{
    char error[400];
    struct auth_keys *keys;
    *out = NULL;
    if (auth_keys_load(&s->settings, &keys, error, sizeof error) != AUTH_LOADED)
        return failed(command, error);
    if (!keys)
        return CLI_OK;
    *out = verifier_new(keys);
    auth_keys_drop(keys);
    return *out ? CLI_OK : failed(command, "out of memory");
}

static int verify(struct verifier *v, const struct show *s, const char *command, struct text token)
{
    struct claims *claims;
    if (!v) {
        if (!s->quiet)
            failed(command, "NOTHING WAS VERIFIED: anybody can have made this token. Give "
                            "--secret-file or --public-key to find out");
        return CLI_OK;
    }
    enum auth_result result = verifier_check(v, token, now(), &claims);
    claims_drop(claims);
    if (result != AUTH_OK)
        return failed(command, auth_result_text(result));
    if (!s->quiet)
        failed(command, auth_result_text(result));
    return CLI_OK;
}

static int show_run(const struct show *s, const char *command, const char *word)
{
    char bytes[AUTH_TOKEN_MAX + 64];
    struct text token = strcmp(word, "-") == 0 ? input_read(bytes, sizeof bytes) : text_of(word);
    struct buf out = {0};
    struct verifier *v;
    double expires;
    int code = keys_load(s, command, &v);
    if (code != CLI_OK)
        return code;
    enum auth_result result = token_show(token, &out, &expires);
    if (result == AUTH_OK) {
        if (printf("%.*s\n", (int)out.len, out.data) < 0 || fflush(stdout) != 0)
            code = failed(command, strerror(errno));
        else if (!s->quiet)
            expiry_tell(command, expires);
        if (code == CLI_OK)
            code = verify(v, s, command, token);
    } else {
        code = failed(command, auth_result_text(result));
    }
    verifier_free(v);
    buf_fini(&out);
    return code;
}

static int show(int argc, char **argv)
{
    static const struct option options[] = {
        {"secret-file", required_argument, NULL, 'S'},
        {"public-key", required_argument, NULL, 'K'},
        {"deny-file", required_argument, NULL, 'D'},
        {"aud", required_argument, NULL, 'A'},
        {"iss", required_argument, NULL, 'I'},
        {"leeway", required_argument, NULL, 'l'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct show s = {.settings.leeway = AUTH_LEEWAY};
    struct args a;
    int code = CLI_OK;
    args_init(&a, options, "", argc, argv);
    for (int option; code == CLI_OK && (option = args_next(&a)) != ARGS_END;)
        code = option == ARGS_HELP  ? ARGS_HELP
               : option == ARGS_BAD ? CLI_USAGE
                                    : show_option(&s, &a, option);
    if (code == CLI_OK && a.word_count != 1)
        code = args_fault(a.command, a.word_count ? "one token at a time" : "which token?");
    if (code == CLI_OK)
        code = show_run(&s, a.command, a.words[0]);
    return args_end(&a, code);
}

int cli_token(int argc, char **argv)
{
    static char make_name[] = "token make";
    static char show_name[] = "token show";
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "make") == 0) {
        argv[1] = make_name;
        return make(argc - 1, argv + 1);
    }
    if (strcmp(word, "show") == 0) {
        argv[1] = show_name;
        return show(argc - 1, argv + 1);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        fputs(cli_help("token"), stdout);
        return CLI_OK;
    }
    return args_fault("token", "it is 'token make' or 'token show', not 'token %s'", word);
}
