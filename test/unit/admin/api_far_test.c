/* Requests that other brokers are asked about. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/topic_page.h"
#include "hermes/protocol.h"
#include "support/admin_harness.h"

#include "support/fake_cluster.h"

/* Sends a request; all that is to be asked has been when it returns. */
static int request(struct desk *d, const char *method, const char *path, const char *body)
{
    char text[512];
    int fd = desk_connect(d);
    int len = snprintf(text, sizeof text,
        "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
        method, path, strlen(body), body);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    for (int i = 0; i < 8; i++)
        desk_turn(d);
    return fd;
}

static struct errand *take(struct fake *f, enum ask_kind kind)
{
    struct errand *e = fake_try(f);
    assert_non_null(e);
    assert_int_equal(e->kind, ERRAND_ASK);
    assert_int_equal(e->ask, kind);
    return e;
}

/* The answer's status, and its body is that. */
static void expect_answer(struct desk *d, int fd, int status, const char *expected)
{
    struct buf got = {0};
    uint64_t end = clock_ms() + DESK_PATIENCE_MS;
    bool ended = false;
    while (!ended && clock_ms() < end) {
        char bytes[4096];
        desk_turn(d);
        ssize_t len = recv(fd, bytes, sizeof bytes, 0);
        ended = len == 0;
        if (len > 0)
            buf_append(&got, bytes, (size_t)len);
    }
    close(fd);
    buf_append(&got, "", 1);
    assert_true(got.len > 12);
    assert_int_equal(atoi(got.data + 9), status);
    const char *body = strstr(got.data, "\r\n\r\n");
    assert_non_null(body);
    if (!strstr(body, expected))
        fail_msg("%s has no %s", body, expected);
    buf_fini(&got);
}

static void expect_waiting(struct desk *d, int fd)
{
    char byte;
    for (int i = 0; i < 8; i++)
        desk_turn(d);
    assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), -1);
}

static void subscribe(struct fake *f, struct client *c, const char *topic)
{
    struct route *route = &f->rig->shop.route;
    assert_true(route_follow(route, rig_rule(f->rig, topic),
        registry_hash(&route->registry, text_of(topic)), text_of(topic), FAKE_EPOCH, 7));
    client_subscribe(f->rig, c, topic);
}

static void open_all(struct desk *d, struct fake *f, struct client *c)
{
    desk_open(d, 2, TEXT(""));
    fake_open(f, &d->rig);
    client_open2(&d->rig, 0, c, 0);
    subscribe(f, c, "t");
}

static void close_all(struct desk *d, struct fake *f, struct client *c)
{
    client_drop(&d->rig, c);
    fake_close(f);
    desk_close(d);
}

/* Seen to fail where the first part answers. */
static void presence_is_of_all(void **state)
{
    struct desk d;
    struct fake f;
    struct client c;
    const uint64_t far[2] = {1, 2};
    (void)state;
    open_all(&d, &f, &c);
    int fd = request(&d, "GET", "/api/presence?topic=t", "");
    struct errand *e = take(&f, ASK_PRESENCE);
    assert_true(text_equal(e->name, TEXT("t")));
    expect_waiting(&d, fd);
    buf_append(&e->found, far, sizeof far);
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(&d, fd, 200, "],\"count\":3}");
    fd = request(&d, "GET", "/api/presence?topic=t", "");
    fake_return(&f, take(&f, ASK_PRESENCE), ERRAND_UNAVAILABLE);
    expect_answer(&d, fd, 503, HERMES_TEXT_ALONE);
    fd = request(&d, "GET", "/api/presence?topic=t", "");
    fake_return(&f, take(&f, ASK_PRESENCE), ERRAND_NO_MEMORY);
    expect_answer(&d, fd, 503, "unavailable");
    close_all(&d, &f, &c);
}

static void topics_are_of_all_and_say_of_others_what_is_known(void **state)
{
    struct desk d;
    struct fake f;
    struct client c;
    (void)state;
    open_all(&d, &f, &c);
    int fd = request(&d, "GET", "/api/topics?prefix=&after=A&limit=2", "");
    struct errand *e = take(&f, ASK_TOPICS);
    assert_true(text_equal(e->after, TEXT("A")) && e->limit == 2);
    topic_page_write(&e->found, TEXT("s"), 4);
    topic_page_write(&e->found, TEXT("t"), 5);
    topic_page_write(&e->found, TEXT("u"), 6);
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(&d, fd, 200,
        "{\"topics\":[{\"topic\":\"s\",\"subscribers\":4,\"offset\":null,\"epoch\":null,"
        "\"rate\":null,\"history\":null},{\"topic\":\"t\",\"subscribers\":6,\"offset\":7,"
        "\"epoch\":\"" FAKE_EPOCH_TEXT "\"");
    fd = request(&d, "GET", "/api/topics", "");
    fake_return(&f, take(&f, ASK_TOPICS), ERRAND_UNAVAILABLE);
    expect_answer(&d, fd, 200, "{\"topics\":[{\"topic\":\"t\",\"subscribers\":1,");
    close_all(&d, &f, &c);
}

/* Also one that only others have. Seen to fail where a name that begins so is taken for it. */
static void a_topic_has_the_subscribers_of_all(void **state)
{
    struct desk d;
    struct fake f;
    struct client c;
    (void)state;
    open_all(&d, &f, &c);
    int fd = request(&d, "GET", "/api/topics/t", "");
    struct errand *e = take(&f, ASK_TOPICS);
    assert_true(text_equal(e->prefix, TEXT("t")) && e->limit == 1);
    topic_page_write(&e->found, TEXT("t"), 5);
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(&d, fd, 200, "\"offset\":7,\"subscribers\":6,");
    fd = request(&d, "GET", "/api/topics?topic=s", "");
    e = take(&f, ASK_TOPICS);
    topic_page_write(&e->found, TEXT("s"), 5);
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(
        &d, fd, 200, "{\"topic\":\"s\",\"epoch\":null,\"offset\":null,\"subscribers\":5,");
    fd = request(&d, "GET", "/api/topics/s", "");
    e = take(&f, ASK_TOPICS);
    topic_page_write(&e->found, TEXT("s:1"), 5);
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(&d, fd, 404, "not_found");
    close_all(&d, &f, &c);
}

/* Seen to fail where only the own ones are counted, and where nobody here is nobody at all. */
static void clients_of_all_are_disconnected(void **state)
{
    static const char order[] = "{\"client\":\"00000000000000ab\",\"code\":4010,\"reason\":\"r\"}";
    struct desk d;
    struct fake f;
    struct client c;
    char own[100];
    (void)state;
    open_all(&d, &f, &c);
    int fd = request(&d, "POST", "/api/disconnect", order);
    struct errand *e = take(&f, ASK_DISMISS);
    assert_true(!e->user.at && e->client == 0xab && e->code == 4010);
    assert_true(text_equal(e->reason, TEXT("r")));
    expect_waiting(&d, fd);
    e->count = 1;
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(&d, fd, 200, "{\"disconnected\":1}");
    fd = request(&d, "POST", "/api/disconnect", order);
    fake_return(&f, take(&f, ASK_DISMISS), ERRAND_DONE);
    expect_answer(&d, fd, 404, "not_found");
    fd = request(&d, "POST", "/api/disconnect", order);
    fake_return(&f, take(&f, ASK_DISMISS), ERRAND_UNAVAILABLE);
    expect_answer(&d, fd, 503, HERMES_TEXT_ALONE);
    fd = request(&d, "POST", "/api/disconnect", "{\"user\":\"alice\"}");
    e = take(&f, ASK_DISMISS);
    assert_true(text_equal(e->user, TEXT("alice")) && e->code == 4003);
    e->count = 2;
    fake_return(&f, e, ERRAND_DONE);
    expect_answer(&d, fd, 200, "{\"disconnected\":2}");
    snprintf(own, sizeof own, "{\"client\":\"%016llx\"}", (unsigned long long)c.session->client);
    fd = request(&d, "POST", "/api/disconnect", own);
    fake_return(&f, take(&f, ASK_DISMISS), ERRAND_UNAVAILABLE);
    expect_answer(&d, fd, 200, "{\"disconnected\":1}");
    client_expect_close(&d.rig, &c, 4003);
    close_all(&d, &f, &c);
}

/* Seen to fail (a use after free) where errands are not counted as asked. */
static void the_listener_does_not_end_before_its_errands_are_back(void **state)
{
    struct desk d;
    struct fake f;
    struct client c;
    (void)state;
    open_all(&d, &f, &c);
    int fd[3] = {request(&d, "GET", "/api/presence?topic=t", ""),
        request(&d, "GET", "/api/topics/t", ""), request(&d, "GET", "/api/topics", "")};
    close(fd[0]);
    admin_stop(d.admin);
    for (int i = 0; i < 8; i++)
        desk_turn(&d);
    assert_false(d.admin->ending);
    fake_return(&f, take(&f, ASK_PRESENCE), ERRAND_DONE);
    for (int i = 0; i < 2; i++)
        fake_return(&f, take(&f, ASK_TOPICS), ERRAND_DONE);
    for (int i = 1; i < 3; i++)
        expect_answer(&d, fd[i], 200, "\"t\"");
    close_all(&d, &f, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presence_is_of_all),
        cmocka_unit_test(topics_are_of_all_and_say_of_others_what_is_known),
        cmocka_unit_test(a_topic_has_the_subscribers_of_all),
        cmocka_unit_test(clients_of_all_are_disconnected),
        cmocka_unit_test(the_listener_does_not_end_before_its_errands_are_back),
    };
    signal(SIGPIPE, SIG_IGN); /* as the broker does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
