/* Between the halves of command_decode: the fields of a command as they were scanned, and what they
 * mean at level 2 (level 1 is in command.c). */
#ifndef HERMES_PROTO_COMMAND_FIELDS_H
#define HERMES_PROTO_COMMAND_FIELDS_H

#include "base/word.h"
#include "proto/command.h"
#include "proto/json.h"

enum field {
    FIELD_TYPE,
    FIELD_TOPIC,
    FIELD_DATA,
    FIELD_PREFIX,
    FIELD_AFTER,
    FIELD_LIMIT,
    /* Unknown at level 1. */
    FIELD_ID,
    FIELD_ECHO,
    FIELD_TOPICS,
    FIELD_PATTERN,
    FIELD_SINCE,
    FIELD_REPLAY,
    FIELD_POLICY,
    FIELD_PRESENCE,
    FIELD_TOKEN,
    FIELD_UNKNOWN,
    FIELDS,
    FIELDS_1 = FIELD_ID,
};

/* The raw spans of the fields; one that is absent has length 0. */
struct fields {
    struct text at[FIELDS];
    bool plain_topic; /* a string without escapes */
};

/* The longest word of the protocol ("unsubscribe"), and what it takes as JSON when every character
 * is escaped as \uXXXX. */
enum { WORD_MAX = 11, WORD_RAW_MAX = 6 * WORD_MAX + 2 };

/* `literal` has at most 16 bytes. By whole words of memory, as compilers do it with memcmp only
 * where they think it worthwhile. */
static inline __attribute__((always_inline)) bool is_word(
    struct text word, const char *literal, size_t len)
{
    if (word.len != len)
        return false;
    if (len <= 8)
        return word_load_part(word.at, len) == word_load_part(literal, len);
    return word_load(word.at) == word_load(literal) &&
           word_load(word.at + len - 8) == word_load(literal + len - 8);
}

#define IS(word, literal) is_word(word, literal, sizeof(literal) - 1)

/* Of a scanned string. */
static inline struct text unquoted(struct text raw)
{
    return (struct text){raw.at + 1, raw.len - 2};
}

/* Decodes a short string with escapes without touching the frame, into `copy`. False when there are
 * none, when it is too long to be a word of the protocol, or when it holds a lone surrogate. */
static inline bool unescape(struct text raw, char copy[WORD_RAW_MAX], struct text *word)
{
    if (raw.len > WORD_RAW_MAX || !memchr(raw.at, '\\', raw.len))
        return false;
    memcpy(copy, raw.at, raw.len);
    return json_string_decode(copy, raw.len, word);
}

/* An integer from `least` to `most`, where 0 <= least <= most <= INT64_MAX. */
bool command_integer(struct text raw, uint64_t least, uint64_t most, uint64_t *number);

/* The fields of `topics`; false, and c->fault, when one of them is wrong. `frame` is the text that
 * the fields point into, writable. */
bool command_topics(struct command *c, const struct fields *f, char *frame);

/* The kind of a command of level 2 whose fields are all there. `kind` is what its type asks for:
 * COMMAND_MALFORMED when that is nothing known, COMMAND_PUBLISH when there is none. */
enum command_kind command_level2(
    struct command *c, const struct fields *f, enum command_kind kind, char *frame);

#endif
