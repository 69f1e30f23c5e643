/* Slow subscribers without memory: nothing is lost that is not told, or the session is closed. */
#include "session/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "support/worker_harness.h"

enum { COUNT = 40, MESSAGE = 3000 };

struct scene {
    struct rig r;
    struct client c;
    struct worker *w;
};

/* A session that is blocked in the midst of a frame; behind that, of two topics, COUNT messages
 * each and answers in between. */
static void scene_open(struct scene *s, const char *policy)
{
    struct session_limits limits = rig_limits();
    char keys[64];
    limits.backlog_bytes = 64 * LOG_CHUNK;
    rig_open(&s->r, 1, limits);
    s->w = &s->r.shop.workers[0];
    client_open2(&s->r, 0, &s->c, SMALL_BUFFER);
    snprintf(keys, sizeof keys, ",\"policy\":\"%s\"", policy);
    client_subscribe_with(&s->r, &s->c, "topic", "a", keys);
    client_subscribe_with(&s->r, &s->c, "topic", "b", keys);
    block(s->c.session, '1', 20000);
    for (int i = 0; i < COUNT; i++) {
        rig_publish_large(&s->r, "a", '1', MESSAGE);
        rig_publish_large(&s->r, "b", '1', MESSAGE);
        rig_turn(&s->r);
        if (i % 10 == 0)
            feed_text(s->c.session, "{\"type\":\"ping\"}");
    }
    assert_true(s->c.session->blocked);
}

/* Everything comes, as a message or in a gap; or else the close frame and nothing behind it. */
static bool scene_close(struct scene *s)
{
    const char *payload;
    size_t len;
    unsigned next[2] = {1, 1};
    bool closed = false;
    int got;
    while ((got = client_next(&s->r, &s->c, &payload, &len)) > PEER_END) {
        assert_false(closed);
        if (got == PEER_CLOSE) {
            closed = true;
            continue;
        }
        const char *topic = memmem(payload, len, "\"topic\":\"", 9);
        if (!topic)
            continue;
        char line[256];
        unsigned from;
        unsigned to;
        size_t which = (size_t)(topic[9] - 'a');
        size_t tail = len < 60 ? len : 60;
        snprintf(line, sizeof line, "%.*s", (int)tail, payload + len - tail);
        if (peer_is(payload, len, "{\"type\":\"gap\"")) {
            assert_int_equal(
                sscanf(strstr(line, "\"from\""), "\"from\":%u,\"to\":%u", &from, &to), 2);
        } else {
            assert_int_equal(sscanf(strstr(line, "\"offset\""), "\"offset\":%u", &from), 1);
            to = from;
        }
        assert_int_equal(from, next[which]);
        next[which] = to + 1;
    }
    if (!closed)
        assert_true(next[0] == COUNT + 1 && next[1] == COUNT + 1);
    client_drop(&s->r, &s->c);
    rig_close(&s->r);
    return closed;
}

static void let_go(struct scene *s)
{
    if (!session_let_go(s->c.session))
        session_close(s->c.session, CLOSE_TOO_SLOW);
}

/* The socket takes all there is now. */
static void flush(struct scene *s)
{
    int size = 1 << 20;
    setsockopt(s->c.session->conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    session_flush(s->c.session);
}

static void fail_each(void (*what)(struct scene *), const char *policy)
{
    unsigned closed = 0;
    unsigned fail_at = 1;
    for (bool failed = true; failed; fail_at++) {
        struct scene s;
        scene_open(&s, policy);
        alloc_fail(fail_at);
        what(&s);
        failed = alloc_failed();
        closed += scene_close(&s);
    }
    assert_in_range(fail_at, 6, 200);
    assert_true(closed > 0);
}

/* Seen to fail with the arrears' failure ignored. */
static void what_is_dropped_without_memory_is_told_or_the_session_is_closed(void **state)
{
    (void)state;
    fail_each(let_go, "drop_oldest");
    fail_each(let_go, "latest");
}

/* Seen to fail with what is sent on after the arrears' failure. */
static void so_it_is_when_it_is_sent_to(void **state)
{
    (void)state;
    fail_each(flush, "latest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_dropped_without_memory_is_told_or_the_session_is_closed),
        cmocka_unit_test(so_it_is_when_it_is_sent_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
