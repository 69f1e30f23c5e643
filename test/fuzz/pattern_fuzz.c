/* Patterns that come and go, against asking each of them: lines of commands, `+` and a pattern
 * joins, `-` and a pattern leaves, anything else is a topic that is matched. Patterns and topics
 * are taken as they come, good or not; which of them are good is checked against the rules as
 * PROTOCOL.md has them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "broker/patterns.h"
#include "broker/topic_name.h"

enum { JOINED_MAX = 64, WORKERS = 70 };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

struct joined {
    struct pattern *pattern;
    char *text; /* a copy of its own, so that reading past it shows */
    size_t len;
    unsigned worker;
};

struct scene {
    struct patterns patterns;
    struct joined joined[JOINED_MAX]; /* oldest first */
    size_t count;
};

static struct text text_of_joined(const struct joined *j)
{
    return (struct text){j->text, j->len};
}

/* Asks byte by byte whether the wildcards stand where they may. */
static bool wildcards_are_right(struct text t)
{
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] != '*' && t.at[i] != '>')
            continue;
        if ((i > 0 && t.at[i - 1] != ':') || (i + 1 < t.len && t.at[i + 1] != ':'))
            return false;
        if (t.at[i] == '>' && i + 1 < t.len)
            return false;
    }
    return true;
}

static bool is_good(struct text text)
{
    bool good = !pattern_fault(text, 0);
    CHECK(good == (!topic_name_fault(text, 0) && wildcards_are_right(text)));
    CHECK(!good || (pattern_fault(text, text.len) == NULL &&
                       (text.len == 1 || pattern_fault(text, text.len - 1) != NULL)));
    return good;
}

static struct joined *find(struct scene *s, struct text text)
{
    for (size_t i = 0; i < s->count; i++)
        if (text_equal(text_of_joined(&s->joined[i]), text))
            return &s->joined[i];
    return NULL;
}

static void join(struct scene *s, struct text text)
{
    struct patterns *p = &s->patterns;
    unsigned worker = (unsigned)(text.len % WORKERS);
    struct joined *there = find(s, text);
    if (there) { /* another subscriber, who goes at once */
        CHECK(patterns_join(p, 1, text, worker, false) == there->pattern);
        patterns_leave(p, there->pattern, worker, false, false);
        return;
    }
    if (s->count == JOINED_MAX)
        return;
    uint64_t generation = patterns_generation(p);
    struct joined *new = &s->joined[s->count++];
    *new = (struct joined){
        patterns_join(p, 1, text, worker, false), malloc(text.len), text.len, worker};
    CHECK(new->pattern &&new->text);
    memcpy(new->text, text.at, text.len);
    CHECK(patterns_generation(p) != generation);
    CHECK(text_equal(pattern_text(p, new->pattern), text));
}

static void leave(struct scene *s, struct joined *gone)
{
    struct joined *end = s->joined + s->count--;
    patterns_leave(&s->patterns, gone->pattern, gone->worker, true, false);
    free(gone->text);
    memmove(gone, gone + 1, (size_t)(end - gone - 1) * sizeof *gone);
}

static void match(struct scene *s, struct text topic)
{
    struct match_set *set;
    uint64_t generation;
    uint32_t at = 0;
    uint64_t workers[(WORKERS + 63) / 64] = {0};
    CHECK(patterns_match(&s->patterns, topic, &set, &generation));
    CHECK(generation == patterns_generation(&s->patterns));
    for (size_t i = 0; i < s->count; i++) {
        const struct joined *j = &s->joined[i];
        if (!pattern_matches(text_of_joined(j), topic))
            continue;
        CHECK(set && at < set->count && set->patterns[at] == j->pattern);
        workers[j->worker / 64] |= UINT64_C(1) << (j->worker % 64);
        at++;
    }
    CHECK(at == (set ? set->count : 0));
    CHECK(!set ||
          (text_equal(set->topic, topic) && memcmp(set->workers, workers, sizeof workers) == 0));
    match_set_drop(set);
}

static void obey(struct scene *s, struct text line)
{
    bool joins = line.len > 0 && *line.at == '+';
    bool leaves = line.len > 0 && *line.at == '-';
    char *copy = malloc(line.len ? line.len : 1);
    CHECK(copy);
    memcpy(copy, line.at, line.len);
    struct text text = {copy, line.len};
    if (joins || leaves)
        text = (struct text){copy + 1, line.len - 1};
    bool good = is_good(text);
    if (joins && good)
        join(s, text);
    else if (leaves && find(s, text))
        leave(s, find(s, text));
    else if (text.len > 0)
        match(s, text);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scene s = {.count = 0};
    patterns_init(&s.patterns, WORKERS);
    for (const char *at = (const char *)data, *end = at + size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        obey(&s, (struct text){at, (size_t)(stop - at)});
        at = stop + 1;
    }
    while (s.count > 0)
        leave(&s, &s.joined[s.count / 2]);
    CHECK(!patterns_used(&s.patterns));
    patterns_fini(&s.patterns);
    return 0;
}
