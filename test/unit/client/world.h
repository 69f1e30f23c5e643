/* A loop with a fake server, and one client whose events are written down. */
#ifndef HERMES_TEST_WORLD_H
#define HERMES_TEST_WORLD_H

#include "hermes/client.h"
#include "unit/client/fake_server.h"

struct world {
    uv_loop_t loop;
    uv_timer_t patience; /* so that a test that waits in vain fails */
    struct fake fake;
    struct hermes_client_group *group;
    struct hermes_client *client;
    struct hermes_client_events events;
    struct hermes_client_options options; /* changed before world_client */

    struct buf log;  /* what the client told, a line each: see world.c */
    struct buf seen; /* texts that the server got, a line each, with the connection's number */
    struct hermes_close last;
    bool done; /* ends world_run */
    void *more;
};

void world_open(struct world *w);

/* Whether worlds that are opened from now on have TLS. */
void world_tls(bool on);

/* Runs all tests without TLS and with it. Behind cmocka.h only. */
#define WORLD_RUN_BOTH_WAYS(tests)                                                                 \
    (cmocka_run_group_tests_name("without TLS", tests, NULL, NULL) +                               \
        (world_tls(true), cmocka_run_group_tests_name("with TLS", tests, NULL, NULL)))

/* A client with the world's options and events, not yet open. */
void world_client(struct world *w);

/* Runs the loop until w->done, which is cleared. */
void world_run(struct world *w);

/* Frees the client if it is there, and everything else; fails where something is left. */
void world_close(struct world *w);

/* Fails unless the log (the texts seen) is exactly `lines`. */
void world_log_is(struct world *w, const char *lines);
void world_seen_is(struct world *w, const char *lines);

/* For the events of a client: write down, and set w->done. */
void world_done_open(struct hermes_client *c, void *user);
void world_done_close(struct hermes_client *c, const struct hermes_close *why, void *user);
void world_done_final(struct hermes_client *c, const struct hermes_close *why, void *user);

/* The client's functions, for texts that are terminated; all but publish must succeed. */
void world_subscribe(struct world *w, const char *topic);
void world_unsubscribe(struct world *w, const char *topic);
int world_publish(struct world *w, const char *topic, const char *data);
void world_open_client(struct world *w);

/* For the fake server: writes texts down, answers subscribe and unsubscribe (the latter with "Not
 * subscribed"), sets w->done at a publish to the topic "done", and sends all else back. */
void world_serve(struct fake_conn *conn, const char *text, size_t len);

/* Writes down one line. */
void world_note(struct buf *log, const char *what, const char *text, size_t len);

#endif
