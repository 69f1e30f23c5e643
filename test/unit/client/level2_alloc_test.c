/* A client of level 2 whose n-th allocation fails, for every n; as client_alloc_test. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hermes/client.h"
#include "support/failing_alloc.h"
#include "unit/client/fake_server.h"

/* The value of the id, without its quotes. */
static void id_of(const char *text, size_t len, char id[32])
{
    const char *at = memmem(text, len, "\"id\":\"", 6);
    size_t n = 0;
    for (at = at ? at + 6 : text + len; at + n < text + len && at[n] != '"' && n < 31; n++)
        id[n] = at[n];
    id[n] = 0;
}

static bool is(const char *text, size_t len, const char *start)
{
    return len >= strlen(start) && memcmp(text, start, strlen(start)) == 0;
}

/* Topics are written with escapes, so that reading them needs memory. */
static void serve(struct fake_conn *conn, const char *text, size_t len)
{
    char id[32];
    char answer[256];
    id_of(text, len, id);
    if (is(text, len, "{\"type\":\"subscribe\"")) {
        bool since = memmem(text, len, "since", 5) != NULL;
        snprintf(answer, sizeof answer,
            "{\"type\":\"ack_subscribe\",\"topic\":\"\\u0061\",\"message\":\"m\",\"epoch\":\"e%s\","
            "\"offset\":1%s,\"id\":\"%s\"}",
            since ? "" : "1", since ? ",\"recovered\":false" : "", id);
        fake_text(conn, answer);
        fake_text(conn, "{\"type\":\"message\",\"topic\":\"\\u0061\",\"data\":1,\"offset\":2}");
        /* The same offset once more, which only who knows of the new epoch takes. */
        fake_text(conn, "{\"type\":\"gap\",\"topic\":\"a\",\"from\":1,\"to\":1,\"epoch\":\"f\"}");
        fake_text(conn, "{\"type\":\"message\",\"topic\":\"a\",\"data\":1,\"offset\":2}");
    } else if (is(text, len, "{\"id\"")) {
        snprintf(answer, sizeof answer,
            "{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":3,\"subscribers\":0,\"id\":\"%"
            "s\"}",
            id);
        fake_text(conn, answer);
    } else if (is(text, len, "{\"type\":\"presence\"")) {
        snprintf(answer, sizeof answer,
            "{\"type\":\"presence\",\"topic\":\"a\",\"clients\":[\"\\u0061\"],\"id\":\"%s\"}", id);
        fake_text(conn, answer);
    }
}

/* Serves until it is killed; writes its URL to `out`. */
static void serve_elsewhere(int out)
{
    uv_loop_t loop;
    static struct fake fake;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uv_loop_init(&loop);
    fake.text = serve;
    fake_open(&fake, &loop, "localhost");
    if (write(out, fake.url, sizeof fake.url) != sizeof fake.url)
        _exit(1);
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(1);
}

struct scene {
    bool presence; /* its answer came: the last of them all */
    bool over;
    unsigned subscribed;
    unsigned deliveries;
    unsigned answered; /* publishes, whatever came of them */
};

static void on_open(struct hermes_client *c, void *user)
{
    (void)user;
    int tries = 2; /* only one allocation fails */
    while (tries-- > 0 && hermes_client_presence(c, "a", 1, 5) != HERMES_CLIENT_OK)
        ;
}

static void on_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user)
{
    struct scene *s = user;
    (void)c;
    assert_int_equal(d->topic_len, 1);
    assert_int_equal(d->topic[0], 'a');
    s->deliveries++;
}

static void on_answer(struct hermes_client *c, struct hermes_answer *a, void *user)
{
    struct scene *s = user;
    const char *client;
    size_t len;
    s->subscribed += a->kind == HERMES_ANSWER_SUBSCRIBED;
    if (a->kind != HERMES_ANSWER_PRESENCE)
        return;
    assert_int_equal(a->token, 5);
    (void)hermes_answer_client(a, &client, &len);
    s->presence = true;
    hermes_client_close(c, 1000, "the end");
}

static void on_published(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct scene *s = user;
    (void)c;
    assert_int_equal(p->token, s->answered);
    s->answered++;
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct scene *s = user;
    (void)c;
    s->over = !why->will_retry;
}

static const struct hermes_client_events events = {.on_open = on_open,
    .on_answer = on_answer,
    .on_close = on_close,
    .on_delivery = on_delivery,
    .on_published = on_published};

/* True when it went through to the end; then nothing that was taken has gone without a word. */
static bool play(const char *url)
{
    uv_loop_t loop;
    struct scene s = {0};
    struct hermes_client *c = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct hermes_client_group *g = hermes_client_group_new(&loop, NULL);
    struct hermes_client_options options = {
        .url = url, .events = &events, .user = &s, .retry_ms = 1, .retry_max_ms = 1, .level = 2};
    struct hermes_subscribe_options since = {.epoch = "e1", .epoch_len = 2, .offset = 1};
    if (g && hermes_client_new(&c, g, &options) == HERMES_CLIENT_OK) {
        bool subscribed = hermes_client_subscribe_with(c, "a", 1, &since) == HERMES_CLIENT_OK;
        unsigned published = 0;
        for (int i = 0; i < 3; i++)
            published += hermes_client_publish_with(c, "b", 1, "1234", 4,
                             &(struct hermes_publish_options){.ack = true, .token = published}) ==
                         HERMES_CLIENT_OK;
        if (hermes_client_open(c) == HERMES_CLIENT_OK) {
            while (!s.over)
                uv_run(&loop, UV_RUN_ONCE);
            if (s.presence) {
                assert_true(s.subscribed >= subscribed);
                assert_true(s.deliveries >= 2 * (unsigned)subscribed);
                assert_int_equal(s.answered, published);
            }
        }
    }
    hermes_client_free(c);
    hermes_client_group_free(g);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return s.presence;
}

static void any_allocation_may_fail(void **state)
{
    const char *url = *state;
    alloc_fail(0);
    assert_true(play(url));
    unsigned n = 0;
    do {
        alloc_fail(++n);
        (void)play(url);
    } while (alloc_failed());
    assert_in_range(n, 15, 1000);
}

int main(void)
{
    static char url[sizeof((struct fake *)NULL)->url];
    int fds[2];
    signal(SIGPIPE, SIG_IGN);
    if (pipe(fds) != 0)
        return 1;
    pid_t server = fork();
    if (server == 0)
        serve_elsewhere(fds[1]);
    close(fds[1]);
    if (read(fds[0], url, sizeof url) != sizeof url)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(any_allocation_may_fail, url),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return failed;
}
