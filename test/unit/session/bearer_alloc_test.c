/* Tokens without memory: nobody gets in that should not, and nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/bearer.h"
#include "support/failing_alloc.h"
#include "support/worker_harness.h"
#include "unit/auth/tokens.h"

#define LISTS "{\"sub\":\"alice\",\"exp\":4000000000,\"hermes\":{\"subscribe\":[\"a:*\"]}}"

static struct auth_keys *keys_new(void)
{
    char error[300] = "";
    struct auth_settings settings = {.secret = SECRET, .secret_name = "secret"};
    struct auth_keys *keys;
    assert_int_equal(auth_keys_load(&settings, &keys, error, sizeof error), AUTH_LOADED);
    return keys;
}

static void use_keys(struct rig *r)
{
    keys_box_put(&r->shop.keys, keys_new());
    assert_true(mailbox_post(r->boxes[0], (struct mail){.kind = MAIL_RULES}));
    rig_settle(r);
}

static void a_handshake_without_memory_lets_nobody_in_as_nobody(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct buf token = {0};
    char headers[1024];
    rig_open(&r, 1, rig_limits());
    use_keys(&r);
    token_good(&token, LISTS);
    snprintf(headers, sizeof headers, "Authorization: Bearer %.*s\r\n", (int)token.len, token.data);
    buf_fini(&token);
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        client_connect(&r, 0, &c, 0, REFUSAL_NONE);
        client_request_with(&c, "/", headers);
        alloc_fail(n);
        rig_turn(&r);
        failed = alloc_failed();
        alloc_fail(0);
        if (c.session->state == SESSION_OPEN)
            assert_non_null(c.session->bearer);
        client_drop(&r, &c);
        assert_int_equal(r.shop.workers[0].bearers.count, 0);
    }
    assert_int_equal(rig_metric(&r, METRIC_tokens_forged_total), 0);
    rig_close(&r);
}

/* Either the old token counts with all its subscriptions, or the new one with none that it does not
 * grant, or the session is over. */
static void an_auth_without_memory_is_done_or_not(void **state)
{
    (void)state;
    struct buf token = {0};
    char text[1024];
    token_good(&token, LISTS);
    snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%.*s\",\"id\":1}", (int)token.len,
        token.data);
    buf_fini(&token);
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        struct rig r;
        struct client c;
        rig_open(&r, 1, rig_limits());
        use_keys(&r);
        client_open2(&r, 0, &c, 0);
        client_subscribe(&r, &c, "b:1");
        struct buf frame = {0};
        add_text(&frame, text);
        alloc_fail(n);
        session_receive(c.session, frame.data, frame.len);
        failed = alloc_failed();
        alloc_fail(0);
        buf_fini(&frame);
        if (c.session->state == SESSION_OPEN)
            assert_int_equal(c.session->subscriber.count, c.session->bearer ? 0 : 1);
        client_drop(&r, &c);
        rig_close(&r);
    }
}

/* Tokens are refused then, not taken for good or passed over. */
static void keys_that_no_worker_can_use_let_no_token_in(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    rig_settle(&r);
    keys_box_put(&r.shop.keys, keys_new());
    alloc_fail(1);
    worker_take_keys(&r.shop.workers[0]);
    assert_true(alloc_failed());
    alloc_fail(0);
    assert_null(r.shop.workers[0].verifier);
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    client_request(&c, "/?token=x");
    rig_turn(&r);
    assert_int_equal(peer_fill(&c.peer, false), 1);
    assert_non_null(memmem(c.peer.bytes, c.peer.len, "HTTP/1.1 503", 12));
    client_drop(&r, &c);
    worker_take_keys(&r.shop.workers[0]); /* the same keys: there is memory now */
    assert_non_null(r.shop.workers[0].verifier);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_without_memory_lets_nobody_in_as_nobody),
        cmocka_unit_test(an_auth_without_memory_is_done_or_not),
        cmocka_unit_test(keys_that_no_worker_can_use_let_no_token_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
