/* The index of patterns under ThreadSanitizer: workers join and leave while publishers match, all
 * through one answer that is kept as long as its generation is that of the index, as a topic keeps
 * it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/pattern.h"
#include "broker/patterns.h"
#include "support/random.h"
#include "support/tsan.h"

enum { WORKERS = 3, PUBLISHERS = 3, PATTERNS = 10, STEPS = 6000 };

static const struct text topic = {"stock:AAPL:bid", 14};

/* The last ones do not match, but share nodes with those that do. */
enum { MATCHING = 7 };
static const char *const texts[PATTERNS] = {">", "stock:>", "*:AAPL:*", "stock:*:bid", "*:*:*",
    "stock:AAPL:bid", "stock:AAPL:>", "stock:AAPL", "stock:*:ask", "*:A:*"};

struct world {
    struct patterns patterns;
    pthread_mutex_t lock;
    struct match_set *set;
    uint64_t generation;
    pthread_barrier_t ready;
    _Atomic int faults;
};

struct actor {
    struct world *world;
    unsigned number;
    pthread_t thread;
};

static void expect(struct world *w, bool holds)
{
    if (!holds)
        atomic_fetch_add(&w->faults, 1);
}

/* What matches, with a reference; NULL for nothing. */
static struct match_set *look(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    if (w->generation != patterns_generation(&w->patterns)) {
        match_set_drop(w->set);
        expect(w, patterns_match(&w->patterns, topic, &w->set, &w->generation));
    }
    struct match_set *set = w->set;
    if (set)
        match_set_hold(set);
    pthread_mutex_unlock(&w->lock);
    return set;
}

/* What this worker has joined is in every answer from then on, and what it has left in none. */
static void check_own(struct actor *a, struct pattern *const joined[], const uint32_t on[])
{
    struct world *w = a->world;
    struct match_set *set = look(w);
    bool any = false;
    for (int i = 0; i < MATCHING; i++) {
        uint32_t at = 0;
        if (on[i] == 0)
            continue;
        any = true;
        while (set && at < set->count && set->patterns[at] != joined[i])
            at++;
        expect(w, set && at < set->count);
    }
    expect(w, any == (set && (set->workers[0] >> a->number & 1)));
    match_set_drop(set);
}

static void *subscribe(void *user)
{
    struct actor *a = user;
    struct patterns *p = &a->world->patterns;
    struct random dice = {a->number};
    struct pattern *joined[PATTERNS] = {0};
    uint32_t on[PATTERNS] = {0};
    pthread_barrier_wait(&a->world->ready);
    for (int step = 0; step < STEPS; step++) {
        size_t i = random_below(&dice, PATTERNS);
        if (on[i] == 0 || (on[i] < 3 && random_below(&dice, 3) == 0)) {
            struct pattern *pattern = patterns_join(p, i, text_of(texts[i]), a->number, on[i] > 0);
            expect(a->world, pattern && (on[i] == 0 || pattern == joined[i]));
            joined[i] = pattern;
            on[i]++;
        } else {
            on[i]--;
            patterns_leave(p, joined[i], a->number, on[i] == 0, on[i] > 0);
        }
        check_own(a, joined, on);
    }
    for (size_t i = 0; i < PATTERNS; i++)
        while (on[i] > 0) {
            on[i]--;
            patterns_leave(p, joined[i], a->number, on[i] == 0, on[i] > 0);
        }
    check_own(a, joined, on);
    return NULL;
}

/* A set stays as it is, and so do the patterns in it, whoever leaves meanwhile. */
static void *publish(void *user)
{
    struct actor *a = user;
    struct world *w = a->world;
    pthread_barrier_wait(&w->ready);
    for (int step = 0; step < STEPS; step++) {
        struct match_set *set = look(w);
        for (uint32_t i = 0; set && i < set->count; i++) {
            const struct pattern *pattern = set->patterns[i];
            expect(w, pattern_matches(pattern_text(&w->patterns, pattern), topic));
            expect(w, pattern->hash < MATCHING);
            expect(w, i == 0 || set->patterns[i - 1]->serial < pattern->serial);
            expect(w, atomic_load(&pattern->subscribers) <= 3 * WORKERS);
        }
        expect(w, !set || (text_equal(set->topic, topic) && set->workers[0] >> WORKERS == 0 &&
                              set->workers[0] != 0));
        match_set_drop(set);
    }
    return NULL;
}

static void answers_are_true_while_patterns_come_and_go(void **state)
{
    struct world w = {.generation = 0};
    struct actor actors[WORKERS + PUBLISHERS];
    (void)state;
    patterns_init(&w.patterns, WORKERS);
    pthread_mutex_init(&w.lock, NULL);
    pthread_barrier_init(&w.ready, NULL, WORKERS + PUBLISHERS);
    for (unsigned i = 0; i < WORKERS + PUBLISHERS; i++) {
        actors[i] = (struct actor){.world = &w, .number = i};
        pthread_create(&actors[i].thread, NULL, i < WORKERS ? subscribe : publish, &actors[i]);
    }
    for (unsigned i = 0; i < WORKERS + PUBLISHERS; i++)
        pthread_join(actors[i].thread, NULL);
    assert_int_equal(atomic_load(&w.faults), 0);
    assert_false(patterns_used(&w.patterns));
    assert_null(look(&w));
    patterns_fini(&w.patterns);
    pthread_mutex_destroy(&w.lock);
    pthread_barrier_destroy(&w.ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_true_while_patterns_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
