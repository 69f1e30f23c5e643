/* What happens just when a stripe's lock is given back: the locks here are the test's own, and call
 * it at that moment, as another thread might come in then. */
#include "broker/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void (*given)(void); /* called once, when a stripe is given */
static void (*asked)(void); /* called once, when the index of the patterns is given */

void lock_init(struct lock *l, enum lock_rank rank)
{
    l->rank = rank;
}

void lock_fini(struct lock *l)
{
    (void)l;
}

void lock_take(struct lock *l) NO_THREAD_SAFETY_ANALYSIS
{
    (void)l;
}

void lock_give(struct lock *l) NO_THREAD_SAFETY_ANALYSIS
{
    void (**hook)(void) = l->rank == LOCK_STRIPE ? &given : &asked;
    void (*call)(void) = *hook;
    if ((l->rank != LOCK_STRIPE && l->rank != LOCK_PATTERNS) || !call)
        return;
    *hook = NULL;
    call();
}

static struct mailbox box;
static struct mailbox *boxes[] = {&box};
static struct tray tray;
static struct tray between;
static struct route route;
static uv_loop_t loop;

static int rings;

static void ring(void *user)
{
    (void)user;
    rings++;
}

static int setup(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    mailbox_open(&box, &loop, ring, NULL);
    route.boxes = boxes;
    route.crowded = 1 << 20;
    route_init(&route, 1, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mailbox_close(&box);
    uv_run(&loop, UV_RUN_DEFAULT);
    mailbox_fini(&box);
    tray_fini(&tray);
    tray_fini(&between);
    route_fini(&route);
    return uv_loop_close(&loop);
}

static const struct text T = {"t", 1};
static const struct route_rule RULE = {&rule_default, 0};

static struct text name = {"t", 1}; /* what is published to */

static void publish_by(struct route_rule rule)
{
    struct message *m = message_new(3);
    memcpy(m->frames, "\x81\x01x", 3);
    route_publish(&route, rule, registry_hash(&route.registry, name), name, m);
}

static void publish_one(void)
{
    publish_by(RULE);
}

static struct registry_topic *subscribe(void)
{
    uint64_t hash = registry_hash(&route.registry, T);
    return route_subscribe(&route, RULE, 0, &tray, hash, T, false, NULL).topic;
}

static void drop_all(struct tray *t)
{
    while (t->at < t->count)
        message_drop(t->mails[t->at++].item);
}

/* Broken by mail that is taken after the stripe was given: fails. In a broker a message published
 * between the two would be delivered before its subscriber joins. */
static void the_tray_ends_where_the_subscription_begins(void **state)
{
    (void)state;
    struct registry_topic *topic = subscribe();
    publish_one();
    given = publish_one;
    subscribe();
    assert_int_equal(tray.count - tray.at, 1); /* the one before */
    drop_all(&tray);
    assert_true(mailbox_take(&box, &tray)); /* the one behind */
    assert_int_equal(tray.count - tray.at, 1);
    drop_all(&tray);
    route_unsubscribe(&route, 0, topic, false, false);
    route_unsubscribe(&route, 0, topic, true, false);
}

static void look(void)
{
    mailbox_take(&box, &between);
}

/* Broken by a post after the stripe was given: fails. In a broker another publisher's message with
 * a higher number could be posted between the two. */
static void a_numbered_message_is_posted_before_the_stripe_is_given(void **state)
{
    (void)state;
    struct registry_topic *topic = subscribe();
    given = look;
    publish_one();
    assert_int_equal(between.count - between.at, 1);
    drop_all(&between);
    route_unsubscribe(&route, 0, topic, true, false);
}

static int rings_before;

static void listen_for_rings(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    rings_before = rings;
}

/* Broken by mailbox_post in place of mailbox_put: fails; without the ring: hangs. */
static void a_sleeping_worker_is_woken_when_the_stripe_is_free(void **state)
{
    (void)state;
    struct registry_topic *topic = subscribe();
    rings = 0;
    assert_true(mailbox_sleep(&box));
    given = listen_for_rings;
    publish_one();
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(rings_before, 0);
    assert_int_equal(rings, 1);
    mailbox_take(&box, &tray);
    drop_all(&tray);
    route_unsubscribe(&route, 0, topic, true, false);
}

/* --- what is kept, beside it ------------------------------------------------------------------ */

/* Broken by a view that is taken after the stripe was given: fails. In a broker a message would be
 * replayed and delivered too, or neither. */
static void the_view_ends_where_the_subscription_begins(void **state)
{
    (void)state;
    struct rule rule = rule_default;
    rule.history.messages = 10;
    const struct route_rule keeping = {&rule, 1};
    const struct route_past all = {.newest = UINT32_MAX};
    uint64_t hash = registry_hash(&route.registry, T);
    uint64_t offset = 0;
    struct text data;
    publish_by(keeping);
    publish_by(keeping);
    given = publish_one;
    struct route_joined joined = route_subscribe(&route, keeping, 0, &tray, hash, T, false, &all);
    assert_true(joined.offset == 2);
    assert_true(history_view_next(&joined.past, &offset, &data));
    assert_true(history_view_next(&joined.past, &offset, &data));
    assert_true(offset == 2);
    assert_false(history_view_next(&joined.past, &offset, &data));
    history_view_fini(&joined.past);
    assert_int_equal(tray.count - tray.at, 0);
    assert_true(mailbox_take(&box, &tray)); /* the third */
    assert_int_equal(tray.count - tray.at, 1);
    assert_true(((struct message *)tray.mails[tray.at].item)->offset == 3);
    drop_all(&tray);
    route_unsubscribe(&route, 0, joined.topic, true, false);
}

/* --- patterns, beside it ---------------------------------------------------------------------- */

static const struct text ANY = {">", 1};
static struct pattern *newer;

/* Another worker's subscribe, and another publisher's message. */
static void a_pattern_comes_and_a_message(void)
{
    newer = patterns_join(&route.patterns, registry_hash(&route.registry, ANY), ANY, 0, false);
    publish_one();
}

/* Whoever has got a message by a pattern gets all behind it. Seen to fail when the answer of the
 * index is used though a pattern has come since. */
static void no_message_goes_by_older_patterns_than_the_one_before_it(void **state)
{
    (void)state;
    const struct text star = {"*", 1};
    uint64_t hash = registry_hash(&route.registry, star);
    struct pattern *older = patterns_join(&route.patterns, hash, star, 0, false);
    asked = a_pattern_comes_and_a_message;
    publish_one();
    assert_true(mailbox_take(&box, &tray));
    assert_int_equal(tray.count - tray.at, 2);
    for (uint64_t offset = 1; offset <= 2; offset++) {
        struct message *m = tray.mails[tray.at++].item;
        assert_true(m->offset == offset);
        assert_non_null(m->matches);
        assert_int_equal(m->matches->count, 2);
        assert_ptr_equal(m->matches->patterns[0], older);
        assert_ptr_equal(m->matches->patterns[1], newer);
        message_drop(m);
    }
    patterns_leave(&route.patterns, older, 0, true, false);
    patterns_leave(&route.patterns, newer, 0, true, false);
}

/* The same where so many match that the topic does not remember them. Seen to fail when the answer
 * is only thrown away for one that the topic has. */
static void nor_does_one_that_too_many_patterns_match(void **state)
{
    (void)state;
    enum { MANY = 100, SEGMENTS = 7 };
    struct pattern *patterns[MANY];
    name = (struct text){"a:b:c:d:e:f:g", 2 * SEGMENTS - 1};
    for (int i = 0; i < MANY; i++) { /* each segment itself, or any */
        char text[] = "a:b:c:d:e:f:g";
        for (int k = 0; k < SEGMENTS; k++)
            if (i >> k & 1)
                text[2 * k] = '*';
        const struct text pattern = {text, name.len};
        patterns[i] = patterns_join(
            &route.patterns, registry_hash(&route.registry, pattern), pattern, 0, false);
    }
    asked = a_pattern_comes_and_a_message;
    publish_one();
    assert_true(mailbox_take(&box, &tray));
    assert_int_equal(tray.count - tray.at, 2);
    for (uint64_t offset = 1; offset <= 2; offset++) {
        struct message *m = tray.mails[tray.at++].item;
        assert_true(m->offset == offset);
        assert_int_equal(m->matches->count, MANY + 1);
        assert_ptr_equal(m->matches->patterns[MANY], newer);
        message_drop(m);
    }
    for (int i = 0; i < MANY; i++)
        patterns_leave(&route.patterns, patterns[i], 0, true, false);
    patterns_leave(&route.patterns, newer, 0, true, false);
    name = T;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            the_tray_ends_where_the_subscription_begins, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_numbered_message_is_posted_before_the_stripe_is_given, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_sleeping_worker_is_woken_when_the_stripe_is_free, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_view_ends_where_the_subscription_begins, setup, teardown),
        cmocka_unit_test_setup_teardown(
            no_message_goes_by_older_patterns_than_the_one_before_it, setup, teardown),
        cmocka_unit_test_setup_teardown(nor_does_one_that_too_many_patterns_match, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
