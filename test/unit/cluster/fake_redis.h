/* A Redis server in the loop of a test, which does what it is told to, and a link to it whose
 * events are written down.
 *
 * Order: scene_open, what is to be different in `fake` and `settings`, scene_link, scene_until as
 *   wanted, scene_close, which fails where something is left. */
#ifndef HERMES_TEST_FAKE_REDIS_H
#define HERMES_TEST_FAKE_REDIS_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "cluster/redis_link.h"
#include "unit/client/fake_tls.h"

struct scene;

struct fake_conn {
    uv_tcp_t tcp;
    struct scene *scene;
    struct fake_veil *veil;
    struct buf in;  /* as it came, behind TLS */
    struct buf out; /* to be sent together */
    struct fake_conn *next;
    bool closing;
};

struct fake_redis {
    uv_tcp_t listener;
    struct fake_conn *conns;
    struct fake_conn *newest;
    unsigned accepted;
    struct fake_tls *tls;
    struct buf heard; /* each command in a line */
    unsigned writes;  /* reads of ours that brought something */

    const char *password; /* has to be given; NULL: none */
    const char *info;     /* its answer to INFO; NULL: one without a run_id */
    const char *role;
    unsigned loading;    /* so many pings more are told that it is */
    unsigned lost;       /* so many EVALSHAs more do not find their script */
    unsigned scripts;    /* loaded, so far */
    bool mute;           /* hears, and says nothing */
    bool deaf;           /* does not read */
    bool parrot;         /* says of a strange command what it was, as Redis does */
    bool slow;           /* what it has to say comes byte by byte */
    const char *instead; /* is answered to what is no greeting */
};

struct scene {
    uv_loop_t loop;
    uv_timer_t patience;
    struct fake_redis fake;
    struct redis_url *url;
    struct tls_trust *trust;
    struct logger logger;
    int log_pipe[2];
    struct redis_link_settings settings;
    struct redis_link_events events;
    struct redis_link *link;
    struct buf log; /* what the link told, a line each */
    unsigned ups;
    unsigned downs;
    unsigned settled;
    bool unhurried;                    /* nobody waits for the answers to what scene_send sends */
    void (*in_event)(struct scene *s); /* is called with each event, behind its line */
};

void scene_open(struct scene *s);
void scene_link(struct scene *s);
void scene_close(struct scene *s);

/* Closes the link alone. */
void scene_drop_link(struct scene *s);

/* Another url than that of the fake. */
void scene_url(struct scene *s, const char *url);

/* The fake speaks TLS with that certificate, and the link too. */
void scene_tls(struct scene *s, enum fake_certificate which);

/* Runs the loop until `log` (or what the fake heard) has the text in it; the text's end is then
 * forgotten with all before it, so that the same can be waited for again. */
void scene_until(struct scene *s, const char *told);
void scene_until_heard(struct scene *s, const char *heard);

/* Turns the loop so often, without waiting. */
void scene_turns(struct scene *s, unsigned turns);

/* A command of words with blanks between. Its answer is written to the log as "<name> ...". */
bool scene_send(struct scene *s, const char *words, const char *name);

/* The fake says that on its newest connection, or ends it. */
void fake_say(struct scene *s, const char *bytes, size_t len);
void fake_hang_up(struct scene *s);

/* All that was logged, terminated. */
const char *scene_logged(struct scene *s, char *bytes, size_t size);

#endif
