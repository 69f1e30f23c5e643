/* A world whose client speaks level 2, and whose server has a play: what to say to the n-th text
 * that it gets. What the client tells is written down, a line each: see world2.c. */
#ifndef HERMES_TEST_WORLD2_H
#define HERMES_TEST_WORLD2_H

#include "unit/client/world.h"

struct act {
    const char *when;   /* how the text begins, or NULL: any */
    const char *say[8]; /* texts; "-" drops the connection, "." ends world_run */
};

struct play {
    const struct act *acts;
    size_t count;
    size_t at;
};

#define PLAY(acts)                                                                                 \
    {                                                                                              \
        (acts), sizeof(acts) / sizeof *(acts), 0                                                   \
    }

/* world_open and world_client; further texts than the play's get no answer. */
void world2_open(struct world *w, struct play *p);

/* Run the loop until the server has got, or the client told, a text that has `text` in it. */
void world2_until_seen(struct world *w, const char *text);
void world2_until_told(struct world *w, const char *text);

/* Opens the client and waits until it is open. */
void world2_until_open(struct world *w);

void world2_ok(int code);
void world2_subscribe(struct world *w, const char *topic, const struct hermes_subscribe_options *o);

/* Publishes a 1 that is to be answered. */
void world2_publish(struct world *w, const char *topic, uint64_t token);

#define ACK(topic, id, epoch, offset, more)                                                        \
    "{\"type\":\"ack_subscribe\",\"topic\":\"" topic                                               \
    "\",\"message\":\"Successfully subscribed to " topic "\",\"epoch\":\"" epoch                   \
    "\",\"offset\":" offset more ",\"id\":\"#" id "\"}"
#define MESSAGE(topic, data, offset)                                                               \
    "{\"type\":\"message\",\"topic\":\"" topic "\",\"data\":" data ",\"offset\":" offset "}"
#define BY(topic, data, offset, pattern)                                                           \
    "{\"type\":\"message\",\"topic\":\"" topic "\",\"data\":" data ",\"offset\":" offset           \
    ",\"pattern\":\"" pattern "\"}"

#endif
