/* In what order answers come where publishes are numbered elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "session/parked.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

enum { MANY = 4000 };

static void open_all(struct rig *r, struct fake *f, struct client *c)
{
    rig_open(r, 1, rig_limits());
    fake_open(f, r);
    client_open2(r, 0, c, 0);
}

static void close_all(struct rig *r, struct fake *f, struct client *c)
{
    client_drop(r, c);
    assert_int_equal(r->shop.workers[0].parked_bytes, 0);
    fake_close(f);
    rig_close(r);
}

static void publish(struct client *c, const char *topic, int id)
{
    char text[100];
    snprintf(text, sizeof text, "{\"type\":\"publish\",\"topic\":\"%s\",\"data\":1,\"id\":%d}",
        topic, id);
    feed_text(c->session, text);
}

static void expect_ack(struct rig *r, struct client *c, const char *topic, int id)
{
    client_expect_just(r, c,
        "{\"type\":\"ack_publish\",\"topic\":\"%s\",\"offset\":1,\"subscribers\":0,\"id\":%d}",
        topic, id);
}

/* Seen to fail when each is answered as it comes back. */
static void what_comes_back_early_is_answered_in_turn(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    publish(&c, "a", 1);
    publish(&c, "b", 2);
    publish(&c, "c", 3);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"d\",\"data\":1}");
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"e\",\"data\":1}");
    feed_text(c.session, "{\"type\":\"ping\",\"id\":4}");
    struct errand *a = fake_take(&f, ERRAND_PUBLISH, "a");
    struct errand *b = fake_take(&f, ERRAND_PUBLISH, "b");
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "c"), 1, 0);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "d"), 1, 0); /* nobody wants to know */
    fake_return(&f, fake_take(&f, ERRAND_PUBLISH, "e"), ERRAND_UNAVAILABLE);
    client_expect_nothing(&r, &c);
    fake_number(&f, b, 1, 0);
    client_expect_nothing(&r, &c);
    fake_number(&f, a, 1, 0);
    expect_ack(&r, &c, "a", 1);
    expect_ack(&r, &c, "b", 2);
    expect_ack(&r, &c, "c", 3);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    client_expect_just(&r, &c, "{\"type\":\"pong\",\"id\":4}");
    client_expect_nothing(&r, &c);
    assert_null(c.session->aside);
    close_all(&r, &f, &c);
}

/* Whoever is not answered comes back without waking the worker, as long as nobody waits for it.
 * Seen to fail: the answer stayed until something else came. */
static void those_before_an_answer_are_hurried(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct errand *before[3];
    open_all(&r, &f, &c);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"x\",\"data\":1}");
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"y\",\"data\":1}");
    publish(&c, "a", 1);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"z\",\"data\":1}");
    publish(&c, "b", 2);
    before[0] = fake_take(&f, ERRAND_PUBLISH, "x");
    before[1] = fake_take(&f, ERRAND_PUBLISH, "y");
    struct errand *a = fake_take(&f, ERRAND_PUBLISH, "a");
    before[2] = fake_take(&f, ERRAND_PUBLISH, "z");
    struct errand *b = fake_take(&f, ERRAND_PUBLISH, "b");
    fake_number(&f, a, 1, 0);
    rig_settle(&r);
    assert_true(atomic_load(&before[0]->hurry) && atomic_load(&before[1]->hurry));
    assert_false(atomic_load(&before[2]->hurry));
    fake_number(&f, b, 1, 0);
    rig_settle(&r);
    assert_true(atomic_load(&before[2]->hurry));
    for (int i = 0; i < 3; i++)
        fake_number(&f, before[i], 1, 0);
    expect_ack(&r, &c, "a", 1);
    expect_ack(&r, &c, "b", 2);
    client_expect_nothing(&r, &c);
    close_all(&r, &f, &c);
}

static void who_ends_meanwhile_leaves_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    publish(&c, "a", 1);
    publish(&c, "b", 2);
    struct errand *a = fake_take(&f, ERRAND_PUBLISH, "a");
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "b"), 1, 0);
    rig_settle(&r);
    assert_true(r.shop.workers[0].parked_bytes > 0);
    session_end(c.session, CLOSE_LOST, true);
    assert_int_equal(r.shop.workers[0].parked_bytes, 0);
    fake_number(&f, a, 1, 0);
    rig_settle(&r);
    close_all(&r, &f, &c);
}

/* What waits for its turn takes memory: whoever makes too much of it is not read from. */
static void too_many_answers_that_wait_hold_their_session(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    char topic[20];
    int count = 2;
    open_all(&r, &f, &c);
    publish(&c, "first", 1);
    struct errand *first = fake_take(&f, ERRAND_PUBLISH, "first");
    for (; !c.session->held && count < MANY; count++) {
        snprintf(topic, sizeof topic, "t%d", count);
        publish(&c, topic, count);
        fake_number(&f, fake_take(&f, ERRAND_PUBLISH, topic), 1, 0);
        rig_settle(&r);
    }
    assert_true(count < MANY);
    fake_number(&f, first, 1, 0);
    expect_ack(&r, &c, "first", 1);
    for (int i = 2; i < count; i++) {
        snprintf(topic, sizeof topic, "t%d", i);
        expect_ack(&r, &c, topic, i);
    }
    assert_false(c.session->held);
    close_all(&r, &f, &c);
}

/* So much mail comes with it that it takes more than one turn. Seen to fail when commands that wait
 * go on before the answer is sent. */
static void an_answer_to_what_was_published_comes_before_the_pong_under_load(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c, d;
    struct buf b = {0};
    struct errand *e;
    open_all(&r, &f, &c);
    client_open2(&r, 0, &d, 0);
    publish(&c, "a", 1);
    feed_text(c.session, "{\"type\":\"ping\",\"id\":2}");
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "a"), 1, 0);
    for (int i = 0; i < MANY; i++)
        add_text(&b, i % 2 ? "{\"topic\":\"x\",\"data\":1}" : "{\"topic\":\"y\",\"data\":1}");
    feed(d.session, &b);
    while ((e = fake_try(&f)) != NULL)
        fake_return(&f, e, ERRAND_DONE);
    expect_ack(&r, &c, "a", 1);
    client_expect_just(&r, &c, "{\"type\":\"pong\",\"id\":2}");
    client_drop(&r, &d);
    close_all(&r, &f, &c);
}

/* What the cluster thread does while the worker does something else. */
static struct fake *meanwhile_in;

static void meanwhile(struct errand *e)
{
    (void)e;
    assert_int_equal(fake_relay(meanwhile_in, "m", 1, "1"), RELAY_DONE);
}

/* Seen to fail when only the mailbox is looked at. */
static void a_worker_does_not_sleep_while_mail_that_it_took_waits(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c, d;
    struct errand while_mail = {.kind = ERRAND_FOLLOW, .done = meanwhile, .lost = meanwhile};
    open_all(&r, &f, &c);
    client_open2(&r, 0, &d, 0);
    struct worker *w = &r.shop.workers[0];
    meanwhile_in = &f;
    while_mail.home = &w->box;
    feed_text(d.session, "{\"type\":\"subscribe\",\"topic\":\"m\"}");
    fake_follow(&f, fake_take(&f, ERRAND_FOLLOW, "m"), 0);
    client_expect(&r, &d, "{\"type\":\"ack_subscribe\"");
    feed_text(c.session, "{\"type\":\"subscribe\",\"topic\":\"t\"}");
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"u\",\"data\":1}");
    feed_text(c.session, "{\"type\":\"ping\",\"id\":1}");
    struct errand *follow = fake_take(&f, ERRAND_FOLLOW, "t");
    rig_settle(&r);
    backplane_return(&while_mail, false);
    fake_return(&f, follow, ERRAND_UNAVAILABLE);
    rig_turn(&r);
    assert_true(w->tray.at == w->tray.count || uv_is_active((uv_handle_t *)&w->unfinished));
    client_expect(&r, &d, "{\"type\":\"message\",\"topic\":\"m\"");
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "u"), 1, 0);
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"unavailable\"");
    client_expect_just(&r, &c, "{\"type\":\"pong\",\"id\":1}");
    client_drop(&r, &d);
    close_all(&r, &f, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_back_early_is_answered_in_turn),
        cmocka_unit_test(those_before_an_answer_are_hurried),
        cmocka_unit_test(who_ends_meanwhile_leaves_nothing),
        cmocka_unit_test(too_many_answers_that_wait_hold_their_session),
        cmocka_unit_test(an_answer_to_what_was_published_comes_before_the_pong_under_load),
        cmocka_unit_test(a_worker_does_not_sleep_while_mail_that_it_took_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
