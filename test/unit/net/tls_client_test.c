/* The client's side: bytes in, bytes out, and whom it believes. */
#include "net/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "unit/net/tls_scene.h"

enum { ROOM = 65536, LARGE = 300000 };

static struct scenery all;
static struct tls_config *config;
static struct tls_trust *trust;
static char buffer[ROOM + CONN_READ_MORE];
static char large[LARGE];
static char copy[LARGE];

static struct tls_trust *trust_load(const struct tls_client_paths *paths)
{
    struct tls_report report;
    struct tls_trust *loaded = tls_trust_load(paths, &report);
    if (!loaded)
        fail_msg("%s", report.error);
    return loaded;
}

/* Carries at most `most` bytes each way. */
static void carry(struct scene *s, struct tls_client *c, size_t most)
{
    struct text out = tls_client_output(c);
    size_t len = out.len < most ? out.len : most;
    ssize_t sent = len ? send(s->fd, out.at, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent > 0)
        tls_client_sent(c, (size_t)sent);
    ssize_t got = recv(s->fd, buffer, most < ROOM ? most : ROOM, MSG_DONTWAIT);
    if (got >= 0)
        assert_true(tls_client_feed(c, buffer, (size_t)got));
}

/* What it comes to on the client's side. */
static int shake(struct scene *s, struct tls_client *c, struct tls_config *by, size_t most)
{
    enum tls_step step = TLS_WANT_READ;
    for (;;) {
        int state = tls_client_shake(c);
        carry(s, c, most);
        if (step != TLS_DONE && step != TLS_FAILED)
            step = tls_handshake(&s->conn, by, &s->fault);
        if (state == TLS_CLIENT_BROKEN || (state == 0 && step == TLS_DONE))
            return state;
        if (step == TLS_FAILED && s->conn.fd >= 0)
            conn_close(&s->conn, &s->poller, false);
    }
}

static void bytes_go_both_ways_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const size_t pieces[] = {ROOM, 1000, 7};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct scene s;
        size_t most = pieces[i] < 100 ? 5000 : LARGE;
        struct tls_client *c = tls_client_new(trust, "localhost");
        scene_open(&s, all.ca.pem, 0);
        assert_int_equal(shake(&s, c, config, pieces[i]), 0);
        assert_true(tls_client_write(c, large, most));
        for (size_t come = 0; come < most;) {
            carry(&s, c, pieces[i]);
            ssize_t got = conn_read(&s.conn, buffer, ROOM);
            if (got > 0) {
                assert_memory_equal(buffer, large + come, (size_t)got);
                come += (size_t)got;
            }
        }
        size_t sent = 0;
        size_t come = 0;
        while (come < most) {
            if (sent < most) {
                ssize_t wrote = scene_write(&s, large + sent, most - sent);
                sent += wrote > 0 ? (size_t)wrote : 0;
            }
            assert_true(conn_flush(&s.conn) != CONN_BROKEN);
            carry(&s, c, pieces[i]);
            ssize_t got;
            while ((got = tls_client_read(c, copy, 5000)) > 0) {
                assert_memory_equal(copy, large + come, (size_t)got);
                come += (size_t)got;
            }
            assert_int_equal(got, TLS_CLIENT_AGAIN);
        }
        tls_client_free(c);
        scene_close(&s);
    }
}

static void each_side_s_end_is_read_as_0(void **state)
{
    (void)state;
    for (int ours = 0; ours < 2; ours++) {
        struct scene s;
        struct tls_client *c = tls_client_new(trust, "localhost");
        scene_open(&s, all.ca.pem, 0);
        assert_int_equal(shake(&s, c, config, ROOM), 0);
        if (ours) {
            conn_finish(&s.conn);
            scene_wait_for(s.fd, POLLIN);
            carry(&s, c, ROOM);
            assert_int_equal(tls_client_read(c, copy, 10), 0);
        } else {
            tls_client_finish(c);
            carry(&s, c, ROOM);
            assert_int_equal(scene_read(&s, buffer, ROOM), 0);
        }
        tls_client_free(c);
        scene_close(&s);
    }
    struct scene s;
    struct tls_client *c = tls_client_new(trust, "localhost");
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(shake(&s, c, config, ROOM), 0);
    assert_int_equal(tls_client_read(c, copy, 10), TLS_CLIENT_AGAIN);
    assert_true(tls_client_feed(c, NULL, 0));
    assert_int_equal(tls_client_read(c, copy, 10), 0);
    tls_client_free(c);
    scene_close(&s);
}

/* Broken by a check of names only, and by none. */
static void the_certificate_has_to_be_for_the_host(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        const char *problem; /* NULL: believed */
    } rows[] = {
        {"localhost", NULL},
        {"127.0.0.1", NULL},
        {"example.org", "another host"},
        {"127.0.0.2", "another host"},
        {"::1", "another host"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene s;
        struct tls_client *c = tls_client_new(trust, rows[i].host);
        scene_open(&s, all.ca.pem, 0);
        int came = shake(&s, c, config, ROOM);
        if ((came == 0) != !rows[i].problem)
            fail_msg("%s: %s", rows[i].host, tls_client_problem(c, NULL));
        if (rows[i].problem)
            assert_non_null(strstr(tls_client_problem(c, NULL), rows[i].problem));
        tls_client_free(c);
        scene_close(&s);
    }
}

static void who_is_not_known_or_too_old_is_not_believed(void **state)
{
    (void)state;
    static const struct {
        bool stranger;
        int from;
        int to;
        const char *problem;
    } rows[] = {
        {true, 0, 0, "authority"},
        {false, -9, -1, "expired"},
        {false, 1, 9, "not valid yet"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene s;
        struct certificate theirs;
        struct tls_report report;
        struct tls_config *by;
        char path[CERTIFICATES_PATH];
        char key[CERTIFICATES_PATH];
        certificate_make(&theirs, rows[i].stranger ? &all.stranger : &all.ca,
            &(struct certificate_wish){.name = "CN=localhost",
                .dns = "localhost",
                .from_days = rows[i].from,
                .to_days = rows[i].to});
        certificates_write(&all.files, path, "theirs.pem", theirs.pem, NULL);
        certificates_write(&all.files, key, "theirs.key", theirs.key, NULL);
        assert_true(tls_config_load(&(struct tls_paths){path, key, NULL}, &by, 1, &report));
        struct tls_client *c = tls_client_new(trust, "localhost");
        scene_open(&s, all.ca.pem, 0);
        assert_int_equal(shake(&s, c, by, ROOM), TLS_CLIENT_BROKEN);
        if (!strstr(tls_client_problem(c, NULL), rows[i].problem))
            fail_msg("%s", tls_client_problem(c, NULL));
        assert_int_equal(tls_client_read(c, copy, 1), TLS_CLIENT_BROKEN);
        assert_false(tls_client_write(c, copy, 1));
        tls_client_free(c);
        scene_close(&s);
        tls_config_drop(by);
    }
}

static void a_certificate_of_its_own_is_shown_to_who_asks(void **state)
{
    (void)state;
    struct certificate own;
    char path[CERTIFICATES_PATH];
    char key[CERTIFICATES_PATH];
    char user[20];
    certificate_make(&own, &all.ca, &(struct certificate_wish){.name = "CN=robot"});
    certificates_write(&all.files, path, "own.pem", own.pem, NULL);
    certificates_write(&all.files, key, "own.key", own.key, NULL);
    struct tls_config *asking = config_load(&all.asking);
    struct tls_trust *with = trust_load(&(struct tls_client_paths){all.ca_path, path, key, false});
    struct scene s;
    struct tls_client *c = tls_client_new(with, "localhost");
    tls_trust_drop(with);
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(shake(&s, c, asking, ROOM), 0);
    assert_true(tls_user(&s.conn, user, sizeof user));
    assert_string_equal(user, "robot");
    tls_client_free(c);
    scene_close(&s);
    tls_config_drop(asking);
}

static void a_server_that_speaks_no_tls_is_told(void **state)
{
    (void)state;
    struct tls_client *c = tls_client_new(trust, "localhost");
    assert_int_equal(tls_client_shake(c), TLS_CLIENT_AGAIN);
    assert_true(tls_client_output(c).len > 0);
    assert_true(tls_client_feed(c, "HTTP/1.1 400 Bad Request\r\n", 26));
    assert_int_equal(tls_client_shake(c), TLS_CLIENT_BROKEN);
    assert_string_not_equal(tls_client_problem(c, NULL), "");
    assert_int_equal(tls_client_shake(c), TLS_CLIENT_BROKEN);
    tls_client_free(c);
    c = tls_client_new(trust, "localhost");
    assert_int_equal(tls_client_shake(c), TLS_CLIENT_AGAIN);
    assert_true(tls_client_feed(c, NULL, 0));
    assert_int_equal(tls_client_shake(c), TLS_CLIENT_BROKEN);
    assert_non_null(strstr(tls_client_problem(c, NULL), "closed"));
    tls_client_free(c);
}

static void bad_files_are_told(void **state)
{
    (void)state;
    struct tls_report report;
    assert_null(
        tls_trust_load(&(struct tls_client_paths){"/nowhere/ca.pem", NULL, NULL, false}, &report));
    assert_non_null(strstr(report.error, "/nowhere/ca.pem: "));
    assert_null(
        tls_trust_load(&(struct tls_client_paths){all.key_path, NULL, NULL, false}, &report));
    assert_non_null(strstr(report.error, "no certificate"));
    assert_null(tls_trust_load(
        &(struct tls_client_paths){all.ca_path, all.server_path, all.ca_path, false}, &report));
    assert_non_null(strstr(report.error, "no private key"));
    tls_trust_drop(NULL);
    tls_client_free(NULL);
}

/* Where the machine has a bundle. */
static void the_system_s_authorities_are_the_default(void **state)
{
    (void)state;
    struct tls_report report;
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0)
        skip();
    struct tls_trust *system =
        tls_trust_load(&(struct tls_client_paths){NULL, NULL, NULL, false}, &report);
    assert_non_null(system);
    struct scene s;
    struct tls_client *c = tls_client_new(system, "localhost");
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(shake(&s, c, config, ROOM), TLS_CLIENT_BROKEN);
    assert_non_null(strstr(tls_client_problem(c, NULL), "authority"));
    tls_client_free(c);
    scene_close(&s);
    tls_trust_drop(system);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways_in_pieces_of_any_size),
        cmocka_unit_test(each_side_s_end_is_read_as_0),
        cmocka_unit_test(the_certificate_has_to_be_for_the_host),
        cmocka_unit_test(who_is_not_known_or_too_old_is_not_believed),
        cmocka_unit_test(a_certificate_of_its_own_is_shown_to_who_asks),
        cmocka_unit_test(a_server_that_speaks_no_tls_is_told),
        cmocka_unit_test(bad_files_are_told),
        cmocka_unit_test(the_system_s_authorities_are_the_default),
    };
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 31 + (i >> 8));
    scenery_open(&all);
    config = config_load(&all.paths);
    trust = trust_load(&(struct tls_client_paths){all.ca_path, NULL, NULL, false});
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_trust_drop(trust);
    tls_config_drop(config);
    scenery_close(&all);
    return failed;
}
