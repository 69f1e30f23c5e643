/* Publishing over HTTP while the workers do not keep up: the test is their loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "support/worker_harness.h"

enum { REQUESTS = 12, DATA = 1000000, PATIENCE_MS = 60000 };

static void ended(void *user)
{
    (void)user;
}

static struct admin *listener_start(struct rig *r)
{
    static const struct metrics none;
    struct admin *a = aligned_alloc(64, (sizeof *a + 63) / 64 * 64);
    char error[256];
    struct admin_settings settings = {.host = "127.0.0.1",
        .body_max = 2 << 20,
        .shop = &r->shop,
        .outside = &none,
        .acceptor = &none,
        .drain = ended,
        .ended = ended};
    assert_non_null(a);
    assert_int_equal(admin_open(a, &settings, error, sizeof error), ADMIN_OPENED);
    assert_int_equal(admin_start(a), 0);
    return a;
}

static void listener_stop(struct admin *a)
{
    admin_stop(a);
    admin_join(a);
    admin_fini(a);
    free(a);
}

static void send_publish(struct peer *p, int port)
{
    char head[256];
    char *body = malloc(DATA + 64);
    assert_non_null(body);
    int start = snprintf(body, 64, "{\"topic\":\"t\",\"data\":\"");
    memset(body + start, 'x', DATA);
    memcpy(body + start + DATA, "\"}", 2);
    int len = snprintf(head, sizeof head,
        "POST /api/publish HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
        port, start + DATA + 2);
    assert_true(peer_send_bytes(p, head, (size_t)len));
    assert_true(peer_send_bytes(p, body, (size_t)(start + DATA + 2)));
    free(body);
}

static size_t count_of(const struct peer *p, const char *what)
{
    size_t count = 0;
    const char *at = p->bytes;
    const char *end = at + p->len;
    while (at && (at = memmem(at, (size_t)(end - at), what, strlen(what))) != NULL) {
        count++;
        at += strlen(what);
    }
    return count;
}

static void publishing_waits_until_a_crowded_mailbox_has_room(void **state)
{
    struct rig r;
    struct client c;
    struct peer peers[REQUESTS];
    (void)state;
    rig_open(&r, 1, rig_limits());
    r.shop.limits.message_bytes = 2 << 20;
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    struct admin *a = listener_start(&r);
    size_t crowded = r.shop.route.crowded;
    for (int i = 0; i < REQUESTS; i++) {
        assert_true(peer_connect(&peers[i], a->port, 0));
        send_publish(&peers[i], a->port);
    }
    /* Nobody takes the mail: so many are answered, and the others wait. */
    uint64_t until = clock_ms() + PATIENCE_MS;
    while (!mailbox_crowded(r.boxes[0], crowded))
        assert_true(clock_ms() < until);
    size_t answered = 0;
    for (size_t turns = 0; answered < REQUESTS; turns++) {
        assert_true(clock_ms() < until);
        assert_true(atomic_load(&r.boxes[0]->weight) <= crowded + DATA + 4096);
        answered = 0;
        for (int i = 0; i < REQUESTS; i++) {
            peer_fill(&peers[i], false);
            answered += count_of(&peers[i], "\"subscribers\":1}");
        }
        /* It reads what the client gets, so that the log is never over its budget. */
        const char *payload;
        size_t len;
        if (answered >= crowded / DATA)
            client_next(&r, &c, &payload, &len);
    }
    for (int i = 0; i < REQUESTS; i++)
        peer_drop(&peers[i], false);
    peer_drop(&c.peer, false);
    listener_stop(a);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishing_waits_until_a_crowded_mailbox_has_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
