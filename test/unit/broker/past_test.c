/* What a subscriber and who asks for the history are given of the past. */
#include "broker/past.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/route_harness.h"

static const struct text T = {"stock:A", 7};

enum { KEPT = 10, SENT = 25 }; /* so 16 to 25 are kept */

struct kept_scene {
    struct scene *scene;
    struct rule rule;
    struct route_rule by;
    uint64_t epoch;
};

/* SENT messages, one by one and in rows, of which the last KEPT are there. */
static void kept_open(struct kept_scene *k)
{
    k->scene = scene_open(2);
    k->rule = rule_keeping(KEPT);
    k->by = (struct route_rule){&k->rule, 1};
    for (uint64_t n = 1; n <= SENT;) {
        uint32_t count = n == 4 ? 7 : n == 14 ? 4 : 1;
        struct route_result result = publish_by(k->scene, k->by, T, n, count);
        n += count;
        assert_true(result.offset == n - 1);
    }
    k->epoch = topic_of(k->scene, T)->epoch;
}

static void kept_close(struct kept_scene *k)
{
    scene_close(k->scene);
}

/* A subscribe that asks for what is behind `offset`. Nobody subscribes afterwards. */
static struct route_joined since(struct kept_scene *k, uint64_t epoch, uint64_t offset)
{
    struct route_past past = {.since = true, .epoch = epoch, .offset = offset};
    struct route_joined joined = subscribe_by(k->scene, k->by, 0, T, &past);
    assert_true(joined.offset == SENT && joined.epoch == k->epoch);
    assert_false(joined.made);
    assert_false(route_unsubscribe(&k->scene->route, 0, joined.topic, true, false));
    return joined;
}

/* Broken by a bound that is one off in either direction, and by a look at the epoch that is left
 * out: fails. */
static void a_subscriber_gets_all_that_it_has_missed_or_nothing(void **state)
{
    (void)state;
    struct kept_scene k;
    kept_open(&k);
    static const struct {
        uint64_t offset;
        bool same_epoch;
        bool recovered;
    } cases[] = {
        {SENT, true, true},             /* nothing missed */
        {SENT - 1, true, true},         /* one */
        {SENT - KEPT, true, true},      /* all that are kept */
        {SENT - KEPT - 1, true, false}, /* the first of them is gone */
        {SENT - KEPT + 1, true, true},
        {0, true, false},
        {1, true, false},
        {SENT + 1, true, false}, /* it has what has never been */
        {UINT64_MAX, true, false},
        {UINT64_MAX - 1, true, false},
        {SENT, false, false},
        {SENT - 1, false, false},
        {0, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t offset = cases[i].offset;
        struct route_joined joined = since(&k, k.epoch + !cases[i].same_epoch, offset);
        assert_int_equal(joined.recovered, cases[i].recovered);
        if (cases[i].recovered)
            assert_view(&joined.past, offset + 1, SENT, 0);
        else
            assert_nothing(&joined.past);
    }
    /* What is no epoch at all is 0, which no topic has. */
    struct route_joined joined = since(&k, 0, SENT);
    assert_false(joined.recovered);
    assert_nothing(&joined.past);
    kept_close(&k);
}

static void at_every_offset_what_is_missed_is_there_or_was_evicted(void **state)
{
    (void)state;
    struct kept_scene k;
    kept_open(&k);
    for (uint64_t offset = 0; offset <= SENT; offset++) {
        struct route_joined joined = since(&k, k.epoch, offset);
        assert_int_equal(joined.recovered, offset >= SENT - KEPT);
        assert_view(
            &joined.past, joined.recovered ? offset + 1 : 1, joined.recovered ? SENT : 0, 0);
    }
    kept_close(&k);
}

static void who_wants_the_newest_gets_so_many_as_there_are(void **state)
{
    (void)state;
    struct kept_scene k;
    kept_open(&k);
    static const uint32_t wanted[] = {0, 1, 3, KEPT, KEPT + 1, UINT32_MAX};
    for (size_t i = 0; i < 6; i++) {
        struct route_past past = {.newest = wanted[i]};
        struct route_joined joined = subscribe_by(k.scene, k.by, 0, T, &past);
        uint64_t got = wanted[i] < KEPT ? wanted[i] : KEPT;
        assert_false(joined.recovered);
        assert_view(&joined.past, SENT - got + 1, SENT, 0);
        route_unsubscribe(&k.scene->route, 0, joined.topic, true, false);
    }
    struct route_joined joined = subscribe_by(k.scene, k.by, 0, T, NULL);
    assert_nothing(&joined.past);
    route_unsubscribe(&k.scene->route, 0, joined.topic, true, false);
    kept_close(&k);
}

/* Only who has all needs no history. */
static void without_a_history_only_who_has_missed_nothing_is_recovered(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    publish_by(s, RULE, T, 1, 3);
    for (uint64_t offset = 0; offset <= 4; offset++) {
        struct route_past past = {.since = true, .epoch = topic->epoch, .offset = offset};
        struct route_joined joined = subscribe_by(s, RULE, 0, T, &past);
        assert_int_equal(joined.recovered, offset == 3);
        assert_nothing(&joined.past);
        route_unsubscribe(&s->route, 0, topic, false, false);
        struct route_state there = route_history(&s->route, RULE, hash_of(s, T), T, &past, 10);
        assert_false(there.keeps);
        assert_int_equal(there.recovered, offset == 3);
        assert_true(there.offset == 3 && there.epoch == topic->epoch);
        assert_nothing(&there.past);
    }
    drain_all(s);
    route_unsubscribe(&s->route, 0, topic, true, false);
    scene_close(s);
}

/* A new topic has a new epoch: who knew the one before is not told that it has missed nothing. */
static void who_comes_back_to_a_topic_made_anew_is_not_recovered(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct route_joined first = subscribe_by(s, RULE, 0, T, NULL);
    uint64_t epoch = first.epoch;
    assert_true(first.made);
    assert_true(route_unsubscribe(&s->route, 0, first.topic, true, false));
    struct route_past past = {.since = true, .epoch = epoch, .offset = 0};
    struct route_joined again = subscribe_by(s, RULE, 0, T, &past);
    assert_true(again.made && again.epoch != epoch && again.offset == 0);
    assert_false(again.recovered);
    assert_nothing(&again.past);
    route_unsubscribe(&s->route, 0, again.topic, true, false);
    scene_close(s);
}

/* A mere subscriber costs no history. */
static void a_topic_begins_to_keep_with_its_first_message(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule rule = rule_keeping(3);
    struct route_rule by = {&rule, 1};
    struct route_past all = {.newest = UINT32_MAX};
    struct route_joined joined = subscribe_by(s, by, 0, T, &all);
    assert_nothing(&joined.past);
    assert_null(joined.topic->kept);
    struct route_state there = route_history(&s->route, by, hash_of(s, T), T, &all, 3);
    assert_true(there.keeps && there.epoch == joined.epoch);
    assert_nothing(&there.past);
    assert_null(joined.topic->kept);
    publish_by(s, by, T, 1, 5);
    struct route_joined more = subscribe_by(s, by, 0, T, &all);
    assert_view(&more.past, 3, 5, 0);
    drain_all(s);
    route_unsubscribe(&s->route, 0, joined.topic, false, false);
    assert_false(route_unsubscribe(&s->route, 0, joined.topic, true, false));
    assert_ptr_equal(topic_of(s, T), joined.topic);
    scene_close(s);
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* Broken by mail that is taken with every piece, by mail that is not taken with the last, and by a
 * bound that leaves out what is around the data: fails. */
static void the_last_piece_is_where_live_messages_begin(void **state)
{
    (void)state;
    struct kept_scene k;
    kept_open(&k);
    struct tray *tray = &k.scene->trays[0];
    struct route_joined joined = subscribe_by(k.scene, k.by, 0, T, NULL);
    publish_by(k.scene, k.by, T, SENT + 1, 1);
    enum { AROUND = 100, LEFT = 4 };
    uint64_t hash = hash_of(k.scene, T);
    struct piece_limits little = {LEFT * AROUND - 1, AROUND}, enough = {1 << 16, AROUND};
    struct route_piece piece =
        route_piece(&k.scene->route, k.by, 0, tray, hash, T, SENT - 2, little);
    assert_false(piece.last);
    assert_true(piece.offset == SENT + 1);
    assert_view(&piece.view, SENT - 2, SENT + 1, 0);
    assert_int_equal(tray->count - tray->at, 0);
    piece = route_piece(&k.scene->route, k.by, 0, tray, hash, T, SENT - 2, enough);
    assert_true(piece.last);
    assert_view(&piece.view, SENT - 2, SENT + 1, 0);
    assert_int_equal(tray->count - tray->at, 1); /* it is in the view too */
    publish_by(k.scene, k.by, T, SENT + 2, 1);
    assert_int_equal(tray->count - tray->at, 1);
    /* What was forgotten meanwhile is not there. */
    piece = route_piece(&k.scene->route, k.by, 0, tray, hash, T, 1, little);
    assert_false(piece.last);
    assert_view(
        &piece.view, SENT + 2 - KEPT + 1, SENT + 2 - KEPT + LEFT, 0); /* no more than that */
    const struct route_rule none = {&rule_default, 2};
    piece = route_piece(&k.scene->route, none, 0, tray, hash, T, SENT, enough);
    assert_true(piece.last && piece.offset == SENT + 2);
    assert_nothing(&piece.view);
    drain_all(k.scene);
    route_unsubscribe(&k.scene->route, 0, joined.topic, true, false);
    kept_close(&k);
}

/* --- the question for a history --------------------------------------------------------------- */

static struct route_state ask(struct kept_scene *k, const struct route_past *past, uint32_t most)
{
    return route_history(&k->scene->route, k->by, hash_of(k->scene, T), T, past, most);
}

/* Other than a subscriber, who asks gets what there is. */
static void a_question_is_answered_with_what_is_there(void **state)
{
    (void)state;
    struct kept_scene k;
    kept_open(&k);
    enum { FIRST = SENT - KEPT + 1 };
    static const struct {
        uint64_t offset;
        uint32_t most;
        uint64_t first;
        uint64_t last;
        bool recovered;
    } cases[] = {
        {SENT, 100, 1, 0, true},
        {SENT - 3, 100, SENT - 2, SENT, true},
        {SENT - 3, 2, SENT - 2, SENT - 1, true}, /* the oldest first; whether there is a gap is not
                                                    a matter of how many one asks for */
        {0, 4, FIRST, FIRST + 3, false},
        {FIRST - 1, 1, FIRST, FIRST, true},
        {FIRST - 2, 1, FIRST, FIRST, false},
        {SENT + 5, 100, 1, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct route_past past = {.since = true, .epoch = k.epoch, .offset = cases[i].offset};
        struct route_state there = ask(&k, &past, cases[i].most);
        assert_true(there.keeps && there.epoch == k.epoch && there.offset == SENT);
        assert_int_equal(there.recovered, cases[i].recovered);
        assert_view(&there.past, cases[i].first, cases[i].last, 0);
    }
    struct route_past past = {.since = true, .epoch = k.epoch, .offset = UINT64_MAX};
    struct route_state there = ask(&k, &past, 100);
    assert_false(there.recovered);
    history_view_fini(&there.past);
    /* Of another epoch: from the first on. */
    past = (struct route_past){.since = true, .epoch = k.epoch + 1, .offset = SENT};
    there = ask(&k, &past, 3);
    assert_false(there.recovered);
    assert_view(&there.past, FIRST, FIRST + 2, 0);
    past = (struct route_past){.newest = 3};
    there = ask(&k, &past, 3);
    assert_view(&there.past, SENT - 2, SENT, 0);
    kept_close(&k);
}

static void a_topic_that_is_not_there_has_no_epoch(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule rule = rule_keeping(5);
    struct route_past past = {.newest = 5};
    struct route_state there = route_history(&s->route, RULE, hash_of(s, T), T, &past, 5);
    assert_true(there.epoch == 0 && !there.keeps && there.offset == 0);
    history_view_fini(&there.past);
    there = route_history(&s->route, (struct route_rule){&rule, 1}, hash_of(s, T), T, &past, 5);
    assert_true(there.epoch == 0 && there.keeps);
    history_view_fini(&there.past);
    assert_null(topic_of(s, T)); /* asking makes none */
    scene_close(s);
}

/* A view is what was there when it was taken, whatever becomes of the topic. */
static void a_view_outlives_its_topic(void **state)
{
    (void)state;
    struct kept_scene k;
    kept_open(&k);
    struct route_past past = {.newest = UINT32_MAX};
    struct route_state there = ask(&k, &past, UINT32_MAX);
    publish_by(k.scene, k.by, T, SENT + 1, KEPT);
    struct rule none = rule_default;
    struct route_rule newer = {&none, 2};
    publish_by(k.scene, newer, T, 1, 1);
    assert_null(topic_of(k.scene, T));
    assert_view(&there.past, SENT - KEPT + 1, SENT, 0);
    kept_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscriber_gets_all_that_it_has_missed_or_nothing),
        cmocka_unit_test(at_every_offset_what_is_missed_is_there_or_was_evicted),
        cmocka_unit_test(who_wants_the_newest_gets_so_many_as_there_are),
        cmocka_unit_test(without_a_history_only_who_has_missed_nothing_is_recovered),
        cmocka_unit_test(who_comes_back_to_a_topic_made_anew_is_not_recovered),
        cmocka_unit_test(a_topic_begins_to_keep_with_its_first_message),
        cmocka_unit_test(the_last_piece_is_where_live_messages_begin),
        cmocka_unit_test(a_question_is_answered_with_what_is_there),
        cmocka_unit_test(a_topic_that_is_not_there_has_no_epoch),
        cmocka_unit_test(a_view_outlives_its_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
