/* Joins and leaves, between brokers. */
#ifndef HERMES_CLUSTER_PEOPLE_H
#define HERMES_CLUSTER_PEOPLE_H

#include "cluster/cluster.h"

/* From now on those of a topic are to come; confirmed as a channel. */
void people_watch(struct shard *s, struct text topic);

/* One came: to whoever watches here, once, though it may come by several channels. */
void people_event(struct shard *s, const struct payload *p);

void people_fini(struct shard *s);

#endif
