/* Who a session is by its token, at the seams that the tests from outside do not reach: the clock,
 * and what is on its way while a token changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <time.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "session/bearer.h"
#include "support/worker_harness.h"
#include "unit/auth/tokens.h"

enum { HOUR_MS = 3600 * 1000 };

static uint64_t now_s(void)
{
    return (uint64_t)time(NULL);
}

/* Puts keys in force: SECRET, and a deny list. */
static void use_keys(struct rig *r, const char *deny)
{
    char error[300] = "";
    struct file file = file_of(deny);
    struct auth_settings settings = {
        .secret = SECRET, .secret_name = "secret", .deny_file = file.path, .leeway = 5};
    struct auth_keys *keys;
    assert_int_equal(auth_keys_load(&settings, &keys, error, sizeof error), AUTH_LOADED);
    close(file.fd);
    keys_box_put(&r->shop.keys, keys);
    for (unsigned i = 0; i < r->shop.count; i++)
        assert_true(mailbox_post(r->boxes[i], (struct mail){.kind = MAIL_RULES}));
    rig_settle(r);
}

static void open_rig(struct rig *r)
{
    rig_open(r, 2, rig_limits());
    use_keys(r, "{}");
}

/* A token of alice's that expires then, or never; `more`: other claims, each behind a comma. */
static const char *token_of(struct buf *b, uint64_t expires, const char *more)
{
    char payload[512];
    if (expires == CLAIMS_NEVER)
        snprintf(payload, sizeof payload, "{\"sub\":\"alice\"%s}", more);
    else
        snprintf(payload, sizeof payload, "{\"sub\":\"alice\",\"exp\":%llu%s}",
            (unsigned long long)expires, more);
    token_good(b, payload);
    buf_append_char(b, '\0');
    assert_false(b->failed);
    return b->data;
}

static void open_with(struct rig *r, struct client *c, uint64_t expires, const char *more)
{
    char headers[1024];
    struct buf b = {0};
    snprintf(headers, sizeof headers,
        "Sec-WebSocket-Protocol: hermes.v2\r\nAuthorization: Bearer %s\r\n",
        token_of(&b, expires, more));
    client_open_with(r, 0, c, 0, headers);
    buf_fini(&b);
}

static void auth(struct client *c, uint64_t expires, const char *more)
{
    struct buf b = {0};
    assert_true(
        peer_sendf(&c->peer, "{\"type\":\"auth\",\"token\":\"%s\"}", token_of(&b, expires, more)));
    buf_fini(&b);
}

static void rules_and_grants_are_both_asked(void **state)
{
    (void)state;
    struct claims alice = {.user = TEXT("alice"), .publish = {.limited = true}};
    struct claims nameless = {.subscribe = {.limited = true}};
    const struct bearer user = {.claims = &alice};
    const struct bearer lists = {.claims = &nameless};
    const struct {
        const struct bearer *bearer;
        bool subscribe[ACCESS_NOBODY + 1];
        bool publish[ACCESS_NOBODY + 1];
    } rows[] = {
        {NULL, {true, false, false, false}, {true, false, false, false}},
        {&user, {true, true, false, false}, {true, true, true, false}},
        {&lists, {true, false, true, false}, {true, false, false, false}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (enum access a = ACCESS_EVERYONE; a <= ACCESS_NOBODY; a++) {
            const struct session s = {.bearer = (struct bearer *)(uintptr_t)rows[i].bearer};
            struct rule rule = rule_default;
            rule.subscribe = a;
            rule.publish = ACCESS_NOBODY;
            assert_int_equal(
                session_may(&s, GRANT_SUBSCRIBE, &rule, TEXT("t")), rows[i].subscribe[a]);
            rule.publish = a;
            rule.subscribe = ACCESS_NOBODY;
            assert_int_equal(session_may(&s, GRANT_PUBLISH, &rule, TEXT("t")), rows[i].publish[a]);
        }
}

/* A tenth of what is left and half a minute at the most; looked at again within the hour. */
static void the_warning_comes_a_tenth_before_the_end(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    open_rig(&r);
    uint64_t now = now_s();
    const struct {
        uint64_t left; /* without the leeway of 5 seconds */
        uint64_t ahead_ms;
    } rows[] = {{5, 1000}, {95, 10000}, {295, 30000}, {100000, 30000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        open_with(&r, &c, now + rows[i].left, "");
        const struct bearer *b = c.session->bearer;
        assert_int_equal(b->end_ms, (now + rows[i].left + 5) * 1000);
        assert_in_range(b->end_ms - b->warn_ms, rows[i].ahead_ms - 500, rows[i].ahead_ms);
        uint64_t due = (uint64_t)(b->deadline.due - wheel_tick(&r.shop.workers[0].bearers));
        assert_true(due * WHEEL_TICK_MS <= HOUR_MS + 2 * WHEEL_TICK_MS);
        client_drop(&r, &c);
    }
    assert_int_equal(r.shop.workers[0].bearers.count, 0);
    rig_close(&r);
}

static void one_that_never_expires_has_no_deadline(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    open_rig(&r);
    open_with(&r, &c, CLAIMS_NEVER, "");
    assert_non_null(c.session->bearer);
    assert_int_equal(r.shop.workers[0].bearers.count, 0);
    auth(&c, now_s() + 100, "");
    client_expect(&r, &c, "{\"type\":\"ack_auth\",\"expires\":");
    assert_int_equal(r.shop.workers[0].bearers.count, 1);
    auth(&c, CLAIMS_NEVER, "");
    client_expect_just(&r, &c, "{\"type\":\"ack_auth\"}");
    assert_int_equal(r.shop.workers[0].bearers.count, 0);
    client_drop(&r, &c);
    rig_close(&r);
}

/* As the wheel would, at that time. */
static void meet(struct client *c)
{
    struct bearer *b = c->session->bearer;
    wheel_unset(&c->session->worker->bearers, &b->deadline);
    bearer_due(&b->deadline, NULL);
}

static void a_deadline_does_what_the_clock_says(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    open_rig(&r);
    open_with(&r, &c, now_s() + 100000, "");
    struct bearer *b = c.session->bearer;
    meet(&c); /* only time to look again */
    assert_int_equal(r.shop.workers[0].bearers.count, 1);
    client_expect_nothing(&r, &c);
    b->warn_ms = 1; /* the clock has been set */
    meet(&c);
    client_expect(&r, &c,
        "{\"type\":\"error\",\"code\":\"token_expired\",\"message\":\"The token expires at 20");
    meet(&c); /* once */
    client_expect_nothing(&r, &c);
    b->end_ms = 1;
    meet(&c);
    assert_null(c.session->bearer);
    client_expect_close(&r, &c, 4001);
    assert_int_equal(rig_metric(&r, METRIC_closed_token_expired_total), 1);
    client_drop(&r, &c);
    rig_close(&r);
}

/* What was published before the auth is still for the session, and comes before it is told that
 * the subscription has ended. */
static void what_was_granted_is_delivered_up_to_the_end(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    open_rig(&r);
    open_with(&r, &c, CLAIMS_NEVER, "");
    client_subscribe(&r, &c, "t");
    auth(&c, CLAIMS_NEVER, ",\"hermes\":{\"subscribe\":[]}");
    rig_publish_text(&r, "t", "1"); /* it is posted, and the auth not read yet */
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1");
    client_expect_just(&r, &c,
        "{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"" HERMES_TEXT_MAY_NOT_SUBSCRIBE
        "\",\"topic\":\"t\"}");
    client_expect_just(&r, &c, "{\"type\":\"ack_auth\"}");
    rig_publish_text(&r, "t", "2");
    client_expect_nothing(&r, &c);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Its topic is not among its subscriptions yet. */
static void what_it_catches_up_with_ends_too(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct rule rule = rig_keeps("kept:*", 1000);
    open_rig(&r);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    for (int i = 0; i < 40; i++)
        rig_publish_large(&r, "kept:1", '1', 64 * 1024);
    open_with(&r, &c, CLAIMS_NEVER, "");
    assert_true(peer_sendf(
        &c.peer, "{\"type\":\"subscribe\",\"topic\":\"kept:1\",\"replay\":40,\"presence\":true}"));
    rig_turn(&r);
    assert_int_equal(c.session->catching, 1);
    auth(&c, CLAIMS_NEVER, ",\"hermes\":{\"subscribe\":[]}");
    rig_turn(&r);
    assert_int_equal(c.session->catching, 0);
    client_drop(&r, &c);
    rig_close(&r);
}

static void without_presence_nobody_is_watched_any_more(void **state)
{
    (void)state;
    struct rig r;
    struct client c, other;
    open_rig(&r);
    open_with(&r, &c, CLAIMS_NEVER, "");
    client_open2(&r, 1, &other, 0);
    client_subscribe_with(&r, &c, "topic", "t", ",\"presence\":true");
    client_subscribe_with(&r, &c, "pattern", "u:*", ",\"presence\":true");
    client_subscribe(&r, &other, "t");
    client_expect(&r, &c, "{\"type\":\"join\",\"topic\":\"t\"");
    auth(&c, CLAIMS_NEVER, ",\"hermes\":{\"presence\":false}");
    client_expect(&r, &c, "{\"type\":\"ack_auth\"");
    client_subscribe(&r, &other, "u:1");
    client_drop(&r, &other);
    client_expect_nothing(&r, &c);
    assert_int_equal(atomic_load(&r.shop.route.patterns.watchers), 0);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Broken by find_ends looking at its subscriptions alone: fails. */
static void nor_what_it_still_catches_up_with(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    struct rig r;
    struct client c, other;
    struct rule rule = rig_keeps("kept:*", 1000);
    open_rig(&r);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    for (int i = 0; i < COUNT; i++)
        rig_publish_large(&r, "kept:1", '1', 64 * 1024);
    open_with(&r, &c, CLAIMS_NEVER, "");
    assert_true(peer_sendf(
        &c.peer, "{\"type\":\"subscribe\",\"topic\":\"kept:1\",\"replay\":40,\"presence\":true}"));
    rig_turn(&r);
    assert_int_equal(c.session->catching, 1);
    auth(&c, CLAIMS_NEVER, ",\"hermes\":{\"presence\":false}");
    for (int i = 0; i < COUNT + 2; i++) /* with the answers to both */
        client_expect(&r, &c, "{\"type\":\"");
    rig_settle(&r);
    assert_int_equal(c.session->catching, 0);
    client_open2(&r, 1, &other, 0);
    client_subscribe(&r, &other, "kept:1");
    client_expect_nothing(&r, &c);
    client_drop(&r, &other);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Whatever else of it is read by, and sent from, the same buffer. */
static void nothing_of_a_token_stays_where_it_was_read(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct buf b = {0};
    open_rig(&r);
    struct worker *w = &r.shop.workers[0];
    open_with(&r, &c, CLAIMS_NEVER, "");
    const char *token = token_of(&b, CLAIMS_NEVER, "");
    assert_non_null(c.session->bearer);
    assert_null(memmem(w->buffer, sizeof w->buffer, token, 30));
    auth(&c, CLAIMS_NEVER, "");
    client_expect(&r, &c, "{\"type\":\"ack_auth\"");
    assert_null(memmem(w->buffer, sizeof w->buffer, token, 30));
    buf_fini(&b);
    client_drop(&r, &c);
    rig_close(&r);
}

static void a_deny_list_closes_whom_it_names_on_every_worker(void **state)
{
    (void)state;
    struct rig r;
    struct client alice, bob, nobody;
    open_rig(&r);
    open_with(&r, &alice, CLAIMS_NEVER, ",\"jti\":\"1\"");
    open_with(&r, &bob, CLAIMS_NEVER, ",\"jti\":\"2\"");
    client_open2(&r, 1, &nobody, 0);
    use_keys(&r, "{\"jti\":[\"2\"]}");
    client_expect_close(&r, &bob, 4003);
    client_expect_nothing(&r, &alice);
    client_expect_nothing(&r, &nobody);
    use_keys(&r, "{\"sub\":[\"alice\"]}");
    client_expect_close(&r, &alice, 4003);
    client_expect_nothing(&r, &nobody);
    client_drop(&r, &alice);
    client_drop(&r, &bob);
    client_drop(&r, &nobody);
    rig_close(&r);
}

/* A reload of other rules alone. */
static void the_same_keys_keep_what_is_remembered(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r);
    const struct verifier *before = r.shop.workers[0].verifier;
    assert_non_null(before);
    assert_true(mailbox_post(r.boxes[0], (struct mail){.kind = MAIL_RULES}));
    rig_settle(&r);
    assert_ptr_equal(r.shop.workers[0].verifier, before);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_and_grants_are_both_asked),
        cmocka_unit_test(the_warning_comes_a_tenth_before_the_end),
        cmocka_unit_test(one_that_never_expires_has_no_deadline),
        cmocka_unit_test(a_deadline_does_what_the_clock_says),
        cmocka_unit_test(what_was_granted_is_delivered_up_to_the_end),
        cmocka_unit_test(what_it_catches_up_with_ends_too),
        cmocka_unit_test(without_presence_nobody_is_watched_any_more),
        cmocka_unit_test(nor_what_it_still_catches_up_with),
        cmocka_unit_test(nothing_of_a_token_stays_where_it_was_read),
        cmocka_unit_test(a_deny_list_closes_whom_it_names_on_every_worker),
        cmocka_unit_test(the_same_keys_keep_what_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
