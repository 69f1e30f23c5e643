/* Who gets through a handshake, and who does not and why. */
#include "net/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <mbedtls/ssl_ciphersuites.h>

#include "unit/net/tls_scene.h"

enum { ROOM = 65536 };

static struct scenery all;
static struct tls_config *config;
static struct tls_config *asking;
static char buffer[ROOM + CONN_READ_MORE];

/* Has to fail, for that reason. */
static void refused(struct scene *s, struct tls_config *by, enum tls_failure why)
{
    int theirs;
    enum tls_step step = scene_shake(s, by, &theirs);
    assert_int_equal(step, TLS_FAILED);
    if (s->fault.failure != why)
        fail_msg("\"%s\" (-0x%04x) is not \"%s\"", tls_failure_text(s->fault.failure),
            (unsigned)-s->fault.code, tls_failure_text(why));
}

/* Bytes that a client might send; goes on until all of them are taken or it has failed. */
static enum tls_step feed(struct scene *s, const void *bytes, size_t len)
{
    assert_int_equal(send(s->fd, bytes, len, 0), (ssize_t)len);
    scene_wait_for(s->conn.fd, POLLIN);
    enum tls_step step;
    while ((step = tls_handshake(&s->conn, config, &s->fault)) == TLS_AGAIN)
        ;
    return step;
}

/* --- what is no TLS --------------------------------------------------------------------------- */

static void nothing_is_done_before_the_first_byte(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(tls_handshake(&s.conn, config, &s.fault), TLS_WANT_READ);
    assert_null(s.conn.tls);
    shutdown(s.fd, SHUT_WR);
    scene_wait_for(s.conn.fd, POLLIN);
    assert_int_equal(tls_handshake(&s.conn, config, &s.fault), TLS_FAILED);
    assert_int_equal(s.fault.failure, TLS_FAULT_GONE);
    scene_close(&s);
}

/* Broken by a look that takes the byte. */
static void who_speaks_plainly_can_be_answered(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, "GET / HTTP/1.1\r\n", 16), TLS_PLAIN);
    assert_int_equal(conn_read(&s.conn, buffer, ROOM), 16);
    assert_memory_equal(buffer, "GET / ", 6);
    assert_int_equal(scene_write(&s, "no", 2), 2);
    assert_int_equal(recv(s.fd, buffer, 2, MSG_WAITALL), 2);
    assert_memory_equal(buffer, "no", 2);
    scene_close(&s);
}

static void garbage_that_begins_like_tls_is_refused(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, "\x16garbage garbage garbage", 24), TLS_FAILED);
    assert_true(s.fault.failure == TLS_FAULT_RECORD || s.fault.failure == TLS_FAULT_PROTOCOL);
    scene_close(&s);
    /* A record of the right form with nonsense in it. */
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, "\x16\x03\x01\x00\x08\x01\x00\x00\x04nope", 13), TLS_FAILED);
    scene_close(&s);
    /* Longer than a record may be. */
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, "\x16\x03\x01\xff\xff", 5), TLS_FAILED);
    scene_close(&s);
}

static void half_a_handshake_is_waited_for_and_given_up_when_the_client_goes(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, "\x16\x03\x01", 3), TLS_WANT_READ);
    assert_int_equal(feed(&s, "\x00\xff\x01\x00", 4), TLS_WANT_READ);
    shutdown(s.fd, SHUT_WR);
    scene_wait_for(s.conn.fd, POLLIN);
    assert_int_equal(tls_handshake(&s.conn, config, &s.fault), TLS_FAILED);
    assert_int_equal(s.fault.failure, TLS_FAULT_GONE);
    scene_close(&s);
    /* And by us. */
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, "\x16\x03\x01", 3), TLS_WANT_READ);
    scene_close(&s);
}

/* --- versions and suites ---------------------------------------------------------------------- */

static void tls_1_1_is_refused(void **state)
{
    (void)state;
    struct scene s;
    uint8_t hello[] = {0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2, [43] = 0, 0, 2, 0xc0, 0x13, 1, 0};
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(feed(&s, hello, sizeof hello), TLS_FAILED);
    assert_int_equal(s.fault.failure, TLS_FAULT_VERSION);
    /* The client is told: a fatal alert, protocol_version. */
    assert_int_equal(recv(s.fd, buffer, 7, MSG_WAITALL), 7);
    assert_int_equal(buffer[0], 21);
    assert_int_equal(buffer[5], 2);
    assert_int_equal(buffer[6], 70);
    scene_close(&s);
}

static void suites_that_are_not_forward_secret_or_not_aead_are_refused(void **state)
{
    (void)state;
    static const int rows[][2] = {
        {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, 0},
        {MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256, 0},
        {MBEDTLS_TLS_DHE_RSA_WITH_AES_128_GCM_SHA256, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene s;
        scene_open(&s, all.ca.pem, 0);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
        mbedtls_ssl_conf_max_tls_version(&s.peer.config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
        mbedtls_ssl_conf_ciphersuites(&s.peer.config, rows[i]);
        tls_peer_start(&s.peer, "localhost");
        refused(&s, config, TLS_FAULT_SUITE);
        scene_close(&s);
    }
}

static void every_suite_of_ours_works(void **state)
{
    (void)state;
    static const int rows[][2] = {
        {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0},
        {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 0},
        {MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 0},
        {MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 0},
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
        {MBEDTLS_TLS1_3_AES_128_GCM_SHA256, 0},
        {MBEDTLS_TLS1_3_AES_256_GCM_SHA384, 0},
        {MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, 0},
#endif
    };
    struct certificate rsa;
    char path[CERTIFICATES_PATH];
    char key[CERTIFICATES_PATH];
    certificate_make(&rsa, &all.ca,
        &(struct certificate_wish){.name = "CN=rsa", .dns = "localhost", .rsa = true});
    certificates_write(&all.files, path, "rsa.pem", rsa.pem, NULL);
    certificates_write(&all.files, key, "rsa.key", rsa.key, NULL);
    struct tls_config *other = config_load(&(struct tls_paths){path, key, NULL});
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene s;
        char name[80] = "";
        scene_open(&s, all.ca.pem, 0);
        mbedtls_ssl_conf_ciphersuites(&s.peer.config, rows[i]);
        snprintf(name, sizeof name, "%s", mbedtls_ssl_get_ciphersuite_name(rows[i][0]));
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
        if (strncmp(name, "TLS1-3", 6) != 0)
            mbedtls_ssl_conf_max_tls_version(&s.peer.config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
        scene_meet(&s, strstr(name, "-RSA-") ? other : config);
        assert_string_equal(tls_suite(&s.conn), name);
        assert_int_equal(scene_write(&s, name, sizeof name), sizeof name);
        peer_read(&s, buffer, sizeof name);
        assert_string_equal(buffer, name);
        peer_write(&s, name, 10);
        assert_int_equal(scene_read(&s, buffer, ROOM), 10);
        scene_close(&s);
    }
    tls_config_drop(other);
}

static void only_http_1_1_is_spoken_behind_it(void **state)
{
    (void)state;
    static const char *both[] = {"h2", "http/1.1", NULL};
    static const char *newer[] = {"h2", NULL};
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(mbedtls_ssl_conf_alpn_protocols(&s.peer.config, both), 0);
    scene_meet(&s, config);
    assert_string_equal(mbedtls_ssl_get_alpn_protocol(&s.peer.ssl), "http/1.1");
    scene_close(&s);
    scene_open(&s, all.ca.pem, 0);
    assert_int_equal(mbedtls_ssl_conf_alpn_protocols(&s.peer.config, newer), 0);
    tls_peer_start(&s.peer, "localhost");
    /* 2.28 has one code for all that is odd in a first message. */
    refused(&s, config, MBEDTLS_VERSION_NUMBER >= 0x03000000 ? TLS_FAULT_ALPN : TLS_FAULT_PROTOCOL);
    scene_close(&s);
}

static void a_client_that_does_not_trust_us_says_so(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.stranger.pem, 0);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    /* In TLS 1.3 this library's client says it in the clear, which its server does not understand.
     */
    mbedtls_ssl_conf_max_tls_version(&s.peer.config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
    tls_peer_start(&s.peer, "localhost");
    refused(&s, config, TLS_FAULT_REFUSED);
    scene_close(&s);
}

/* --- clients' certificates -------------------------------------------------------------------- */

static void no_certificate_is_refused_where_one_is_asked_for(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    tls_peer_start(&s.peer, "localhost");
    refused(&s, asking, TLS_FAULT_CLIENT_CERTIFICATE_MISSING);
    scene_close(&s);
}

static void a_stranger_s_certificate_is_refused(void **state)
{
    (void)state;
    struct scene s;
    struct certificate theirs;
    certificate_make(&theirs, &all.stranger, &(struct certificate_wish){.name = "CN=alice"});
    scene_open(&s, all.ca.pem, 0);
    tls_peer_own(&s.peer, theirs.pem, theirs.key);
    tls_peer_start(&s.peer, "localhost");
    refused(&s, asking, TLS_FAULT_CLIENT_CERTIFICATE_UNTRUSTED);
    scene_close(&s);
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    struct scene s;
    struct certificate theirs;
    certificate_make(&theirs, &all.ca,
        &(struct certificate_wish){.name = "CN=alice", .from_days = -9, .to_days = -1});
    scene_open(&s, all.ca.pem, 0);
    tls_peer_own(&s.peer, theirs.pem, theirs.key);
    tls_peer_start(&s.peer, "localhost");
    refused(&s, asking, TLS_FAULT_CLIENT_CERTIFICATE_EXPIRED);
    scene_close(&s);
}

static void the_certificate_s_name_is_the_user(void **state)
{
    (void)state;
    static const struct {
        struct certificate_wish wish;
        const char *user; /* NULL: none */
    } rows[] = {
        {{.name = "CN=alice"}, "alice"},
        {{.name = "O=Some,CN=J\xc3\xb6rg,OU=All"}, "J\xc3\xb6rg"},
        {{.name = "CN=alice", .mail = "a@example.org"}, "alice"},
        {{.name = "O=Some", .mail = "a@example.org", .dns = "example.org"}, "a@example.org"},
        {{.name = "O=Some", .dns = "example.org"}, "example.org"},
        {{.name = "O=Some", .ip = "127.0.0.1"}, NULL},
        {{.name = "O=Some"}, NULL},
        {{.name = "CN=a name that is too long"}, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene s;
        struct certificate theirs;
        char user[20];
        certificate_make(&theirs, &all.ca, &rows[i].wish);
        scene_open(&s, all.ca.pem, 0);
        tls_peer_own(&s.peer, theirs.pem, theirs.key);
        assert_false(tls_user(&s.conn, user, sizeof user));
        scene_meet(&s, asking);
        assert_int_equal(tls_user(&s.conn, user, sizeof user), rows[i].user != NULL);
        if (rows[i].user)
            assert_string_equal(user, rows[i].user);
        scene_close(&s);
    }
    struct scene s;
    char user[20];
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    assert_false(tls_user(&s.conn, user, sizeof user));
    scene_close(&s);
}

/* --- slices ----------------------------------------------------------------------------------- */

/* Broken by a handshake that goes on as far as it can. */
static void one_call_does_one_expensive_step(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, all.ca.pem, 0);
    scene_meet(&s, config);
    /* We agree on keys, and we sign. */
    assert_int_equal(s.agains, 1);
    scene_close(&s);
}

/* --- generations and tickets ------------------------------------------------------------------ */

static void older_sessions_go_on_when_the_certificate_changes(void **state)
{
    (void)state;
    struct scene old;
    struct scene new;
    struct certificate other;
    char path[CERTIFICATES_PATH];
    char key[CERTIFICATES_PATH];
    char name[80];
    certificate_make(
        &other, &all.ca, &(struct certificate_wish){.name = "CN=newer", .dns = "localhost"});
    certificates_write(&all.files, path, "newer.pem", other.pem, NULL);
    certificates_write(&all.files, key, "newer.key", other.key, NULL);
    struct tls_config *in_force = config_load(&all.paths);
    scene_open(&old, all.ca.pem, 0);
    scene_meet(&old, in_force);
    tls_config_drop(in_force);
    in_force = config_load(&(struct tls_paths){path, key, NULL});
    scene_open(&new, all.ca.pem, 0);
    scene_meet(&new, in_force);
    tls_config_drop(in_force);
    mbedtls_x509_dn_gets(name, sizeof name, &mbedtls_ssl_get_peer_cert(&new.peer.ssl)->subject);
    assert_string_equal(name, "CN=newer");
    assert_int_equal(scene_write(&old, "still", 5), 5);
    peer_read(&old, buffer, 5);
    peer_write(&old, "here", 4);
    assert_int_equal(scene_read(&old, buffer, ROOM), 4);
    scene_close(&new);
    scene_close(&old);
}

/* Goes through the handshake with a client that writes as soon as it may: what it writes is in the
 * socket together with the end of the handshake, if it resumes. */
static void meet_in_a_hurry(struct scene *s, struct tls_config *with)
{
    enum tls_step step = TLS_WANT_READ;
    int theirs = MBEDTLS_ERR_SSL_WANT_READ;
    while (theirs != 0 || step != TLS_DONE) {
        if (theirs != 0 && (theirs = mbedtls_ssl_handshake(&s->peer.ssl)) == 0)
            peer_write(s, "at once", 7);
        assert_true(theirs == 0 || theirs == MBEDTLS_ERR_SSL_WANT_READ);
        if (step == TLS_DONE)
            continue;
        step = tls_handshake(&s->conn, with, &s->fault);
        s->agains += step == TLS_AGAIN;
        assert_int_not_equal(step, TLS_FAILED);
        if (step == TLS_WANT_READ)
            scene_wait(s);
    }
    assert_int_equal(scene_read(s, buffer, ROOM), 7);
}

/* A second handshake of the same client, with what the first one left; whether it was resumed: a
 * resumed one signs nothing, which shows in the expensive steps (TLS 1.3 still agrees on keys). */
static bool resumes(struct tls_config *first, struct tls_config *second, bool tls_1_2)
{
    struct scene s;
    mbedtls_ssl_session session;
    unsigned agains;
    mbedtls_ssl_session_init(&session);
    for (int i = 0; i < 2; i++) {
        scene_open(&s, all.ca.pem, 0);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
        if (tls_1_2)
            mbedtls_ssl_conf_max_tls_version(&s.peer.config, MBEDTLS_SSL_VERSION_TLS1_2);
        else
            mbedtls_ssl_conf_tls13_key_exchange_modes(
                &s.peer.config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_ALL);
        mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
            &s.peer.config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#else
        (void)tls_1_2;
#endif
        tls_peer_start(&s.peer, "localhost");
        if (i == 1)
            assert_int_equal(mbedtls_ssl_set_session(&s.peer.ssl, &session), 0);
        meet_in_a_hurry(&s, i == 0 ? first : second);
        if (i == 1)
            break;
        agains = s.agains;
        assert_int_equal(scene_write(&s, "x", 1), 1);
        int got;
        do {
            got = mbedtls_ssl_read(&s.peer.ssl, (unsigned char *)buffer, 1);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
            if (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
                assert_int_equal(mbedtls_ssl_get_session(&s.peer.ssl, &session), 0);
#endif
        } while (got < 0);
        if (MBEDTLS_VERSION_NUMBER < 0x03000000 || tls_1_2)
            assert_int_equal(mbedtls_ssl_get_session(&s.peer.ssl, &session), 0);
        scene_close(&s);
    }
    bool resumed = s.agains < agains;
    mbedtls_ssl_session_free(&session);
    scene_close(&s);
    return resumed;
}

static void a_ticket_is_good_at_every_worker_of_its_generation(void **state)
{
    (void)state;
    struct tls_config *workers[2];
    struct tls_config *newer = config_load(&all.paths);
    struct tls_report report;
    assert_true(tls_config_load(&all.paths, workers, 2, &report));
    for (int old = 0; old < 2; old++) {
        assert_true(resumes(workers[0], workers[1], old));
        assert_true(resumes(workers[1], workers[1], old));
        assert_false(resumes(workers[0], newer, old));
    }
    tls_config_drop(workers[0]);
    tls_config_drop(workers[1]);
    tls_config_drop(newer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_done_before_the_first_byte),
        cmocka_unit_test(who_speaks_plainly_can_be_answered),
        cmocka_unit_test(garbage_that_begins_like_tls_is_refused),
        cmocka_unit_test(half_a_handshake_is_waited_for_and_given_up_when_the_client_goes),
        cmocka_unit_test(tls_1_1_is_refused),
        cmocka_unit_test(suites_that_are_not_forward_secret_or_not_aead_are_refused),
        cmocka_unit_test(every_suite_of_ours_works),
        cmocka_unit_test(only_http_1_1_is_spoken_behind_it),
        cmocka_unit_test(a_client_that_does_not_trust_us_says_so),
        cmocka_unit_test(no_certificate_is_refused_where_one_is_asked_for),
        cmocka_unit_test(a_stranger_s_certificate_is_refused),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(the_certificate_s_name_is_the_user),
        cmocka_unit_test(one_call_does_one_expensive_step),
        cmocka_unit_test(older_sessions_go_on_when_the_certificate_changes),
        cmocka_unit_test(a_ticket_is_good_at_every_worker_of_its_generation),
    };
    scenery_open(&all);
    config = config_load(&all.paths);
    asking = config_load(&all.asking);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_config_drop(config);
    tls_config_drop(asking);
    scenery_close(&all);
    return failed;
}
