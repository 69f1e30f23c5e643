/* The far topics that this broker follows, and how each gets from "somebody wants it" to being live
 * in the registry, now and after every break.
 *
 *   WANTED       its channel is to be subscribed
 *   SUBSCRIBING  that is under way
 *   ASKING       from now on all that is published comes; where the topic is has been asked for
 *   SETTLING     the channel is subscribed once more: when that is confirmed, all that was
 *                published before the answer has come
 *
 *   FETCHING     what was missed is being fetched
 *
 *   LIVE         messages go to the registry as they come
 *
 * Order: messages that come before the position is known are held and given behind what was missed,
 *   so a topic's order and numbers have no exception; what Redis does not have any more is told by
 *   a gap.
 * Threads: the cluster thread's. */
#ifndef HERMES_CLUSTER_FOLLOW_H
#define HERMES_CLUSTER_FOLLOW_H

#include "cluster/cluster.h"

/* An errand that wants a topic, or all that match a pattern, followed. */
void follow_topic(struct cluster *c, struct errand *e);
void follow_pattern(struct cluster *c, struct errand *e);

/* A published message's errand waits until the message has been given to the own subscribers. False
 * when there is nothing to wait for. */
bool follow_await(struct cluster *c, struct errand *e);

/* What a subscriber link tells. */
void follow_up(struct shard *s);
void follow_down(struct shard *s);
void follow_confirmed(struct shard *s, struct text channel, bool yes);
void follow_message(struct shard *s, struct text channel, struct text payload);

/* Sends what has gathered: channels, questions. */
void follow_turn(struct shard *s);

/* Nothing can be asked any more, while messages still come. */
void follow_lost(struct shard *s);

/* Ten times a second: a step of letting go of topics that nobody has wanted for a while, and of
 * looking whether positions are still what Redis has. */
void follow_tick(struct cluster *c);

void follow_fini(struct cluster *c);

#endif
