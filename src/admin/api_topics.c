/* Topics: pages of them by name, the first ones by subscribers or rate, and one by its name. */
#include <stdlib.h>

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_state.h"
#include "base/clock.h"
#include "broker/backplane.h"
#include "broker/pattern.h"
#include "broker/topic_facts.h"
#include "broker/topic_list.h"
#include "broker/topic_name.h"
#include "broker/topic_page.h"
#include "broker/topic_top.h"
#include "proto/json.h"
#include "proto/reply2.h"

/* WAIT_MS: for rates, at most; LOOK_MS: in between. */
enum { LIMIT_DEFAULT = 100, LIMIT_MOST = 1000, WAIT_MS = 8000, LOOK_MS = 20 };

static void append_epoch(struct buf *out, uint64_t epoch)
{
    struct epoch_text text = epoch_text(epoch);
    json_string_append(out, (struct text){text.digits, text.len});
}

static void append_row(struct buf *rows, const struct api *api, const struct scan_row *topic)
{
    buf_append_string(rows, rows->len > 0 ? ",{\"topic\":" : "{\"topic\":");
    json_string_append(rows, topic->name);
    buf_appendf(rows, ",\"subscribers\":%u,\"offset\":", (unsigned)topic->subscribers);
    buf_append_number(rows, topic->offset);
    buf_append_string(rows, ",\"epoch\":");
    append_epoch(rows, topic->epoch);
    buf_append_string(rows, ",\"rate\":");
    api_rates_append(rows, api, topic->epoch);
    buf_append_string(rows, ",\"history\":");
    if (topic->keeps)
        buf_append_number(rows, topic->messages);
    else
        buf_append_string(rows, "null");
    buf_append_char(rows, '}');
}

/* Takes the rows. */
static void answer_rows(struct exchange *x, struct buf *rows, const struct text *next)
{
    struct buf body = {0};
    buf_append_string(&body, "{\"topics\":[");
    buf_append_text(&body, buf_text(rows));
    buf_append_string(&body, "],\"next\":");
    if (next)
        json_string_append(&body, *next);
    else
        buf_append_string(&body, "null");
    buf_append_string(&body, "}\n");
    body.failed |= rows->failed;
    buf_fini(rows);
    exchange_json(x, 200, &body);
}

/* --- by name ---------------------------------------------------------------------------------- */

/* Where only other brokers have it, its offset and what follows are theirs to tell. */
static void append_far_row(struct buf *rows, const struct topic_row *row)
{
    buf_append_string(rows, rows->len > 0 ? ",{\"topic\":" : "{\"topic\":");
    json_string_append(rows, row->name);
    buf_appendf(rows,
        ",\"subscribers\":%u,\"offset\":null,\"epoch\":null,\"rate\":null,\"history\":null}",
        (unsigned)row->subscribers);
}

static void answer_page(
    struct exchange *x, const struct topic_row *page, size_t count, struct text next)
{
    struct registry *registry = &x->admin->settings.shop->route.registry;
    struct buf rows = {0};
    for (size_t i = 0; i < count; i++) {
        struct scan_row row;
        bool here = topic_scan_find(registry, page[i].name, &row);
        row.subscribers = page[i].subscribers;
        if (here)
            append_row(&rows, x->admin->api, &row);
        else if (x->admin->settings.shop->route.backplane)
            append_far_row(&rows, &page[i]);
        /* else it is gone meanwhile */
    }
    answer_rows(x, &rows, next.at ? &next : NULL);
}

struct listing {
    struct exchange *x;
    struct topic_list here;
    struct errand far; /* what others have */
    char texts[];      /* prefix and after */
};

static void listing_done(struct errand *e)
{
    struct listing *l = LIST_ITEM(e, struct listing, far);
    struct exchange *x = l->x;
    struct topic_page there = {.count = 0}, joined;
    bool ok = e->outcome != ERRAND_NO_MEMORY &&
              topic_page_read(&there, buf_text(&e->found)) != PAGE_NO_MEMORY;
    there.next = e->next;
    struct topic_page pages[] = {
        {.rows = l->here.rows, .count = l->here.count, .next = l->here.next}, there};
    ok = ok && topic_page_join(&joined, pages, 2, e->limit);
    if (ok) {
        answer_page(x, joined.rows, joined.count, joined.next);
        topic_page_fini(&joined);
    } else {
        api_no_memory(x);
    }
    topic_page_fini(&there);
    topic_list_fini(&l->here);
    buf_fini(&e->found);
    free(l);
}

/* Takes the list; false: no memory, it is the caller's still. */
static bool ask_others(struct exchange *x, struct topic_list *list, struct text prefix,
    struct text after, size_t limit)
{
    struct listing *l = calloc(1, sizeof *l + prefix.len + after.len);
    if (!l)
        return false;
    if (prefix.len > 0)
        memcpy(l->texts, prefix.at, prefix.len);
    if (after.len > 0)
        memcpy(l->texts + prefix.len, after.at, after.len);
    l->x = x;
    l->here = *list;
    l->far = (struct errand){.kind = ERRAND_ASK,
        .done = listing_done,
        .weight = (uint32_t)(sizeof *l + prefix.len + after.len),
        .ask = ASK_TOPICS,
        .prefix = {l->texts, prefix.len},
        .after = {l->texts + prefix.len, after.len},
        .limit = (uint32_t)limit};
    admin_send(x->admin, &l->far);
    return true;
}

static void list_by_name(struct exchange *x, struct text prefix, struct text after, size_t limit)
{
    struct route *route = &x->admin->settings.shop->route;
    struct topic_list list;
    if (!topic_list_take(&list, &route->registry, prefix, after, TEXT(""), limit)) {
        api_no_memory(x);
        return;
    }
    if (route->backplane && ask_others(x, &list, prefix, after, limit))
        return;
    if (route->backplane)
        api_no_memory(x);
    else
        answer_page(x, list.rows, list.count, list.next);
    topic_list_fini(&list);
}

/* --- the first ones --------------------------------------------------------------------------- */

struct ranking {
    struct api_job job;
    struct exchange *x;
    bool by_rate;
    bool scanning;
    uint64_t until_ms; /* rates are waited for */
    struct buf prefix;
    struct topic_scan scan;
    struct topic_top top;
};

static void ranking_free(struct ranking *r)
{
    if (r->scanning)
        topic_scan_fini(&r->scan);
    topic_top_fini(&r->top);
    buf_fini(&r->prefix);
    free(r);
}

static int ranking_fail(struct ranking *r)
{
    struct exchange *x = r->x;
    ranking_free(r);
    api_no_memory(x);
    return JOB_DONE;
}

static int ranking_answer(struct ranking *r)
{
    struct exchange *x = r->x;
    struct buf rows = {0};
    topic_top_sort(&r->top);
    for (size_t i = 0; i < r->top.count; i++)
        append_row(&rows, x->admin->api, &r->top.rows[i].topic);
    ranking_free(r);
    answer_rows(x, &rows, NULL);
    return JOB_DONE;
}

static bool offer_step(struct ranking *r)
{
    const struct topic_rates *rates = &r->x->admin->api->rates.rates;
    for (size_t i = 0; i < r->scan.count; i++) {
        const struct scan_row *row = &r->scan.rows[i];
        double mark = r->by_rate ? topic_rates_find(rates, row->epoch) : row->subscribers;
        if (!topic_top_offer(&r->top, row, mark))
            return false;
    }
    return true;
}

static int ranking_step(struct api_job *job, bool ending)
{
    struct ranking *r = LIST_ITEM(job, struct ranking, job);
    struct admin *a = r->x->admin;
    const struct api_rates *rates = &a->api->rates;
    uint64_t start = clock_ns();
    if (ending || (r->by_rate && rates->failed))
        return ranking_fail(r);
    if (!r->scanning && r->by_rate && !topic_rates_known(&rates->rates) &&
        start / 1000000 < r->until_ms)
        return LOOK_MS;
    if (!r->scanning) {
        topic_scan_begin(&r->scan, &a->settings.shop->route.registry, buf_text(&r->prefix));
        r->scanning = true;
    }
    do {
        if (!topic_scan_next(&r->scan))
            return r->scan.failed ? ranking_fail(r) : ranking_answer(r);
        if (!offer_step(r))
            return ranking_fail(r);
    } while (clock_ns() - start < JOB_SLICE_NS);
    return 0;
}

/* Takes the prefix. */
static void rank(struct exchange *x, struct buf *prefix, size_t limit, bool by_rate)
{
    struct ranking *r = calloc(1, sizeof *r);
    if (!r || !topic_top_init(&r->top, limit)) {
        free(r);
        api_no_memory(x);
        return;
    }
    r->x = x;
    r->by_rate = by_rate;
    r->until_ms = clock_ms() + WAIT_MS;
    r->prefix = *prefix;
    *prefix = (struct buf){0};
    r->job.step = ranking_step;
    api_begin(x->admin->api, &r->job);
}

/* --- requests --------------------------------------------------------------------------------- */

enum sort { SORT_NAME, SORT_SUBSCRIBERS, SORT_RATE, SORT_UNKNOWN };

static enum sort sort_of(struct text word)
{
    if (word.len == 0 || text_equal(word, TEXT("name")))
        return SORT_NAME;
    if (text_equal(word, TEXT("subscribers")))
        return SORT_SUBSCRIBERS;
    return text_equal(word, TEXT("rate")) ? SORT_RATE : SORT_UNKNOWN;
}

static void list_topics(struct exchange *x)
{
    struct buf prefix = {0}, after = {0}, word = {0};
    uint64_t limit = LIMIT_DEFAULT;
    if (api_take_text(x, "prefix", &prefix) && api_take_text(x, "after", &after) &&
        api_take_text(x, "sort", &word) && api_take_number(x, "limit", 1, LIMIT_MOST, &limit)) {
        enum sort sort = sort_of(buf_text(&word));
        api_rates_want(x->admin->api);
        if (sort == SORT_UNKNOWN)
            exchange_error(x, 400, "malformed", "\"sort\" must be name, subscribers or rate.");
        else if (sort == SORT_NAME)
            list_by_name(x, buf_text(&prefix), buf_text(&after), limit);
        else if (after.len > 0)
            exchange_error(x, 400, "malformed",
                "\"after\" goes with \"sort=name\" only: others have one page.");
        else
            rank(x, &prefix, limit, sort == SORT_RATE);
    }
    buf_fini(&word);
    buf_fini(&after);
    buf_fini(&prefix);
}

static void append_patterns(struct buf *out, const struct topic_facts *facts, struct route *route)
{
    for (uint32_t i = 0; facts->matches && i < facts->matches->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_string_append(out, pattern_text(&route->patterns, facts->matches->patterns[i]));
    }
}

static void answer_topic(
    struct exchange *x, struct text name, const struct topic_facts *facts, uint32_t elsewhere)
{
    struct buf body = {0};
    buf_append_string(&body, "{\"topic\":");
    json_string_append(&body, name);
    buf_append_string(&body, ",\"epoch\":");
    append_epoch(&body, facts->epoch);
    buf_append_string(&body, ",\"offset\":");
    buf_append_number(&body, facts->offset);
    buf_append_string(&body, ",\"subscribers\":");
    buf_append_number(&body, (unsigned long long)facts->subscribers + elsewhere);
    buf_append_string(&body, ",\"rate\":");
    api_rates_append(&body, x->admin->api, facts->epoch);
    buf_append_string(&body, ",\"history\":");
    if (facts->keeps) {
        buf_appendf(&body, "{\"messages\":%u,\"bytes\":", (unsigned)facts->messages);
        buf_append_number(&body, facts->bytes);
        buf_append_string(&body, ",\"first\":");
        if (facts->messages > 0)
            buf_append_number(&body, facts->first);
        else
            buf_append_string(&body, "null");
        buf_append_char(&body, '}');
    } else {
        buf_append_string(&body, "null");
    }
    buf_append_string(&body, ",\"patterns\":[");
    append_patterns(&body, facts, &x->admin->settings.shop->route);
    buf_append_string(&body, "]}\n");
    exchange_json(x, 200, &body);
}

static void answer_far_topic(struct exchange *x, struct text name, uint32_t subscribers)
{
    struct buf body = {0};
    buf_append_string(&body, "{\"topic\":");
    json_string_append(&body, name);
    buf_appendf(&body,
        ",\"epoch\":null,\"offset\":null,\"subscribers\":%u,\"rate\":null,\"history\":null,"
        "\"patterns\":[]}\n",
        (unsigned)subscribers);
    exchange_json(x, 200, &body);
}

/* `elsewhere`: who subscribes to it on other brokers; NULL: they do not have it. */
static void tell_topic(struct exchange *x, struct text name, const uint32_t *elsewhere)
{
    struct workshop *shop = x->admin->settings.shop;
    struct topic_facts facts;
    struct rules *rules = rules_box_take(&shop->rules);
    struct route_rule rule = {rules_find(rules, name), rules_version(rules)};
    bool ok = topic_facts_take(&facts, &shop->route, rule, name);
    rules_drop(rules);
    if (!ok) {
        api_no_memory(x);
        return;
    }
    if (facts.active)
        answer_topic(x, name, &facts, elsewhere ? *elsewhere : 0);
    else if (elsewhere)
        answer_far_topic(x, name, *elsewhere);
    else
        exchange_error(x, 404, "not_found",
            "There is no such topic: nobody subscribes to it and it keeps no messages.");
    topic_facts_fini(&facts);
}

struct search {
    struct exchange *x;
    struct errand far;
    char name[];
};

static void search_done(struct errand *e)
{
    struct search *s = LIST_ITEM(e, struct search, far);
    struct exchange *x = s->x;
    struct topic_page there = {.count = 0};
    bool ok = e->outcome != ERRAND_NO_MEMORY &&
              topic_page_read(&there, buf_text(&e->found)) != PAGE_NO_MEMORY;
    bool found = there.count > 0 && text_equal(there.rows[0].name, e->prefix);
    if (ok)
        tell_topic(x, e->prefix, found ? &there.rows[0].subscribers : NULL);
    else
        api_no_memory(x);
    topic_page_fini(&there);
    buf_fini(&e->found);
    free(s);
}

/* Of all that begin with the name it is the first. */
static void find_everywhere(struct exchange *x, struct text name)
{
    if (!api_is_far(x, name)) {
        tell_topic(x, name, NULL);
        return;
    }
    struct search *s = calloc(1, sizeof *s + name.len);
    if (!s) {
        api_no_memory(x);
        return;
    }
    memcpy(s->name, name.at, name.len);
    s->x = x;
    s->far = (struct errand){.kind = ERRAND_ASK,
        .done = search_done,
        .weight = (uint32_t)(sizeof *s + name.len),
        .ask = ASK_TOPICS,
        .prefix = {s->name, name.len},
        .limit = 1};
    admin_send(x->admin, &s->far);
}

void api_topic(struct exchange *x)
{
    struct buf name = {0};
    const struct workshop *shop = x->admin->settings.shop;
    bool decoded = percent_decode(&name, x->rest, false);
    const char *fault =
        decoded ? topic_name_fault(buf_text(&name), shop->limits.topic_bytes) : NULL;
    if (name.failed) {
        api_no_memory(x);
    } else if (!decoded) {
        exchange_error(x, 400, "malformed", "The topic is not percent-encoded as it must be.");
    } else if (fault) {
        exchange_error(x, 400, "bad_topic", fault);
    } else {
        api_rates_want(x->admin->api);
        find_everywhere(x, buf_text(&name));
    }
    buf_fini(&name);
}

/* Also for names that no path can hold: browsers take "." and ".." out, however they are encoded.
 */
static void find_topic(struct exchange *x)
{
    struct buf name = {0};
    if (api_take_topic(x, &name)) {
        api_rates_want(x->admin->api);
        find_everywhere(x, buf_text(&name));
    }
    buf_fini(&name);
}

void api_topics(struct exchange *x)
{
    if (query_has(x->query, "topic"))
        find_topic(x);
    else
        list_topics(x);
}
