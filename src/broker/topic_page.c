#include "broker/topic_page.h"

#include <stdlib.h>
#include <string.h>

#include "broker/backplane.h"
#include "broker/topic_name.h"

void topic_page_write(struct buf *out, struct text name, uint32_t subscribers)
{
    struct ask_row row = {subscribers, (uint32_t)name.len};
    buf_append(out, &row, sizeof row);
    buf_append_text(out, name);
}

/* Takes one off `bytes`. */
static bool read_row(struct text *bytes, struct topic_row *row)
{
    struct ask_row head;
    if (bytes->len < sizeof head)
        return false;
    memcpy(&head, bytes->at, sizeof head);
    if (head.name_len > bytes->len - sizeof head)
        return false;
    *row = (struct topic_row){
        .name = {bytes->at + sizeof head, head.name_len}, .subscribers = head.subscribers};
    bytes->at += sizeof head + head.name_len;
    bytes->len -= sizeof head + head.name_len;
    return true;
}

/* How many there are; SIZE_MAX: they are not what they should be. */
static size_t count_rows(struct text bytes)
{
    struct topic_row row, before = {.name = {NULL, 0}};
    size_t count = 0;
    for (; bytes.len > 0; count++, before = row)
        if (!read_row(&bytes, &row) || topic_name_fault(row.name, 0) ||
            text_compare(before.name, row.name) >= 0)
            return SIZE_MAX;
    return count;
}

enum topic_page_result topic_page_read(struct topic_page *page, struct text bytes)
{
    size_t count = count_rows(bytes);
    *page = (struct topic_page){.count = 0};
    if (count == SIZE_MAX)
        return PAGE_BAD;
    if (count == 0)
        return PAGE_READ;
    page->rows = malloc(count * sizeof *page->rows);
    if (!page->rows)
        return PAGE_NO_MEMORY;
    while (page->count < count)
        read_row(&bytes, &page->rows[page->count++]);
    return PAGE_READ;
}

/* --- joining ---------------------------------------------------------------------------------- */

struct join {
    const struct topic_page *pages;
    size_t *at; /* of each page, the next row */
    size_t count;
    struct text end; /* no page is sure of what is behind it; `at` NULL: all are */
};

/* The first name that is left, or none. */
static struct text first_left(const struct join *j)
{
    struct text first = {NULL, 0};
    for (size_t i = 0; i < j->count; i++) {
        if (j->at[i] == j->pages[i].count)
            continue;
        struct text name = j->pages[i].rows[j->at[i]].name;
        if (!first.at || text_compare(name, first) < 0)
            first = name;
    }
    return !first.at || !j->end.at || text_compare(first, j->end) <= 0 ? first
                                                                       : (struct text){NULL, 0};
}

static void take_row(struct join *j, struct text name, struct topic_row *row)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < j->count; i++) {
        const struct topic_page *page = &j->pages[i];
        if (j->at[i] < page->count && text_equal(page->rows[j->at[i]].name, name))
            sum += page->rows[j->at[i]++].subscribers;
    }
    *row = (struct topic_row){
        .name = name, .subscribers = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX};
}

bool topic_page_join(
    struct topic_page *joined, const struct topic_page *pages, size_t count, size_t limit)
{
    struct join j = {.pages = pages, .at = calloc(count, sizeof *j.at), .count = count};
    *joined = (struct topic_page){.rows = malloc(limit * sizeof *joined->rows)};
    if (!j.at || !joined->rows) {
        free(j.at);
        topic_page_fini(joined);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (pages[i].next.at && (!j.end.at || text_compare(pages[i].next, j.end) < 0))
            j.end = pages[i].next;
    struct text name;
    while ((name = first_left(&j)).at && joined->count < limit)
        take_row(&j, name, &joined->rows[joined->count++]);
    joined->next = name.at ? joined->rows[limit - 1].name : j.end;
    free(j.at);
    return true;
}

void topic_page_fini(struct topic_page *page)
{
    free(page->rows);
    *page = (struct topic_page){.count = 0};
}
