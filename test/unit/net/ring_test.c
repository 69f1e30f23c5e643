/* Rounds of sends over real sockets. Skipped, with a word, where the kernel refuses io_uring. */
#include "net/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/ring.h"

struct wire {
    struct conn conn;
    int peer;
};

static void wire_open(struct wire *w, int type)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    memset(w, 0, sizeof *w);
    w->conn.fd = fds[0];
    w->peer = fds[1];
}

static void wire_close(struct wire *w)
{
    close(w->conn.fd);
    close(w->peer);
}

static size_t waiting(const struct wire *w)
{
    int bytes = 0;
    assert_int_equal(ioctl(w->peer, FIONREAD, &bytes), 0);
    return (size_t)bytes;
}

static size_t drain(struct wire *w)
{
    char bytes[65536];
    size_t sum = 0;
    for (ssize_t got; (got = read(w->peer, bytes, sizeof bytes)) > 0;)
        sum += (size_t)got;
    return sum;
}

static struct iovec piece_of(const void *bytes, size_t len)
{
    union {
        const void *in;
        void *out;
    } at = {bytes};
    return (struct iovec){at.out, len};
}

static struct ring *ring_or_skip(void)
{
    const char *reason;
    struct ring *ring = ring_new(&reason);
    if (!ring) {
        print_message("no io_uring here: %s\n", reason);
        skip();
    }
    assert_null(reason);
    return ring;
}

/* Seen to fail with results left in the ring, and with those of the last round asked for again. */
static void every_send_of_a_round_arrives(void **state)
{
    (void)state;
    static struct wire wires[RING_SENDS];
    static uint32_t words[RING_SENDS];
    struct ring *ring = ring_or_skip();
    for (size_t i = 0; i < RING_SENDS; i++)
        wire_open(&wires[i], SOCK_STREAM);
    for (uint32_t round = 1; round <= 4; round++) {
        for (uint32_t i = 0; i < RING_SENDS; i++) {
            words[i] = i * 0x9e3779b9u + round;
            ring_add(ring, &wires[i].conn, piece_of(&words[i], round), &wires[i]);
        }
        assert_int_equal(ring->count, RING_SENDS);
        assert_true(ring_submit(ring));
        for (uint32_t i = 0; i < RING_SENDS; i++) {
            uint32_t word = 0; /* of which a part comes, a byte more in each round */
            assert_ptr_equal(ring->sends[i].user, &wires[i]);
            assert_int_equal(ring->sends[i].wrote, round);
            assert_int_equal(read(wires[i].peer, &word, sizeof word), round);
            assert_memory_equal(&word, &words[i], round);
        }
        ring_clear(ring);
        assert_int_equal(ring->count, 0);
    }
    for (size_t i = 0; i < RING_SENDS; i++)
        wire_close(&wires[i]);
    ring_free(ring);
}

static void who_has_nothing_to_send_is_untried(void **state)
{
    (void)state;
    struct wire wires[3];
    struct ring *ring = ring_or_skip();
    for (size_t i = 0; i < 3; i++) {
        wire_open(&wires[i], SOCK_STREAM);
        ring_add(ring, &wires[i].conn, piece_of("1", i == 1 ? 0 : 1), NULL);
    }
    assert_true(ring_submit(ring));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ring->sends[i].wrote, i == 1 ? RING_UNTRIED : 1);
        assert_int_equal(waiting(&wires[i]), i == 1 ? 0 : 1);
        wire_close(&wires[i]);
    }
    ring_free(ring);
}

/* Without MSG_DONTWAIT the round never ends: the kernel waits for the socket, which blocks. */
static void a_full_socket_is_left_as_it_is_for_good(void **state)
{
    (void)state;
    enum { LARGE = 1 << 20 };
    static char bytes[LARGE];
    struct wire full;
    struct wire other;
    struct ring *ring = ring_or_skip();
    wire_open(&full, SOCK_STREAM);
    wire_open(&other, SOCK_STREAM);
    assert_int_equal(ioctl(full.conn.fd, FIONBIO, &(int){0}), 0);
    ring_add(ring, &full.conn, piece_of(bytes, LARGE), NULL);
    ring_add(ring, &other.conn, piece_of("1", 1), NULL);
    assert_true(ring_submit(ring));
    ssize_t wrote = ring->sends[0].wrote;
    assert_in_range(wrote, 1, LARGE - 1);
    assert_int_equal(ring->sends[1].wrote, 1);
    ring_clear(ring);

    ring_add(ring, &full.conn, piece_of(bytes, LARGE), NULL);
    ring_add(ring, &other.conn, piece_of("2", 1), NULL);
    assert_true(ring_submit(ring));
    assert_int_equal(ring->sends[0].wrote, CONN_AGAIN);
    assert_int_equal(ring->sends[1].wrote, 1);
    ring_clear(ring);

    /* The kernel has kept no bytes to send later. */
    assert_int_equal(drain(&full), wrote);
    ring_add(ring, &other.conn, piece_of("3", 1), NULL);
    assert_true(ring_submit(ring));
    assert_int_equal(waiting(&full), 0);
    assert_int_equal(waiting(&other), 3);
    wire_close(&full);
    wire_close(&other);
    ring_free(ring);
}

static void a_peer_that_is_gone_breaks_its_own_send_only(void **state)
{
    (void)state;
    struct wire wires[4];
    struct ring *ring = ring_or_skip();
    for (size_t i = 0; i < 4; i++)
        wire_open(&wires[i], SOCK_STREAM);
    close(wires[1].peer);
    for (size_t i = 0; i < 4; i++)
        ring_add(ring, &wires[i].conn, piece_of("12", 2), NULL);
    assert_true(ring_submit(ring));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ring->sends[i].wrote, i == 1 ? CONN_BROKEN : 2);
    wires[1].peer = -1;
    for (size_t i = 0; i < 4; i++)
        wire_close(&wires[i]);
    ring_free(ring);
}

/* Seen to fail with results set to CONN_BROKEN at the start, and with true in any case. */
static void a_ring_that_fails_has_sent_nothing(void **state)
{
    (void)state;
    struct wire wire;
    struct ring *ring = ring_or_skip();
    wire_open(&wire, SOCK_STREAM);
    ring_add(ring, &wire.conn, piece_of("1", 1), NULL);
    assert_int_equal(ring_break(), 1);
    assert_false(ring_submit(ring));
    assert_int_equal(ring->sends[0].wrote, RING_UNTRIED);
    assert_int_equal(waiting(&wire), 0);
    wire_close(&wire);
    ring_free(ring);
}

static void a_freed_ring_leaves_no_descriptor(void **state)
{
    (void)state;
    struct ring *ring = ring_or_skip();
    ring_free(ring);
    assert_int_equal(ring_break(), 0);
    ring_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_send_of_a_round_arrives),
        cmocka_unit_test(who_has_nothing_to_send_is_untried),
        cmocka_unit_test(a_full_socket_is_left_as_it_is_for_good),
        cmocka_unit_test(a_peer_that_is_gone_breaks_its_own_send_only),
        cmocka_unit_test(a_ring_that_fails_has_sent_nothing),
        cmocka_unit_test(a_freed_ring_leaves_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
