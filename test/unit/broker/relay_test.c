#include "broker/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/route_harness.h"

static const struct text T = {"stock:A", 7};
enum { EPOCH = 77 };

/* A route of a broker that has others. */
static struct scene *far_scene(unsigned workers)
{
    struct scene *s = scene_open(workers);
    s->route.backplane = s->pointers[0]; /* nothing is posted there */
    return s;
}

static struct relayed relay_by(
    struct scene *s, struct route_rule rule, uint64_t epoch, uint64_t offset, uint32_t count)
{
    struct message *m = numbers(offset, count);
    m->offset = offset;
    struct relayed relayed = route_relay(&s->route, rule, hash_of(s, T), T, epoch, m);
    message_drop(m);
    return relayed;
}

static struct relayed relay(struct scene *s, uint64_t offset, uint32_t count)
{
    return relay_by(s, RULE, EPOCH, offset, count);
}

static bool follow(struct scene *s, uint64_t offset)
{
    return route_follow(&s->route, RULE, hash_of(s, T), T, EPOCH, offset);
}

static bool unfollow(struct scene *s)
{
    return route_unfollow(&s->route, hash_of(s, T), T, true);
}

/* The next mail of worker 0 is messages `first` to `last`. */
static void assert_mailed(struct scene *s, uint64_t first, uint64_t last)
{
    mailbox_take(&s->boxes[0], &s->trays[0]);
    struct message *m = next_mail(s, 0);
    assert_non_null(m);
    assert_true(m->offset == first);
    assert_int_equal(m->count, last - first + 1);
    const char *at = m->frames;
    for (uint64_t n = first; n <= last; n++) {
        struct text data;
        char expected[24];
        at = message_frame(at, &data);
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)n);
        assert_true(text_equal(data, text_of(expected)));
    }
    assert_ptr_equal(at, m->frames + m->len);
    message_drop(m);
}

/* Seen to fail when route_subscribe makes any topic. */
static void a_far_topic_that_is_not_live_cannot_be_joined(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    struct route_joined joined =
        route_subscribe(&s->route, RULE, 0, &s->trays[0], hash_of(s, T), T, false, NULL);
    assert_true(joined.absent);
    assert_null(joined.topic);
    assert_null(topic_of(s, T));
    struct rule local = rule_default;
    local.local = true;
    struct registry_topic *topic =
        subscribe_by(s, (struct route_rule){&local, 1}, 0, T, NULL).topic;
    assert_true(route_unsubscribe(&s->route, 0, topic, true, false));
    assert_true(follow(s, 4));
    struct route_joined now = subscribe_by(s, RULE, 0, T, NULL);
    assert_true(now.epoch == EPOCH && now.offset == 4);
    assert_false(route_unsubscribe(&s->route, 0, now.topic, true, false)); /* it is still live */
    assert_false(unfollow(s));
    assert_null(topic_of(s, T));
    scene_close(s);
}

static void what_is_next_is_posted_with_its_numbers(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    follow(s, 4);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    struct relayed relayed = relay(s, 5, 3);
    assert_int_equal(relayed.result, RELAY_DONE);
    assert_true(relayed.live && relayed.offset == 4 && relayed.epoch == EPOCH);
    assert_mailed(s, 5, 7);
    assert_true(topic->offset == 7);
    route_unsubscribe(&s->route, 0, topic, true, false);
    unfollow(s);
    scene_close(s);
}

/* Seen to fail when a row is posted whole, and when its rest keeps the row's first offset. */
static void what_is_known_is_not_posted_again(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    follow(s, 4);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    assert_int_equal(relay(s, 3, 2).result, RELAY_KNOWN);
    assert_int_equal(relay(s, 3, 5).result, RELAY_DONE);
    assert_mailed(s, 5, 7);
    assert_int_equal(relay(s, 5, 3).result, RELAY_KNOWN);
    assert_false(mailbox_take(&s->boxes[0], &s->trays[0]));
    route_unsubscribe(&s->route, 0, topic, true, false);
    unfollow(s);
    scene_close(s);
}

static void a_hole_or_another_epoch_is_told_and_changes_nothing(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    follow(s, 4);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    assert_int_equal(relay(s, 6, 1).result, RELAY_HOLE);
    assert_int_equal(relay_by(s, RULE, EPOCH + 1, 5, 1).result, RELAY_HOLE);
    assert_true(topic->offset == 4 && topic->epoch == EPOCH);
    assert_false(mailbox_take(&s->boxes[0], &s->trays[0]));
    route_renumber(&s->route, hash_of(s, T), T, EPOCH + 1, 8);
    assert_int_equal(relay_by(s, RULE, EPOCH + 1, 9, 1).result, RELAY_DONE);
    assert_mailed(s, 9, 9);
    route_unsubscribe(&s->route, 0, topic, true, false);
    unfollow(s);
    scene_close(s);
}

/* Seen to fail when what is not live is asked for without a hole. */
static void patterns_get_what_comes_wherever_it_is(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    assert_int_equal(relay(s, 3, 1).result, RELAY_NOBODY);
    assert_null(topic_of(s, T));
    struct pattern *pattern = subscribe_pattern(s, 0, "stock:*");
    assert_int_equal(relay(s, 3, 2).result, RELAY_DONE);
    assert_int_equal(relay(s, 4, 1).result, RELAY_KNOWN); /* by another channel */
    assert_int_equal(relay(s, 9, 1).result, RELAY_DONE);
    assert_int_equal(relay_by(s, RULE, EPOCH + 1, 1, 1).result, RELAY_DONE);
    mailbox_take(&s->boxes[0], &s->trays[0]);
    static const uint64_t offsets[] = {3, 9, 1};
    for (size_t i = 0; i < 3; i++) {
        struct message *m = next_mail(s, 0);
        assert_true(m && m->offset == offsets[i]);
        assert_ptr_equal(m->matches->patterns[0], pattern);
        message_drop(m);
    }
    patterns_leave(&s->route.patterns, pattern, 0, true, false);
    scene_close(s);
}

/* Seen to fail when the position of whoever asked Redis is taken in any case: what patterns have
 * had already would be posted again. */
static void a_topic_that_patterns_are_further_with_becomes_live_where_they_are(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    struct pattern *pattern = subscribe_pattern(s, 0, ">");
    relay(s, 8, 2);
    assert_true(follow(s, 7));
    assert_true(topic_of(s, T)->offset == 9);
    assert_int_equal(relay(s, 8, 3).result, RELAY_DONE);
    mailbox_take(&s->boxes[0], &s->trays[0]);
    struct message *m = next_mail(s, 0);
    assert_true(m->offset == 8 && m->count == 2);
    message_drop(m);
    m = next_mail(s, 0);
    assert_true(m->offset == 10 && m->count == 1);
    message_drop(m);
    unfollow(s);
    patterns_leave(&s->route.patterns, pattern, 0, true, false);
    scene_close(s);
}

/* Seen to fail when what was kept stays over route_renumber or route_unfollow: it would be given as
 * gapless. */
static void what_is_kept_ends_where_the_numbers_are_not_one_row(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    struct rule rule = rule_keeping(10);
    struct route_rule by = {&rule, 1};
    follow(s, 4);
    struct registry_topic *topic = subscribe_by(s, by, 0, T, NULL).topic;
    relay_by(s, by, EPOCH, 5, 3);
    drain_all(s);
    struct route_past past = {.since = true, .epoch = EPOCH, .offset = 4};
    struct route_joined joined = subscribe_by(s, by, 0, T, &past);
    assert_true(joined.recovered);
    assert_view(&joined.past, 5, 7, 0);
    route_renumber(&s->route, hash_of(s, T), T, EPOCH, 20);
    past.offset = 6;
    joined = subscribe_by(s, by, 0, T, &past);
    assert_false(joined.recovered);
    assert_nothing(&joined.past);
    relay_by(s, by, EPOCH, 21, 2);
    past.offset = 20;
    joined = subscribe_by(s, by, 0, T, &past);
    assert_true(joined.recovered);
    assert_view(&joined.past, 21, 22, 0);
    for (int i = 0; i < 4; i++)
        route_unsubscribe(&s->route, 0, topic, i == 3, false);
    drain_all(s);
    assert_false(unfollow(s));
    assert_null(topic_of(s, T)); /* its history was a copy of what Redis has */
    scene_close(s);
}

static void a_topic_with_subscribers_is_not_let_go_of(void **state)
{
    (void)state;
    struct scene *s = far_scene(1);
    struct relay_place place;
    follow(s, 4);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    assert_true(unfollow(s));
    assert_true(route_place(&s->route, hash_of(s, T), T, &place));
    assert_int_equal(place.subscribers, 1);
    route_unsubscribe(&s->route, 0, topic, true, false);
    for (unsigned i = 0; i < REGISTRY_STRIPES; i++)
        for (unsigned n = 0; n < 40; n++)
            route_sweep(&s->route, NULL, i);
    assert_non_null(topic_of(s, T)); /* sweeps leave it to who follows it */
    assert_false(route_unfollow(&s->route, hash_of(s, T), T, false));
    assert_non_null(topic_of(s, T));
    assert_false(unfollow(s));
    assert_false(route_place(&s->route, hash_of(s, T), T, &place));
    scene_close(s);
}

static void a_notice_goes_to_whoever_gets_the_topic(void **state)
{
    (void)state;
    struct scene *s = far_scene(3);
    follow(s, 0);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    struct pattern *pattern = subscribe_pattern(s, 2, ">");
    struct message *m = message_begin(4);
    m->event = EVENT_GAP;
    m->lost = true;
    route_tell(&s->route, hash_of(s, T), T, m);
    message_drop(m);
    for (unsigned w = 0; w < 3; w++) {
        mailbox_take(&s->boxes[w], &s->trays[w]);
        m = next_mail(s, w);
        assert_int_equal(m != NULL, w != 1);
        if (!m)
            continue;
        assert_true(m->count == 0 && m->event == EVENT_GAP && m->lost);
        assert_ptr_equal(m->topic, topic);
        assert_ptr_equal(m->matches->patterns[0], pattern);
        message_drop(m);
    }
    patterns_leave(&s->route.patterns, pattern, 2, true, false);
    route_unsubscribe(&s->route, 0, topic, true, false);
    unfollow(s);
    scene_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_far_topic_that_is_not_live_cannot_be_joined),
        cmocka_unit_test(what_is_next_is_posted_with_its_numbers),
        cmocka_unit_test(what_is_known_is_not_posted_again),
        cmocka_unit_test(a_hole_or_another_epoch_is_told_and_changes_nothing),
        cmocka_unit_test(patterns_get_what_comes_wherever_it_is),
        cmocka_unit_test(a_topic_that_patterns_are_further_with_becomes_live_where_they_are),
        cmocka_unit_test(what_is_kept_ends_where_the_numbers_are_not_one_row),
        cmocka_unit_test(a_topic_with_subscribers_is_not_let_go_of),
        cmocka_unit_test(a_notice_goes_to_whoever_gets_the_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
