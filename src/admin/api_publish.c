/* Publishing over HTTP: one message or many, each at most once where it has a key.
 *
 * It goes on while the workers keep up: when a mailbox is crowded the rest waits, and fails when
 * that takes too long. So what HTTP brings is bounded as what clients bring is. */
#include <stdlib.h>

#include "admin/admin.h"
#include "admin/api.h"
#include "admin/api_json.h"
#include "admin/api_state.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "broker/topic_name.h"
#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/reply2.h"
#include "session/outside.h"

/* WAIT_MS: for crowded mailboxes, in all; LOOK_MS: in between. UNDER_WAY_MOST: messages to far
 * topics, of one request. */
enum { MESSAGES_MOST = 1000, WAIT_MS = 10000, LOOK_MS = 5, UNDER_WAY_MOST = 64, LONG_MS = 60000 };

/* Instead of a status. */
enum {
    ON_ITS_WAY = -1,  /* to a far topic */
    KEY_PENDING = -2, /* what comes of an earlier one with that key is not known yet */
};

/* Why a message was not published; `status` 0: it was. */
struct fault {
    int status;
    enum error_code code;
    const char *message;
};

static struct fault fault_of(int status, enum error_code code, const char *message)
{
    return (struct fault){status, code, message};
}

/* What one message is to be, as it stands in the body; `at` NULL: it is not there. */
struct wish {
    struct text topic;
    struct text data;
    struct text key;
};

static struct wish wish_of(struct text object)
{
    struct wish wish = {.topic = {NULL, 0}};
    struct json_walk walk = json_walk(object);
    struct text key, value;
    while (json_walk_member(&walk, &key, &value)) {
        if (json_is(key, "topic"))
            wish.topic = value;
        else if (json_is(key, "data"))
            wish.data = value;
        else if (json_is(key, "idempotency_key"))
            wish.key = value;
    }
    return wish;
}

struct publishing {
    struct api_job job;
    struct exchange *x;
    struct text one; /* the only message; `at` NULL: there are many, and these are left: */
    struct json_walk left;
    struct text key; /* of the header */
    bool named;      /* the body is an object, and so is the answer */
    uint64_t until_ms;
    struct list messages; /* struct sent: in order, those that are not in `results` yet */
    unsigned under_way;   /* of them, on their way to far topics */
    size_t written;       /* results */
    struct buf results;
};

/* One message, and what came of it. */
struct sent {
    struct list node;
    struct errand far;
    struct publishing *publishing; /* NULL: nobody waits for it */
    struct buf names;              /* the topic, then the key */
    size_t topic_len;
    bool back; /* the result is known: */
    struct fault fault;
    struct buf text;
};

static struct text topic_of(const struct sent *m)
{
    return (struct text){m->names.data, m->topic_len};
}

static struct text key_of(const struct sent *m)
{
    return (struct text){m->names.data + m->topic_len, m->names.len - m->topic_len};
}

static void sent_free(struct sent *m)
{
    buf_fini(&m->names);
    buf_fini(&m->text);
    free(m);
}

/* --- one message ------------------------------------------------------------------------------ */

static void append_result(struct buf *out, struct text topic, uint64_t offset, uint64_t epoch,
    uint32_t subscribers, bool repeated)
{
    struct epoch_text text = epoch_text(epoch);
    buf_append_string(out, "{\"topic\":");
    json_string_append(out, topic);
    buf_append_string(out, ",\"offset\":");
    buf_append_number(out, offset);
    buf_append_string(out, ",\"epoch\":");
    json_string_append(out, (struct text){text.digits, text.len});
    buf_appendf(
        out, ",\"subscribers\":%u%s}", (unsigned)subscribers, repeated ? ",\"repeated\":true" : "");
}

static struct fault publish(
    struct admin *a, struct sent *m, struct text data, struct route_result *result)
{
    struct workshop *shop = a->settings.shop;
    struct text topic = topic_of(m);
    switch (shop_publish_or(shop, topic, data, result, &m->far)) {
    case OUTSIDE_PUBLISHED:
        metric_add(&a->metrics, METRIC_messages_published_total, 1);
        break;
    case OUTSIDE_FAR:
        return fault_of(ON_ITS_WAY, 0, NULL);
    case OUTSIDE_STOPPED:
        return fault_of(503, ERROR_UNAVAILABLE, "This server is shutting down.");
    case OUTSIDE_TOO_LARGE:
        return fault_of(413, ERROR_TOO_LARGE, HERMES_TEXT_TOO_LARGE);
    case OUTSIDE_BAD_TOPIC:
        return fault_of(400, ERROR_BAD_TOPIC, topic_name_fault(topic, shop->limits.topic_bytes));
    case OUTSIDE_BAD_DATA:
        return fault_of(400, ERROR_BAD_JSON, HERMES_TEXT_BAD_JSON);
    case OUTSIDE_NO_MEMORY:
        return fault_of(503, ERROR_UNAVAILABLE, HERMES_TEXT_NOT_PUBLISHED);
    }
    return fault_of(0, 0, NULL);
}

/* It is published, or not. */
static void settle(struct admin *a, struct sent *m, struct repeat *repeat, struct fault fault,
    const struct route_result *result)
{
    m->back = true;
    m->fault = fault;
    if (fault.status == 0)
        append_result(
            &m->text, topic_of(m), result->offset, result->epoch, result->subscribers, false);
    if (repeat && fault.status != 0) {
        repeats_forget(&a->api->repeats, repeat);
    } else if (repeat) {
        repeat->pending = false;
        repeat->offset = result->offset;
        repeat->epoch = result->epoch;
        repeat->subscribers = result->subscribers;
    }
}

/* What was sent to a far topic is back. */
static void far_done(struct errand *e)
{
    struct sent *m = LIST_ITEM(e, struct sent, far);
    struct publishing *p = m->publishing;
    struct admin *a = LIST_ITEM(e->home, struct admin, box);
    struct text key = key_of(m);
    struct repeat *repeat = key.len > 0 ? repeats_pending(&a->api->repeats, key) : NULL;
    struct route_result result = {
        .offset = e->offset, .epoch = e->epoch, .subscribers = e->subscribers};
    bool alone = e->outcome == ERRAND_UNAVAILABLE;
    struct fault fault =
        fault_of(503, ERROR_UNAVAILABLE, alone ? HERMES_TEXT_ALONE : HERMES_TEXT_NOT_PUBLISHED);
    if (e->outcome == ERRAND_DONE)
        fault = fault_of(0, 0, NULL);
    if (e->outcome == ERRAND_DONE && e->repeated) { /* whose five minutes are Redis' to count */
        m->back = true;
        m->fault = fault;
        append_result(
            &m->text, buf_text(&e->found), result.offset, result.epoch, result.subscribers, true);
        if (repeat)
            repeats_forget(&a->api->repeats, repeat);
    } else {
        settle(a, m, repeat, fault, &result);
    }
    buf_fini(&e->found);
    if (!p) {
        sent_free(m);
        return;
    }
    p->under_way--;
    api_hasten(a->api, &p->job);
}

/* Its names are there. */
static struct fault publish_once(struct publishing *p, struct sent *m, struct text data)
{
    struct admin *a = p->x->admin;
    struct repeats *repeats = &a->api->repeats;
    struct text key = key_of(m);
    struct route_result result = {.offset = 0};
    struct repeat *repeat = NULL;
    if (key.len > 0) {
        const struct repeat *before = repeats_find(repeats, key, clock_ms());
        if (before && before->pending)
            return fault_of(KEY_PENDING, 0, NULL);
        if (before) {
            append_result(&m->text, repeat_topic(before), before->offset, before->epoch,
                before->subscribers, true);
            return fault_of(0, 0, NULL);
        }
        repeat = repeats_add(repeats, key, topic_of(m), clock_ms());
        if (!repeat)
            return fault_of(503, ERROR_UNAVAILABLE, HERMES_TEXT_NOT_PUBLISHED);
    }
    struct fault fault = publish(a, m, data, &result);
    if (fault.status != ON_ITS_WAY) {
        settle(a, m, repeat, fault, &result);
        return fault;
    }
    if (repeat)
        repeat->pending = true;
    m->publishing = p;
    m->far.done = far_done;
    m->far.key = key;
    m->far.weight += (uint32_t)key.len;
    p->under_way++;
    admin_send(a, &m->far);
    return fault;
}

/* `value` is whatever the body has where a message is to be. */
static struct fault publish_value(struct publishing *p, struct sent *m, struct text value)
{
    struct text key = p->key;
    struct buf own_key = {0};
    struct fault fault = fault_of(
        400, ERROR_MALFORMED, "Expected an object with \"topic\", a string, and \"data\".");
    struct wish wish = {.topic = {NULL, 0}};
    if (value.at[0] == '{')
        wish = wish_of(value);
    if (!wish.topic.at || !wish.data.at || wish.topic.at[0] != '"' || wish.topic.len == 2)
        return fault;
    /* What of a string that is none was taken says nothing: without its key, or by that of the
     * header, the message is not to be published. */
    bool good_key = !wish.key.at || json_take_string(wish.key, &own_key);
    if (good_key && wish.key.at)
        key = buf_text(&own_key);
    good_key &= !key.at || (key.len > 0 && key.len <= REPEATS_KEY_MAX);
    bool good_topic = good_key && json_take_string(wish.topic, &m->names);
    m->topic_len = m->names.len;
    if (good_topic && key.at)
        buf_append_text(&m->names, key);
    if (own_key.failed || m->names.failed)
        fault = fault_of(503, ERROR_UNAVAILABLE, HERMES_TEXT_NOT_PUBLISHED);
    else if (!good_key)
        fault = fault_of(
            400, ERROR_MALFORMED, "\"idempotency_key\" must be a string of 1 to 255 bytes.");
    else if (good_topic)
        fault = publish_once(p, m, wish.data);
    else
        fault = fault_of(400, ERROR_BAD_TOPIC, HERMES_TEXT_TOPIC_NOT_UTF8);
    buf_fini(&own_key);
    return fault;
}

/* --- the request ------------------------------------------------------------------------------ */

static int publishing_end(struct publishing *p)
{
    struct exchange *x = p->x;
    struct buf body = p->results;
    bool named = p->named, one = p->one.at != NULL;
    free(p);
    buf_append_string(&body, one ? "\n" : named ? "]}\n" : "]\n");
    exchange_json(x, 200, &body);
    return JOB_DONE;
}

static int publishing_fail(struct publishing *p, const struct fault *fault)
{
    struct exchange *x = p->x;
    buf_fini(&p->results);
    free(p);
    exchange_error(x, fault->status, error_code_name(fault->code), fault->message);
    return JOB_DONE;
}

static void append_fault(struct buf *out, const struct fault *fault)
{
    buf_append_string(out, "{\"error\":{\"code\":\"");
    buf_append_string(out, error_code_name(fault->code));
    buf_append_string(out, "\",\"message\":");
    json_string_append(out, text_of(fault->message));
    buf_append_string(out, "}}");
}

/* Takes over what is known of the first messages. JOB_DONE when all has been answered by that. */
static int take_results(struct publishing *p)
{
    while (!list_empty(&p->messages)) {
        struct sent *m = LIST_ITEM(p->messages.next, struct sent, node);
        if (!m->back)
            break;
        struct fault fault = m->fault;
        list_remove(&m->node);
        if (!p->one.at && p->written++ > 0)
            buf_append_char(&p->results, ',');
        buf_append_text(&p->results, buf_text(&m->text));
        p->results.failed |= m->text.failed;
        sent_free(m);
        if (p->one.at)
            return fault.status ? publishing_fail(p, &fault) : publishing_end(p);
        if (fault.status)
            append_fault(&p->results, &fault);
    }
    return 0;
}

/* The listener ends: nobody waits for what is under way. */
static void abandon(struct publishing *p)
{
    for (struct list *at = p->messages.next, *next; at != &p->messages; at = next) {
        struct sent *m = LIST_ITEM(at, struct sent, node);
        next = at->next;
        if (m->back)
            continue;
        list_remove(&m->node);
        m->publishing = NULL;
        p->results.failed = true;
    }
}

/* The next message; false when there is none left. */
static bool take_value(struct publishing *p, struct text *value)
{
    *value = p->one;
    return p->one.at ? p->written++ == 0 : json_walk_element(&p->left, value);
}

static int publishing_step(struct api_job *job, bool ending)
{
    struct publishing *p = LIST_ITEM(job, struct publishing, job);
    struct admin *a = p->x->admin;
    uint64_t start = clock_ns();
    bool late = ending || start / 1000000 >= p->until_ms;
    do {
        struct text value;
        struct json_walk before = p->left;
        bool crowded = shop_crowded(a->settings.shop);
        if (take_results(p) == JOB_DONE)
            return JOB_DONE;
        if (p->under_way >= UNDER_WAY_MOST && !ending)
            return LONG_MS;
        if (crowded && !late)
            return LOOK_MS;
        if (!take_value(p, &value)) {
            if (ending)
                abandon(p);
            if (!list_empty(&p->messages) && !ending)
                return LONG_MS;
            return take_results(p) == JOB_DONE ? JOB_DONE : publishing_end(p);
        }
        struct sent *m = calloc(1, sizeof *m);
        if (!m) {
            p->results.failed = true;
            abandon(p);
            return take_results(p) == JOB_DONE ? JOB_DONE : publishing_end(p);
        }
        list_append(&p->messages, &m->node);
        struct fault fault =
            crowded ? fault_of(503, ERROR_UNAVAILABLE, "The subscribers do not keep up: try later.")
                    : publish_value(p, m, value);
        if (fault.status == KEY_PENDING && !late) {
            list_remove(&m->node);
            sent_free(m);
            p->left = before;
            p->written -= p->one.at != NULL;
            return LOOK_MS;
        }
        if (fault.status == KEY_PENDING)
            fault = fault_of(503, ERROR_UNAVAILABLE,
                "What came of an earlier message with this key is not known yet: try later.");
        m->back = fault.status != ON_ITS_WAY;
        m->fault = fault;
    } while (ending || clock_ns() - start < JOB_SLICE_NS);
    return 0;
}

/* The array of an object's "messages"; `at` NULL: there are none. */
static struct text messages_of(struct text object)
{
    struct text found = {NULL, 0};
    struct json_walk walk = json_walk(object);
    struct text key, value;
    while (json_walk_member(&walk, &key, &value))
        if (json_is(key, "messages"))
            found = value;
    return found;
}

static bool is_too_many(struct text array)
{
    struct json_walk walk = json_walk(array);
    struct text value;
    for (size_t count = 0; json_walk_element(&walk, &value); count++)
        if (count == MESSAGES_MOST)
            return true;
    return false;
}

/* As the IETF's draft has it a string in quotes, and as everyone does it without. */
static struct text header_key(const struct exchange *x)
{
    const struct http_header *header = http_find(&x->head, "Idempotency-Key");
    if (!header)
        return (struct text){NULL, 0};
    struct text key = header->value;
    if (key.len >= 2 && key.at[0] == '"' && key.at[key.len - 1] == '"')
        key = (struct text){key.at + 1, key.len - 2};
    return key;
}

/* What the body has, or why it cannot be used. */
static struct fault read_body(struct exchange *x, struct publishing *p)
{
    if (!utf8_valid(x->body.at, x->body.len) || !json_valid(x->body.at, x->body.len))
        return fault_of(400, ERROR_BAD_JSON, "The body must be valid JSON.");
    struct text body = json_body(x->body);
    struct text many = body;
    p->named = body.at[0] == '{';
    if (p->named)
        many = messages_of(body);
    p->key = header_key(x);
    if (p->named && !many.at) {
        p->one = body;
        return fault_of(0, 0, NULL);
    }
    if (many.at[0] != '[')
        return fault_of(400, ERROR_MALFORMED,
            "Expected an object with \"topic\" and \"data\", or a list of them as \"messages\".");
    if (p->key.at)
        return fault_of(400, ERROR_MALFORMED,
            "Of many messages each has its \"idempotency_key\"; the header is for one.");
    if (is_too_many(many))
        return fault_of(400, ERROR_MALFORMED, "These are more than 1000 messages.");
    p->left = json_walk(many);
    buf_append_string(&p->results, p->named ? "{\"results\":[" : "[");
    return fault_of(0, 0, NULL);
}

void api_publish(struct exchange *x)
{
    struct publishing *p = calloc(1, sizeof *p);
    if (!p) {
        api_no_memory(x);
        return;
    }
    p->x = x;
    p->until_ms = clock_ms() + WAIT_MS;
    p->job.step = publishing_step;
    list_init(&p->messages);
    struct fault fault = read_body(x, p);
    if (fault.status)
        publishing_fail(p, &fault);
    else
        api_begin(x->admin->api, &p->job);
}
