/* Asking Redis where topics are, many in one question. */
#include <stdlib.h>

#include "cluster/followed.h"
#include "cluster/scripts.h"

/* KEYS: topics in one question; QUESTIONS: at once of one server, for each topic in them may have
 * its channel confirmed once more. */
enum { KEYS = 64, QUESTIONS = 32 };

struct question {
    struct shard *shard;
    unsigned round;
    unsigned count;
    struct followed *topics[KEYS];
};

enum { ANSWERS = 3 }; /* for each topic */

static bool read_position(const struct resp *items, uint64_t *epoch, uint64_t *offset)
{
    const struct text *digits = &items[1].text;
    if (items[0].kind != RESP_TEXT || items[1].kind != RESP_TEXT || items[2].kind != RESP_TEXT ||
        !hex_read(items[0].text, epoch) || *epoch == 0 || digits->len == 0 || digits->len > 18)
        return false;
    *offset = 0;
    for (size_t i = 0; i < digits->len; i++) {
        if (digits->at[i] < '0' || digits->at[i] > '9')
            return false;
        *offset = *offset * 10 + (uint64_t)(digits->at[i] - '0');
    }
    return true;
}

/* Redis does not tell of one topic, as when it has no memory for it: whoever wants it is told; and
 * where it is live already, it is asked for again with the next look at it. */
static void refused(struct question *q, struct text reason)
{
    struct shard *s = q->shard;
    if (q->count > 1) { /* each by itself, to find which it is */
        s->singly += q->count;
        for (unsigned i = 0; i < q->count; i++)
            followed_ask(q->topics[i]);
        return;
    }
    struct followed *f = q->topics[0];
    LOG_LIMITED(s->cluster->settings.logger, LIMIT_CLUSTER, LOG_WARN,
        "redis refused to tell a position", LOG_TEXT("topic", followed_name(f)),
        LOG_TEXT("reason", reason));
    if (f->live) {
        f->refused = true;
    } else {
        followed_give_up(f);
    }
}

static void positions_came(const struct resp *answer, void *user)
{
    struct question *q = user;
    struct shard *s = q->shard;
    bool good = answer && answer->kind == RESP_ARRAY && answer->count == ANSWERS * q->count;
    s->questions--;
    if (q->round == s->round && redis_link_is_up(s->subscriber) && answer &&
        answer->kind == RESP_ERROR) {
        refused(q, answer->text);
    } else if (q->round == s->round && redis_link_is_up(s->subscriber) && answer && !good) {
        redis_link_break(s->subscriber, "it does not tell where topics are");
    } else if (q->round == s->round && redis_link_is_up(s->subscriber) && good) {
        for (unsigned i = 0; i < q->count; i++) {
            const struct resp *items = answer->items + (size_t)ANSWERS * i;
            uint64_t epoch;
            uint64_t offset;
            if (!read_position(items, &epoch, &offset)) {
                redis_link_break(s->subscriber, "a position is not understood");
                break;
            }
            followed_positioned(q->topics[i], epoch, offset, items[2].text);
        }
    } else if (q->round == s->round && redis_link_is_up(s->subscriber)) {
        /* The other link broke: they are asked for again when it is back. */
        for (unsigned i = 0; i < q->count; i++)
            followed_ask(q->topics[i]);
    }
    free(q);
}

void positions_ask(struct shard *s)
{
    struct redis_link *l = s->commands;
    while (!list_empty(&s->asking) && redis_link_is_up(l) && !redis_link_full(l) &&
           !redis_link_full(s->subscriber) && s->questions < QUESTIONS) {
        struct question *q = malloc(sizeof *q);
        if (!q)
            return; /* the next turn may have more luck */
        *q = (struct question){.shard = s, .round = s->round};
        unsigned most = s->singly > 0 ? 1 : KEYS;
        s->singly -= s->singly > 0;
        while (q->count < most && !list_empty(&s->asking)) {
            struct followed *f = LIST_ITEM(s->asking.next, struct followed, queue);
            list_remove(&f->queue);
            q->topics[q->count++] = f;
        }
        redis_begin(l, 3 + q->count + 1 + q->count);
        redis_arg(l, TEXT("EVALSHA"));
        redis_arg(l, redis_script(l, SCRIPT_POSITIONS));
        redis_arg_number(l, q->count);
        for (unsigned i = 0; i < q->count; i++)
            cluster_arg(l, TEXT("hermes:t:"), followed_name(q->topics[i]));
        redis_arg(l, TEXT(IDLE_MS));
        for (unsigned i = 0; i < q->count; i++) {
            struct epoch_argument epoch = cluster_epoch(s);
            redis_arg(l, epoch_argument_text(&epoch));
        }
        if (!redis_send(l, positions_came, q)) {
            for (unsigned i = 0; i < q->count; i++)
                followed_ask(q->topics[i]);
            free(q);
            return;
        }
        s->questions++;
    }
}
