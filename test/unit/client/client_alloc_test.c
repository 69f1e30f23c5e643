/* A client whose n-th allocation fails, for every n. Linked with malloc and its kin wrapped; the
 * server is another process, whose allocations all succeed. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "unit/client/world.h"

/* Serves until it is killed; writes its URL to `out`. */
static void serve_elsewhere(int out, bool tls)
{
    uv_loop_t loop;
    static struct world w;
    static struct fake fake;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uv_loop_init(&loop);
    fake.user = &w;
    fake.text = world_serve;
    fake_open(&fake, &loop, "localhost");
    if (tls)
        fake_secure(&fake, fake_tls_new(FAKE_GOOD, false));
    if (write(out, fake.url, sizeof fake.url) != sizeof fake.url)
        _exit(1);
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(1);
}

struct scene {
    bool confirmed;
    bool over;
    bool lost; /* a connection broke, and with it perhaps what was under way */
    unsigned answers;
    unsigned deliveries;
};

/* Only one allocation fails, so the second attempt does not. */
static void on_open(struct hermes_client *c, void *user)
{
    (void)user;
    int tries = 2;
    while (tries-- > 0 && hermes_client_confirm(c, 1) != HERMES_CLIENT_OK)
        ;
}

static void on_data(struct hermes_client *c, const char *data, size_t len, void *user)
{
    struct scene *s = user;
    (void)c;
    (void)data;
    (void)len;
    s->deliveries++;
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    struct scene *s = user;
    (void)c;
    s->answers += answer->kind == HERMES_ANSWER_SUBSCRIBED;
}

static void on_confirm(struct hermes_client *c, uint64_t token, void *user)
{
    struct scene *s = user;
    (void)token;
    s->confirmed = true;
    hermes_client_close(c, 1000, "the end");
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct scene *s = user;
    (void)c;
    s->over = !why->will_retry;
    s->lost |= why->opened && why->will_retry;
}

static const struct hermes_client_events events = {.on_open = on_open,
    .on_data = on_data,
    .on_answer = on_answer,
    .on_confirm = on_confirm,
    .on_close = on_close};

/* True when it went through to the end. What could be allocated was also sent. */
static bool play(const char *url)
{
    uv_loop_t loop;
    struct scene s = {0};
    struct hermes_client *c = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct hermes_client_group *g = hermes_client_group_new(&loop, NULL);
    struct hermes_client_options options = {.url = url,
        .events = &events,
        .user = &s,
        .retry_ms = 1,
        .retry_max_ms = 1,
        .tls_ca = fake_tls_ca()};
    if (g && hermes_client_new(&c, g, &options) == HERMES_CLIENT_OK) {
        bool subscribed = hermes_client_subscribe(c, "a", 1) == HERMES_CLIENT_OK;
        unsigned published = 0;
        for (int i = 0; i < 3; i++)
            published += hermes_client_publish(c, "b", 1, "1234", 4) == HERMES_CLIENT_OK;
        if (hermes_client_open(c) == HERMES_CLIENT_OK) {
            while (!s.over)
                uv_run(&loop, UV_RUN_ONCE);
            if (s.confirmed) {
                assert_true(s.answers >= subscribed);
                assert_true(s.deliveries == published || (s.lost && s.deliveries < published));
            }
        }
    }
    hermes_client_free(c);
    hermes_client_group_free(g);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return s.confirmed;
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
    assert_in_range(n, 10, 1000);
}

int main(void)
{
    static char urls[2][sizeof((struct fake *)NULL)->url];
    pid_t servers[2];
    signal(SIGPIPE, SIG_IGN);
    (void)fake_tls_ca();
    for (int tls = 0; tls < 2; tls++) {
        int fds[2];
        if (pipe(fds) != 0)
            return 1;
        servers[tls] = fork();
        if (servers[tls] == 0)
            serve_elsewhere(fds[1], tls);
        close(fds[1]);
        if (read(fds[0], urls[tls], sizeof urls[tls]) != sizeof urls[tls])
            return 1;
        close(fds[0]);
    }
    const struct CMUnitTest tests[] = {
        {"any_allocation_may_fail", any_allocation_may_fail, NULL, NULL, urls[0]},
        {"any_allocation_may_fail_with_tls", any_allocation_may_fail, NULL, NULL, urls[1]},
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int tls = 0; tls < 2; tls++) {
        kill(servers[tls], SIGKILL);
        waitpid(servers[tls], NULL, 0);
    }
    return failed;
}
