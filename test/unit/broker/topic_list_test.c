#include "broker/topic_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "broker/patterns.h"
#include "support/random.h"

/* WORK: topics that one call looks at for nothing (as in broker/topic_list.c). */
enum { TOPICS = 3000, NAME_MAX_BYTES = 24, WORK = 8192 };

static const struct text NONE = {0};

struct known {
    struct text name;
    uint32_t subscribers;
    struct registry_topic *topic;
};

struct scene {
    struct registry *registry;
    struct known sorted[TOPICS];
    char names[TOPICS][NAME_MAX_BYTES];
    size_t count;
};

static struct registry *registry_open(void)
{
    struct registry *r = aligned_alloc(64, sizeof *r);
    assert_non_null(r);
    registry_init(r, 1, 0);
    return r;
}

static void registry_close(struct registry *r)
{
    registry_fini(r);
    free(r);
}

static struct registry_topic *make(struct registry *r, struct text name)
{
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(r, stripe, hash, name);
    topic = topic ? topic : registry_make(r, stripe, hash, name);
    assert_non_null(topic);
    lock_give(&stripe->lock);
    return topic;
}

static struct registry_topic *join(struct registry *r, struct text name)
{
    struct registry_topic *topic = make(r, name);
    struct stripe *stripe = registry_stripe(r, topic->hash);
    lock_take(&stripe->lock);
    registry_join(stripe, topic, 0, false);
    lock_give(&stripe->lock);
    return topic;
}

static void leave(struct registry *r, struct registry_topic *topic)
{
    struct stripe *stripe = registry_stripe(r, topic->hash);
    lock_take(&stripe->lock);
    registry_leave(r, stripe, topic, 0, topic->subscribers == 1, false);
    lock_give(&stripe->lock);
}

/* Byte by byte, the shorter first. */
static int order(const void *a, const void *b)
{
    const struct text x = ((const struct known *)a)->name;
    const struct text y = ((const struct known *)b)->name;
    for (size_t i = 0; i < x.len && i < y.len; i++)
        if (x.at[i] != y.at[i])
            return (unsigned char)x.at[i] < (unsigned char)y.at[i] ? -1 : 1;
    return (x.len > y.len) - (x.len < y.len);
}

/* Few different bytes, so that many names begin alike, some with the top bit. */
static size_t make_name(struct random *r, char *name)
{
    static const char bytes[] = "ab:\xc3\xa9~";
    size_t len = 1 + (size_t)random_below(r, NAME_MAX_BYTES);
    for (size_t i = 0; i < len; i++)
        name[i] = bytes[random_below(r, i < 3 ? 3 : 6)];
    return len;
}

static struct scene *scene_open(size_t topics)
{
    static struct scene s;
    struct random random = {6};
    memset(&s, 0, sizeof s);
    s.registry = registry_open();
    while (s.count < topics) {
        char *name = s.names[s.count];
        struct text text = {name, make_name(&random, name)};
        struct registry_topic *topic = join(s.registry, text);
        if (topic->subscribers == 1) /* else the name was there */
            s.sorted[s.count++] = (struct known){text, 0, topic};
    }
    qsort(s.sorted, topics, sizeof s.sorted[0], order);
    for (size_t i = 0; i < topics; i++)
        s.sorted[i].subscribers = s.sorted[i].topic->subscribers;
    return &s;
}

static void scene_close(struct scene *s)
{
    for (size_t i = 0; i < s->count; i++)
        for (uint32_t left = s->sorted[i].subscribers; left > 0; left--)
            leave(s->registry, s->sorted[i].topic);
    registry_close(s->registry);
}

static bool is_wanted(struct text name, struct text prefix, struct text pattern)
{
    return text_starts_with(name, prefix) && (!pattern.at || pattern_matches(pattern, name));
}

/* Goes through all pages of topics with that prefix and pattern; returns how many there were. */
static size_t assert_pages(struct scene *s, struct text prefix, struct text pattern, size_t limit)
{
    struct topic_list list;
    char after[NAME_MAX_BYTES];
    size_t after_len = 0;
    size_t total = 0;
    size_t at = 0;
    bool more;
    do {
        assert_true(topic_list_take(
            &list, s->registry, prefix, (struct text){after, after_len}, pattern, limit));
        assert_in_range(list.count, 0, limit);
        for (size_t i = 0; i < list.count; i++, at++, total++) {
            while (at < s->count && !is_wanted(s->sorted[at].name, prefix, pattern))
                at++;
            assert_true(at < s->count);
            assert_true(text_equal(list.rows[i].name, s->sorted[at].name));
            assert_int_equal(list.rows[i].subscribers, s->sorted[at].subscribers);
        }
        /* So few topics are looked at all at once: a page that is not full is the last one. */
        more = list.next.at != NULL;
        assert_true(!more || list.count == limit);
        if (more) {
            assert_true(text_equal(list.next, list.rows[limit - 1].name));
            after_len = list.next.len;
            memcpy(after, list.next.at, after_len);
        }
        topic_list_fini(&list);
    } while (more);
    for (; at < s->count; at++)
        assert_false(is_wanted(s->sorted[at].name, prefix, pattern));
    return total;
}

/* --- pages ------------------------------------------------------------------------------------ */

static void pages_together_are_all_topics_in_order(void **state)
{
    (void)state;
    struct scene *s = scene_open(TOPICS);
    static const size_t limits[] = {1, 7, 100, 999, TOPICS - 1, TOPICS, TOPICS + 1, 10 * TOPICS};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        assert_int_equal(assert_pages(s, TEXT(""), NONE, limits[i]), TOPICS);
    scene_close(s);
}

static void a_prefix_leaves_out_all_others(void **state)
{
    (void)state;
    struct scene *s = scene_open(TOPICS);
    static const struct text prefixes[] = {
        {"a", 1}, {"b:", 2}, {"aab", 3}, {"a:a\xc3", 4}, {"\xff", 1}, {"x", 1}, {"", 0}};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t expected = 0;
        for (size_t k = 0; k < s->count; k++)
            expected += text_starts_with(s->sorted[k].name, prefixes[i]);
        assert_int_equal(assert_pages(s, prefixes[i], NONE, 1 + expected / 3), expected);
        assert_int_equal(assert_pages(s, prefixes[i], NONE, 1 + expected), expected);
    }
    scene_close(s);
}

static void a_pattern_leaves_out_all_others(void **state)
{
    (void)state;
    struct scene *s = scene_open(TOPICS);
    static const char *const patterns[] = {"*", ">", "a:*", "a:>", "*:*", "*:a:>", "b:*:a:*", "::*",
        "aa:>", "*:", ":>", "nobody:*", "a:*:>", "ab", "a:b"};
    static const char *const prefixes[] = {"", "a", "a:", "a:b", "b:", "::"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct text pattern = text_of(patterns[i]);
        for (size_t k = 0; k < sizeof prefixes / sizeof prefixes[0]; k++) {
            size_t expected = 0;
            for (size_t n = 0; n < s->count; n++)
                expected += is_wanted(s->sorted[n].name, text_of(prefixes[k]), pattern);
            assert_int_equal(
                assert_pages(s, text_of(prefixes[k]), pattern, 1 + expected / 3), expected);
            assert_int_equal(
                assert_pages(s, text_of(prefixes[k]), pattern, 1 + expected), expected);
        }
    }
    scene_close(s);
}

static void a_page_begins_behind_a_name_whether_that_is_there_or_not(void **state)
{
    (void)state;
    struct scene *s = scene_open(200);
    struct topic_list list;
    for (size_t i = 0; i < s->count; i++) {
        char longer[NAME_MAX_BYTES + 1];
        struct text name = s->sorted[i].name;
        memcpy(longer, name.at, name.len);
        longer[name.len] = '\0'; /* right behind it */
        struct text afters[] = {name, {longer, name.len + 1}};
        for (size_t k = 0; k < 2; k++) {
            assert_true(topic_list_take(&list, s->registry, TEXT(""), afters[k], NONE, 1));
            assert_int_equal(list.count, i + 1 < s->count);
            assert_int_equal(list.next.at != NULL, i + 2 < s->count);
            if (list.count)
                assert_true(text_equal(list.rows[0].name, s->sorted[i + 1].name));
            topic_list_fini(&list);
        }
        assert_true(topic_list_take(&list, s->registry, name, name, NONE, 1));
        assert_true(list.count == 0 || text_compare(list.rows[0].name, name) > 0);
        topic_list_fini(&list);
    }
    scene_close(s);
}

static void the_rows_are_copies(void **state)
{
    (void)state;
    struct scene *s = scene_open(3);
    struct topic_list list;
    assert_true(topic_list_take(&list, s->registry, TEXT(""), TEXT(""), NONE, 2));
    scene_close(s);
    assert_int_equal(list.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(text_equal(list.rows[i].name, s->sorted[i].name));
    assert_true(text_equal(list.next, s->sorted[1].name));
    topic_list_fini(&list);
    assert_null(list.rows);
}

static void no_topics_are_an_empty_list(void **state)
{
    (void)state;
    struct scene *s = scene_open(0);
    struct topic_list list;
    assert_true(topic_list_take(&list, s->registry, TEXT(""), TEXT(""), NONE, 5));
    assert_int_equal(list.count, 0);
    assert_null(list.next.at);
    topic_list_fini(&list);
    scene_close(s);
}

static void a_name_of_any_length_is_listed(void **state)
{
    (void)state;
    enum { LONG = 200000 };
    struct registry *r = registry_open();
    char *name = malloc(LONG);
    struct topic_list list;
    assert_non_null(name);
    memset(name, 'n', LONG);
    join(r, TEXT("a"));
    join(r, (struct text){name, LONG});
    join(r, TEXT("z"));
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT(""), NONE, 5));
    assert_int_equal(list.count, 3);
    assert_true(text_equal(list.rows[1].name, (struct text){name, LONG}));
    for (size_t i = 0; i < list.count; i++)
        leave(r, make(r, list.rows[i].name));
    topic_list_fini(&list);
    free(name);
    registry_close(r);
}

/* --- what is listed --------------------------------------------------------------------------- */

static void expect(struct registry *r, const char *const *names, const uint32_t *subscribers)
{
    struct topic_list list;
    size_t i = 0;
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT(""), NONE, 10));
    for (; names[i]; i++) {
        assert_true(i < list.count);
        assert_true(text_equal(list.rows[i].name, text_of(names[i])));
        assert_int_equal(list.rows[i].subscribers, subscribers[i]);
    }
    assert_int_equal(list.count, i);
    topic_list_fini(&list);
}

static void who_subscribes_by_a_pattern_counts(void **state)
{
    (void)state;
    struct registry *r = registry_open();
    struct patterns patterns;
    struct registry_topic *both = join(r, TEXT("a:both"));
    struct registry_topic *other = make(r, TEXT("a:other"));
    join(r, TEXT("b:none"));
    patterns_init(&patterns, 1);
    struct text texts[] = {TEXT("a:*"), TEXT(">")};
    struct pattern *joined[2];
    for (size_t i = 0; i < 2; i++)
        for (size_t times = 0; times < 1 + i; times++)
            joined[i] = patterns_join(&patterns, registry_hash(r, texts[i]), texts[i], 0, false);
    assert_true(patterns_match(&patterns, TEXT("a:both"), &both->matches, &both->generation));
    assert_true(patterns_match(&patterns, TEXT("a:other"), &other->matches, &other->generation));
    expect(r, (const char *[]){"a:both", "a:other", "b:none", NULL}, (uint32_t[]){4, 3, 1});

    /* Known before the topics are asked anew. */
    patterns_leave(&patterns, joined[1], 0, false, false);
    expect(r, (const char *[]){"a:both", "a:other", "b:none", NULL}, (uint32_t[]){3, 2, 1});
    patterns_leave(&patterns, joined[1], 0, true, false);
    patterns_leave(&patterns, joined[0], 0, true, false);
    expect(r, (const char *[]){"a:both", "b:none", NULL}, (uint32_t[]){1, 1});

    leave(r, both);
    leave(r, make(r, TEXT("b:none")));
    registry_close(r);
    patterns_fini(&patterns);
}

static void a_topic_that_has_only_messages_is_listed(void **state)
{
    (void)state;
    struct registry *r = registry_open();
    struct registry_topic *topic = make(r, TEXT("past"));
    struct stripe *stripe = registry_stripe(r, topic->hash);
    struct message *m = message_new(3);
    assert_non_null(m);
    memcpy(m->frames, "\x81\x01x", 3);
    m->offset = 1;
    lock_take(&stripe->lock);
    registry_keep(r, stripe, topic, (struct history_limits){.messages = 1}, 1, 1);
    assert_non_null(topic->kept);
    lock_give(&stripe->lock);
    expect(r, (const char *[]){NULL}, NULL);
    lock_take(&stripe->lock);
    assert_true(history_add(&topic->kept->history, m, 1));
    lock_give(&stripe->lock);
    expect(r, (const char *[]){"past", NULL}, (uint32_t[]){0});
    message_drop(m);
    registry_close(r);
}

/* --- how much is looked at -------------------------------------------------------------------- */

enum { CROWD = 3 * WORK };

static struct registry *crowd_open(void)
{
    struct registry *r = registry_open();
    char name[NAME_MAX_BYTES];
    for (int i = 0; i < CROWD; i++) {
        const char *last = i % (CROWD / 5) == 77 ? "rare" : "usual";
        snprintf(name, sizeof name, "crowd:%06d:%s", i, last);
        join(r, text_of(name));
    }
    join(r, TEXT("crowd"));
    join(r, TEXT("d"));
    return r;
}

/* Whoever subscribes there: by now the listing is known to be right. */
static void crowd_close(struct registry *r)
{
    struct topic_list list;
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT(""), NONE, 2 * CROWD));
    assert_int_equal(list.count, CROWD + 2);
    assert_null(list.next.at);
    for (size_t i = 0; i < list.count; i++)
        leave(r, make(r, list.rows[i].name));
    topic_list_fini(&list);
    registry_close(r);
}

static void a_page_looks_at_little_more_than_its_rows(void **state)
{
    (void)state;
    struct registry *r = crowd_open();
    struct topic_list list;
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT("crowd:02"), NONE, 1000));
    assert_int_equal(list.count, 1000);
    assert_in_range(list.seen, 1000, 3000);
    topic_list_fini(&list);
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT("crowd:02"), NONE, 1));
    assert_in_range(list.seen, 2, 600);
    topic_list_fini(&list);
    /* Without wildcards there is one topic at most to look at; with one, those that begin alike. */
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT(""), TEXT("crowd"), 10));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.seen, 1);
    topic_list_fini(&list);
    assert_true(topic_list_take(&list, r, TEXT(""), TEXT(""), TEXT("crowd:000077:*"), 10));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.seen, 1);
    topic_list_fini(&list);
    /* Names that cannot be there are not looked for. */
    assert_true(topic_list_take(&list, r, TEXT("d"), TEXT(""), TEXT("crowd:*"), 10));
    assert_int_equal(list.seen, 0);
    topic_list_fini(&list);
    assert_true(topic_list_take(&list, r, TEXT("crowd:0"), TEXT(""), TEXT("crowd"), 10));
    assert_int_equal(list.seen, 0);
    topic_list_fini(&list);
    assert_true(topic_list_take(&list, r, TEXT("crowd"), TEXT("d"), NONE, 10));
    assert_int_equal(list.seen, 0);
    topic_list_fini(&list);
    crowd_close(r);
}

static bool ends_as(void *user, struct text name)
{
    struct text end = *(struct text *)user;
    return name.len >= end.len && memcmp(name.at + name.len - end.len, end.at, end.len) == 0;
}

/* Not even by where the next page begins. Broken by `next` being what was looked at last: fails. */
static void what_is_not_wanted_does_not_show(void **state)
{
    (void)state;
    struct registry *r = crowd_open();
    struct text ends[] = {TEXT(":rare"), TEXT("wd"), TEXT("none")};
    size_t counts[] = {5, 1, 0};
    for (size_t i = 0; i < 3; i++)
        for (size_t limit = 1; limit <= 10; limit += 3) {
            char after[NAME_MAX_BYTES];
            size_t after_len = 0;
            size_t found = 0;
            bool more;
            do {
                struct topic_list list;
                struct topic_choice choice = {.after = {after, after_len},
                    .prefix = TEXT(""),
                    .pattern = NONE,
                    .limit = limit,
                    .wanted = ends_as,
                    .user = &ends[i]};
                assert_true(topic_list_choose(&list, r, &choice));
                for (size_t k = 0; k < list.count; k++)
                    assert_true(ends_as(&ends[i], list.rows[k].name));
                found += list.count;
                more = list.next.at != NULL;
                if (more) {
                    assert_true(ends_as(&ends[i], list.next));
                    after_len = list.next.len;
                    memcpy(after, list.next.at, after_len);
                }
                topic_list_fini(&list);
            } while (more);
            assert_int_equal(found, counts[i]);
        }
    crowd_close(r);
}

static void a_pattern_that_matches_few_is_looked_for_in_several_calls(void **state)
{
    (void)state;
    struct registry *r = crowd_open();
    char after[NAME_MAX_BYTES];
    size_t after_len = 0;
    size_t found = 0;
    size_t calls = 0;
    bool more;
    do {
        struct topic_list list;
        assert_true(topic_list_take(
            &list, r, TEXT(""), (struct text){after, after_len}, TEXT("*:*:rare"), 100));
        assert_in_range(list.seen, 1, WORK + 300);
        for (size_t i = 0; i < list.count; i++, found++) {
            char name[NAME_MAX_BYTES];
            snprintf(name, sizeof name, "crowd:%06d:rare", (int)found * (CROWD / 5) + 77);
            assert_true(text_equal(list.rows[i].name, text_of(name)));
        }
        more = list.next.at != NULL;
        if (more) {
            assert_true(text_compare(list.next, (struct text){after, after_len}) > 0);
            after_len = list.next.len;
            memcpy(after, list.next.at, after_len);
        }
        topic_list_fini(&list);
        calls++;
    } while (more);
    assert_int_equal(found, 5);
    assert_in_range(calls, 3, 8);
    crowd_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_together_are_all_topics_in_order),
        cmocka_unit_test(a_prefix_leaves_out_all_others),
        cmocka_unit_test(a_pattern_leaves_out_all_others),
        cmocka_unit_test(a_page_begins_behind_a_name_whether_that_is_there_or_not),
        cmocka_unit_test(the_rows_are_copies),
        cmocka_unit_test(no_topics_are_an_empty_list),
        cmocka_unit_test(a_name_of_any_length_is_listed),
        cmocka_unit_test(who_subscribes_by_a_pattern_counts),
        cmocka_unit_test(a_topic_that_has_only_messages_is_listed),
        cmocka_unit_test(a_page_looks_at_little_more_than_its_rows),
        cmocka_unit_test(what_is_not_wanted_does_not_show),
        cmocka_unit_test(a_pattern_that_matches_few_is_looked_for_in_several_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
