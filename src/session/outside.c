#include "session/outside.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "broker/topic_name.h"
#include "proto/json.h"
#include "proto/ws_out.h"

/* One to a far topic of which nobody is told. */
struct sent {
    struct errand errand;
    char topic[];
};

static void sent_done(struct errand *e)
{
    free(LIST_ITEM(e, struct sent, errand));
}

static struct message *frame(struct text data)
{
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, data.len);
    struct message *m = message_new(head_len + data.len);
    if (!m)
        return NULL;
    memcpy(m->frames, head, head_len);
    memcpy(m->frames + head_len, data.at, data.len);
    return m;
}

static enum outside_result send_far(struct workshop *shop, struct text topic, struct errand *e)
{
    struct sent *sent = malloc(sizeof *sent + topic.len);
    if (!sent) {
        message_drop(e->message);
        return OUTSIDE_NO_MEMORY;
    }
    memcpy(sent->topic, topic.at, topic.len);
    sent->errand = *e;
    sent->errand.name.at = sent->topic;
    sent->errand.counted = false;
    sent->errand.home = shop->route.boxes[0];
    sent->errand.done = sent_done;
    sent->errand.lost = sent_done;
    backplane_send(&shop->route, &sent->errand);
    return OUTSIDE_FAR;
}

static enum outside_result publish(struct workshop *shop, struct route_rule rule, struct text topic,
    struct text data, struct route_result *result, struct errand *far)
{
    struct route *route = &shop->route;
    uint64_t hash = registry_hash(&route->registry, topic);
    struct message *m = frame(data);
    if (!m)
        return OUTSIDE_NO_MEMORY;
    if (!route_is_far(route, rule.rule)) {
        *result = route_publish(route, rule, hash, topic, m);
        return result->failed ? OUTSIDE_NO_MEMORY : OUTSIDE_PUBLISHED;
    }
    struct errand e = {.kind = ERRAND_PUBLISH,
        .hash = hash,
        .name = topic,
        .weight = (uint32_t)(sizeof e + topic.len) + message_weight(m),
        .message = m,
        .limits = rule.rule->history,
        .counted = true};
    if (!far)
        return send_far(shop, topic, &e);
    *far = e;
    return OUTSIDE_FAR;
}

enum outside_result shop_publish(
    struct workshop *shop, struct text topic, struct text data, struct route_result *result)
{
    return shop_publish_or(shop, topic, data, result, NULL);
}

enum outside_result shop_publish_or(struct workshop *shop, struct text topic, struct text data,
    struct route_result *result, struct errand *far)
{
    const struct session_limits *limits = &shop->limits;
    if (atomic_load_explicit(&shop->at_work, memory_order_relaxed) == 0)
        return OUTSIDE_STOPPED;
    if (limits->message_bytes && data.len > limits->message_bytes)
        return OUTSIDE_TOO_LARGE;
    if (topic_name_fault(topic, limits->topic_bytes))
        return OUTSIDE_BAD_TOPIC;
    if (!utf8_valid(data.at, data.len) || !json_valid(data.at, data.len))
        return OUTSIDE_BAD_DATA;
    struct rules *rules = rules_box_take(&shop->rules);
    struct route_rule rule = {rules_find(rules, topic), rules_version(rules)};
    bool fits = rule.rule->max_bytes == 0 || data.len <= rule.rule->max_bytes;
    enum outside_result done =
        fits ? publish(shop, rule, topic, data, result, far) : OUTSIDE_TOO_LARGE;
    rules_drop(rules);
    return done;
}

bool shop_crowded(const struct workshop *shop)
{
    const struct route *route = &shop->route;
    if (route->backplane && mailbox_crowded(route->backplane, route->crowded))
        return true;
    for (unsigned i = 0; i < shop->count; i++)
        if (mailbox_crowded(shop->route.boxes[i], shop->route.crowded))
            return true;
    return false;
}
