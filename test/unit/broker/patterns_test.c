#include "broker/patterns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "support/dying.h"
#include "support/random.h"

enum { WORKERS = 130, WORDS = 3, PATTERNS = 120, TEXT_ROOM = 24 };

/* What should be known of one pattern. */
struct model {
    char text[TEXT_ROOM];
    size_t len;
    struct pattern *pattern; /* NULL: not there */
    uint64_t age;            /* the later, the more */
    uint32_t on[WORKERS];
    uint32_t watching[WORKERS];
};

static struct text text_of_model(const struct model *m)
{
    return (struct text){m->text, m->len};
}

/* Few letters and few segments, so that much matches much; with empty segments. */
static size_t make_text(struct random *dice, char *out, bool pattern)
{
    size_t len = 0;
    for (uint64_t segments = 1 + random_below(dice, 5); segments > 0; segments--) {
        uint64_t face = random_below(dice, pattern ? 8 : 5);
        if (face < 2)
            out[len++] = 'a';
        else if (face == 2)
            out[len++] = 'b';
        else if (face == 3)
            len += (size_t)(stpcpy(out + len, "ab") - (out + len));
        else if (face > 4)
            out[len++] = face == 7 && segments == 1 ? '>' : '*';
        if (segments > 1)
            out[len++] = ':';
    }
    return len;
}

static void model_join(struct patterns *p, struct model *m, unsigned worker, bool watches)
{
    static uint64_t age;
    uint64_t hash = 77 * m->len;
    uint64_t generation = patterns_generation(p);
    uint32_t count = atomic_load(&p->count);
    char *copy = malloc(m->len); /* the caller's bytes need not stay */
    assert_non_null(copy);
    memcpy(copy, m->text, m->len);
    struct pattern *pattern = patterns_join(p, hash, (struct text){copy, m->len}, worker, watches);
    free(copy);
    assert_non_null(pattern);
    assert_true(text_equal(pattern_text(p, pattern), text_of_model(m)));
    assert_true(pattern->hash == hash);
    assert_int_equal(patterns_generation(p) != generation, m->on[worker] == 0);
    assert_int_equal(atomic_load(&p->count), count + !m->pattern);
    if (m->pattern)
        assert_ptr_equal(pattern, m->pattern);
    else
        m->age = ++age;
    m->pattern = pattern;
    m->on[worker]++;
    m->watching[worker] += watches;
}

static uint32_t sum(const uint32_t on[WORKERS])
{
    uint32_t total = 0;
    for (unsigned w = 0; w < WORKERS; w++)
        total += on[w];
    return total;
}

static void model_leave(struct patterns *p, struct model *m, unsigned worker)
{
    uint64_t generation = patterns_generation(p);
    bool watched = m->watching[worker] > 0;
    m->on[worker]--;
    m->watching[worker] -= watched;
    patterns_leave(p, m->pattern, worker, m->on[worker] == 0, watched);
    assert_int_equal(patterns_generation(p) != generation, m->on[worker] == 0);
    if (sum(m->on) == 0)
        m->pattern = NULL;
}

static void assert_matched(struct patterns *p, const struct model *models, struct text topic)
{
    struct match_set *set;
    uint64_t generation;
    uint64_t words[WORDS] = {0};
    uint32_t count = 0;
    uint32_t watching = 0;
    uint64_t age = 0;
    for (const struct model *m = models; m < models + PATTERNS; m++) {
        count += m->pattern && pattern_matches(text_of_model(m), topic);
        watching += sum(m->watching);
    }
    assert_int_equal(atomic_load(&p->watchers), watching);
    assert_true(patterns_match(p, topic, &set, &generation));
    assert_true(generation == patterns_generation(p));
    assert_int_equal(set ? set->count : 0, count);
    if (!set)
        return;
    assert_true(text_equal(set->topic, topic));
    assert_ptr_not_equal(set->topic.at, topic.at);
    for (uint32_t i = 0; i < count; i++) {
        const struct model *m = models;
        while (m->pattern != set->patterns[i])
            m++;
        assert_true(pattern_matches(text_of_model(m), topic));
        assert_true(m->age > age); /* the oldest first, so none twice */
        age = m->age;
        assert_int_equal(atomic_load(&m->pattern->subscribers), sum(m->on));
        for (unsigned w = 0; w < WORKERS; w++)
            if (m->on[w] > 0)
                words[w / 64] |= UINT64_C(1) << (w % 64);
    }
    assert_memory_equal(set->workers, words, sizeof words);
    match_set_drop(set);
}

static struct text first_of(const struct model *m)
{
    struct text rest = text_of_model(m);
    return segment_take(&rest);
}

static bool is_wild(struct text segment)
{
    return segment_is_star(segment) || segment_is_rest(segment);
}

struct firsts {
    const struct model *models;
    unsigned count;
};

static bool note_first(void *user, struct text segment)
{
    struct firsts *f = user;
    const struct model *m = f->models;
    while (!m->pattern || !text_equal(first_of(m), segment))
        assert_true(++m < f->models + PATTERNS);
    assert_false(is_wild(segment));
    return --f->count > 0;
}

static void assert_first_segments(struct patterns *p, const struct model *models)
{
    static const char *const segments[] = {"", "a", "b", "ab", "ba", "*", ">"};
    struct firsts firsts = {models, 0};
    for (size_t i = 0; i < sizeof segments / sizeof *segments; i++) {
        struct text segment = text_of(segments[i]);
        bool literal = false, wild = false;
        for (const struct model *m = models; m < models + PATTERNS; m++) {
            if (m->pattern && is_wild(first_of(m)))
                wild = true;
            else if (m->pattern && text_equal(first_of(m), segment))
                literal = true;
        }
        firsts.count += literal;
        assert_int_equal(patterns_begin_with(p, segment), literal || (wild && segment.len == 0));
    }
    unsigned count = firsts.count++;
    assert_true(patterns_each_first(p, note_first, &firsts)); /* each once, or it would end */
    assert_int_equal(firsts.count, 1);
    firsts.count = count;
    assert_int_equal(patterns_each_first(p, note_first, &firsts), count == 0);
}

/* Broken by a worker's bit that stays, by labels compared by their first segment alone, by a `>`
 * that stands for nothing, by sets in the order of the tree: each fails. */
static void the_index_answers_like_every_pattern_asked_one_by_one(void **state)
{
    (void)state;
    enum { STEPS = 60000 };
    static struct model models[PATTERNS];
    struct random dice = {3};
    struct patterns p;
    char topic[TEXT_ROOM];
    patterns_init(&p, WORKERS);
    assert_int_equal(p.worker_words, WORDS);
    assert_true(patterns_generation(&p) == 1);
    for (size_t i = 0; i < PATTERNS;) { /* all different */
        struct model *m = &models[i];
        size_t same = 0;
        m->len = make_text(&dice, m->text, true);
        while (!text_equal(text_of_model(&models[same]), text_of_model(m)))
            same++;
        i += same == i && m->len > 0;
    }
    for (int step = 0; step < STEPS; step++) {
        struct model *m = &models[random_below(&dice, PATTERNS)];
        unsigned worker = (unsigned)random_below(&dice, step % 3 ? 3 : WORKERS);
        /* From few patterns to many and back. */
        if (m->on[worker] == 0 && random_below(&dice, STEPS) < (uint64_t)(STEPS - step) * 2)
            model_join(&p, m, worker, random_below(&dice, 4) == 0);
        else if (m->on[worker] > 0)
            model_leave(&p, m, worker);
        if (random_below(&dice, 20) == 0)
            for (unsigned w = 0; w < WORKERS; w++)
                while (m->on[w] > 0)
                    model_leave(&p, m, w);
        size_t len = make_text(&dice, topic, false);
        if (len > 0)
            assert_matched(&p, models, (struct text){topic, len});
        if (step % 16 == 0)
            assert_first_segments(&p, models);
    }
    for (size_t i = 0; i < PATTERNS; i++)
        for (unsigned w = 0; w < WORKERS; w++)
            while (models[i].on[w] > 0)
                model_leave(&p, &models[i], w);
    assert_false(patterns_used(&p));
    assert_first_segments(&p, models);
    patterns_fini(&p);
}

static void an_answer_holds_what_it_names_when_the_patterns_are_gone(void **state)
{
    (void)state;
    struct patterns p;
    struct match_set *set;
    uint64_t before, after;
    patterns_init(&p, 3);
    struct pattern *first = patterns_join(&p, 1, TEXT("a:*"), 0, false);
    struct pattern *second = patterns_join(&p, 2, TEXT(">"), 2, true);
    assert_true(patterns_match(&p, TEXT("a:b"), &set, &before));
    patterns_leave(&p, first, 0, true, false);
    patterns_leave(&p, second, 2, true, true);
    patterns_fini(&p);
    assert_int_equal(set->count, 2);
    assert_true(text_equal(pattern_text(&p, set->patterns[0]), TEXT("a:*")));
    assert_true(text_equal(pattern_text(&p, set->patterns[1]), TEXT(">")));
    assert_true(set->workers[0] == 5);
    assert_false(patterns_watched(&p));
    match_set_hold(set);
    match_set_drop(set);
    assert_true(text_equal(set->topic, TEXT("a:b")));
    match_set_drop(set);
    match_set_drop(NULL);

    patterns_init(&p, 3);
    assert_true(patterns_match(&p, TEXT("a:b"), &set, &after));
    assert_null(set);
    assert_true(after == 1);
    patterns_fini(&p);
}

/* A pattern that comes back is a new one: younger than those that stayed. */
static void a_pattern_that_went_is_no_older_for_having_been_there(void **state)
{
    (void)state;
    struct patterns p;
    struct match_set *set;
    uint64_t generation;
    patterns_init(&p, 1);
    struct pattern *a = patterns_join(&p, 1, TEXT("*"), 0, false);
    struct pattern *b = patterns_join(&p, 2, TEXT(">"), 0, false);
    patterns_leave(&p, a, 0, true, false);
    a = patterns_join(&p, 1, TEXT("*"), 0, false);
    assert_true(patterns_match(&p, TEXT("t"), &set, &generation));
    assert_ptr_equal(set->patterns[0], b);
    assert_ptr_equal(set->patterns[1], a);
    match_set_drop(set);
    patterns_leave(&p, a, 0, true, false);
    patterns_leave(&p, b, 0, true, false);
    patterns_fini(&p);
}

static void leave_too_often(void *with)
{
    struct patterns *p = with;
    struct pattern *pattern = patterns_join(p, 1, TEXT("a"), 0, false);
    atomic_store(&pattern->subscribers, 0);
    patterns_leave(p, pattern, 0, true, false);
}

static void leave_as_the_last_but_one(void *with)
{
    struct pattern *pattern = patterns_join(with, 1, TEXT("a"), 0, false);
    patterns_leave(with, pattern, 0, false, false);
}

static void leave_what_was_not_watched(void *with)
{
    struct pattern *pattern = patterns_join(with, 1, TEXT("a"), 0, false);
    patterns_leave(with, pattern, 0, true, true);
}

static void end_with_a_pattern(void *with)
{
    (void)patterns_join(with, 1, TEXT("a"), 0, false);
    patterns_fini(with);
}

static void misuse_is_our_own_bug(void **state)
{
    (void)state;
    struct patterns p;
    patterns_init(&p, 1);
    assert_true(dies(leave_too_often, &p));
    assert_true(dies(leave_as_the_last_but_one, &p));
    assert_true(dies(leave_what_was_not_watched, &p));
    assert_true(dies(end_with_a_pattern, &p));
    patterns_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_answers_like_every_pattern_asked_one_by_one),
        cmocka_unit_test(an_answer_holds_what_it_names_when_the_patterns_are_gone),
        cmocka_unit_test(a_pattern_that_went_is_no_older_for_having_been_there),
        cmocka_unit_test(misuse_is_our_own_bug),
    };
    return cmocka_run_group_tests_name("patterns", tests, NULL, NULL);
}
