/* Pages of topics, of several brokers, as one.
 *
 * Ownership: a page's rows are its own, names stay with whoever the page was made of.
 * Threads: any. */
#ifndef HERMES_BROKER_TOPIC_PAGE_H
#define HERMES_BROKER_TOPIC_PAGE_H

#include "base/buf.h"
#include "broker/topic_list.h"

struct topic_page {
    struct topic_row *rows; /* in name order, each name once */
    size_t count;
    struct text next; /* behind that not all rows are here; `at` NULL: all are */
};

/* Appends a row as errands carry them: struct ask_row, the name behind it. */
void topic_page_write(struct buf *out, struct text name, uint32_t subscribers);

/* Rows that were written so, by whomever: PAGE_BAD where they are cut, out of order, or no names of
 * topics. */
enum topic_page_result { PAGE_READ, PAGE_BAD, PAGE_NO_MEMORY };
enum topic_page_result topic_page_read(struct topic_page *page, struct text bytes);

/* Up to `limit` rows (1 or more), one a name with all its subscribers, as far as every page goes.
 * False when there is no memory. */
bool topic_page_join(
    struct topic_page *joined, const struct topic_page *pages, size_t count, size_t limit);

void topic_page_fini(struct topic_page *page);

#endif
