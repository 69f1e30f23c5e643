#include "session/outside.h"

#include <string.h>

#include "base/utf8.h"
#include "broker/topic_name.h"
#include "proto/json.h"
#include "proto/ws_out.h"

static enum outside_result publish(struct workshop *shop, struct route_rule rule, struct text topic,
    struct text data, struct route_result *result)
{
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, data.len);
    struct message *m = message_new(head_len + data.len);
    if (!m)
        return OUTSIDE_NO_MEMORY;
    memcpy(m->frames, head, head_len);
    memcpy(m->frames + head_len, data.at, data.len);
    struct route *route = &shop->route;
    *result = route_publish(route, rule, registry_hash(&route->registry, topic), topic, m);
    return result->failed ? OUTSIDE_NO_MEMORY : OUTSIDE_PUBLISHED;
}

enum outside_result shop_publish(
    struct workshop *shop, struct text topic, struct text data, struct route_result *result)
{
    const struct session_limits *limits = &shop->limits;
    if (atomic_load_explicit(&shop->unready, memory_order_relaxed))
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
    enum outside_result done = fits ? publish(shop, rule, topic, data, result) : OUTSIDE_TOO_LARGE;
    rules_drop(rules);
    return done;
}

bool shop_crowded(const struct workshop *shop)
{
    for (unsigned i = 0; i < shop->count; i++)
        if (mailbox_crowded(shop->route.boxes[i], shop->route.crowded))
            return true;
    return false;
}
