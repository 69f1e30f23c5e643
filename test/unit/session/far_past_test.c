/* The past of far topics, of which only a part is kept here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "session/catch_up.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

#define EPOCH "\"epoch\":\"" FAKE_EPOCH_TEXT "\""

/* `t` is live here since it was at `offset`, and keeps 1000. */
static void open_all(struct rig *r, struct fake *f, struct client *c, uint64_t offset)
{
    struct rule rule = rig_keeps("t", 1000);
    rig_open(r, 1, rig_limits());
    rig_use_rules(r, &rule, 1);
    fake_open(f, r);
    client_open2(r, 0, c, 0);
    rig_settle(r);
    struct route *route = &r->shop.route;
    assert_true(route_follow(route, rig_rule(r, "t"), registry_hash(&route->registry, TEXT("t")),
        TEXT("t"), FAKE_EPOCH, offset));
}

static void close_all(struct rig *r, struct fake *f, struct client *c)
{
    client_drop(r, c);
    fake_close(f);
    rig_close(r);
}

static void relay(struct fake *f, int first, int last)
{
    for (int n = first; n <= last; n++) {
        char data[16];
        snprintf(data, sizeof data, "%d", n);
        assert_int_equal(fake_relay(f, "t", (uint64_t)n, data), RELAY_DONE);
    }
}

static void expect(struct rig *r, struct client *c, int first, int last)
{
    for (int n = first; n <= last; n++) {
        char start[96];
        snprintf(start, sizeof start, "{\"type\":\"message\",\"topic\":\"t\",\"data\":%d", n);
        client_expect(r, c, start);
    }
}

static void ask(struct client *c, const char *more)
{
    char text[192];
    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"t\"%s}", more);
    feed_text(c->session, text);
}

static void expect_ack(struct rig *r, struct client *c, const char *end)
{
    char text[512];
    client_take(r, c, text, sizeof text);
    assert_true(strncmp(text, "{\"type\":\"ack_subscribe\"", 23) == 0);
    assert_true(strlen(text) > strlen(end));
    assert_string_equal(text + strlen(text) - strlen(end), end);
}

static void what_is_kept_here_is_given_without_asking(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 10);
    relay(&f, 11, 13);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":11}");
    expect_ack(&r, &c, "\"offset\":13,\"recovered\":true}");
    expect(&r, &c, 12, 13);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":10}");
    expect_ack(&r, &c, "\"offset\":13,\"recovered\":true}");
    expect(&r, &c, 11, 13);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    ask(&c, ",\"replay\":2");
    expect_ack(&r, &c, "\"offset\":13}");
    expect(&r, &c, 12, 13);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    ask(&c, ",\"since\":{\"epoch\":\"1\",\"offset\":10}"); /* nobody has that any more */
    expect_ack(&r, &c, "\"offset\":13,\"recovered\":false}");
    fake_expect_nothing(&f);
    close_all(&r, &f, &c);
}

/* Seen to fail (recovered:false) without far_lacks_past, and (each twice, or a gap) when the
 * session joins with what is kept here alone. */
static void what_is_older_is_fetched_in_pieces(void **state)
{
    (void)state;
    enum { SIZE = 60 * 1000, PIECE = 5 /* of these are more than a piece */ };
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    relay(&f, 21, 22);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":7}");
    struct errand *e = fake_take(&f, ERRAND_FETCH, "t");
    assert_int_equal(e->from, 8);
    client_expect_nothing(&r, &c);
    fake_find(&f, e, 3, 22, 22, SIZE);
    rig_settle(&r);
    expect_ack(&r, &c, "\"offset\":22,\"recovered\":true}");
    int next = 8;
    int pieces = 1;
    for (;; pieces++) {
        expect(&r, &c, next, next + PIECE - 1);
        next += PIECE;
        relay(&f, 22 + pieces, 22 + pieces); /* and meanwhile it goes on */
        if (next > 20)
            break; /* the rest is kept here */
        e = fake_take(&f, ERRAND_FETCH, "t");
        assert_int_equal(e->from, next);
        fake_find(&f, e, 3, 22, 22, SIZE);
    }
    assert_int_equal(pieces, 3);
    struct relay_place place;
    assert_true(route_place(
        &r.shop.route, registry_hash(&r.shop.route.registry, TEXT("t")), TEXT("t"), &place));
    expect(&r, &c, next, (int)place.offset);
    client_expect_nothing(&r, &c);
    relay(&f, (int)place.offset + 1, (int)place.offset + 1);
    expect(&r, &c, (int)place.offset + 1, (int)place.offset + 1);
    close_all(&r, &f, &c);
}

static void a_replay_is_fetched_where_too_few_are_kept_here(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    relay(&f, 21, 22);
    ask(&c, ",\"replay\":5");
    struct errand *e = fake_take(&f, ERRAND_FETCH, "t");
    assert_int_equal(e->from, 18);
    fake_find(&f, e, 1, 22, 22, 1);
    expect_ack(&r, &c, "\"offset\":22}");
    expect(&r, &c, 18, 22);
    relay(&f, 23, 23);
    expect(&r, &c, 23, 23);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    ask(&c, ",\"replay\":30"); /* of which Redis has no more than these */
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 21, 23, 23, 1);
    expect_ack(&r, &c, "\"offset\":23}");
    expect(&r, &c, 21, 23);
    client_expect_nothing(&r, &c);
    assert_int_equal(c.session->subscriber.count, 1);
    close_all(&r, &f, &c);
}

static void what_redis_has_no_more_is_not_recovered(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":7}");
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 9, 20, 20, 1);
    expect_ack(&r, &c, "\"offset\":20,\"recovered\":false}");
    client_expect_nothing(&r, &c);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":7}");
    fake_return(&f, fake_take(&f, ERRAND_FETCH, "t"), ERRAND_UNAVAILABLE);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    assert_int_equal(c.session->subscriber.count, 0);
    close_all(&r, &f, &c);
}

/* Seen to fail (recovered:false) when offsets past the own one are not asked for, and (some come
 * twice) when it does not wait. */
static void who_was_further_elsewhere_waits_for_this_broker(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":23}");
    struct errand *e = fake_take(&f, ERRAND_FETCH, "t");
    assert_int_equal(e->from, 24);
    fake_find(&f, e, 1, 24, 24, 1);
    expect_ack(&r, &c, "\"offset\":23,\"recovered\":true}");
    expect(&r, &c, 24, 24);
    assert_int_equal(c.session->catching, 1);
    relay(&f, 21, 23);
    client_expect_nothing(&r, &c);
    assert_int_equal(c.session->catching, 1);
    relay(&f, 24, 26);
    expect(&r, &c, 25, 26);
    client_expect_nothing(&r, &c);
    assert_int_equal(c.session->catching, 0);
    relay(&f, 27, 27);
    expect(&r, &c, 27, 27);
    assert_int_equal(client_leave(&c, "t"), LEAVE_OK);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":99}"); /* where nobody has been */
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 1, 27, 27, 1);
    expect_ack(&r, &c, "\"offset\":27,\"recovered\":false}");
    close_all(&r, &f, &c);
}

/* Seen to fail (it waits for ever) without the comparison of epochs. */
static void offsets_may_start_anew_meanwhile(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct route *route = &r.shop.route;
    open_all(&r, &f, &c, 20);
    uint64_t hash = registry_hash(&route->registry, TEXT("t"));
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":23}");
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 1, 23, 23, 1);
    expect_ack(&r, &c, "\"recovered\":true}");
    route_renumber(route, hash, TEXT("t"), 0xdef, 2);
    struct message *m = message_new(3);
    memcpy(m->frames,
        "\x81\x01"
        "3",
        3);
    m->offset = 3;
    assert_int_equal(
        route_relay(route, rig_rule(&r, "t"), hash, TEXT("t"), 0xdef, m).result, RELAY_DONE);
    message_drop(m);
    client_expect_just(&r, &c,
        "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":2,\"epoch\":\"0000000000000def\"}");
    expect(&r, &c, 3, 3);
    client_expect_nothing(&r, &c);
    assert_int_equal(c.session->catching, 0);
    close_all(&r, &f, &c);
}

/* Seen to ask for ever without `gone`. */
static void what_goes_while_it_catches_up_is_told_by_a_gap(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct rig r;
        struct fake f;
        struct client c;
        open_all(&r, &f, &c, 20);
        relay(&f, 21, 22);
        ask(&c, ",\"since\":{" EPOCH ",\"offset\":7}");
        struct errand *e = fake_take(&f, ERRAND_FETCH, "t");
        fake_find(&f, e, 1, 9, 22, 1); /* a piece: 8 and 9 */
        expect_ack(&r, &c, "\"offset\":22,\"recovered\":true}");
        expect(&r, &c, 8, 9);
        e = fake_take(&f, ERRAND_FETCH, "t");
        assert_int_equal(e->from, 10);
        e->refused = how == 1;
        if (how == 0)
            fake_find(&f, e, 15, 22, 22, 1);
        else
            fake_return(&f, e, ERRAND_UNAVAILABLE);
        client_expect_just(
            &r, &c, "{\"type\":\"gap\",\"topic\":\"t\",\"from\":10,\"to\":%d}", how == 0 ? 14 : 20);
        expect(&r, &c, how == 0 ? 15 : 21, 22);
        client_expect_nothing(&r, &c);
        assert_int_equal(c.session->subscriber.count, 1);
        fake_expect_nothing(&f);
        close_all(&r, &f, &c);
    }
}

static void a_session_may_end_while_a_piece_is_fetched(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    ask(&c, ",\"since\":{" EPOCH ",\"offset\":7}");
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 1, 9, 20, 1);
    rig_settle(&r);
    struct errand *e = fake_try(&f);
    assert_non_null(e);
    client_drop(&r, &c);
    fake_find(&f, e, 1, 20, 20, 1);
    fake_close(&f);
    rig_close(&r);
}

static void history_is_fetched_where_not_enough_is_kept_here(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    relay(&f, 21, 22);
    feed_text(c.session, "{\"type\":\"history\",\"topic\":\"t\",\"limit\":2}");
    client_expect_just(&r, &c,
        "{\"type\":\"history\",\"topic\":\"t\"," EPOCH
        ",\"offset\":22,\"messages\":[{\"offset\":21,\"data\":21},{\"offset\":22,\"data\":22}]}");
    feed_text(c.session, "{\"type\":\"history\",\"topic\":\"t\",\"limit\":3,\"id\":1}");
    struct errand *e = fake_take(&f, ERRAND_FETCH, "t");
    assert_int_equal(e->from, 0);
    assert_int_equal(e->most, 3);
    fake_find(&f, e, 1, 22, 22, 1);
    client_expect_just(&r, &c,
        "{\"type\":\"history\",\"topic\":\"t\"," EPOCH
        ",\"offset\":22,\"messages\":[{\"offset\":20,\"data\":20},{\"offset\":21,\"data\":21},{"
        "\"offset\":22,\"data\":22}],\"id\":1}");
    feed_text(c.session,
        "{\"type\":\"history\",\"topic\":\"t\",\"limit\":2,\"since\":{" EPOCH ",\"offset\":11}}");
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 1, 22, 22, 1);
    client_expect_just(&r, &c,
        "{\"type\":\"history\",\"topic\":\"t\"," EPOCH ",\"offset\":22,\"recovered\":true,"
        "\"messages\":[{\"offset\":12,\"data\":12},{\"offset\":13,\"data\":13}]}");
    feed_text(c.session, "{\"type\":\"history\",\"topic\":\"t\"}");
    fake_return(&f, fake_take(&f, ERRAND_FETCH, "t"), ERRAND_UNAVAILABLE);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    feed_text(c.session, "{\"type\":\"history\",\"topic\":\"none\"}");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"no_history\"");
    close_all(&r, &f, &c);
}

/* Seen to fail (there are none, it is said, of no epoch) when only what is kept here is looked at.
 */
static void history_that_cannot_be_asked_for_is_unavailable(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct rule rule = rig_keeps("cold", 9);
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    fake_open(&f, &r);
    client_open2(&r, 0, &c, 0);
    rig_settle(&r);
    feed_text(c.session, "{\"type\":\"history\",\"topic\":\"cold\"}");
    fake_return(&f, fake_take(&f, ERRAND_FETCH, "cold"), ERRAND_UNAVAILABLE);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    feed_text(
        c.session, "{\"type\":\"history\",\"topic\":\"cold\",\"since\":{" EPOCH ",\"offset\":1}}");
    fake_return(&f, fake_take(&f, ERRAND_FOLLOW, "cold"), ERRAND_UNAVAILABLE);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    client_drop(&r, &c);
    fake_close(&f);
    rig_close(&r);
}

/* --- one at a time ---------------------------------------------------------------------------- */

/* As they are taken, for nothing else may be asked for meanwhile. */
static struct errand *take_only(struct fake *f, const char *name)
{
    struct errand *e = fake_take(f, ERRAND_FETCH, name);
    fake_expect_nothing(f);
    return e;
}

/* Or one session has Redis fetch hundreds of them, whether or not it can be afforded. Seen to fail
 * where what is behind is fetched meanwhile. */
static void histories_are_fetched_one_after_the_other(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c, 20);
    for (int i = 0; i < 3; i++)
        add_text(&b, "{\"type\":\"history\",\"topic\":\"t\",\"limit\":5}");
    feed(c.session, &b);
    for (int i = 0; i < 3; i++) {
        struct errand *e = take_only(&f, "t");
        fake_find(&f, e, 1, 20, 20, 1);
        client_expect(&r, &c, "{\"type\":\"history\"");
    }
    fake_expect_nothing(&f);
    assert_int_equal(r.shop.workers[0].parked_bytes, 0);
    close_all(&r, &f, &c);
}

/* Seen to fail where the worker's limit is not asked before. */
static void a_history_that_cannot_be_afforded_is_not_fetched(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c, 20);
    for (int i = 0; i < 2; i++)
        add_text(&b, "{\"type\":\"history\",\"topic\":\"t\",\"limit\":5}");
    feed(c.session, &b);
    struct errand *e = take_only(&f, "t");
    r.shop.workers[0].listing = INT64_MIN / 2; /* others have listed so much */
    fake_find(&f, e, 1, 20, 20, 1);
    client_expect(&r, &c, "{\"type\":\"history\"");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"rate_limited\"");
    fake_expect_nothing(&f);
    r.shop.workers[0].listing = 0;
    close_all(&r, &f, &c);
}

static void make_live(struct fake *f, const char *topic, uint64_t offset)
{
    struct route *route = &f->rig->shop.route;
    assert_true(route_follow(route, rig_rule(f->rig, topic),
        registry_hash(&route->registry, text_of(topic)), text_of(topic), FAKE_EPOCH, offset));
}

/* Topics a, b and c, which are live since offset 20; and all that they keep is wanted of them. */
static void ask_for_three(struct rig *r, struct fake *f, struct client *c)
{
    struct rule rules[3] = {rig_keeps("a", 1000), rig_keeps("b", 1000), rig_keeps("c", 1000)};
    rig_open(r, 1, rig_limits());
    rig_use_rules(r, rules, 3);
    fake_open(f, r);
    client_open2(r, 0, c, 0);
    rig_settle(r);
    make_live(f, "a", 20);
    make_live(f, "b", 20);
    make_live(f, "c", 20);
    feed_text(c->session, "{\"type\":\"subscribe\",\"topics\":[\"a\",\"b\",\"c\"],\"replay\":20}");
}

static void expect_of(struct rig *r, struct client *c, const char *topic, int first, int last)
{
    for (int n = first; n <= last; n++) {
        char start[96];
        snprintf(
            start, sizeof start, "{\"type\":\"message\",\"topic\":\"%s\",\"data\":%d,", topic, n);
        client_expect(r, c, start);
    }
}

/* Seen to fail where each of the names is asked for at once, and where each that catches up fetches
 * whatever the session's others do. */
static void a_session_fetches_for_one_of_its_topics_at_a_time(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    struct rig r;
    struct fake f;
    struct client c;
    ask_for_three(&r, &f, &c);
    fake_find(&f, take_only(&f, "a"), 1, 5, 20, 1);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    expect_of(&r, &c, "a", 1, 5);
    /* The next command's first piece, and the rest of a. */
    struct errand *first = fake_take(&f, ERRAND_FETCH, "b");
    struct errand *rest = take_only(&f, "a");
    fake_find(&f, first, 1, 5, 20, 1);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"b\"");
    expect_of(&r, &c, "b", 1, 5);
    fake_find(&f, take_only(&f, "c"), 1, 5, 20, 1);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"c\"");
    expect_of(&r, &c, "c", 1, 5);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rest->from, 6);
        assert_true(text_equal(rest->name, text_of(names[i])));
        fake_expect_nothing(&f);
        fake_find(&f, rest, 1, 20, 20, 1);
        expect_of(&r, &c, names[i], 6, 20);
        rest = i < 2 ? fake_take(&f, ERRAND_FETCH, names[i + 1]) : NULL;
    }
    fake_expect_nothing(&f);
    assert_int_equal(c.session->subscriber.count, 3);
    assert_false(c.session->fetching);
    assert_int_equal(r.shop.workers[0].catching_found, 0);
    close_all(&r, &f, &c);
}

/* Seen to fail where all that was found is held until it is read. */
static void what_was_fetched_for_who_does_not_read_is_let_go_of_and_fetched_anew(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c, 20);
    struct worker *w = &r.shop.workers[0];
    ask(&c, ",\"replay\":20");
    fake_find(&f, fake_take(&f, ERRAND_FETCH, "t"), 1, 5, 20, 1);
    expect_ack(&r, &c, "\"offset\":20}");
    expect(&r, &c, 1, 5);
    struct errand *e = fake_take(&f, ERRAND_FETCH, "t");
    c.session->blocked = true;
    fake_find(&f, e, 1, 10, 20, 1);
    rig_settle(&r);
    assert_true(w->catching_found > 0); /* there is room for it */
    w->catching_found += 64 << 20;      /* of others */
    rig_settle(&r);
    w->catching_found -= 64 << 20;
    assert_int_equal(w->catching_found, 0);
    c.session->blocked = false;
    e = fake_take(&f, ERRAND_FETCH, "t");
    assert_int_equal(e->from, 6);
    fake_find(&f, e, 1, 20, 20, 1);
    expect(&r, &c, 6, 20);
    assert_int_equal(w->catching_found, 0);
    close_all(&r, &f, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_here_is_given_without_asking),
        cmocka_unit_test(what_is_older_is_fetched_in_pieces),
        cmocka_unit_test(a_replay_is_fetched_where_too_few_are_kept_here),
        cmocka_unit_test(what_redis_has_no_more_is_not_recovered),
        cmocka_unit_test(who_was_further_elsewhere_waits_for_this_broker),
        cmocka_unit_test(offsets_may_start_anew_meanwhile),
        cmocka_unit_test(what_goes_while_it_catches_up_is_told_by_a_gap),
        cmocka_unit_test(a_session_may_end_while_a_piece_is_fetched),
        cmocka_unit_test(history_is_fetched_where_not_enough_is_kept_here),
        cmocka_unit_test(history_that_cannot_be_asked_for_is_unavailable),
        cmocka_unit_test(histories_are_fetched_one_after_the_other),
        cmocka_unit_test(a_history_that_cannot_be_afforded_is_not_fetched),
        cmocka_unit_test(a_session_fetches_for_one_of_its_topics_at_a_time),
        cmocka_unit_test(what_was_fetched_for_who_does_not_read_is_let_go_of_and_fetched_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
