/* Outboxes over real sockets with hardly any room. What can be said byte by byte is in
 * outbox_pieces_test.c. */
#include "support/outbox_model.h"

#include <sys/socket.h>
#include <unistd.h>

static void wire_open(struct peer *p, struct random *r)
{
    int fds[2];
    int size = (int)random_below(r, 20000); /* the system makes it at least some KB */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    p->conn.fd = fds[0];
    p->wire = (void *)(intptr_t)fds[1];
}

static void wire_close(struct peer *p)
{
    close(p->conn.fd);
    if (p->wire)
        close((int)(intptr_t)p->wire);
}

static size_t wire_take(struct peer *p, char *bytes, size_t len)
{
    ssize_t got = read((int)(intptr_t)p->wire, bytes, len);
    return got > 0 ? (size_t)got : 0;
}

/* Broken by a span that is merged with one that it does not touch, by an advance that leaves out
 * the private bytes, by bytes copied out behind those that were copied out before, and by a cut
 * that forgets the rest of a frame: fails. */
static void every_peer_receives_what_was_added_for_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        random_life(12, seed, 1500, 200000);
}

static void one_peer_alone_receives_what_was_added_for_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        random_life(1, seed, 4000, 200000);
}

static void a_peer_that_is_gone_breaks_its_own_outbox_only(void **state)
{
    (void)state;
    struct hub h;
    hub_open(&h, 2, 99);
    for (int i = 0; i < 30; i++) {
        make_frame(&h, 5000);
        struct span span = log_frame(&h);
        deliver(&h, &h.peers[0], span);
        deliver(&h, &h.peers[1], span);
    }
    flush_unblocked(&h);
    close((int)(intptr_t)h.peers[0].wire);
    h.peers[0].wire = NULL;
    assert_int_equal(flush(&h, &h.peers[0]), OUTBOX_BROKEN);
    outbox_clear(&h.log, &h.peers[0].box);
    receive_all(&h, &h.peers[1]);
    hub_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_peer_receives_what_was_added_for_it),
        cmocka_unit_test(one_peer_alone_receives_what_was_added_for_it),
        cmocka_unit_test(a_peer_that_is_gone_breaks_its_own_outbox_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
