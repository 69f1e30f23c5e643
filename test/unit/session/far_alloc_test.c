/* Far topics without memory: every command is answered, or the session is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

static const char *const commands[] = {
    "{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"" FAKE_EPOCH_TEXT
    "\",\"offset\":3}}",
    "{\"type\":\"subscribe\",\"topics\":[\"u\",\"y\"],\"replay\":2}",
    "{\"type\":\"history\",\"topic\":\"v\"}",
    "{\"type\":\"subscribe\",\"pattern\":\"w:*\"}",
    "{\"type\":\"ping\",\"id\":1}",
    "{\"type\":\"publish\",\"topic\":\"x\",\"data\":1,\"id\":2}",
};
enum { COMMANDS = sizeof commands / sizeof commands[0], ANSWERS = COMMANDS + 1 };

/* The next things that are asked for are answered. False when there are none. */
static bool answer_all(struct rig *r, struct fake *f)
{
    struct errand *e;
    bool any = false;
    (void)r;
    while ((e = fake_try(f)) != NULL) {
        any = true;
        switch (e->kind) {
        case ERRAND_FOLLOW:
            fake_follow(f, e, 9);
            break;
        case ERRAND_FETCH:
            fake_find(f, e, 1, 9, 9, 1);
            break;
        case ERRAND_PUBLISH:
            fake_number(f, e, 4, 1);
            break;
        default:
            fake_return(f, e, ERRAND_DONE);
        }
    }
    return any;
}

/* How many of the commands are answered; -1 when it is closed for want of memory. */
static int answers(struct rig *r, struct client *c)
{
    const char *payload;
    size_t len;
    int count = 0;
    int got;
    while ((got = client_next(r, c, &payload, &len)) == PEER_TEXT)
        count += !peer_is(payload, len, "{\"type\":\"message\"") &&
                 !peer_is(payload, len, "{\"type\":\"gap\"");
    if (got == PEER_CLOSE)
        assert_int_equal(c->peer.close_code, 1011);
    return got == PEER_NOTHING ? count : -1;
}

/* `where`: the allocations of what comes in, or of the first turns behind that, are those of which
 * the n-th fails. True when it did. */
static bool one_fails(unsigned n, int where, int *closed)
{
    struct rig r;
    struct fake f;
    struct client warm, c;
    struct buf b = {0};
    bool failed = false;
    struct rule rule = rig_keeps(">", 100);
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    fake_open(&f, &r);
    /* Mailboxes and the flush queue must not fail: they have their room by now. */
    client_open2(&r, 0, &warm, 0);
    for (int i = 0; i < 4; i++) {
        feed_text(warm.session, "{\"type\":\"subscribe\",\"topic\":\"warm\"}");
        feed_text(warm.session, "{\"type\":\"publish\",\"topic\":\"warm\",\"data\":1}");
        while (answer_all(&r, &f))
            rig_settle(&r);
    }
    client_open2(&r, 0, &c, 0);
    for (int i = 0; i < COMMANDS; i++)
        add_text(&b, commands[i]);
    if (where == 0)
        alloc_fail(n);
    session_receive(c.session, b.data, b.len);
    if (where == 0)
        failed = alloc_failed();
    buf_fini(&b);
    for (int turn = 1; answer_all(&r, &f) || turn < 24; turn++) {
        if (where == turn)
            alloc_fail(n);
        rig_turn(&r);
        if (where == turn)
            failed = alloc_failed();
    }
    int count = answers(&r, &c);
    if (!failed)
        assert_int_equal(count, ANSWERS);
    else if (count < 0)
        ++*closed;
    else /* of a list that cannot be read not each is */
        assert_in_range(count, COMMANDS, ANSWERS);
    client_drop(&r, &c);
    client_drop(&r, &warm);
    fake_close(&f);
    rig_close(&r);
    return failed;
}

static void every_command_is_answered_or_the_session_closed(void **state)
{
    (void)state;
    int closed = 0;
    unsigned rounds = 0;
    for (int where = 0; where < 6; where++)
        for (unsigned n = 1; one_fails(n, where, &closed); n++)
            rounds++;
    assert_true(rounds > 20);
    assert_in_range(closed, 1, rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_answered_or_the_session_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
