#include "cluster/resp_in.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/buf.h"

/* The reader moves what it has not read yet to the front after each 1 KiB that it has read: fed 64
 * KiB at once it would move most of them 64 times. */
enum { SLICE = 4096, READER_KEEPS = 256 << 10, KEEP_MOST = 1 << 20, SLOTS_KEPT = 4096 };

#if HIREDIS_MAJOR >= 1
typedef size_t elements_of;
#else
typedef int elements_of;
#endif

struct resp_in {
    redisReader *reader;
    const char *begin; /* what was fed: */
    const char *fed;   /* the reader has it up to here, */
    const char *end;
    /* The answer that is being read. An array's items lie side by side; until it is whole, the
     * first one's place is in `integer`, and a text in `kept` has no address, but its place. */
    struct resp *slots;
    size_t count;
    size_t cap;
    struct buf kept;
    bool nested;
    bool given; /* it was handed out, so the next begins anew */
    const char *fault;
};

/* ---- building, called by the reader ---- */

/* What the reader is given to know a value by: its place, and not NULL. */
static void *handle_of(size_t slot)
{
    return (void *)(uintptr_t)(slot + 1);
}

static size_t slot_of(const void *handle)
{
    return (size_t)(uintptr_t)handle - 1;
}

static bool make_room(struct resp_in *in, size_t more)
{
    if (more > RESP_ITEMS_MOST - in->count) {
        in->fault = "an answer of too many items";
        return false;
    }
    size_t cap = in->cap ? in->cap : 16;
    while (cap - in->count < more)
        cap *= 2;
    if (cap == in->cap)
        return true;
    struct resp *slots = realloc(in->slots, cap * sizeof *slots);
    if (!slots) {
        in->fault = "out of memory";
        return false;
    }
    in->slots = slots;
    in->cap = cap;
    return true;
}

/* The place of a value: the one its array has for it, or the first. */
static struct resp *slot_for(struct resp_in *in, const redisReadTask *task)
{
    if (task->parent)
        return in->slots + in->slots[slot_of(task->parent->obj)].integer + task->idx;
    if (!make_room(in, 1))
        return NULL;
    in->count = 1;
    return in->slots;
}

static void *made(const struct resp_in *in, const struct resp *slot)
{
    return handle_of((size_t)(slot - in->slots));
}

static bool keep(struct resp_in *in, struct resp *slot, const char *at, size_t len)
{
    size_t place = in->kept.len;
    if (len == 0) {
        slot->text = TEXT("");
        return true;
    }
    if (len > RESP_BYTES_MOST - place) {
        in->fault = "an answer of too many bytes";
        return false;
    }
    buf_append(&in->kept, at, len);
    if (in->kept.failed) {
        in->fault = "out of memory";
        return false;
    }
    slot->text = (struct text){NULL, len};
    slot->integer = (int64_t)place;
    return true;
}

static enum resp_kind kind_of(int type)
{
    return type == REDIS_REPLY_STATUS  ? RESP_STATUS
           : type == REDIS_REPLY_ERROR ? RESP_ERROR
                                       : RESP_TEXT;
}

static void *create_string(const redisReadTask *task, char *at, size_t len)
{
    struct resp_in *in = task->privdata;
    struct resp *slot = slot_for(in, task);
    if (!slot)
        return NULL;
    *slot = (struct resp){.kind = kind_of(task->type)};
    /* The reader's buffer ends with what was fed last, so that is how far from its end the same
     * bytes are in what was fed. The reader's own move before anybody has looked at them. */
    size_t back = (size_t)(in->reader->buf + in->reader->len - at);
    if (back <= (size_t)(in->fed - in->begin))
        slot->text = (struct text){in->fed - back, len};
    else if (!keep(in, slot, at, len))
        return NULL;
    return made(in, slot);
}

static void *create_array(const redisReadTask *task, elements_of elements)
{
    struct resp_in *in = task->privdata;
    struct resp *slot = slot_for(in, task);
    if (!slot)
        return NULL;
    size_t place = (size_t)(slot - in->slots);
    if (!make_room(in, (size_t)elements))
        return NULL;
    slot = in->slots + place;
    *slot =
        (struct resp){.kind = RESP_ARRAY, .integer = (int64_t)in->count, .count = (size_t)elements};
    memset(in->slots + in->count, 0, (size_t)elements * sizeof *in->slots);
    in->count += (size_t)elements;
    in->nested |= task->parent != NULL;
    return made(in, slot);
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct resp_in *in = task->privdata;
    struct resp *slot = slot_for(in, task);
    if (!slot)
        return NULL;
    *slot = (struct resp){.kind = RESP_INTEGER, .integer = value};
    return made(in, slot);
}

static void *create_nil(const redisReadTask *task)
{
    struct resp_in *in = task->privdata;
    struct resp *slot = slot_for(in, task);
    if (!slot)
        return NULL;
    *slot = (struct resp){.kind = RESP_NIL};
    return made(in, slot);
}

#if HIREDIS_MAJOR >= 1
/* Neither comes in the version of the protocol that is asked for. */
static void *create_double(const redisReadTask *task, double value, char *at, size_t len)
{
    struct resp_in *in = task->privdata;
    struct resp *slot = slot_for(in, task);
    (void)value;
    if (!slot)
        return NULL;
    *slot = (struct resp){.kind = RESP_TEXT};
    return keep(in, slot, at, len) ? made(in, slot) : NULL;
}

static void *create_bool(const redisReadTask *task, int value)
{
    return create_integer(task, value);
}
#endif

static void free_object(void *object)
{
    (void)object;
}

/* ---- what is half there ---- */

/* The bytes that were fed go: texts of an answer that has not wholly come are copied out. */
static bool keep_texts(struct resp_in *in)
{
    for (size_t i = 0; i < in->count; i++) {
        struct resp *slot = in->slots + i;
        if (slot->text.at && !keep(in, slot, slot->text.at, slot->text.len))
            return false;
    }
    return true;
}

static void settle(struct resp_in *in, struct resp *slot)
{
    bool text = slot->kind == RESP_TEXT || slot->kind == RESP_STATUS || slot->kind == RESP_ERROR;
    if (slot->kind == RESP_ARRAY)
        slot->items = in->slots + slot->integer;
    else if (text && !slot->text.at)
        slot->text.at = in->kept.data + slot->integer;
    if (slot->kind != RESP_INTEGER)
        slot->integer = 0;
}

static void begin(struct resp_in *in)
{
    if (in->kept.cap > KEEP_MOST)
        buf_fini(&in->kept);
    buf_clear(&in->kept);
    if (in->cap > SLOTS_KEPT) {
        struct resp *fewer = realloc(in->slots, SLOTS_KEPT * sizeof *fewer);
        in->slots = fewer ? fewer : in->slots;
        in->cap = fewer ? SLOTS_KEPT : in->cap;
    }
    in->count = 0;
    in->given = in->nested = false;
}

/* ---- the reader ---- */

struct resp_in *resp_in_new(void)
{
    static redisReplyObjectFunctions functions = {
        .createString = create_string,
        .createArray = create_array,
        .createInteger = create_integer,
        .createNil = create_nil,
#if HIREDIS_MAJOR >= 1
        .createDouble = create_double,
        .createBool = create_bool,
#endif
        .freeObject = free_object,
    };
    struct resp_in *in = calloc(1, sizeof *in);
    if (!in)
        return NULL;
    in->reader = redisReaderCreateWithFunctions(&functions);
    if (!in->reader) {
        free(in);
        return NULL;
    }
    in->reader->privdata = in;
    in->reader->maxbuf = READER_KEEPS;
    return in;
}

void resp_in_free(struct resp_in *in)
{
    if (!in)
        return;
    redisReaderFree(in->reader);
    free(in->slots);
    buf_fini(&in->kept);
    free(in);
}

void resp_in_feed(struct resp_in *in, const char *bytes, size_t len)
{
    in->begin = in->fed = bytes;
    in->end = bytes + len;
}

static enum resp_result bad(struct resp_in *in)
{
    if (!in->fault)
        in->fault = in->reader->err ? in->reader->errstr : "an answer of too many bytes";
    return RESP_BAD;
}

enum resp_result resp_in_next(struct resp_in *in, const struct resp **answer)
{
    void *whole = NULL;
    if (in->given)
        begin(in);
    if (in->fault)
        return RESP_BAD;
    for (;;) {
        if (redisReaderGetReply(in->reader, &whole) != REDIS_OK)
            return bad(in);
        if (whole)
            break;
        size_t left = (size_t)(in->end - in->fed);
        if (left == 0) {
            if (!keep_texts(in))
                return RESP_BAD;
            in->begin = in->fed = in->end = NULL;
            return RESP_MORE;
        }
        size_t len = left < SLICE ? left : SLICE;
        if (in->reader->len > RESP_BYTES_MOST ||
            redisReaderFeed(in->reader, in->fed, len) != REDIS_OK)
            return bad(in);
        in->fed += len;
    }
    /* Of those that came at once most are an array of texts, or no array. */
    size_t open = in->nested || in->kept.len > 0 ? in->count : 1;
    for (size_t i = 0; i < open; i++)
        settle(in, in->slots + i);
    in->given = true;
    *answer = in->slots;
    return RESP_DONE;
}

const char *resp_in_fault(const struct resp_in *in)
{
    return in->fault ? in->fault : "";
}
