/* Going through all topics, ranking them, and their rates. */
#include "broker/topic_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/topic_facts.h"
#include "broker/topic_rates.h"
#include "broker/topic_top.h"
#include "support/route_harness.h"

enum { SECOND = 1000000000 };

/* A subscriber of worker 0 to each of so many topics. */
static void join_all(struct scene *s, unsigned count)
{
    char name[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "t:%u", i);
        struct text topic = text_of(name);
        struct registry *r = &s->route.registry;
        assert_non_null(route_subscribe(
            &s->route, RULE, 0, &s->trays[0], registry_hash(r, topic), topic, false, NULL)
                            .topic);
    }
}

static void leave_all(struct scene *s, unsigned count)
{
    char name[32];
    struct registry *r = &s->route.registry;
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "t:%u", i);
        struct text topic = text_of(name);
        uint64_t hash = registry_hash(r, topic);
        struct stripe *stripe = registry_stripe(r, hash);
        lock_take(&stripe->lock);
        struct registry_topic *found = registry_find(r, stripe, hash, topic);
        lock_give(&stripe->lock);
        route_unsubscribe(&s->route, 0, found, true, false);
    }
}

/* So many messages, whose mail is taken and dropped. */
static uint64_t publish(struct scene *s, const char *name, unsigned count)
{
    struct text topic = text_of(name);
    uint64_t offset = 0;
    for (unsigned i = 0; i < count; i++) {
        struct message *m = message_new(3);
        assert_non_null(m);
        memcpy(m->frames,
            "\x81\x01"
            "7",
            3);
        offset = route_publish(&s->route, RULE, registry_hash(&s->route.registry, topic), topic, m)
                     .offset;
    }
    mailbox_take(s->pointers[0], &s->trays[0]);
    for (struct tray *tray = &s->trays[0]; tray->at < tray->count; tray->at++) {
        mailbox_done(s->pointers[0], tray->mails[tray->at].weight);
        message_drop(tray->mails[tray->at].item);
    }
    return offset;
}

static void every_topic_is_given_once(void **state)
{
    enum { TOPICS = 20000 };
    struct scene *s = scene_open(1);
    static unsigned char seen[TOPICS];
    struct topic_scan scan;
    (void)state;
    join_all(s, TOPICS);
    topic_scan_begin(&scan, &s->route.registry, TEXT(""));
    unsigned last = 0;
    while (topic_scan_next(&scan)) {
        assert_true(scan.count <= SCAN_LOOK);
        assert_true(scan.stripe >= last);
        last = scan.stripe;
        for (size_t i = 0; i < scan.count; i++) {
            char name[32];
            unsigned number;
            snprintf(name, sizeof name, "%.*s", (int)scan.rows[i].name.len, scan.rows[i].name.at);
            assert_int_equal(sscanf(name, "t:%u", &number), 1);
            assert_true(number < TOPICS && !seen[number]);
            seen[number] = 1;
            assert_int_equal(scan.rows[i].subscribers, 1);
            assert_false(scan.rows[i].keeps);
        }
    }
    assert_false(scan.failed);
    for (unsigned i = 0; i < TOPICS; i++)
        assert_true(seen[i]);
    topic_scan_fini(&scan);
    leave_all(s, TOPICS);
    scene_close(s);
}

static void a_prefix_narrows_it(void **state)
{
    struct scene *s = scene_open(1);
    struct topic_scan scan;
    size_t count = 0;
    (void)state;
    join_all(s, 1000);
    topic_scan_begin(&scan, &s->route.registry, TEXT("t:9"));
    while (topic_scan_next(&scan)) {
        for (size_t i = 0; i < scan.count; i++)
            assert_true(text_starts_with(scan.rows[i].name, TEXT("t:9")));
        count += scan.count;
    }
    assert_int_equal(count, 111);
    topic_scan_fini(&scan);
    leave_all(s, 1000);
    scene_close(s);
}

static void one_topic_is_found_by_its_name(void **state)
{
    struct scene *s = scene_open(1);
    struct scan_row row;
    (void)state;
    join_all(s, 3);
    publish(s, "t:1", 4);
    assert_true(topic_scan_find(&s->route.registry, TEXT("t:1"), &row));
    assert_int_equal(row.offset, 4);
    assert_int_equal(row.subscribers, 1);
    assert_true(row.epoch != 0);
    assert_false(topic_scan_find(&s->route.registry, TEXT("t:3"), &row));
    leave_all(s, 3);
    scene_close(s);
}

/* --- all that is known of one ----------------------------------------------------------------- */

static void facts_are_those_of_the_topic(void **state)
{
    struct scene *s = scene_open(1);
    struct topic_facts facts;
    struct registry *r = &s->route.registry;
    struct rule keeps = rule_default;
    (void)state;
    keeps.history.messages = 3;
    struct route_rule rule = {&keeps, 1};
    assert_true(topic_facts_take(&facts, &s->route, rule, TEXT("t:0")));
    assert_false(facts.active);
    topic_facts_fini(&facts);
    join_all(s, 1);
    struct pattern *pattern =
        patterns_join(&s->route.patterns, registry_hash(r, TEXT("t:*")), TEXT("t:*"), 0, false);
    assert_non_null(pattern);
    for (int i = 0; i < 5; i++) {
        struct message *m = message_new(5);
        assert_non_null(m);
        memcpy(m->frames,
            "\x81\x03"
            "\"x\"",
            5);
        route_publish(&s->route, rule, registry_hash(r, TEXT("t:0")), TEXT("t:0"), m);
    }
    publish(s, "none", 0); /* takes the mail */
    assert_true(topic_facts_take(&facts, &s->route, rule, TEXT("t:0")));
    assert_true(facts.active && facts.keeps);
    assert_int_equal(facts.offset, 5);
    assert_int_equal(facts.subscribers, 2);
    assert_int_equal(facts.messages, 3);
    assert_int_equal(facts.bytes, 9);
    assert_int_equal(facts.first, 3);
    assert_non_null(facts.matches);
    assert_int_equal(facts.matches->count, 1);
    topic_facts_fini(&facts);
    patterns_leave(&s->route.patterns, pattern, 0, true, false);
    leave_all(s, 1);
    scene_close(s);
}

/* --- rates ------------------------------------------------------------------------------------ */

static void sample(struct scene *s, struct topic_rates *rates, uint64_t now_ns)
{
    struct topic_scan scan;
    topic_scan_begin(&scan, &s->route.registry, TEXT(""));
    topic_rates_begin(rates);
    while (topic_scan_next(&scan))
        topic_rates_take(rates, &scan, now_ns);
    assert_false(scan.failed);
    topic_rates_end(rates);
    topic_scan_fini(&scan);
}

static double rate_of(struct scene *s, const struct topic_rates *rates, const char *name)
{
    struct scan_row row;
    assert_true(topic_scan_find(&s->route.registry, text_of(name), &row));
    return topic_rates_find(rates, row.epoch);
}

static void a_rate_is_what_came_between_two_rounds(void **state)
{
    struct scene *s = scene_open(1);
    struct topic_rates rates;
    (void)state;
    topic_rates_init(&rates);
    join_all(s, 3);
    publish(s, "t:0", 1000); /* of any time */
    assert_true(rate_of(s, &rates, "t:0") < 0);
    sample(s, &rates, 5 * (uint64_t)SECOND);
    assert_false(topic_rates_known(&rates));
    assert_true(rate_of(s, &rates, "t:0") < 0);
    publish(s, "t:0", 20);
    publish(s, "t:1", 3);
    sample(s, &rates, 7 * (uint64_t)SECOND);
    assert_true(topic_rates_known(&rates));
    assert_float_equal(rate_of(s, &rates, "t:0"), 10, 0.001);
    assert_float_equal(rate_of(s, &rates, "t:1"), 1.5, 0.001);
    assert_float_equal(rate_of(s, &rates, "t:2"), 0, 0.001);
    sample(s, &rates, 8 * (uint64_t)SECOND);
    assert_float_equal(rate_of(s, &rates, "t:0"), 0, 0.001);
    topic_rates_forget(&rates);
    assert_true(rate_of(s, &rates, "t:0") < 0);
    leave_all(s, 3);
    scene_close(s);
}

static void a_new_topic_has_a_rate_with_its_second_round(void **state)
{
    struct scene *s = scene_open(1);
    struct topic_rates rates;
    (void)state;
    topic_rates_init(&rates);
    sample(s, &rates, 1 * (uint64_t)SECOND);
    sample(s, &rates, 2 * (uint64_t)SECOND);
    join_all(s, 1);
    publish(s, "t:0", 7);
    assert_true(rate_of(s, &rates, "t:0") < 0);
    sample(s, &rates, 3 * (uint64_t)SECOND);
    assert_true(rate_of(s, &rates, "t:0") < 0);
    publish(s, "t:0", 7);
    sample(s, &rates, 4 * (uint64_t)SECOND);
    assert_float_equal(rate_of(s, &rates, "t:0"), 7, 0.001);
    topic_rates_forget(&rates);
    leave_all(s, 1);
    scene_close(s);
}

static void topics_that_are_gone_take_no_room_for_long(void **state)
{
    enum { MANY = 5000 };
    struct scene *s = scene_open(1);
    struct topic_rates rates;
    (void)state;
    topic_rates_init(&rates);
    for (unsigned round = 1; round <= 20; round++) {
        join_all(s, MANY);
        sample(s, &rates, round * (uint64_t)SECOND);
        assert_true(rates.count <= 3 * MANY);
        leave_all(s, MANY); /* the next ones have other epochs */
    }
    sample(s, &rates, 30 * (uint64_t)SECOND);
    sample(s, &rates, 31 * (uint64_t)SECOND);
    assert_int_equal(rates.count, 0);
    assert_true(rates.mask < 1024);
    topic_rates_forget(&rates);
    scene_close(s);
}

static void many_have_each_its_own_rate(void **state)
{
    enum { MANY = 3000 };
    struct scene *s = scene_open(1);
    struct topic_rates rates;
    char name[32];
    (void)state;
    topic_rates_init(&rates);
    join_all(s, MANY);
    sample(s, &rates, 1 * (uint64_t)SECOND);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t:%u", i);
        publish(s, name, i % 7);
    }
    sample(s, &rates, 2 * (uint64_t)SECOND);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t:%u", i);
        assert_float_equal(rate_of(s, &rates, name), (float)(i % 7), 0.001);
    }
    topic_rates_forget(&rates);
    leave_all(s, MANY);
    scene_close(s);
}

/* --- ranking ---------------------------------------------------------------------------------- */

static void the_top_are_those_with_the_highest_marks_in_order(void **state)
{
    struct topic_top top;
    char names[500][8];
    (void)state;
    assert_true(topic_top_init(&top, 10));
    /* Each mark 5 times, in no order. */
    for (unsigned i = 0; i < 500; i++) {
        snprintf(names[i], sizeof names[i], "%03u", i * 7 % 500);
        struct scan_row row = {.name = text_of(names[i])};
        assert_true(topic_top_offer(&top, &row, (double)(i * 7 % 500 / 5)));
    }
    topic_top_sort(&top);
    assert_int_equal(top.count, 10);
    for (unsigned i = 0; i < 10; i++) {
        char expected[8];
        snprintf(expected, sizeof expected, "%03u", (99 - i / 5) * 5 + i % 5);
        assert_true(text_equal(top.rows[i].topic.name, text_of(expected)));
    }
    topic_top_fini(&top);
}

static void fewer_than_asked_for_are_all_there(void **state)
{
    struct topic_top top;
    (void)state;
    assert_true(topic_top_init(&top, 10));
    topic_top_sort(&top);
    assert_int_equal(top.count, 0);
    topic_top_fini(&top);
    assert_true(topic_top_init(&top, 10));
    assert_true(topic_top_offer(&top, &(struct scan_row){.name = TEXT("a")}, -1));
    assert_true(topic_top_offer(&top, &(struct scan_row){.name = TEXT("b")}, 0));
    topic_top_sort(&top);
    assert_int_equal(top.count, 2);
    assert_true(text_equal(top.rows[0].topic.name, TEXT("b")));
    topic_top_fini(&top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_topic_is_given_once),
        cmocka_unit_test(a_prefix_narrows_it),
        cmocka_unit_test(one_topic_is_found_by_its_name),
        cmocka_unit_test(facts_are_those_of_the_topic),
        cmocka_unit_test(a_rate_is_what_came_between_two_rounds),
        cmocka_unit_test(a_new_topic_has_a_rate_with_its_second_round),
        cmocka_unit_test(topics_that_are_gone_take_no_room_for_long),
        cmocka_unit_test(many_have_each_its_own_rate),
        cmocka_unit_test(the_top_are_those_with_the_highest_marks_in_order),
        cmocka_unit_test(fewer_than_asked_for_are_all_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
