/* What goes through a connection once the handshake is done. */
#include "net/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>

#include "unit/net/tls_scene.h"

enum { ROOM = 65536, LARGE = 1 << 20, TLS_RECORD_LEAST = 16000 };

static struct scenery all;
static struct tls_config *config;
static char buffer[ROOM + CONN_READ_MORE];
static char large[LARGE];
static char copy[LARGE];

static void fill(void)
{
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 31 + (i >> 8));
}

/* A record's worth, all of which is taken but for what a record has no room for. */
static size_t write_some(struct scene *s, const char *bytes)
{
    assert_true(bytes + TLS_RECORD_LEAST <= large + LARGE);
    ssize_t wrote = scene_write(s, bytes, TLS_RECORD_LEAST);
    assert_int_equal(wrote, TLS_RECORD_LEAST);
    return (size_t)wrote;
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    assert_int_equal(conn_read(&s.conn, buffer, ROOM), CONN_AGAIN);
    peer_write(&s, "hello", 5);
    uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.events, CONN_READABLE);
    assert_int_equal(conn_read(&s.conn, buffer, ROOM), 5);
    assert_memory_equal(buffer, "hello", 5);
    struct iovec pieces[] = {{large, 4}, {large + 4, 0}, {large + 4, 7}};
    assert_int_equal(conn_write(&s.conn, pieces, 1), 4);
    assert_int_equal(conn_write(&s.conn, pieces + 1, 1), 0);
    assert_int_equal(conn_write(&s.conn, pieces, 3), 11);
    assert_false(conn_pending(&s.conn));
    assert_int_equal(conn_flush(&s.conn), 0);
    peer_read(&s, copy, 15);
    assert_memory_equal(copy, large, 4);
    assert_memory_equal(copy + 4, large, 11);
    scene_close(&s);
}

static void the_newest_version_there_is_is_spoken(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    assert_string_equal(tls_version(&s.conn), "TLSv1.3");
#else
    assert_string_equal(tls_version(&s.conn), "TLSv1.2");
#endif
    assert_true(strstr(tls_suite(&s.conn), "GCM") || strstr(tls_suite(&s.conn), "POLY1305"));
    scene_close(&s);
}

/* Broken by a record for each. */
static void small_pieces_go_in_one_record(void **state)
{
    (void)state;
    struct scene s;
    struct iovec pieces[40];
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    for (int i = 0; i < 40; i++)
        pieces[i] = (struct iovec){large + (ptrdiff_t)i * 100, 100};
    assert_int_equal(conn_write(&s.conn, pieces, 40), 4000);
    peer_read(&s, copy, 1);
    assert_int_equal(mbedtls_ssl_get_bytes_avail(&s.peer.ssl), 3999);
    peer_read(&s, copy + 1, 3999);
    assert_memory_equal(copy, large, 4000);
    scene_close(&s);
}

/* Pieces of all sizes, so that records begin and end anywhere in them. */
static void what_is_written_arrives_through_small_sockets(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 16384, 3, 40000, 16385, 0, 5000};
    struct scene s;
    size_t at = 0;
    size_t read = 0;
    unsigned pending = 0;
    scene_open(&s, all.ca.pem, 4096);
    scene_meet(&s, config);
    while (read < LARGE) {
        struct iovec pieces[8];
        size_t end = at;
        for (int i = 0; i < 8; i++) {
            size_t len = sizes[i] < LARGE - end ? sizes[i] : LARGE - end;
            pieces[i] = (struct iovec){large + end, len};
            end += len;
        }
        if (at < LARGE) {
            ssize_t wrote = conn_write(&s.conn, pieces, 8);
            assert_true(wrote != CONN_BROKEN && wrote <= (ssize_t)(end - at));
            if (wrote >= 0 && wrote < (ssize_t)(end - at))
                assert_true(conn_pending(&s.conn));
            if (wrote > 0)
                at += (size_t)wrote;
        } else {
            assert_true(conn_flush(&s.conn) != CONN_BROKEN);
        }
        pending += conn_pending(&s.conn);
        int got = tls_peer_read(&s.peer, copy + read, LARGE - read);
        if (got == MBEDTLS_ERR_SSL_WANT_READ)
            continue;
        assert_true(got > 0);
        read += (size_t)got;
    }
    assert_true(pending > 10);
    assert_int_equal(conn_flush(&s.conn), 0);
    assert_false(conn_pending(&s.conn));
    assert_memory_equal(copy, large, LARGE);
    scene_close(&s);
}

/* The peer reads by itself; it is told of by the poll. Broken by a conn_pending that forgets. */
static void who_has_sent_all_may_still_have_to_flush(void **state)
{
    (void)state;
    struct scene s;
    size_t sum = 0;
    scene_open(&s, all.ca.pem, 4096);
    scene_meet(&s, config);
    while (!conn_pending(&s.conn)) {
        sum += write_some(&s, large + sum);
    }
    assert_int_equal(scene_write(&s, large + sum, 10), CONN_AGAIN);
    assert_int_equal(conn_flush(&s.conn), CONN_AGAIN);
    conn_watch(&s.conn, &s.poller, true, true);
    size_t read = 0;
    while (conn_pending(&s.conn)) {
        int got = tls_peer_read(&s.peer, copy + read, sum - read);
        if (got > 0)
            read += (size_t)got;
        else
            assert_int_equal(got, MBEDTLS_ERR_SSL_WANT_READ);
        s.events = 0;
        uv_run(&s.loop, UV_RUN_NOWAIT);
        if (s.events & CONN_WRITABLE)
            assert_true(conn_flush(&s.conn) != CONN_BROKEN);
    }
    peer_read(&s, copy + read, sum - read);
    assert_memory_equal(copy, large, sum);
    assert_int_equal(scene_write(&s, "on", 2), 2);
    peer_read(&s, copy, 2);
    scene_close(&s);
}

/* And reading ends with CONN_AGAIN and nothing inside: no poll would tell of it. */
static void a_read_gives_all_there_is_and_no_more_than_the_buffer_has_room_for(void **state)
{
    (void)state;
    static const size_t rooms[] = {1, 7, 4096, 16384, 40000, ROOM};
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        struct scene s;
        size_t sum = 0;
        size_t sent = 0;
        size_t most = rooms[i] < 100 ? 20000 : 200000;
        scene_open(&s, all.ca.pem, 0);
        scene_meet(&s, config);
        while (sum < most) {
            int wrote = sent == most ? 0
                                     : mbedtls_ssl_write(&s.peer.ssl,
                                           (const unsigned char *)large + sent, most - sent);
            assert_true(wrote >= 0 || wrote == MBEDTLS_ERR_SSL_WANT_WRITE);
            sent += wrote > 0 ? (size_t)wrote : 0;
            ssize_t got = conn_read(&s.conn, buffer, rooms[i]);
            assert_true(got != 0 && got != CONN_BROKEN);
            assert_true(got <= (ssize_t)rooms[i] + CONN_READ_MORE);
            if (got > 0) {
                assert_memory_equal(buffer, large + sum, (size_t)got);
                sum += (size_t)got;
            }
        }
        assert_int_equal(conn_read(&s.conn, buffer, rooms[i]), CONN_AGAIN);
        scene_close(&s);
    }
}

static void records_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    s.peer.most = 1;
    scene_meet(&s, config);
    int wrote = mbedtls_ssl_write(&s.peer.ssl, (const unsigned char *)"bit by bit", 10);
    assert_int_equal(wrote, 10);
    size_t sum = 0;
    while (sum < 10) {
        ssize_t got = scene_read(&s, buffer, 1);
        if (got != CONN_AGAIN) {
            assert_int_equal(got, 10);
            sum += (size_t)got;
        }
    }
    assert_memory_equal(buffer, "bit by bit", 10);
    scene_close(&s);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void our_end_is_told_and_reading_goes_on(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    assert_int_equal(scene_write(&s, "bye", 3), 3);
    conn_finish(&s.conn);
    assert_false(conn_pending(&s.conn));
    peer_read(&s, copy, 3);
    scene_wait_for(s.fd, POLLIN);
    assert_int_equal(tls_peer_read(&s.peer, copy, 1), MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY);
    assert_int_equal(recv(s.fd, copy, 1, 0), 0);
    peer_write(&s, "late", 4);
    assert_int_equal(scene_read(&s, buffer, ROOM), 4);
    scene_close(&s);
}

/* Broken by an end of the stream before what is owed is sent. */
static void our_end_waits_for_what_is_pending(void **state)
{
    (void)state;
    struct scene s;
    size_t sum = 0;
    scene_open(&s, all.ca.pem, 4096);
    scene_meet(&s, config);
    while (!conn_pending(&s.conn)) {
        sum += write_some(&s, large + sum);
    }
    conn_finish(&s.conn);
    assert_true(conn_pending(&s.conn));
    size_t read = 0;
    int got;
    while ((got = tls_peer_read(&s.peer, copy + read, LARGE - read)) !=
           MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        assert_true(got > 0 || got == MBEDTLS_ERR_SSL_WANT_READ);
        read += got > 0 ? (size_t)got : 0;
        if (conn_pending(&s.conn))
            assert_true(conn_flush(&s.conn) != CONN_BROKEN);
    }
    assert_false(conn_pending(&s.conn));
    assert_int_equal(read, sum);
    assert_memory_equal(copy, large, sum);
    scene_close(&s);
}

/* A bad record makes the library send an alert while it reads, and what was left before that.
 * Broken by a note of ours of what is left, which then is not true any more: writes what is not
 * there. */
static void an_alert_sent_while_reading_takes_the_rest_of_a_record_along(void **state)
{
    (void)state;
    struct scene s;
    size_t sum = 0;
    size_t read = 0;
    int got;
    scene_open(&s, all.ca.pem, 4096);
    scene_meet(&s, config);
    while (!conn_pending(&s.conn))
        sum += write_some(&s, large + sum);
    /* All that the kernel has: then there is room for the rest, which nobody has flushed yet. */
    for (int idle = 0; idle < 20;) {
        got = tls_peer_read(&s.peer, copy + read, LARGE - read);
        assert_true(got > 0 || got == MBEDTLS_ERR_SSL_WANT_READ);
        read += got > 0 ? (size_t)got : 0;
        struct pollfd more = {.fd = s.fd, .events = POLLIN};
        idle = got > 0 || poll(&more, 1, 10) > 0 ? 0 : idle + 1;
    }
    assert_true(conn_pending(&s.conn));
    assert_true(read < sum);
    static const char bad[] = "\x17\x03\x03\x00\x20 a record that is none of ours..";
    assert_int_equal(send(s.fd, bad, 37, MSG_NOSIGNAL), 37);
    scene_wait_for(s.conn.fd, POLLIN);
    assert_int_equal(conn_read(&s.conn, buffer, ROOM), CONN_BROKEN);
    ssize_t left = conn_flush(&s.conn);
    assert_true(left == 0 || left == CONN_AGAIN || left == CONN_BROKEN);
    scene_close(&s);
}

/* The peer keeps its socket open: nothing but its word tells. */
static void the_peer_s_end_is_read_as_0_by_every_read(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    peer_write(&s, "last", 4);
    assert_int_equal(mbedtls_ssl_close_notify(&s.peer.ssl), 0);
    ssize_t got = scene_read(&s, buffer, ROOM);
    if (got == 4) {
        /* Told of though all that came is read. */
        s.events = 0;
        uv_run(&s.loop, UV_RUN_NOWAIT);
        assert_true(s.events & CONN_READABLE);
        got = scene_read(&s, buffer, ROOM);
    }
    assert_int_equal(got, 0);
    assert_int_equal(conn_read(&s.conn, buffer, ROOM), 0);
    /* The other way goes on. */
    assert_int_equal(scene_write(&s, "answer", 6), 6);
    peer_read(&s, copy, 6);
    scene_close(&s);
}

static void an_end_without_a_word_is_read_as_0(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    peer_write(&s, "last", 4);
    shutdown(s.fd, SHUT_WR);
    ssize_t got = scene_read(&s, buffer, ROOM);
    assert_int_equal(got, 4);
    assert_int_equal(scene_read(&s, buffer, ROOM), 0);
    assert_int_equal(scene_read(&s, buffer, ROOM), 0);
    scene_close(&s);
}

static void a_close_tells_the_peer_and_a_reset_does_not(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct scene s;
        scene_open(&s, all.ca.pem, 0);
        scene_meet(&s, config);
        conn_close(&s.conn, &s.poller, reset);
        assert_null(s.conn.tls);
        scene_wait_for(s.fd, POLLIN);
        int got = tls_peer_read(&s.peer, copy, 1);
        assert_int_equal(got, reset ? -1 : MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY);
        scene_close(&s);
    }
}

/* What came before the bad record is still given. */
static void a_record_that_was_changed_breaks_the_connection(void **state)
{
    (void)state;
    struct scene s;
    static const char forged[] = "\x17\x03\x03\x00\x20"
                                 "0123456789abcdef0123456789abcdef";
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    peer_write(&s, "good", 4);
    assert_int_equal(send(s.fd, forged, 37, 0), 37);
    ssize_t got = scene_read(&s, buffer, ROOM);
    if (got == 4)
        got = scene_read(&s, buffer, ROOM);
    assert_int_equal(got, CONN_BROKEN);
    assert_int_equal(conn_read(&s.conn, buffer, ROOM), CONN_BROKEN);
    scene_wait_for(s.fd, POLLIN);
    assert_int_equal(tls_peer_read(&s.peer, copy, 1), MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
    scene_close(&s);
}

static void a_peer_that_is_gone_is_broken(void **state)
{
    (void)state;
    struct scene s;
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    setsockopt(s.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(s.fd);
    s.fd = -1;
    assert_int_equal(scene_read(&s, buffer, ROOM), CONN_BROKEN);
    assert_int_equal(scene_write(&s, "x", 1), CONN_BROKEN);
    scene_close(&s);
}

/* TLS 1.2 has it, 1.3 does not. Ours says no and goes on. */
static void a_renegotiation_is_refused(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_ssl_conf_max_tls_version(&s.peer.config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
    mbedtls_ssl_conf_renegotiation(&s.peer.config, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    scene_meet(&s, config);
    assert_string_equal(tls_version(&s.conn), "TLSv1.2");
    assert_int_equal(mbedtls_ssl_renegotiate(&s.peer.ssl), MBEDTLS_ERR_SSL_WANT_READ);
    ssize_t ours = scene_read(&s, buffer, ROOM);
    assert_true(ours == CONN_AGAIN || ours == CONN_BROKEN);
    scene_wait_for(s.fd, POLLIN);
    int theirs = mbedtls_ssl_renegotiate(&s.peer.ssl);
    assert_true(theirs != 0 && theirs != MBEDTLS_ERR_SSL_WANT_READ);
    scene_close(&s);
}

/* --- memory ----------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
#define COUNTS_BYTES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS_BYTES 0
#endif
#endif
#if !defined(COUNTS_BYTES) && defined(__GLIBC__)
#define COUNTS_BYTES 1
#endif

/* The library takes 36 KiB for one. Broken by buffers that are kept. */
static void an_idle_connection_costs_few_bytes(void **state)
{
    (void)state;
#if COUNTS_BYTES
    enum { SCENES = 20 };
    static struct scene scenes[SCENES];
    struct scene first;
    scene_open(&first, all.ca.pem, 0);
    scene_meet(&first, config);
    size_t sum = 0;
    for (int i = 0; i < SCENES; i++) {
        scene_open(&scenes[i], all.ca.pem, 0);
        scene_meet(&scenes[i], config);
        assert_int_equal(scene_write(&scenes[i], "x", 1), 1);
        peer_read(&scenes[i], copy, 1);
        peer_write(&scenes[i], "y", 1);
        assert_int_equal(scene_read(&scenes[i], buffer, ROOM), 1);
    }
    for (int i = 0; i < SCENES; i++) {
        size_t before = mallinfo2().uordblks;
        tls_close(scenes[i].conn.tls, false);
        scenes[i].conn.tls = NULL;
        sum += before - mallinfo2().uordblks;
    }
    print_message("%zu bytes for an idle connection\n", sum / SCENES);
    assert_true(sum / SCENES < 8000);
    for (int i = 0; i < SCENES; i++)
        scene_close(&scenes[i]);
    scene_close(&first);
#else
    skip();
#endif
}

/* Broken by a buffer that is given back with half a record in it. */
static void connections_that_share_buffers_do_not_mix_their_bytes(void **state)
{
    (void)state;
    enum { SCENES = 12 };
    static struct scene scenes[SCENES];
    for (int i = 0; i < SCENES; i++) {
        scene_open(&scenes[i], all.ca.pem, 4096);
        scene_meet(&scenes[i], config);
    }
    size_t sent[SCENES] = {0};
    size_t come[SCENES] = {0};
    size_t wrote[SCENES] = {0};
    size_t read[SCENES] = {0};
    for (bool done = false; !done;) {
        done = true;
        for (int i = 0; i < SCENES; i++) {
            struct scene *s = &scenes[i];
            const char *own = large + (ptrdiff_t)i * 1000;
            size_t most = 60000;
            if (sent[i] < most) {
                size_t len = 20000 < most - sent[i] ? 20000 : most - sent[i];
                int n = mbedtls_ssl_write(&s->peer.ssl, (const unsigned char *)own + sent[i], len);
                assert_true(n > 0 || n == MBEDTLS_ERR_SSL_WANT_WRITE);
                sent[i] += n > 0 ? (size_t)n : 0;
            }
            ssize_t got = conn_read(&s->conn, buffer, 1500 + 100 * (size_t)i);
            assert_true(got > 0 || got == CONN_AGAIN);
            if (got > 0) {
                assert_memory_equal(buffer, own + come[i], (size_t)got);
                come[i] += (size_t)got;
            }
            if (wrote[i] < most) {
                ssize_t n = scene_write(s, own + wrote[i], most - wrote[i]);
                assert_true(n > 0 || n == CONN_AGAIN);
                wrote[i] += n > 0 ? (size_t)n : 0;
            } else {
                assert_true(conn_flush(&s->conn) != CONN_BROKEN);
            }
            int n = tls_peer_read(&s->peer, copy, 3000);
            assert_true(n > 0 || n == MBEDTLS_ERR_SSL_WANT_READ);
            if (n > 0) {
                assert_memory_equal(copy, own + read[i], (size_t)n);
                read[i] += (size_t)n;
            }
            done = done && come[i] == most && read[i] == most;
        }
    }
    for (int i = 0; i < SCENES; i++)
        scene_close(&scenes[i]);
}

/* The number of the next record is all that stays in a buffer. Broken by one that is not kept. */
static void each_connection_counts_its_own_records(void **state)
{
    (void)state;
    static const int turns[] = {0, 0, 0, 1, 0, 2, 1, 1, 0, 2, 2, 2, 2, 0, 1};
    struct scene scenes[3];
    for (int i = 0; i < 3; i++) {
        scene_open(&scenes[i], all.ca.pem, 0);
        scene_meet(&scenes[i], config);
    }
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        struct scene *s = &scenes[turns[i]];
        peer_write(s, large + i, 10);
        assert_int_equal(scene_read(s, buffer, ROOM), 10);
        assert_memory_equal(buffer, large + i, 10);
        assert_int_equal(scene_write(s, large + i, 20), 20);
        peer_read(s, copy, 20);
        assert_memory_equal(copy, large + i, 20);
    }
    for (int i = 0; i < 3; i++)
        scene_close(&scenes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(the_newest_version_there_is_is_spoken),
        cmocka_unit_test(small_pieces_go_in_one_record),
        cmocka_unit_test(what_is_written_arrives_through_small_sockets),
        cmocka_unit_test(who_has_sent_all_may_still_have_to_flush),
        cmocka_unit_test(a_read_gives_all_there_is_and_no_more_than_the_buffer_has_room_for),
        cmocka_unit_test(records_may_come_byte_by_byte),
        cmocka_unit_test(our_end_is_told_and_reading_goes_on),
        cmocka_unit_test(our_end_waits_for_what_is_pending),
        cmocka_unit_test(an_alert_sent_while_reading_takes_the_rest_of_a_record_along),
        cmocka_unit_test(the_peer_s_end_is_read_as_0_by_every_read),
        cmocka_unit_test(an_end_without_a_word_is_read_as_0),
        cmocka_unit_test(a_close_tells_the_peer_and_a_reset_does_not),
        cmocka_unit_test(a_record_that_was_changed_breaks_the_connection),
        cmocka_unit_test(a_peer_that_is_gone_is_broken),
        cmocka_unit_test(a_renegotiation_is_refused),
        cmocka_unit_test(an_idle_connection_costs_few_bytes),
        cmocka_unit_test(each_connection_counts_its_own_records),
        cmocka_unit_test(connections_that_share_buffers_do_not_mix_their_bytes),
    };
    fill();
    scenery_open(&all);
    config = config_load(&all.paths);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_config_drop(config);
    scenery_close(&all);
    return failed;
}
