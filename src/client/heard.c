#include "client/heard.h"

#include <string.h>

#include "client/scan.h"
#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/json_run.h"

/* ---- a delivery as servers write it ---- */

/* Passes `literal`; NULL when it is not there. */
#define PASS(at, end, literal)                                                                     \
    ((size_t)((end) - (at)) >= sizeof(literal) - 1 &&                                              \
                memcmp((at), (literal), sizeof(literal) - 1) == 0                                  \
            ? (at) + sizeof(literal) - 1                                                           \
            : NULL)

/* Passes a string without escapes, whose opening quote has been passed, and its closing one. */
static const char *pass_plain(const char *at, const char *end, const char **text, size_t *len)
{
    const char *stop = json_run_end(at, end);
    if (stop == end || *stop != '"')
        return NULL;
    *text = at;
    *len = (size_t)(stop - at);
    return stop + 1;
}

/* Passes digits of a number that is not too large; none are a 0. */
static const char *pass_number(const char *at, const char *end, uint64_t *number)
{
    uint64_t n = 0;
    for (; at < end && (unsigned char)(*at - '0') < 10; at++) {
        if (n > (UINT64_MAX - 9) / 10)
            return NULL;
        n = n * 10 + (uint64_t)(*at - '0');
    }
    *number = n;
    return at;
}

bool heard_delivery(struct hermes_delivery *out, const char *text, size_t len)
{
    const char *end = text + len;
    const char *at = PASS(text, end, "{\"type\":\"" HERMES_TYPE_MESSAGE "\",\"topic\":\"");
    if (!at || !(at = pass_plain(at, end, &out->topic, &out->topic_len)) ||
        !(at = PASS(at, end, ",\"data\":")))
        return false;
    const char *behind = json_value(at, end, &out->data);
    if (!behind || out->data != at)
        return false;
    out->data_len = (size_t)(behind - at);
    if (!(at = PASS(behind, end, ",\"offset\":")) || !(at = pass_number(at, end, &out->offset)) ||
        at == end)
        return false;
    out->pattern = NULL;
    out->pattern_len = 0;
    if (*at == ',' &&
        (!(at = PASS(at, end, ",\"pattern\":\"")) ||
            !(at = pass_plain(at, end, &out->pattern, &out->pattern_len)) || at == end))
        return false;
    out->text = text;
    out->text_len = len;
    return *at == '}' && at + 1 == end && out->offset > 0;
}

/* ---- anything ---- */

static bool is(struct text raw, const char *name)
{
    return raw.len >= 2 && raw.at[0] == '"' &&
           scan_string_is(raw, text_of(name), (struct text){NULL, 0}, true);
}

static enum heard_type type_read(struct text raw)
{
    static const char *const types[] = {
        [HEARD_MESSAGE] = HERMES_TYPE_MESSAGE,
        [HEARD_GAP] = HERMES_TYPE_GAP,
        [HEARD_JOIN] = HERMES_TYPE_JOIN,
        [HEARD_LEAVE] = HERMES_TYPE_LEAVE,
        [HEARD_ACK_PUBLISH] = HERMES_TYPE_ACK_PUBLISH,
        [HEARD_ACK_SUBSCRIBE] = HERMES_TYPE_ACK_SUBSCRIBE,
        [HEARD_ACK_UNSUBSCRIBE] = HERMES_TYPE_ACK_UNSUBSCRIBE,
        [HEARD_RECONNECT] = HERMES_TYPE_RECONNECT,
        [HEARD_ERROR] = HERMES_TYPE_ERROR,
        [HEARD_INFO] = HERMES_TYPE_INFO,
        [HEARD_TOPICS] = HERMES_TYPE_TOPICS,
        [HEARD_HISTORY] = HERMES_TYPE_HISTORY,
        [HEARD_PRESENCE] = HERMES_TYPE_PRESENCE,
        [HEARD_ACK_AUTH] = HERMES_TYPE_ACK_AUTH,
    };
    for (size_t i = HEARD_MESSAGE; i < sizeof types / sizeof *types; i++)
        if (is(raw, types[i]))
            return (enum heard_type)i;
    return HEARD_OTHER;
}

/* `space` has room for all strings of the text. One that UTF-8 cannot hold counts as not there. */
static void string_read(struct text raw, struct buf *space, struct text *out)
{
    *out = (struct text){NULL, 0};
    if (raw.at[0] != '"')
        return;
    if (!memchr(raw.at, '\\', raw.len)) {
        *out = (struct text){raw.at + 1, raw.len - 2};
        return;
    }
    char *copy = space->data + space->len;
    buf_append_text(space, raw);
    struct text decoded;
    if (json_string_decode(copy, raw.len, &decoded))
        *out = decoded;
}

static void rows_read(struct text raw, struct text *out)
{
    *out = raw.at[0] == '[' ? (struct text){raw.at + 1, raw.len - 2} : (struct text){NULL, 0};
}

static void member_read(struct heard *h, struct text key, struct text value, struct buf *space)
{
    static const struct {
        const char *key;
        size_t field;
        enum { STRING, NUMBER, RAW, ROWS, TYPE, RECOVERED } kind;
    } fields[] = {
        {"type", 0, TYPE},
        {"topic", offsetof(struct heard, topic), STRING},
        {"pattern", offsetof(struct heard, pattern), STRING},
        {"epoch", offsetof(struct heard, epoch), STRING},
        {"message", offsetof(struct heard, message), STRING},
        {"code", offsetof(struct heard, code), STRING},
        {"client", offsetof(struct heard, client), STRING},
        {"next", offsetof(struct heard, next), STRING},
        {"id", offsetof(struct heard, id), RAW},
        {"data", offsetof(struct heard, data), RAW},
        {"topics", offsetof(struct heard, rows), ROWS},
        {"messages", offsetof(struct heard, rows), ROWS},
        {"clients", offsetof(struct heard, rows), ROWS},
        {"offset", offsetof(struct heard, offset), NUMBER},
        {"from", offsetof(struct heard, from), NUMBER},
        {"to", offsetof(struct heard, to), NUMBER},
        {"subscribers", offsetof(struct heard, subscribers), NUMBER},
        {"expires", offsetof(struct heard, expires), NUMBER},
        {"after_ms", offsetof(struct heard, after_ms), NUMBER},
        {"recovered", 0, RECOVERED},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!is(key, fields[i].key))
            continue;
        void *field = (char *)h + fields[i].field;
        switch (fields[i].kind) {
        case STRING:
            string_read(value, space, field);
            break;
        case NUMBER:
            (void)scan_number(value, field);
            break;
        case RAW:
            *(struct text *)field = value;
            break;
        case ROWS:
            rows_read(value, field);
            break;
        case TYPE:
            h->type = type_read(value);
            break;
        case RECOVERED:
            h->recovered = text_equal(value, TEXT("true"))    ? HERMES_RECOVERED_YES
                           : text_equal(value, TEXT("false")) ? HERMES_RECOVERED_NO
                                                              : HERMES_RECOVERED_UNASKED;
            break;
        }
        return;
    }
}

/* Whether all is there that such a text has to have. */
static bool is_complete(const struct heard *h)
{
    switch (h->type) {
    case HEARD_MESSAGE:
        return h->topic.at && h->data.at && h->offset > 0;
    case HEARD_GAP:
        return h->pattern.at ||
               (h->topic.at && h->from > 0 && (h->to >= h->from || (h->epoch.at && h->to == 0)));
    case HEARD_JOIN:
    case HEARD_LEAVE:
        return h->topic.at && h->client.at;
    case HEARD_ACK_SUBSCRIBE:
    case HEARD_ACK_UNSUBSCRIBE:
        return h->topic.at || h->pattern.at;
    case HEARD_TOPICS:
    case HEARD_HISTORY:
    case HEARD_PRESENCE:
        return h->rows.at;
    default:
        return true;
    }
}

bool heard_read(struct heard *h, const char *text, size_t len, struct buf *space)
{
    struct scan s = {text, text + len};
    struct text key;
    struct text value;
    *h = (struct heard){0};
    buf_clear(space);
    if (memchr(text, '\\', len) && !buf_reserve(space, len)) {
        space->failed = false;
        return false;
    }
    if (json_valid(text, len) && scan_object(&s))
        while (scan_member(&s, &key, &value))
            member_read(h, key, value, space);
    if (!is_complete(h))
        *h = (struct heard){.type = HEARD_OTHER};
    return true;
}
