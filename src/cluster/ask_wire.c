#include "cluster/ask_wire.h"

#include "base/utf8.h"

enum { VERSION = 0x4101, FLAG_MORE = 1, FLAG_FAILED = 2, FLAG_NEXT = 4, FLAG_USER = 1 };

struct head {
    uint16_t version;
    uint8_t message; /* enum ask_message */
    uint8_t flags;
    uint32_t number; /* kind, or part */
    uint64_t node;
    uint64_t id;
};

/* --- writing ---------------------------------------------------------------------------------- */

static void put_number(struct buf *out, uint32_t number)
{
    buf_append(out, &number, sizeof number);
}

static void put_text(struct buf *out, struct text text)
{
    put_number(out, (uint32_t)text.len);
    buf_append_text(out, text);
}

void ask_question_write(struct buf *out, const struct ask_question *q)
{
    struct head head = {.version = VERSION,
        .message = ASK_QUESTION,
        .flags = q->user.at ? FLAG_USER : 0,
        .number = (uint32_t)q->kind,
        .node = q->asker,
        .id = q->id};
    buf_append(out, &head, sizeof head);
    buf_append(out, &q->client, sizeof q->client);
    put_number(out, q->limit);
    put_number(out, (uint32_t)q->code);
    const struct text texts[] = {q->name, q->prefix, q->after, q->pattern, q->user, q->reason};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        put_text(out, texts[i]);
}

void ask_part_write(struct buf *out, const struct ask_part *p)
{
    struct head head = {.version = VERSION,
        .message = ASK_PART,
        .flags = (uint8_t)((p->more ? FLAG_MORE : 0) | (p->failed ? FLAG_FAILED : 0) |
                           (p->next.at ? FLAG_NEXT : 0)),
        .number = p->part,
        .node = p->node,
        .id = p->id};
    buf_append(out, &head, sizeof head);
    put_number(out, p->count);
    put_text(out, p->next);
    put_text(out, p->bytes);
}

void ask_news_write(struct buf *out, uint64_t node)
{
    struct head head = {.version = VERSION, .message = ASK_NEWS, .node = node};
    buf_append(out, &head, sizeof head);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    struct text left;
    bool bad;
};

static void take_bytes(struct reader *r, void *out, size_t len)
{
    if (r->bad || r->left.len < len) {
        r->bad = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, r->left.at, len);
    r->left.at += len;
    r->left.len -= len;
}

static uint32_t take_number(struct reader *r)
{
    uint32_t number;
    take_bytes(r, &number, sizeof number);
    return number;
}

static struct text take_text(struct reader *r, size_t most)
{
    size_t len = take_number(r);
    struct text text = {r->left.at, len};
    r->bad |= len > most || len > r->left.len;
    if (r->bad)
        return (struct text){NULL, 0};
    r->left.at += len;
    r->left.len -= len;
    return text;
}

static bool is_good(const struct ask_question *q)
{
    switch (q->kind) {
    case ASK_PRESENCE:
        return q->name.len > 0;
    case ASK_TOPICS:
        return q->limit > 0 && q->limit <= ASK_ROWS_MOST;
    case ASK_DISMISS:
        return q->code >= 1000 && q->code <= 4999 &&
               (q->user.at ? q->user.len > 0 : q->client != 0) &&
               utf8_valid(q->reason.at, q->reason.len) &&
               (q->reason.len == 0 || !memchr(q->reason.at, '\0', q->reason.len));
    }
    return false;
}

static bool read_question(struct reader *r, const struct head *head, struct ask_question *q)
{
    *q = (struct ask_question){
        .kind = (enum ask_kind)head->number, .asker = head->node, .id = head->id};
    take_bytes(r, &q->client, sizeof q->client);
    q->limit = take_number(r);
    uint32_t code = take_number(r);
    q->code = code <= 4999 ? (int)code : 0;
    q->name = take_text(r, ASK_NAME_MOST);
    q->prefix = take_text(r, ASK_NAME_MOST);
    q->after = take_text(r, ASK_NAME_MOST);
    q->pattern = take_text(r, ASK_NAME_MOST);
    q->user = take_text(r, ASK_NAME_MOST);
    q->reason = take_text(r, ASK_REASON_MOST);
    if (!(head->flags & FLAG_USER))
        q->user = (struct text){NULL, 0};
    return !r->bad && head->number <= ASK_DISMISS && head->node != 0 && is_good(q);
}

static bool read_part(struct reader *r, const struct head *head, struct ask_part *p)
{
    *p = (struct ask_part){.node = head->node,
        .id = head->id,
        .part = head->number,
        .more = head->flags & FLAG_MORE,
        .failed = head->flags & FLAG_FAILED};
    p->count = take_number(r);
    p->next = take_text(r, ASK_NAME_MOST);
    p->bytes = take_text(r, ASK_PART_MOST);
    if (!(head->flags & FLAG_NEXT))
        p->next = (struct text){NULL, 0};
    return !r->bad;
}

enum ask_message ask_read(struct text payload, struct ask_question *q, struct ask_part *p)
{
    struct reader r = {.left = payload};
    struct head head;
    take_bytes(&r, &head, sizeof head);
    if (r.bad || head.version != VERSION)
        return ASK_UNKNOWN;
    if (head.message == ASK_QUESTION && read_question(&r, &head, q))
        return ASK_QUESTION;
    if (head.message == ASK_PART && read_part(&r, &head, p))
        return ASK_PART;
    return head.message == ASK_NEWS ? ASK_NEWS : ASK_UNKNOWN;
}
