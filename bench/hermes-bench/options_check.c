#include "options.h"

#include <hermes/client.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { BATCH_BYTES_MAX = 1 << 30 };

static bool wrong(char *fault, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool wrong(char *fault, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fault, size, format, args);
    va_end(args);
    return false;
}

static bool url_good(const struct options *o, char *fault, size_t size)
{
    struct hermes_url url;
    if (!hermes_url_parse(&url, o->url) || strncmp(url.scheme, "ws", 2) != 0)
        return wrong(
            fault, size, "--url wants ws:// or wss://host[:port][/path], not '%s'", o->url);
    if (o->key && !o->cert)
        return wrong(fault, size, "--key goes with --cert: whose key is it?");
    return true;
}

static bool sources_good(const struct options *o, char *fault, size_t size)
{
    struct sockaddr_storage address;
    for (size_t i = 0; i < o->sources; i++)
        if (uv_ip4_addr(o->source[i], 0, (struct sockaddr_in *)&address) != 0 &&
            uv_ip6_addr(o->source[i], 0, (struct sockaddr_in6 *)&address) != 0)
            return wrong(fault, size, "--source: '%s' is not an address", o->source[i]);
    return true;
}

bool options_check(const struct options *o, char *fault, size_t size)
{
    bool has_topics = o->scenario == SCENARIO_TOPICS || o->scenario == SCENARIO_SOAK;
    if (!url_good(o, fault, size) || !sources_good(o, fault, size))
        return false;
    if (has_topics && o->per_subscriber > o->topics)
        return wrong(fault, size, "--per-subscriber %zu is more than there are: --topics %zu",
            o->per_subscriber, o->topics);
    if (has_topics && o->subscribers * o->per_subscriber < o->topics)
        return wrong(fault, size,
            "--topics %zu are more than %zu subscribers of %zu each can cover: every topic needs "
            "one",
            o->topics, o->subscribers, o->per_subscriber);
    if (has_topics && o->publishers > o->topics)
        return wrong(fault, size, "--publishers %zu are more than there are topics: %zu",
            o->publishers, o->topics);
    if (o->recover && o->level != 2)
        return wrong(fault, size, "--recover is of level 2: it does not go with --level 1");
    if (o->missed && !o->recover)
        return wrong(fault, size, "--missed means nothing without --recover");
    if (o->window * (o->payload + 128) > BATCH_BYTES_MAX)
        return wrong(fault, size,
            "--window %zu of --payload %zu would be a batch of more than 1 GiB", o->window,
            o->payload);
    if (o->find_knee && !o->slo_text)
        return wrong(fault, size, "--find-knee wants an objective, as in --slo p99=50ms");
    if (o->find_knee && o->window)
        return wrong(fault, size, "--find-knee looks for a rate: it does not go with --window");
    return true;
}
