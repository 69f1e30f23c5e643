#include "broker/grants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/pattern.h"
#include "support/random.h"

enum { LIMIT = 1024, LIST_MAX = 8 };

struct list {
    struct text at[LIST_MAX];
    struct grants_list list;
};

/* Patterns with blanks between them; NULL: no list. */
static struct grants_list list_of(struct list *l, const char *patterns)
{
    l->list = (struct grants_list){l->at, 0, patterns != NULL};
    while (patterns && *patterns) {
        size_t len = strcspn(patterns, " ");
        l->at[l->list.count++] = (struct text){patterns, len};
        patterns += len + (patterns[len] == ' ');
    }
    return l->list;
}

static struct grants *grants_of(const char *subscribe, const char *publish, bool presence)
{
    struct list lists[GRANT_COUNT];
    struct grants *grants;
    struct grants_wish wish = {
        {list_of(&lists[0], subscribe), list_of(&lists[1], publish)}, presence};
    assert_null(grants_new(&wish, LIMIT, &grants));
    return grants;
}

static bool allows(const char *patterns, const char *topic)
{
    struct grants *g = grants_of("", patterns, false);
    bool allowed = grants_allow(g, GRANT_PUBLISH, text_of(topic));
    assert_false(grants_allow(g, GRANT_SUBSCRIBE, text_of(topic)));
    grants_drop(g);
    return allowed;
}

static bool allows_pattern(const char *patterns, const char *pattern)
{
    struct grants *g = grants_of(patterns, "", false);
    bool allowed = grants_allow_pattern(g, GRANT_SUBSCRIBE, text_of(pattern));
    assert_false(grants_allow_pattern(g, GRANT_PUBLISH, text_of(pattern)));
    grants_drop(g);
    return allowed;
}

static void without_a_limit_there_are_no_grants_and_all_is_allowed(void **state)
{
    (void)state;
    assert_null(grants_of(NULL, NULL, true));
    assert_true(grants_allow(NULL, GRANT_PUBLISH, TEXT("a")));
    assert_true(grants_allow_pattern(NULL, GRANT_SUBSCRIBE, TEXT(">")));
    assert_true(grants_allow_presence(NULL));
    grants_hold(NULL);
    grants_drop(NULL);
}

static void a_list_that_is_missing_sets_no_limit_and_an_empty_one_allows_nothing(void **state)
{
    (void)state;
    struct grants *g = grants_of(NULL, "", true);
    assert_true(grants_allow(g, GRANT_SUBSCRIBE, TEXT("a")));
    assert_true(grants_allow_pattern(g, GRANT_SUBSCRIBE, TEXT(">")));
    assert_false(grants_allow(g, GRANT_PUBLISH, TEXT("a")));
    assert_true(grants_allow_presence(g));
    grants_hold(g);
    grants_drop(g);
    grants_drop(g);
}

static void presence_can_be_all_that_is_missing(void **state)
{
    (void)state;
    struct grants *g = grants_of(NULL, NULL, false);
    assert_non_null(g);
    assert_false(grants_allow_presence(g));
    assert_true(grants_allow(g, GRANT_PUBLISH, TEXT("a")));
    grants_drop(g);
}

static void a_topic_is_allowed_by_any_pattern_of_its_list(void **state)
{
    (void)state;
    assert_true(allows("chat:7 stock:*", "stock:AAPL"));
    assert_true(allows("chat:7 stock:*", "chat:7"));
    assert_false(allows("chat:7 stock:*", "chat:8"));
    assert_false(allows("chat:7 stock:*", "stock:AAPL:bid"));
    assert_true(allows("sensor:>", "sensor:1:now"));
}

static void a_pattern_is_allowed_if_a_wider_one_is_granted(void **state)
{
    (void)state;
    assert_true(allows_pattern("stock:*", "stock:*"));
    assert_true(allows_pattern("stock:*", "stock:AAPL"));
    assert_true(allows_pattern("stock:>", "stock:*"));
    assert_true(allows_pattern("stock:>", "stock:>"));
    assert_true(allows_pattern("stock:>", "stock:*:bid:>"));
    assert_true(allows_pattern(">", ">"));
    assert_true(allows_pattern("*:bid:*", "stock:bid:*"));
    assert_true(allows_pattern("x stock:>", "stock:*"));
}

static void a_pattern_is_not_allowed_if_it_goes_beyond(void **state)
{
    (void)state;
    assert_false(allows_pattern("stock:*", "stock:>"));
    assert_false(allows_pattern("stock:*", "*:AAPL"));
    assert_false(allows_pattern("stock:*", ">"));
    assert_false(allows_pattern("stock:AAPL", "stock:*"));
    assert_false(allows_pattern("stock:>", "stock"));
    assert_false(allows_pattern("stock:>", "*"));
    assert_false(allows_pattern("stock:*:>", "stock:>"));
    assert_false(allows_pattern("a b c", "*"));
    assert_false(allows_pattern("a", "a:"));
    assert_false(allows_pattern("a:", "a"));
}

static void patterns_together_allow_what_none_of_them_does(void **state)
{
    (void)state;
    assert_true(allows_pattern("a:* a:*:>", "a:>"));
    assert_true(allows_pattern("a:*:*:> a:*:* a:*", "a:>"));
    assert_true(allows_pattern("a:* *:*:>", "a:>"));
    assert_false(allows_pattern("a:* a:*:*:>", "a:>"));
    assert_false(allows_pattern("a:* a:*:*", "a:>"));
    assert_true(allows_pattern("a:* a:*:>", "a:b:>"));
}

/* --- against asking for every topic ----------------------------------------------------------- */

enum { SEGMENTS_MAX = 5, WORDS = 4 };

/* `c` is in no pattern: it stands for all other words. */
static const char *const words[WORDS] = {"a", "b", "c", ""};

static void pattern_make(struct random *r, char *out)
{
    static const char *const parts[] = {"a", "b", "", "*", "*", "*", ">"};
    size_t segments = 1 + random_below(r, 3);
    out[0] = '\0';
    for (size_t i = 0; i < segments; i++) {
        size_t part = random_below(r, i + 1 == segments ? 7 : 6);
        if (i > 0)
            strcat(out, ":");
        strcat(out, parts[part]);
    }
    if (!*out)
        strcat(out, "a");
}

static void topic_make(uint32_t number, size_t segments, char *out)
{
    out[0] = '\0';
    for (size_t i = 0; i < segments; i++, number /= WORDS) {
        if (i > 0)
            strcat(out, ":");
        strcat(out, words[number % WORDS]);
    }
}

static bool all_allowed(const struct grants *g, struct text pattern)
{
    char topic[32];
    uint32_t count = 1;
    for (size_t segments = 1; segments <= SEGMENTS_MAX; segments++) {
        count *= WORDS;
        for (uint32_t i = 0; i < count; i++) {
            topic_make(i, segments, topic);
            if (pattern_matches(pattern, text_of(topic)) &&
                !grants_allow(g, GRANT_SUBSCRIBE, text_of(topic)))
                return false;
        }
    }
    return true;
}

static void a_pattern_is_allowed_just_when_all_its_topics_are(void **state)
{
    (void)state;
    struct random r = {5};
    unsigned allowed = 0;
    for (unsigned round = 0; round < 3000; round++) {
        char list[64] = "";
        char pattern[16];
        size_t count = 1 + random_below(&r, 5);
        for (size_t i = 0; i < count; i++) {
            pattern_make(&r, pattern);
            strcat(strcat(list, i ? " " : ""), pattern);
        }
        pattern_make(&r, pattern);
        struct grants *g = grants_of(list, NULL, false);
        bool is = grants_allow_pattern(g, GRANT_SUBSCRIBE, text_of(pattern));
        if (is != all_allowed(g, text_of(pattern)))
            fail_msg("'%s' by '%s': %d", pattern, list, is);
        allowed += is;
        grants_drop(g);
    }
    assert_in_range(allowed, 300, 2700);
}

/* --- faults ----------------------------------------------------------------------------------- */

static const char *fault(const struct text *at, size_t count)
{
    struct grants *grants;
    struct grants_wish wish = {{{at, count, true}, {NULL, 0, false}}, true};
    const char *found = grants_new(&wish, LIMIT, &grants);
    if (found)
        assert_null(grants);
    grants_drop(grants);
    return found;
}

static void what_is_no_pattern_is_told(void **state)
{
    (void)state;
    static char long_one[LIMIT + 1];
    memset(long_one, 'x', sizeof long_one);
    assert_non_null(fault(&TEXT("a*"), 1));
    assert_non_null(fault(&TEXT(">:a"), 1));
    assert_non_null(fault(&TEXT(""), 1));
    assert_non_null(fault(&TEXT("a\nb"), 1));
    assert_non_null(fault(&(struct text){long_one, LIMIT + 1}, 1));
    assert_null(fault(&(struct text){long_one, LIMIT}, 1));
}

static void there_is_an_end_to_patterns_and_their_bytes(void **state)
{
    (void)state;
    static char long_one[LIMIT];
    static struct text many[GRANTS_PATTERNS_MAX + 1];
    memset(long_one, 'x', sizeof long_one);
    for (size_t i = 0; i <= GRANTS_PATTERNS_MAX; i++)
        many[i] = TEXT("a");
    assert_null(fault(many, GRANTS_PATTERNS_MAX));
    assert_non_null(fault(many, GRANTS_PATTERNS_MAX + 1));
    for (size_t i = 0; i < 64; i++)
        many[i] = (struct text){long_one, LIMIT};
    assert_null(fault(many, 63));
    assert_non_null(fault(many, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_there_are_no_grants_and_all_is_allowed),
        cmocka_unit_test(a_list_that_is_missing_sets_no_limit_and_an_empty_one_allows_nothing),
        cmocka_unit_test(presence_can_be_all_that_is_missing),
        cmocka_unit_test(a_topic_is_allowed_by_any_pattern_of_its_list),
        cmocka_unit_test(a_pattern_is_allowed_if_a_wider_one_is_granted),
        cmocka_unit_test(a_pattern_is_not_allowed_if_it_goes_beyond),
        cmocka_unit_test(patterns_together_allow_what_none_of_them_does),
        cmocka_unit_test(a_pattern_is_allowed_just_when_all_its_topics_are),
        cmocka_unit_test(what_is_no_pattern_is_told),
        cmocka_unit_test(there_is_an_end_to_patterns_and_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
