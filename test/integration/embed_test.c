/* A broker inside of a program: what hermes.h promises to it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/time.h>
#include <uv.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "support/peer.h"

/* The system refuses threads, should a test say so: this one stands before libuv's. */
static int threads_left = -1; /* -1: as many as are wanted */

struct body {
    uv_thread_cb run;
    void *with;
};

static void *run_body(void *user)
{
    struct body body = *(struct body *)user;
    free(user);
    body.run(body.with);
    return NULL;
}

int uv_thread_create(uv_thread_t *thread, uv_thread_cb run, void *with)
{
    if (threads_left == 0)
        return UV_EAGAIN;
    if (threads_left > 0)
        threads_left--;
    struct body *body = malloc(sizeof *body);
    if (!body)
        return UV_ENOMEM;
    *body = (struct body){run, with};
    return pthread_create(thread, NULL, run_body, body) == 0 ? 0 : UV_EAGAIN;
}

/* On a port of its own, and quiet. */
static struct hermes *fresh(void)
{
    struct hermes *h = hermes_new();
    assert_non_null(h);
    assert_int_equal(hermes_set(h, "WS_PORT", "0"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_HOST", "127.0.0.1"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_WORKERS", "3"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_LOG_LEVEL", "off"), HERMES_OK);
    return h;
}

static struct hermes *started(void)
{
    struct hermes *h = fresh();
    assert_int_equal(hermes_start(h), HERMES_OK);
    return h;
}

static int publish(struct hermes *h, const char *topic, const char *data)
{
    return hermes_publish(h, topic, strlen(topic), data, strlen(data));
}

static void hear(struct peer *p, const char *expected)
{
    const char *text;
    size_t len;
    assert_int_equal(peer_next(p, &text, &len), PEER_TEXT);
    if (len != strlen(expected) || memcmp(text, expected, len) != 0)
        fail_msg("expected %s, got %.*s", expected, (int)len, text);
}

static void hear_the_end(struct peer *p)
{
    const char *text;
    size_t len;
    assert_int_equal(peer_next(p, &text, &len), PEER_CLOSE);
    assert_int_equal(p->close_code, 1012);
    assert_int_equal(peer_next(p, &text, &len), PEER_END);
    peer_drop(p, false);
}

/* Clients are served, and what the program publishes comes to them. */
static void expect_to_serve(struct hermes *h)
{
    struct peer p;
    assert_true(peer_open(&p, hermes_port(h)));
    assert_true(peer_subscribe(&p, "served"));
    assert_int_equal(publish(h, "served", "\"yes\""), HERMES_OK);
    hear(&p, "\"yes\"");
    peer_drop(&p, false);
}

/* --- settings --------------------------------------------------------------------------------- */

static void every_setting_has_two_names_and_takes_its_own_default(void **state)
{
    size_t count;
    const struct hermes_setting *settings = hermes_settings(&count);
    struct hermes *h = fresh();
    (void)state;
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(strncmp(settings[i].variable, "WS_", 3), 0);
        assert_true(settings[i].flag[0] != '\0' && settings[i].help[0] != '\0');
        assert_int_equal(hermes_set(h, settings[i].variable, settings[i].value), HERMES_OK);
        assert_int_equal(hermes_set(h, settings[i].flag, settings[i].value), HERMES_OK);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(settings[i].variable, settings[k].variable);
            assert_string_not_equal(settings[i].flag, settings[k].flag);
        }
    }
    hermes_free(h);
}

static void a_bad_setting_is_refused_with_its_name_and_what_would_be_right(void **state)
{
    static const struct {
        const char *name;
        const char *value;
        int code;
        const char *text;
    } rows[] = {
        {"WS_NO_SUCH", "1", HERMES_UNKNOWN, "there is no setting WS_NO_SUCH"},
        {"no-such", "1", HERMES_UNKNOWN, "there is no setting no-such"},
        {"", "", HERMES_UNKNOWN, "there is no setting "},
        {"WS_PORT", "http", HERMES_INVALID, "WS_PORT=http is out of range: give 0 to 65535"},
        {"WS_PORT", "", HERMES_INVALID, "WS_PORT= is out of range: give 0 to 65535"},
        {"WS_PORT", "65536", HERMES_INVALID, "WS_PORT=65536 is out of range: give 0 to 65535"},
        {"port", "-1", HERMES_INVALID, "WS_PORT=-1 is out of range: give 0 to 65535"},
        {"port", "80 ", HERMES_INVALID, "WS_PORT=80  is out of range: give 0 to 65535"},
        {"workers", "257", HERMES_INVALID, "WS_WORKERS=257 is out of range: give 0 or 1 to 256"},
        {"max-message-bytes", "63", HERMES_INVALID,
            "WS_MAX_MESSAGE_BYTES=63 is out of range: give 64 to 1073741824 (bytes, or with k, m, "
            "g)"},
        {"max-message-bytes", "2g", HERMES_INVALID,
            "WS_MAX_MESSAGE_BYTES=2g is out of range: give 64 to 1073741824 (bytes, or with k, m, "
            "g)"},
        {"max-topic-bytes", "0", HERMES_INVALID,
            "WS_MAX_TOPIC_BYTES=0 is out of range: give 1 to 65535 (bytes, or with k, m, g)"},
        {"ping-seconds", "soon", HERMES_INVALID,
            "WS_PING_SECONDS=soon is no time that may be: give 0 or 0.01 to 86400 seconds (or "
            "with ms, s, m, h)"},
        {"drain-seconds", "0", HERMES_INVALID,
            "WS_DRAIN_SECONDS=0 is no time that may be: give 0.01 to 86400 seconds (or with ms, "
            "s, m, h)"},
        {"log-level", "loud", HERMES_INVALID,
            "WS_LOG_LEVEL=loud is none of its words: give one of debug, info, warn, error, off"},
        {"log-format", "", HERMES_INVALID,
            "WS_LOG_FORMAT= is none of its words: give one of text, json"},
    };
    struct hermes *h = fresh();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hermes_set(h, rows[i].name, rows[i].value), rows[i].code);
        assert_string_equal(hermes_error(h), rows[i].text);
    }
    assert_int_equal(hermes_start(h), HERMES_OK); /* they changed nothing */
    hermes_free(h);
}

static void a_refused_setting_leaves_the_one_before(void **state)
{
    struct hermes *h = fresh();
    (void)state;
    assert_int_equal(hermes_set(h, "max-topic-bytes", "4"), HERMES_OK);
    assert_int_equal(hermes_set(h, "max-topic-bytes", "0"), HERMES_INVALID);
    assert_int_equal(hermes_start(h), HERMES_OK);
    assert_int_equal(publish(h, "1234", "1"), HERMES_OK);
    assert_int_equal(publish(h, "12345", "1"), HERMES_INVALID);
    hermes_free(h);
}

/* --- start ------------------------------------------------------------------------------------ */

static void port_0_finds_a_free_one_and_tells_which(void **state)
{
    struct hermes *h = fresh();
    (void)state;
    assert_int_equal(hermes_port(h), 0);
    assert_int_equal(hermes_start(h), HERMES_OK);
    assert_in_range(hermes_port(h), 1, 65535);
    expect_to_serve(h);
    hermes_free(h);
}

static void a_busy_port_is_told_and_starting_can_be_tried_again(void **state)
{
    struct hermes *first = started();
    struct hermes *second = fresh();
    char port[16];
    (void)state;
    snprintf(port, sizeof port, "%d", hermes_port(first));
    assert_int_equal(hermes_set(second, "port", port), HERMES_OK);
    for (int i = 0; i < 2; i++) {
        char start[64];
        assert_int_equal(hermes_start(second), HERMES_SYSTEM);
        snprintf(start, sizeof start, "port %s on 127.0.0.1 is in use: ", port);
        assert_int_equal(strncmp(hermes_error(second), start, strlen(start)), 0);
        assert_int_equal(hermes_port(second), 0);
        assert_int_equal(publish(second, "t", "1"), HERMES_STOPPED);
    }
    assert_int_equal(hermes_set(second, "port", "0"), HERMES_OK);
    assert_int_equal(hermes_start(second), HERMES_OK);
    expect_to_serve(second);
    expect_to_serve(first);
    hermes_free(first);
    hermes_free(second);
}

static void a_host_that_is_not_here_is_told(void **state)
{
    struct hermes *h = fresh();
    (void)state;
    assert_int_equal(hermes_set(h, "host", "192.0.2.1"), HERMES_OK);
    assert_int_equal(hermes_start(h), HERMES_SYSTEM);
    assert_non_null(strstr(hermes_error(h), "192.0.2.1 is no address of this machine"));
    hermes_free(h);
}

static void count_call(void *user)
{
    atomic_fetch_add((_Atomic int *)user, 1);
}

static void a_broker_that_got_no_threads_can_be_started_again(void **state)
{
    (void)state;
    for (int threads = 0; threads < 4; threads++) {
        struct hermes *h = fresh();
        _Atomic int told = 0;
        hermes_on_stopped(h, count_call, &told);
        for (int i = 0; i < 2; i++) {
            threads_left = threads;
            assert_int_equal(hermes_start(h), HERMES_SYSTEM);
            threads_left = -1;
            assert_int_equal(strncmp(hermes_error(h), "cannot start a thread: ", 23), 0);
        }
        assert_int_equal(atomic_load(&told), 0);
        assert_int_equal(hermes_start(h), HERMES_OK);
        expect_to_serve(h);
        hermes_free(h);
        assert_int_equal(atomic_load(&told), 1);
    }
}

/* --- publishing ------------------------------------------------------------------------------- */

/* Broken by rings that this thread makes and frees: the kernel then interrupts it. From 1.45 on
 * libuv's loops have rings of their own, which do the same. */
static void the_end_of_a_broker_interrupts_nobody(void **state)
{
    enum { SUBSCRIBERS = 8, LIVES = 20 };
    (void)state;
    if (uv_version() >= (1 << 16 | 45 << 8))
        skip();
    int pair[2];
    struct timeval wait = {.tv_usec = 1000};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    for (int life = 0; life < LIVES; life++) {
        struct peer peers[SUBSCRIBERS];
        struct hermes *h = fresh();
        assert_int_equal(hermes_start(h), HERMES_OK);
        for (int i = 0; i < SUBSCRIBERS; i++) {
            assert_true(peer_open(&peers[i], hermes_port(h)));
            assert_true(peer_subscribe(&peers[i], "t"));
        }
        assert_int_equal(publish(h, "t", "1"), HERMES_OK);
        for (int i = 0; i < SUBSCRIBERS; i++) {
            hear(&peers[i], "1");
            peer_drop(&peers[i], false);
        }
        hermes_free(h);
        /* A call that waits no longer than so is not gone on with after a signal. */
        for (int i = 0; i < 10; i++) {
            char byte;
            assert_int_equal(recv(pair[0], &byte, 1, 0), -1);
            assert_int_equal(errno, EAGAIN);
        }
    }
    close(pair[0]);
    close(pair[1]);
}

static void a_publish_says_what_is_wrong_with_it(void **state)
{
    struct hermes *h = fresh();
    char long_text[100];
    (void)state;
    assert_int_equal(hermes_set(h, "max-message-bytes", "64"), HERMES_OK);
    assert_int_equal(hermes_set(h, "max-topic-bytes", "8"), HERMES_OK);
    assert_int_equal(publish(h, "t", "1"), HERMES_STOPPED);
    assert_int_equal(hermes_start(h), HERMES_OK);

    assert_int_equal(publish(h, "t", "1"), HERMES_OK);
    assert_int_equal(publish(h, "12345678", "null"), HERMES_OK);
    static const char *const bad_topics[] = {"", "123456789", "a\nb", "a\x7f", "\xff", "\xc3"};
    for (size_t i = 0; i < sizeof bad_topics / sizeof *bad_topics; i++)
        assert_int_equal(publish(h, bad_topics[i], "1"), HERMES_INVALID);
    assert_int_equal(hermes_publish(h, "a\0b", 3, "1", 1), HERMES_INVALID);
    static const char *const bad_data[] = {
        "", " ", "{", "nul", "1 2", "'1'", "01", "[1,]", "\"\xff\"", "\"\x01\"", "{\"a\"}"};
    for (size_t i = 0; i < sizeof bad_data / sizeof *bad_data; i++)
        assert_int_equal(publish(h, "t", bad_data[i]), HERMES_INVALID);

    memset(long_text, '1', sizeof long_text);
    assert_int_equal(hermes_publish(h, "t", 1, long_text, 64), HERMES_OK);
    assert_int_equal(hermes_publish(h, "t", 1, long_text, 65), HERMES_TOO_LARGE);
    assert_int_equal(hermes_metric(h, "messages_published_total"), 3);

    hermes_drain(h);
    hermes_wait(h);
    assert_int_equal(publish(h, "t", "1"), HERMES_STOPPED);
    hermes_free(h);
}

static void what_is_published_comes_byte_for_byte_and_in_order(void **state)
{
    static const char *const values[] = {"170.50", " {\"b\":1, \"a\":[ ],\"b\":2}\n", "null",
        "false", "123456789012345678901234567890", "\"\\u0000\xc3\xa4\"", "1e999"};
    struct hermes *h = started();
    struct peer p;
    (void)state;
    assert_true(peer_open(&p, hermes_port(h)));
    assert_true(peer_subscribe(&p, "t"));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(publish(h, "t", values[i]), HERMES_OK);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        hear(&p, values[i]);
    peer_drop(&p, false);
    hermes_free(h);
}

/* --- metrics ---------------------------------------------------------------------------------- */

static void metrics_are_known_by_name(void **state)
{
    struct hermes *h = fresh();
    struct peer p;
    (void)state;
    assert_int_equal(hermes_metric(h, "connections"), 0);
    assert_int_equal(hermes_start(h), HERMES_OK);
    assert_true(peer_open(&p, hermes_port(h)));
    assert_true(peer_subscribe(&p, "t"));
    assert_int_equal(publish(h, "t", "1"), HERMES_OK);
    hear(&p, "1");
    static const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"connections", 1},
        {"connections_total", 1},
        {"sessions", 1},
        {"subscriptions", 1},
        {"commands_total", 1},
        {"messages_published_total", 1},
        {"deliveries_total", 1},
        {"errors_sent_total", 0},
        {"closed_too_slow_total", 0},
        {"dropped_bytes_total", 0},
        {"no_such", -1},
        {"", -1},
        {"connection", -1},
        {"Connections", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (hermes_metric(h, rows[i].name) != rows[i].value)
            fail_msg("%s is %lld", rows[i].name, (long long)hermes_metric(h, rows[i].name));
    assert_true(hermes_metric(h, "bytes_sent_total") > 0);
    assert_true(hermes_metric(h, "mailbox_bytes") >= 0);
    hermes_drain(h);
    hear_the_end(&p);
    hermes_wait(h);
    assert_int_equal(hermes_metric(h, "connections"), 0);
    assert_int_equal(hermes_metric(h, "closed_shutdown_total"), 1);
    assert_int_equal(hermes_metric(h, "connections_total"), 1);
    hermes_free(h);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void the_end_is_told_once_however_often_it_is_asked_for(void **state)
{
    struct hermes *h = fresh();
    struct peer p;
    _Atomic int told = 0;
    (void)state;
    hermes_on_stopped(h, count_call, &told);
    hermes_drain(h); /* nothing runs: nothing happens */
    hermes_wait(h);
    hermes_stop(h);
    assert_int_equal(atomic_load(&told), 0);
    assert_int_equal(hermes_start(h), HERMES_OK);
    assert_true(peer_open(&p, hermes_port(h)));
    hermes_drain(h);
    hermes_drain(h);
    hear_the_end(&p);
    hermes_wait(h);
    assert_int_equal(atomic_load(&told), 1);
    hermes_wait(h);
    hermes_stop(h);
    hermes_stop(h);
    hermes_free(h);
    assert_int_equal(atomic_load(&told), 1);
}

/* So much that it is not all with the clients when the drain begins: they do not read before. */
static void what_was_published_before_a_drain_is_still_delivered(void **state)
{
    enum { PEERS = 6, MESSAGES = 2000, BYTES = 4000 };
    static char data[BYTES + 1];
    struct hermes *h = fresh();
    struct peer peers[PEERS];
    (void)state;
    assert_int_equal(hermes_set(h, "drain-seconds", "60"), HERMES_OK);
    assert_int_equal(hermes_start(h), HERMES_OK);
    for (int i = 0; i < PEERS; i++) {
        assert_true(peer_connect(&peers[i], hermes_port(h), 4096));
        assert_true(peer_upgrade(&peers[i]));
        assert_true(peer_subscribe(&peers[i], "t"));
    }
    memset(data, '1', BYTES);
    for (int n = 0; n < MESSAGES; n++) {
        data[1 + n % (BYTES - 1)] = '2';
        assert_int_equal(publish(h, "t", data), HERMES_OK);
        data[1 + n % (BYTES - 1)] = '1';
    }
    hermes_drain(h);
    for (int i = 0; i < PEERS; i++) {
        for (int n = 0; n < MESSAGES; n++) {
            data[1 + n % (BYTES - 1)] = '2';
            hear(&peers[i], data);
            data[1 + n % (BYTES - 1)] = '1';
        }
        hear_the_end(&peers[i]);
    }
    hermes_free(h);
}

static void a_broker_may_be_freed_in_any_state(void **state)
{
    struct hermes *h;
    struct peer p;
    (void)state;
    hermes_free(NULL);
    h = hermes_new();
    hermes_free(h);
    h = fresh();
    hermes_free(h);
    h = fresh();
    hermes_ignore(h, "WS_SOMETHING");
    hermes_free(h);
    h = started();
    hermes_free(h);
    /* With a client that is still there, and is told. */
    h = started();
    assert_true(peer_open(&p, hermes_port(h)));
    hermes_free(h);
    hear_the_end(&p);
    h = started();
    hermes_drain(h);
    hermes_free(h);
}

static void brokers_in_one_process_share_nothing(void **state)
{
    struct hermes *h[2] = {started(), started()};
    struct peer p[2];
    (void)state;
    assert_int_not_equal(hermes_port(h[0]), hermes_port(h[1]));
    for (int i = 0; i < 2; i++) {
        assert_true(peer_open(&p[i], hermes_port(h[i])));
        assert_true(peer_subscribe(&p[i], "t"));
    }
    assert_int_equal(publish(h[0], "t", "\"only zero\""), HERMES_OK);
    hear(&p[0], "\"only zero\"");
    assert_int_equal(publish(h[1], "t", "\"only one\""), HERMES_OK);
    hear(&p[1], "\"only one\"");
    assert_int_equal(hermes_metric(h[0], "deliveries_total"), 1);
    assert_int_equal(hermes_metric(h[1], "deliveries_total"), 1);
    hermes_drain(h[0]);
    hear_the_end(&p[0]);
    hermes_free(h[0]);
    assert_int_equal(publish(h[1], "t", "\"goes on\""), HERMES_OK);
    hear(&p[1], "\"goes on\"");
    peer_drop(&p[1], false);
    hermes_free(h[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_has_two_names_and_takes_its_own_default),
        cmocka_unit_test(a_bad_setting_is_refused_with_its_name_and_what_would_be_right),
        cmocka_unit_test(a_refused_setting_leaves_the_one_before),
        cmocka_unit_test(port_0_finds_a_free_one_and_tells_which),
        cmocka_unit_test(a_busy_port_is_told_and_starting_can_be_tried_again),
        cmocka_unit_test(a_host_that_is_not_here_is_told),
        cmocka_unit_test(a_broker_that_got_no_threads_can_be_started_again),
        cmocka_unit_test(the_end_of_a_broker_interrupts_nobody),
        cmocka_unit_test(a_publish_says_what_is_wrong_with_it),
        cmocka_unit_test(what_is_published_comes_byte_for_byte_and_in_order),
        cmocka_unit_test(metrics_are_known_by_name),
        cmocka_unit_test(the_end_is_told_once_however_often_it_is_asked_for),
        cmocka_unit_test(what_was_published_before_a_drain_is_still_delivered),
        cmocka_unit_test(a_broker_may_be_freed_in_any_state),
        cmocka_unit_test(brokers_in_one_process_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
