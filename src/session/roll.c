#include "session/roll.h"

#include <stdlib.h>
#include <string.h>

/* In one turn, as whoever is asked by a client does. */
static bool look(struct inquiry *q, struct worker *w, struct inquiry_part *part)
{
    const struct roll *r = LIST_ITEM(q, struct roll, inquiry);
    worker_list_clients(w, r->hash, r->topic, r->matches, &part->found);
    return true;
}

static void done(struct inquiry *q)
{
    struct roll *r = LIST_ITEM(q, struct roll, inquiry);
    r->done(r, r->context);
}

/* Finds out who is to be asked; false when there is no memory. */
static bool find_audience(struct roll *r, struct workshop *shop)
{
    struct route_audience audience;
    struct rules *rules = rules_box_take(&shop->rules);
    struct route_rule rule = {rules_find(rules, r->topic), rules_version(rules)};
    bool ok = route_audience(&shop->route, rule, r->hash, r->topic, &audience);
    rules_drop(rules);
    if (ok) {
        memcpy(r->workers, audience.workers, sizeof r->workers);
        r->matches = audience.matches;
    }
    return ok;
}

struct roll *roll_new(struct workshop *shop, struct mailbox *home, struct text topic)
{
    struct roll *r = calloc(1, sizeof *r + topic.len);
    if (!r)
        return NULL;
    char *copy = (char *)(r + 1);
    memcpy(copy, topic.at, topic.len);
    r->topic = (struct text){copy, topic.len};
    r->hash = registry_hash(&shop->route.registry, topic);
    r->inquiry.look = look;
    r->inquiry.done = done;
    if (!inquiry_init(&r->inquiry, shop, home) || !find_audience(r, shop)) {
        roll_free(r);
        return NULL;
    }
    return r;
}

void roll_free(struct roll *r)
{
    inquiry_fini(&r->inquiry);
    match_set_drop(r->matches);
    free(r);
}
