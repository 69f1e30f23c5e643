/* What comes in the channels of other brokers: it is understood within its bounds, and what is
 * understood is written as the same again; rows of topics are in order or bad. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/topic_page.h"
#include "cluster/ask_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void must_lie_in(struct text text, struct text all)
{
    must(text.len == 0 || (text.at >= all.at && text.at + text.len <= all.at + all.len));
}

static void look_at_question(const struct ask_question *q, struct text all)
{
    struct buf out = {0};
    struct ask_question again;
    struct ask_part part;
    const struct text texts[] = {q->name, q->prefix, q->after, q->pattern, q->user, q->reason};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        must_lie_in(texts[i], all);
    must(q->asker != 0 && q->reason.len <= ASK_REASON_MOST);
    ask_question_write(&out, q);
    must(ask_read(buf_text(&out), &again, &part) == ASK_QUESTION);
    must(again.kind == q->kind && again.id == q->id && again.client == q->client &&
         again.code == q->code && again.limit == q->limit && !again.user.at == !q->user.at &&
         text_equal(again.name, q->name) && text_equal(again.user, q->user) &&
         text_equal(again.after, q->after) && text_equal(again.reason, q->reason));
    buf_fini(&out);
}

static void look_at_rows(struct text bytes)
{
    struct topic_page page, joined;
    if (topic_page_read(&page, bytes) != PAGE_READ)
        return;
    for (size_t i = 0; i < page.count; i++) {
        must_lie_in(page.rows[i].name, bytes);
        must(i == 0 || text_compare(page.rows[i - 1].name, page.rows[i].name) < 0);
    }
    struct topic_page pages[] = {page, page};
    must(topic_page_join(&joined, pages, 2, page.count + 1));
    must(joined.count == page.count && !joined.next.at);
    topic_page_fini(&joined);
    topic_page_fini(&page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ask_question question;
    struct ask_part part;
    char *copy = malloc(size ? size : 1);
    must(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    struct text all = {copy, size};
    switch (ask_read(all, &question, &part)) {
    case ASK_QUESTION:
        look_at_question(&question, all);
        break;
    case ASK_PART:
        must_lie_in(part.next, all);
        must_lie_in(part.bytes, all);
        look_at_rows(part.bytes);
        break;
    case ASK_NEWS:
    case ASK_UNKNOWN:
        break;
    }
    look_at_rows(all);
    free(copy);
    return 0;
}
