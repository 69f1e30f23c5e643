/* What is asked of the workers from outside: who is connected, who subscribes, and who is to go. */
#include "session/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/dismissal.h"
#include "session/outside.h"
#include "session/roll.h"
#include "support/worker_harness.h"

/* Whoever asks: a loop and a mailbox, as the admin listener has. */
struct asker {
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
};

static void nothing(void *user)
{
    (void)user;
}

static void asker_open(struct asker *a)
{
    memset(a, 0, sizeof *a);
    assert_int_equal(uv_loop_init(&a->loop), 0);
    assert_int_equal(mailbox_open(&a->box, &a->loop, nothing, NULL), 0);
}

static void asker_close(struct asker *a)
{
    mailbox_close(&a->box);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    tray_fini(&a->tray);
    mailbox_fini(&a->box);
    assert_int_equal(uv_loop_close(&a->loop), 0);
}

/* Until the answer is there. */
static void asker_wait(struct asker *a, struct rig *r)
{
    for (int turns = 0; !mailbox_take(&a->box, &a->tray); turns++) {
        assert_true(turns < 1000);
        rig_turn(r);
    }
    while (a->tray.at < a->tray.count) {
        struct mail mail = a->tray.mails[a->tray.at++];
        assert_int_equal(mail.kind, MAIL_INQUIRY);
        inquiry_finish(mail.item);
    }
}

/* --- who is connected ------------------------------------------------------------------------- */

static void census_is_done(struct census *c, void *context)
{
    assert_false(c->failed);
    *(bool *)context = true;
}

static struct census *census_begin(
    struct asker *a, struct rig *r, enum census_sort sort, size_t limit, const char *user)
{
    struct text who = {NULL, 0};
    if (user)
        who = text_of(user);
    struct census *c = census_new(&r->shop, &a->box, sort, limit, who);
    assert_non_null(c);
    c->done = census_is_done;
    return c;
}

static void census_ask(struct asker *a, struct rig *r, struct census *c)
{
    bool done = false;
    c->context = &done;
    inquiry_ask(&c->inquiry, &r->shop, NULL);
    asker_wait(a, r);
    assert_true(done);
}

static void everyone_is_counted_and_the_first_are_told(void **state)
{
    enum { CLIENTS = 25, LIMIT = 7 };
    struct asker a;
    struct rig r;
    struct client clients[CLIENTS];
    uint64_t last = 0;
    size_t found = 0;
    (void)state;
    asker_open(&a);
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < CLIENTS; i++)
        client_open(&r, i % 2, &clients[i], 0);
    /* Page by page, each once, in the order of their ids. */
    for (;;) {
        struct census *c = census_begin(&a, &r, CENSUS_CLIENT, LIMIT, NULL);
        c->by_after = found > 0;
        c->after = last;
        census_ask(&a, &r, c);
        assert_int_equal(c->total, CLIENTS);
        assert_true(c->count <= LIMIT);
        size_t count = c->count;
        for (size_t i = 0; i < count; i++) {
            assert_true(found == 0 || c->rows[i].client > last);
            last = c->rows[i].client;
            found++;
        }
        census_free(c);
        if (count < LIMIT)
            break;
    }
    assert_int_equal(found, CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++)
        peer_drop(&clients[i].peer, false);
    rig_close(&r);
    asker_close(&a);
}

static void whoever_does_not_read_comes_first(void **state)
{
    struct asker a;
    struct rig r;
    struct client clients[6];
    (void)state;
    asker_open(&a);
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < 6; i++)
        client_open2(&r, i % 2, &clients[i], SMALL_BUFFER);
    block(clients[3].session, '1', 100000);
    block(clients[4].session, '1', 300000);
    struct census *c = census_begin(&a, &r, CENSUS_QUEUED, 3, NULL);
    census_ask(&a, &r, c);
    assert_int_equal(c->count, 3);
    assert_true(c->rows[0].client == clients[4].session->client);
    assert_true(c->rows[1].client == clients[3].session->client);
    assert_int_equal(c->rows[0].queued, outbox_unsent(&clients[4].session->out));
    assert_int_equal(c->rows[2].queued, 0);
    assert_true(c->rows[0].blocked && c->rows[0].enveloped && !c->rows[0].tls);
    assert_false(c->rows[2].blocked);
    assert_int_equal(c->rows[1].worker, 1);
    assert_null(c->rows[0].user);
    census_free(c);
    for (unsigned i = 0; i < 6; i++)
        peer_drop(&clients[i].peer, false);
    rig_close(&r);
    asker_close(&a);
}

static void filters_leave_out_the_others(void **state)
{
    struct asker a;
    struct rig r;
    struct client clients[4];
    (void)state;
    asker_open(&a);
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < 4; i++)
        client_open(&r, i % 2, &clients[i], 0);
    client_subscribe(&r, &clients[2], "a");
    client_subscribe(&r, &clients[2], "b");
    struct census *c = census_begin(&a, &r, CENSUS_AGE, 10, NULL);
    c->by_client = true;
    c->client = clients[2].session->client;
    census_ask(&a, &r, c);
    assert_int_equal(c->total, 1);
    assert_int_equal(c->count, 1);
    assert_int_equal(c->rows[0].topics, 2);
    census_free(c);
    c = census_begin(&a, &r, CENSUS_AGE, 10, "nobody");
    census_ask(&a, &r, c);
    assert_int_equal(c->total, 0);
    census_free(c);
    c = census_begin(&a, &r, CENSUS_UNSENT, 10, NULL);
    c->by_address = true;
    assert_true(endpoint_parse(&c->address, TEXT("1.2.3.4")));
    census_ask(&a, &r, c);
    assert_int_equal(c->total, 0);
    census_free(c);
    for (unsigned i = 0; i < 4; i++)
        peer_drop(&clients[i].peer, false);
    rig_close(&r);
    asker_close(&a);
}

/* --- who is to go ----------------------------------------------------------------------------- */

static void dismissal_is_done(struct dismissal *d, void *context)
{
    *(uint64_t *)context = d->count;
}

static uint64_t dismiss(
    struct asker *a, struct rig *r, uint64_t client, int code, const char *reason)
{
    uint64_t count = UINT64_MAX;
    struct dismissal *d =
        dismissal_new(&r->shop, &a->box, client, (struct text){NULL, 0}, code, text_of(reason));
    assert_non_null(d);
    d->done = dismissal_is_done;
    d->context = &count;
    inquiry_ask(&d->inquiry, &r->shop, NULL);
    asker_wait(a, r);
    dismissal_free(d);
    return count;
}

static void one_is_closed_with_the_code_and_reason_given(void **state)
{
    struct asker a;
    struct rig r;
    struct client one, other;
    const char *payload;
    size_t len;
    (void)state;
    asker_open(&a);
    rig_open(&r, 2, rig_limits());
    client_open(&r, 0, &one, 0);
    client_open(&r, 1, &other, 0);
    uint64_t id = other.session->client;
    assert_int_equal(dismiss(&a, &r, id + 1, 4000, "nobody"), 0);
    assert_int_equal(dismiss(&a, &r, id, 3210, "go away"), 1);
    assert_int_equal(client_next(&r, &other, &payload, &len), PEER_CLOSE);
    assert_int_equal(other.peer.close_code, 3210);
    assert_int_equal(len, 9);
    assert_memory_equal(payload + 2, "go away", 7);
    assert_int_equal(dismiss(&a, &r, id, 3210, "again"), 0); /* it is closing */
    assert_int_equal(rig_metric(&r, METRIC_closed_operator_total), 1);
    client_subscribe(&r, &one, "still here");
    peer_drop(&one.peer, false);
    peer_drop(&other.peer, false);
    rig_close(&r);
    asker_close(&a);
}

/* Seen to fail with rows of a part that is lost. */
static void of_a_worker_that_has_ended_nobody_is_told_and_a_dismissal_knows(void **state)
{
    struct asker a;
    struct rig r;
    struct client c[2];
    (void)state;
    asker_open(&a);
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < 2; i++)
        client_open(&r, i, &c[i], 0);
    uint64_t gone = c[1].session->client;
    struct census *census = census_begin(&a, &r, CENSUS_CLIENT, 10, NULL);
    bool done = false;
    census->context = &done;
    inquiry_ask(&census->inquiry, &r.shop, NULL);
    rig_turn(&r);
    assert_true(census->inquiry.parts[1].found.len > 0); /* it has looked, and then it ends */
    worker_inquiries_lose(&r.shop.workers[1]);
    client_drop(&r, &c[1]);
    asker_wait(&a, &r);
    assert_true(done);
    assert_int_equal(census->total, 1);
    assert_int_equal(census->count, 1);
    assert_true(census->rows[0].client == c[0].session->client);
    census_free(census);
    worker_drain(&r.shop.workers[1]);
    rig_settle(&r);
    struct dismissal *d =
        dismissal_new(&r.shop, &a.box, gone, (struct text){NULL, 0}, 4003, TEXT("x"));
    assert_non_null(d);
    uint64_t count = UINT64_MAX;
    d->done = dismissal_is_done;
    d->context = &count;
    inquiry_ask(&d->inquiry, &r.shop, NULL);
    asker_wait(&a, &r);
    assert_int_equal(count, 0);
    assert_true(d->ending);
    dismissal_free(d);
    client_drop(&r, &c[0]);
    rig_close(&r);
    asker_close(&a);
}

static void whoever_is_blocked_is_told_behind_the_frame_that_is_begun(void **state)
{
    struct asker a;
    struct rig r;
    struct client slow;
    const char *payload;
    size_t len;
    int got;
    (void)state;
    asker_open(&a);
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &slow, SMALL_BUFFER);
    block(slow.session, '1', 300000);
    session_send(slow.session, TEXT("\x81\x01"
                                    "7"));
    assert_int_equal(dismiss(&a, &r, slow.session->client, 4321, "too slow for me"), 1);
    assert_int_equal(client_next(&r, &slow, &payload, &len), PEER_TEXT);
    assert_int_equal(len, 300000);
    got = client_next(&r, &slow, &payload, &len);
    assert_int_equal(got, PEER_CLOSE);
    assert_int_equal(slow.peer.close_code, 4321);
    peer_drop(&slow.peer, false);
    rig_close(&r);
    asker_close(&a);
}

/* --- who subscribes --------------------------------------------------------------------------- */

static void roll_is_done(struct roll *roll, void *context)
{
    (void)roll;
    *(bool *)context = true;
}

static void a_roll_has_everyone_by_name_or_pattern_once(void **state)
{
    struct asker a;
    struct rig r;
    struct client clients[4];
    unsigned seen = 0;
    size_t count = 0;
    (void)state;
    asker_open(&a);
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < 4; i++)
        client_open2(&r, i % 2, &clients[i], 0);
    client_subscribe(&r, &clients[0], "t:1");
    client_subscribe_pattern(&r, &clients[1], "t:*");
    client_subscribe(&r, &clients[2], "t:1");
    client_subscribe_pattern(&r, &clients[2], "t:>");
    client_subscribe(&r, &clients[3], "t:2");
    struct roll *roll = roll_new(&r.shop, &a.box, TEXT("t:1"));
    bool done = false;
    assert_non_null(roll);
    roll->done = roll_is_done;
    roll->context = &done;
    inquiry_ask(&roll->inquiry, &r.shop, roll->workers);
    asker_wait(&a, &r);
    assert_true(done);
    for (unsigned i = 0; i < roll->inquiry.count; i++) {
        const struct buf *found = &roll->inquiry.parts[i].found;
        for (size_t at = 0; at < found->len; at += sizeof(uint64_t), count++) {
            uint64_t client;
            memcpy(&client, found->data + at, sizeof client);
            for (unsigned j = 0; j < 4; j++)
                if (client == clients[j].session->client)
                    seen |= 1U << j;
        }
    }
    assert_int_equal(count, 3);
    assert_int_equal(seen, 7);
    roll_free(roll);
    for (unsigned i = 0; i < 4; i++)
        peer_drop(&clients[i].peer, false);
    rig_close(&r);
    asker_close(&a);
}

/* --- publishing from outside ------------------------------------------------------------------ */

static void what_is_published_from_outside_is_numbered_and_comes_byte_for_byte(void **state)
{
    struct rig r;
    struct client c;
    struct route_result result;
    (void)state;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    assert_int_equal(shop_publish(&r.shop, TEXT("t"), TEXT("{\"a\":170.50, \"a\":1e400}"), &result),
        OUTSIDE_PUBLISHED);
    assert_int_equal(result.offset, 1);
    assert_int_equal(result.subscribers, 1);
    assert_true(result.epoch != 0);
    client_expect_just(&r, &c, "{\"a\":170.50, \"a\":1e400}");
    uint64_t epoch = result.epoch;
    assert_int_equal(shop_publish(&r.shop, TEXT("t"), TEXT("1"), &result), OUTSIDE_PUBLISHED);
    assert_int_equal(result.offset, 2);
    assert_true(result.epoch == epoch);
    assert_int_equal(shop_publish(&r.shop, TEXT("u"), TEXT("1"), &result), OUTSIDE_PUBLISHED);
    assert_int_equal(result.offset, 0);
    assert_int_equal(result.subscribers, 0);
    assert_true(result.epoch == 0);
    peer_drop(&c.peer, false);
    rig_close(&r);
}

static void what_may_not_be_published_is_refused(void **state)
{
    struct rig r;
    struct route_result result;
    struct session_limits limits = rig_limits();
    struct rule rule = rig_keeps("small", 1);
    (void)state;
    limits.message_bytes = 100;
    rule.max_bytes = 4;
    rule.publish = ACCESS_NOBODY; /* of clients */
    rig_open(&r, 1, limits);
    rig_use_rules(&r, &rule, 1);
    char large[128];
    memset(large, '1', sizeof large);
    struct text topic = TEXT("t");
    assert_int_equal(
        shop_publish(&r.shop, topic, (struct text){large, 101}, &result), OUTSIDE_TOO_LARGE);
    assert_int_equal(
        shop_publish(&r.shop, topic, (struct text){large, 100}, &result), OUTSIDE_PUBLISHED);
    assert_int_equal(shop_publish(&r.shop, TEXT(""), TEXT("1"), &result), OUTSIDE_BAD_TOPIC);
    assert_int_equal(shop_publish(&r.shop, TEXT("\n"), TEXT("1"), &result), OUTSIDE_BAD_TOPIC);
    assert_int_equal(shop_publish(&r.shop, topic, TEXT("{"), &result), OUTSIDE_BAD_DATA);
    assert_int_equal(shop_publish(&r.shop, topic, TEXT("\"\xff\""), &result), OUTSIDE_BAD_DATA);
    assert_int_equal(shop_publish(&r.shop, topic, TEXT(""), &result), OUTSIDE_BAD_DATA);
    assert_int_equal(
        shop_publish(&r.shop, TEXT("small"), TEXT("12345"), &result), OUTSIDE_TOO_LARGE);
    assert_int_equal(
        shop_publish(&r.shop, TEXT("small"), TEXT("1234"), &result), OUTSIDE_PUBLISHED);
    assert_int_equal(result.offset, 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyone_is_counted_and_the_first_are_told),
        cmocka_unit_test(whoever_does_not_read_comes_first),
        cmocka_unit_test(filters_leave_out_the_others),
        cmocka_unit_test(one_is_closed_with_the_code_and_reason_given),
        cmocka_unit_test(of_a_worker_that_has_ended_nobody_is_told_and_a_dismissal_knows),
        cmocka_unit_test(whoever_is_blocked_is_told_behind_the_frame_that_is_begun),
        cmocka_unit_test(a_roll_has_everyone_by_name_or_pattern_once),
        cmocka_unit_test(what_is_published_from_outside_is_numbered_and_comes_byte_for_byte),
        cmocka_unit_test(what_may_not_be_published_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
