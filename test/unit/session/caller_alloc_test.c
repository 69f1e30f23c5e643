/* Learning from proxies who a client is, without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "support/worker_harness.h"

#define V1 "PROXY TCP4 192.0.2.7 127.0.0.1 4321 443\r\n"

/* Each allocation in turn: while the header comes in two pieces and a trusted source speaks for
 * somebody. Whatever fails, either the client is refused (it could not be counted) or its
 * connection ends. */
static void without_memory_a_client_is_refused_or_ended_and_nothing_is_left(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned fail_at = 1; failed; fail_at++) {
        struct rig r;
        struct client c;
        struct text wrong;
        rig_open(&r, 1, rig_limits());
        r.shop.proxy_head = true;
        assert_int_equal(cidr_parse(&r.shop.trusted, "192.0.2.7", &wrong), CIDR_OK);
        client_connect(&r, 0, &c, 0, REFUSAL_UNDECIDED);
        assert_true(peer_send_bytes(&c.peer, V1, 20));
        alloc_fail(fail_at);
        bool more = session_read_proxy_head(c.session);
        assert_false(more);
        if (c.session->state == SESSION_HEAD) {
            assert_true(peer_send_bytes(&c.peer, &V1[20], sizeof V1 - 21));
            more = session_read_proxy_head(c.session);
        }
        if (more) {
            char request[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             "X-Forwarded-For: 198.51.100.1\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            session_greet(c.session, request, sizeof request - 1);
        }
        failed = alloc_failed();
        int state_now = c.session->state;
        if (failed && state_now == SESSION_CLOSING)
            assert_int_equal(rig_metric(&r, METRIC_refused_address_total), 1);
        else if (failed)
            assert_true(state_now == SESSION_ENDED || state_now == SESSION_OPEN);
        else
            assert_int_equal(state_now, SESSION_OPEN);
        peer_drop(&c.peer, false);
        rig_settle(&r);
        cidr_fini(&r.shop.trusted);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_a_client_is_refused_or_ended_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
