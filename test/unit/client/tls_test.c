/* wss:// : whom a client believes, and what it says when it does not. That all else is as without
 * TLS is for the tests that run both ways. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/client.h"
#include "unit/client/world.h"

static void secure_world(struct world *w, enum fake_certificate which, bool asks)
{
    world_open(w);
    fake_secure(&w->fake, fake_tls_new(which, asks));
    w->fake.no_info = true;
    w->options.tls_ca = fake_tls_ca();
    w->events.on_open = world_done_open;
    w->events.on_close = world_done_close;
}

static void what_is_wrong_with_a_certificate_is_told(void **state)
{
    (void)state;
    static const struct {
        enum fake_certificate which;
        enum hermes_tls_problem problem;
        const char *log;
    } rows[] = {
        {FAKE_GOOD, HERMES_TLS_FINE, "open\n"},
        {FAKE_OTHER_HOST, HERMES_TLS_NAME,
            "close 1006 the server's certificate is for another host\n"},
        {FAKE_EXPIRED, HERMES_TLS_DATES, "close 1006 retry the server's certificate has expired\n"},
        {FAKE_NOT_YET, HERMES_TLS_DATES,
            "close 1006 retry the server's certificate is not valid yet\n"},
        {FAKE_STRANGER, HERMES_TLS_TRUST,
            "close 1006 the server's certificate is not from an authority that is trusted here\n"},
        {FAKE_SELF_SIGNED, HERMES_TLS_TRUST,
            "close 1006 the server's certificate is not from an authority that is trusted here\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        secure_world(&w, rows[i].which, false);
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        world_log_is(&w, rows[i].log);
        assert_int_equal(w.last.tls, rows[i].problem);
        world_close(&w);
    }
}

static void an_insecure_client_believes_any(void **state)
{
    (void)state;
    for (int i = 0; i < FAKE_CERTIFICATES; i++) {
        struct world w;
        secure_world(&w, (enum fake_certificate)i, false);
        w.options.tls_ca = NULL;
        w.options.tls_insecure = true;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        world_log_is(&w, "open\n");
        world_close(&w);
    }
}

/* A self-signed certificate is its own authority. */
static void a_certificate_itself_may_be_what_is_believed(void **state)
{
    (void)state;
    struct world w;
    secure_world(&w, FAKE_SELF_SIGNED, false);
    w.options.tls_ca = fake_tls_file(FAKE_SELF_SIGNED);
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_log_is(&w, "open\n");
    world_close(&w);
}

static void a_server_that_hangs_up_in_the_handshake_is_tried_again(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        struct world w;
        char line[160];
        secure_world(&w, FAKE_GOOD, false);
        w.fake.silent = true;
        w.fake.resets = resets;
        world_client(&w);
        world_open_client(&w);
        world_run(&w);
        snprintf(line, sizeof line,
            "close 1006 retry cannot connect to 127.0.0.1 port %d: the server closed the "
            "connection during the TLS handshake\n",
            (int)strtol(strrchr(w.fake.url, ':') + 1, NULL, 10));
        world_log_is(&w, line);
        assert_int_equal(w.last.tls, HERMES_TLS_CLOSED);
        w.fake.silent = false;
        buf_clear(&w.log);
        world_run(&w);
        world_log_is(&w, "open\n");
        world_close(&w);
    }
}

static void tls_on_one_side_only_is_told(void **state)
{
    (void)state;
    struct world w;
    secure_world(&w, FAKE_GOOD, false);
    w.fake.plain = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_log_is(&w, "close 1006 retry the server does not speak TLS there\n");
    assert_int_equal(w.last.tls, HERMES_TLS_PLAIN);
    world_close(&w);

    world_open(&w);
    w.fake.plain = "\x15\x03\x01\x00\x02\x02\x46";
    w.events.on_close = world_done_close;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    world_log_is(&w, "close 1006 retry the server speaks TLS there: wss://\n");
    assert_int_equal(w.last.tls, HERMES_TLS_FINE);
    world_close(&w);
}

static void a_server_may_want_a_certificate(void **state)
{
    (void)state;
    static const struct {
        int which; /* negative: none */
        const char *log;
    } rows[] = {
        {FAKE_GOOD, "open\n"},
        {-1, "close 1006 the server wants a certificate of the client\n"},
        {FAKE_STRANGER, "close 1006 the server does not accept the client's certificate\n"},
        {FAKE_EXPIRED, "close 1006 the server does not accept the client's certificate\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        secure_world(&w, FAKE_GOOD, true);
        if (rows[i].which >= 0)
            w.options.tls_certificate = fake_tls_file((enum fake_certificate)rows[i].which);
        world_client(&w);
        world_open_client(&w);
        /* With TLS 1.3 it is open before the server has looked. */
        world_run(&w);
        world_log_is(&w, rows[i].log);
        world_close(&w);
    }
}

static void bad_files_are_told(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct hermes_client *c = (struct hermes_client *)&w;
    struct hermes_client_options o = w.options;
    o.url = "wss://localhost";
    assert_string_equal(hermes_client_group_problem(w.group), "");
    o.tls_ca = "/nowhere/ca.pem";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_TLS);
    assert_null(c);
    assert_non_null(strstr(hermes_client_group_problem(w.group), "/nowhere/ca.pem: "));
    o.tls_ca = fake_tls_ca();
    o.tls_certificate = fake_tls_ca();
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_TLS);
    assert_non_null(strstr(hermes_client_group_problem(w.group), "no private key"));
    o.tls_key = "/nowhere/key.pem";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_TLS);
    assert_non_null(strstr(hermes_client_group_problem(w.group), "/nowhere/key.pem: "));
    o.url = "ws://localhost";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_OK);
    hermes_client_free(c);
    world_close(&w);
}

static void clients_of_the_same_files_share_them(void **state)
{
    (void)state;
    struct world w;
    struct hermes_client *second;
    secure_world(&w, FAKE_GOOD, false);
    world_client(&w);
    assert_int_equal(hermes_client_new(&second, w.group, &w.options), HERMES_CLIENT_OK);
    assert_ptr_equal(w.client->trust, second->trust);
    hermes_client_free(second);
    w.options.tls_insecure = true;
    assert_int_equal(hermes_client_new(&second, w.group, &w.options), HERMES_CLIENT_OK);
    assert_ptr_not_equal(w.client->trust, second->trust);
    hermes_client_free(second);
    world_close(&w);
}

static void copy_file(const char *to, const char *from)
{
    char bytes[20000];
    char fresh[200];
    FILE *in = fopen(from, "r");
    snprintf(fresh, sizeof fresh, "%s.new", to);
    FILE *out = fopen(fresh, "w");
    assert_true(in && out);
    size_t len = fread(bytes, 1, sizeof bytes, in);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(in);
    fclose(out);
    assert_int_equal(rename(fresh, to), 0);
}

static void files_that_have_changed_are_read_before_a_connection(void **state)
{
    (void)state;
    struct world w;
    char path[200];
    secure_world(&w, FAKE_GOOD, true);
    snprintf(path, sizeof path, "%s.mine", fake_tls_ca());
    copy_file(path, fake_tls_file(FAKE_EXPIRED));
    w.options.tls_certificate = path;
    world_client(&w);
    const struct trust *first = w.client->trust;
    world_open_client(&w);
    world_run(&w);
    assert_int_equal(w.last.tls, HERMES_TLS_OWN);
    assert_ptr_equal(w.client->trust, first);

    copy_file(path, fake_tls_file(FAKE_GOOD));
    buf_clear(&w.log);
    world_open_client(&w);
    world_run(&w);
    world_log_is(&w, "open\n");

    /* What is no good is not taken. */
    copy_file(path, fake_tls_ca());
    fake_drop(w.fake.all);
    world_run(&w);
    world_run(&w);
    world_log_is(
        &w, "open\nclose 1006 opened retry the server ended the connection without a word\nopen\n");
    world_close(&w);
}

/* Both ways, in pieces that are cut anywhere. */
static void large_messages_go_both_ways(void **state)
{
    (void)state;
    struct world w;
    enum { LEN = 1 << 20 };
    secure_world(&w, FAKE_GOOD, false);
    w.fake.text = world_serve;
    w.events.on_open = NULL;
    world_client(&w);
    char *large = malloc(LEN + 1);
    memset(large, 'x', LEN);
    for (size_t i = 1; i < LEN; i += 97)
        large[i] = (char)('a' + i % 26);
    large[0] = large[LEN - 1] = '"';
    large[LEN] = 0;
    world_open_client(&w);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world_publish(&w, "n", large), HERMES_CLIENT_OK);
    assert_int_equal(world_publish(&w, "done", "1"), HERMES_CLIENT_OK);
    world_run(&w);
    size_t frame = sizeof "data {\"topic\":\"n\",\"data\":}" + LEN;
    while (w.log.len < 4 * frame)
        uv_run(&w.loop, UV_RUN_ONCE);
    const char *at = w.log.data + w.log.len - 4 * frame;
    for (int i = 0; i < 4; i++, at += frame) {
        assert_memory_equal(at, "data {\"topic\":\"n\",\"data\":", 25);
        assert_memory_equal(at + 25, large, LEN);
    }
    free(large);
    world_close(&w);
}

static void who_closes_ends_tls_too(void **state)
{
    (void)state;
    struct world w;
    secure_world(&w, FAKE_GOOD, false);
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    hermes_client_close(w.client, 1000, NULL);
    world_run(&w);
    world_log_is(&w, "open\nclose 1000 opened clean \n");
    world_close(&w);

    /* Of its own accord: for what the server sent. */
    secure_world(&w, FAKE_GOOD, false);
    w.options.retry_ms = HERMES_CLIENT_NEVER;
    world_client(&w);
    world_open_client(&w);
    world_run(&w);
    fake_frame(w.fake.all, WS_BINARY, "x", 1);
    world_run(&w);
    while (!w.fake.all->closed)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(w.fake.ended_orderly, 1);
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_with_a_certificate_is_told),
        cmocka_unit_test(an_insecure_client_believes_any),
        cmocka_unit_test(a_certificate_itself_may_be_what_is_believed),
        cmocka_unit_test(a_server_that_hangs_up_in_the_handshake_is_tried_again),
        cmocka_unit_test(tls_on_one_side_only_is_told),
        cmocka_unit_test(a_server_may_want_a_certificate),
        cmocka_unit_test(bad_files_are_told),
        cmocka_unit_test(clients_of_the_same_files_share_them),
        cmocka_unit_test(files_that_have_changed_are_read_before_a_connection),
        cmocka_unit_test(large_messages_go_both_ways),
        cmocka_unit_test(who_closes_ends_tls_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
