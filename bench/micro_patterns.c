/* The index of patterns: what a hundred thousand patterns cost to join, to keep and to leave, and
 * what a million topics cost to match against them; beside it what finding one of as many names in
 * a table costs in the same run (map_find, hashing the name included). And what somebody can make
 * of it who has 8,192 patterns and means harm.
 *
 * Each operation is timed by itself, on topics and patterns in random order; what reading the clock
 * costs is printed and not subtracted. One thread: nothing waits for the lock. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/die.h"
#include "base/map.h"
#include "broker/patterns.h"

enum { ROOM = 44, SITES = 100, KINDS = 10, HOSTILE_BITS = 13, HOSTILE_SEGMENTS = 500 };

struct name {
    uint32_t len;
    char at[ROOM];
};

struct bench {
    struct patterns patterns;
    struct hash_key key;
    struct map table; /* all topics */
    size_t count;     /* of patterns */
    size_t topics;
    struct name *texts; /* of the patterns */
    struct pattern **joined;
    struct name *names; /* of the topics */
    struct name *other; /* which few patterns match */
    uint32_t *order;
    uint32_t *ns;
    uint64_t matches;
    double find; /* mean ns of map_find; 0: not known yet */
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct text text_of_name(const struct name *name)
{
    return (struct text){name->at, name->len};
}

static uint64_t hash_of(const struct bench *b, const struct name *name)
{
    return hash_bytes(b->key, name->at, name->len);
}

static bool is_name(const void *item, const void *wanted)
{
    return text_equal(text_of_name(item), text_of_name(wanted));
}

/* --- what there is ---------------------------------------------------------------------------- */

/* A hundred sites, devices in them, each with ten kinds of news; from 1,000 patterns on every
 * device has a pattern of its own. */
static void make_topic(struct name *name, const char *first, size_t device, size_t kind)
{
    name->len = (uint32_t)snprintf(
        name->at, ROOM, "%s:%zu:device:%zu:k%zu", first, device % SITES, device, kind);
}

static void make_pattern(struct name *name, size_t i)
{
    size_t site = i % SITES;
    char *to = name->at;
    int len = 0;
    if (i < SITES) {
        len = snprintf(to, ROOM, "site:%zu:>", site);
    } else if (i < SITES + KINDS) {
        len = snprintf(to, ROOM, "*:*:*:*:k%zu", i - SITES);
    } else {
        switch (i % 10) {
        case 0:
        case 1:
            make_topic(name, "site", i, i / 10 % KINDS);
            return;
        case 2:
        case 3:
        case 4:
            len = snprintf(to, ROOM, "site:%zu:device:%zu:*", site, i);
            break;
        case 5:
        case 6:
            len = snprintf(to, ROOM, "site:*:device:%zu:k%zu", i, i / 10 % KINDS);
            break;
        case 7:
            len = snprintf(to, ROOM, "*:%zu:*:%zu:*", site, i);
            break;
        default:
            len = snprintf(to, ROOM, "site:%zu:device:%zu:>", site, i);
        }
    }
    name->len = (uint32_t)len;
}

/* --- the operations: each does its work for number i and returns the nanoseconds it took ------ */

static uint64_t nothing(struct bench *b, uint32_t i)
{
    (void)b;
    (void)i;
    uint64_t begin = now_ns();
    return now_ns() - begin;
}

static uint64_t find(struct bench *b, uint32_t i)
{
    uint64_t begin = now_ns();
    void *item = map_find(&b->table, hash_of(b, &b->names[i]), is_name, &b->names[i]);
    uint64_t end = now_ns();
    MUST(item == &b->names[i]);
    return end - begin;
}

static uint64_t join(struct bench *b, uint32_t i)
{
    uint64_t begin = now_ns();
    uint64_t hash = hash_of(b, &b->texts[i]);
    b->joined[i] = patterns_join(&b->patterns, hash, text_of_name(&b->texts[i]), 0, false);
    uint64_t end = now_ns();
    MUST(b->joined[i]);
    return end - begin;
}

static uint64_t leave(struct bench *b, uint32_t i)
{
    uint64_t begin = now_ns();
    patterns_leave(&b->patterns, b->joined[i], 0, true, false);
    return now_ns() - begin;
}

static uint64_t match_text(struct bench *b, struct text topic)
{
    struct match_set *set;
    uint64_t generation;
    uint64_t begin = now_ns();
    bool fine = patterns_match(&b->patterns, topic, &set, &generation);
    uint64_t end = now_ns();
    MUST(fine);
    b->matches += set ? set->count : 0;
    uint64_t begin_drop = now_ns();
    match_set_drop(set);
    return end - begin + now_ns() - begin_drop;
}

static uint64_t match(struct bench *b, uint32_t i)
{
    return match_text(b, text_of_name(&b->names[i]));
}

static uint64_t match_other(struct bench *b, uint32_t i)
{
    return match_text(b, text_of_name(&b->other[i]));
}

/* --- measuring -------------------------------------------------------------------------------- */

static void shuffle(struct bench *b, size_t count)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < count; i++)
        b->order[i] = (uint32_t)i;
    for (size_t i = count; i > 1; i--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        size_t j = state % i;
        uint32_t swap = b->order[i - 1];
        b->order[i - 1] = b->order[j];
        b->order[j] = swap;
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The mean. */
static double measure(struct bench *b, const char *what, size_t count,
    uint64_t (*operation)(struct bench *, uint32_t))
{
    uint64_t sum = 0;
    shuffle(b, count);
    b->matches = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t ns = operation(b, b->order[i]);
        b->ns[i] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
        sum += ns;
    }
    double mean = (double)sum / (double)count;
    qsort(b->ns, count, sizeof b->ns[0], by_size);
    printf("%-20s %8.0f %8u %8u %9u %10u", what, mean, b->ns[count / 2],
        b->ns[count - 1 - count / 100], b->ns[count - 1 - count / 10000], b->ns[count - 1]);
    if (b->find > 0)
        printf(" %7.1f", mean / b->find);
    if (operation == match || operation == match_other)
        printf(" %8.2f", (double)b->matches / (double)count);
    putchar('\n');
    return mean;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* What a publish pays that need not match: nobody uses patterns, or none came or went. */
static void measure_unused(struct bench *b)
{
    enum { TIMES = 100000000 };
    uint64_t used = 0;
    uint64_t begin = now_ns();
    for (size_t i = 0; i < TIMES; i++)
        used += patterns_used(&b->patterns);
    uint64_t middle = now_ns();
    for (size_t i = 0; i < TIMES; i++)
        used += patterns_generation(&b->patterns) == i;
    uint64_t end = now_ns();
    MUST(used <= 1);
    printf("a publish while nobody uses patterns pays %.2f ns, while none came or went %.2f\n",
        (double)(middle - begin) / TIMES, (double)(end - begin) / TIMES);
}

/* --- harm ------------------------------------------------------------------------------------- */

/* All mixtures of letters and stars, each behind all others, and a tail of stars. */
static struct text make_hostile(char *out, unsigned n, char last)
{
    size_t len = 0;
    for (unsigned i = 0; i < HOSTILE_SEGMENTS; i++) {
        out[len++] = i < HOSTILE_BITS && n >> i & 1 ? 'a' : '*';
        out[len++] = ':';
    }
    out[len++] = last;
    return (struct text){out, len};
}

static void measure_harm(struct bench *b, const char *what, char last)
{
    enum { PATTERNS = 1 << HOSTILE_BITS, TIMES = 20 };
    static struct pattern *joined[PATTERNS];
    char text[2 * HOSTILE_SEGMENTS + 8];
    uint64_t worst = 0, mild = 0;
    size_t before = heap_bytes();
    for (unsigned n = 0; n < PATTERNS; n++) {
        joined[n] = patterns_join(&b->patterns, n, make_hostile(text, n, last), 0, false);
        MUST(joined[n]);
    }
    double each = (double)(heap_bytes() - before) / PATTERNS;
    memset(text, 'a', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = ':';
    b->matches = 0;
    for (int i = 0; i < TIMES; i++)
        worst += match_text(b, (struct text){text, 2 * HOSTILE_SEGMENTS + 1});
    for (int i = 0; i < TIMES; i++)
        mild += match_text(b, TEXT("a:a:a"));
    printf("%-28s %5.0f µs a topic of %d segments, %llu matches; %.2f one of 3; %.0f bytes each\n",
        what, (double)worst / TIMES / 1000, HOSTILE_SEGMENTS + 1,
        (unsigned long long)(b->matches / TIMES), (double)mild / TIMES / 1000, each);
    for (unsigned n = 0; n < PATTERNS; n++)
        patterns_leave(&b->patterns, joined[n], 0, true, false);
}

/* ---------------------------------------------------------------------------------------------- */

static void make_all(struct bench *b)
{
    b->texts = calloc(b->count, sizeof b->texts[0]);
    b->joined = calloc(b->count, sizeof b->joined[0]);
    b->names = calloc(b->topics, sizeof b->names[0]);
    b->other = calloc(b->topics, sizeof b->other[0]);
    b->order = calloc(b->topics, sizeof b->order[0]);
    b->ns = calloc(b->topics, sizeof b->ns[0]);
    MUST(b->texts && b->joined && b->names && b->other && b->order && b->ns);
    b->key = hash_key_random();
    for (size_t i = 0; i < b->count; i++)
        make_pattern(&b->texts[i], i);
    for (size_t i = 0; i < b->topics; i++) {
        make_topic(&b->names[i], "site", i / KINDS, i % KINDS);
        make_topic(&b->other[i], "else", i / KINDS, 99);
        MUST(map_add(&b->table, hash_of(b, &b->names[i]), &b->names[i]));
    }
    patterns_init(&b->patterns, 1);
}

static void free_all(struct bench *b)
{
    patterns_fini(&b->patterns);
    map_fini(&b->table);
    free(b->texts);
    free(b->joined);
    free(b->names);
    free(b->other);
    free(b->order);
    free(b->ns);
}

int main(int argc, char **argv)
{
    static struct bench b;
    b.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    b.topics = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
    if (b.count < 1000 || b.topics < b.count || b.topics > 100000000) {
        fputs("usage: micro_patterns [patterns, 1000 or more; 100000] [topics, as many or more; "
              "1000000]\n",
            stderr);
        return 2;
    }
    make_all(&b);
    measure_unused(&b);
    printf("\n%zu patterns, %zu topics of 5 segments; ns per operation\n\n", b.count, b.topics);
    printf("%-20s %8s %8s %8s %9s %10s %7s %8s\n", "", "mean", "median", "99%", "99.99%", "worst",
        "x find", "matches");
    measure(&b, "the clock", b.topics, nothing);
    b.find = measure(&b, "find a name", b.topics, find);
    size_t before = heap_bytes();
    measure(&b, "join", b.count, join);
    size_t after = heap_bytes();
    measure(&b, "match", b.topics, match);
    measure(&b, "match, other names", b.topics, match_other);
    measure(&b, "leave", b.count, leave);
    printf("\n%.0f bytes of heap per pattern; %.0f left per pattern when all are gone\n\n",
        (double)(after - before) / (double)b.count,
        ((double)heap_bytes() - (double)before) / (double)b.count);
    puts("harm: 8192 patterns, all mixtures of `a` and `*` in 13 segments, 487 `*` behind, then");
    measure_harm(&b, "what does not match:", 'z');
    measure_harm(&b, "what does:", '*');
    free_all(&b);
    return 0;
}
