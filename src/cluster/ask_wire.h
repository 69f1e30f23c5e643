/* What brokers ask each other and answer, as bytes: all lengths are looked at when they are read,
 * for anything may stand in a channel.
 *
 * A message begins with the version, as a number of this machine's byte order: what comes from a
 * broker of another version, or another order, is not understood and waited for in vain.
 * Memory: texts that were read point into what they were read from. */
#ifndef HERMES_CLUSTER_ASK_WIRE_H
#define HERMES_CLUSTER_ASK_WIRE_H

#include "base/buf.h"
#include "broker/backplane.h"

/* Where all brokers listen, and where one does, with its id behind. */
#define ASK_CHANNEL_ALL "hermes:c:all"
#define ASK_CHANNEL_NODE "hermes:c:"

enum {
    ASK_ROWS_MOST = 1000, /* of a page of topics */
    ASK_REASON_MOST = 123,
    ASK_NAME_MOST = 65536, /* of any other text */
    ASK_PART_MOST = 256 * 1024,
};

struct ask_question {
    enum ask_kind kind;
    uint64_t asker; /* the node */
    uint64_t id;    /* of that one's */
    struct text name;
    struct text prefix, after, pattern;
    uint32_t limit;   /* 1 to ASK_ROWS_MOST where topics are asked for */
    struct text user; /* `at` NULL: by `client` */
    uint64_t client;
    int code;
    struct text reason; /* UTF-8 of at most ASK_REASON_MOST bytes without a zero */
};

/* One part of an answer: they come in order, all but the last one with `more`. */
struct ask_part {
    uint64_t node; /* whose answer it is */
    uint64_t id;   /* of the question */
    uint32_t part; /* from 0 on */
    bool more;
    bool failed;       /* that node cannot answer */
    uint32_t count;    /* of the last part: connections told to close */
    struct text next;  /* of the last part: as errand.next; `at` NULL: none */
    struct text bytes; /* of errand.found, at most ASK_PART_MOST; may be cut anywhere */
};

void ask_question_write(struct buf *out, const struct ask_question *q);
void ask_part_write(struct buf *out, const struct ask_part *p);
void ask_news_write(struct buf *out, uint64_t node);

enum ask_message {
    ASK_QUESTION,
    ASK_PART,
    ASK_NEWS, /* somebody came or went: it is time to look who is there */
    ASK_UNKNOWN
};
enum ask_message ask_read(struct text payload, struct ask_question *q, struct ask_part *p);

#endif
