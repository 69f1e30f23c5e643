/* What the commands with a connection have in common: a loop with one client on it, notices about
 * its connection on standard error, signals, and the way out.
 *
 * Order: link_init, link_start, link_run. Somewhere in between link_finish or link_quit is called,
 *   which makes link_run return. */
#ifndef HERMES_CLI_LINK_H
#define HERMES_CLI_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "cli/tls.h"
#include "cli/watch.h"
#include "hermes/client.h"

struct link;

/* What a command does; all but `opened` may be NULL. `user` of all is the struct link. */
struct link_command {
    void (*opened)(struct link *l);
    void (*data)(struct link *l, const char *data, size_t len);
    void (*answer)(struct link *l, struct hermes_answer *answer);
    void (*confirmed)(struct link *l, uint64_t token);
    void (*drained)(struct link *l);
    /* Level 2. Without the first, `data` is told the data of a delivery. */
    void (*delivery)(struct link *l, const struct hermes_delivery *d);
    void (*gap)(struct link *l, const struct hermes_gap *gap);
    void (*member)(struct link *l, const struct hermes_member *member);
    void (*published)(struct link *l, const struct hermes_published *p);
    /* True: it has opened the client again, or quit. */
    bool (*closed)(struct link *l, const struct hermes_close *why);
    void (*interrupted)(struct link *l); /* SIGINT or SIGTERM; NULL: link_finish */
    void (*gave_up)(struct link *l);     /* before link_run returns for the timeout */
    void (*release)(struct link *l);     /* close what is open on the loop */
};

struct link_options {
    const char *url; /* NULL: the environment says */
    char *token;     /* wiped once it is known; NULL: as the file or the environment says */
    const char *token_file;
    struct cli_tls tls;
    uint64_t timeout_ms;
    bool timeout_for_all; /* it is for the whole, not for having a connection */
    bool quiet;
    uint32_t close_ms;
    size_t max_queued;
    unsigned level; /* of the protocol; 0: 1 */
};

struct link {
    uv_loop_t loop;
    struct hermes_client_group *group;
    struct hermes_client *client;
    const char *name; /* of the command */
    const struct link_command *command;
    struct link_options options;
    struct hermes_client_events events;
    uv_timer_t timer;
    struct watch signals;
    int signal_fd;
    char url[300];
    char last[320]; /* why there is no connection */
    int code;       /* to exit with */
    bool lost;      /* there was a connection */
    bool finishing;
    bool over;
};

/* Nothing is connected yet, so that publishes can be checked and queued. Tells what is wrong and
 * returns an exit code; CLI_OK: link_run must follow. */
int link_init(struct link *l, const char *name, const struct link_command *command,
    const struct link_options *options);

/* Connects, runs until it is over, and cleans up; the exit code. */
int link_run(struct link *l);

/* Cleans up instead of link_run. */
int link_abandon(struct link *l, int code);

/* Ends the connection in order, then the program with that code. */
void link_finish(struct link *l, int code);

/* Ends at once. */
void link_quit(struct link *l, int code);

/* Tells what the server answered an error, and ends. */
void link_refused(struct link *l, const struct hermes_answer *error);

/* One line on standard error; control characters become '?'. Notices are for the curious: --quiet
 * leaves them out. */
void link_notice(const struct link *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void link_error(const struct link *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
