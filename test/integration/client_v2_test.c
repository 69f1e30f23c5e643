/* Level 2 of the client library against an embedded broker. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "hermes/client.h"
#include "hermes/hermes.h"
#include "hermes/protocol.h"

static const char rules[] = "{\"rules\":[{\"match\":\"kept:*\",\"history\":1000}]}";

struct place {
    struct hermes *hermes;
    uv_loop_t loop;
    uv_timer_t patience;
    struct hermes_client_group *group;
    char url[64];
    char file[64];
    unsigned port;
};

struct guest {
    struct place *place;
    struct hermes_client *client;
    char log[4096]; /* what it was told, but deliveries of numbers */
    size_t len;
    uint64_t next;     /* number that is due, when numbers are published */
    uint64_t cut_each; /* cut the connection after so many of them */
    unsigned answers;
    unsigned not_recovered;
    unsigned recovered;
    uint64_t acked;
    bool closed;
    int fd;
    int other_fd; /* another guest's */
};

/* ---- cutting a connection ---- */

/* A descriptor of this process that is connected to the broker's port, and not `other`; -1: none.
 */
static int connected_fd(unsigned port, int other)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        if (fd != other && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
            peer.sin_family == AF_INET && ntohs(peer.sin_port) == port)
            return fd;
    }
    return -1;
}

/* ---- guests ---- */

static void on_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user)
{
    struct guest *g = user;
    (void)c;
    if (g->next) {
        char due[32];
        int len = snprintf(due, sizeof due, "%llu", (unsigned long long)g->next);
        if (d->data_len != (size_t)len || memcmp(d->data, due, d->data_len) != 0)
            fail_msg("%.*s came where %s was due", (int)d->data_len, d->data, due);
        assert_int_equal(d->offset, g->next);
        g->next++;
        if (g->cut_each && g->next % g->cut_each == 0)
            (void)shutdown(g->fd, SHUT_RDWR);
        return;
    }
    g->len += (size_t)snprintf(g->log + g->len, sizeof g->log - g->len, "%.*s=%.*s%s%.*s\n",
        (int)d->topic_len, d->topic, (int)d->data_len, d->data, d->pattern ? " by " : "",
        (int)d->pattern_len, d->pattern ? d->pattern : "");
}

static void on_member(struct hermes_client *c, const struct hermes_member *m, void *user)
{
    struct guest *g = user;
    (void)c;
    g->len += (size_t)snprintf(g->log + g->len, sizeof g->log - g->len, "%s %.*s\n",
        m->joined ? "join" : "leave", (int)m->topic_len, m->topic);
}

static void on_published(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct guest *g = user;
    (void)c;
    assert_int_equal(p->outcome, HERMES_PUBLISH_ACCEPTED);
    assert_int_equal(p->token, ++g->acked);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *a, void *user)
{
    struct guest *g = user;
    struct hermes_message m;
    const char *client;
    size_t len;
    (void)c;
    if (a->kind == HERMES_ANSWER_ERROR)
        g->len += (size_t)snprintf(g->log + g->len, sizeof g->log - g->len, "error %.*s %llu\n",
            (int)a->code_len, a->code, (unsigned long long)a->token);
    while (a->kind == HERMES_ANSWER_HISTORY && hermes_answer_message(a, &m))
        g->len += (size_t)snprintf(g->log + g->len, sizeof g->log - g->len, "kept %llu:%.*s\n",
            (unsigned long long)m.offset, (int)m.data_len, m.data);
    while (a->kind == HERMES_ANSWER_PRESENCE && hermes_answer_client(a, &client, &len))
        g->len += (size_t)snprintf(g->log + g->len, sizeof g->log - g->len, "present %llu\n",
            (unsigned long long)a->token);
    if (a->kind == HERMES_ANSWER_SUBSCRIBED) {
        g->not_recovered += a->recovered == HERMES_RECOVERED_NO;
        g->recovered += a->recovered == HERMES_RECOVERED_YES;
        if (g->cut_each)
            g->fd = connected_fd(g->place->port, g->other_fd);
    }
    g->answers++;
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    (void)c;
    (void)why;
    ((struct guest *)user)->closed = true;
}

static const struct hermes_client_events events = {.on_answer = on_answer,
    .on_close = on_close,
    .on_delivery = on_delivery,
    .on_member = on_member,
    .on_published = on_published};

static void out_of_patience(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "waited in vain\n");
    abort();
}

static void broker_start(struct place *p, const char *port)
{
    p->hermes = hermes_new();
    assert_non_null(p->hermes);
    const char *const settings[][2] = {{"WS_HOST", "127.0.0.1"}, {"WS_WORKERS", "2"},
        {"WS_LOG_LEVEL", "off"}, {"WS_CONFIG", p->file}, {"WS_PORT", port}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_int_equal(hermes_set(p->hermes, settings[i][0], settings[i][1]), HERMES_OK);
    if (hermes_start(p->hermes) != HERMES_OK)
        fail_msg("%s", hermes_error(p->hermes));
    p->port = (unsigned)hermes_port(p->hermes);
    snprintf(p->url, sizeof p->url, "ws://127.0.0.1:%u", p->port);
}

static int place_open(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    *state = p;
    assert_int_equal(uv_loop_init(&p->loop), 0);
    uv_timer_init(&p->loop, &p->patience);
    uv_timer_start(&p->patience, out_of_patience, 120000, 0);
    p->group = hermes_client_group_new(&p->loop, NULL);
    assert_non_null(p->group);
    snprintf(p->file, sizeof p->file, "/tmp/hermes-rules-XXXXXX");
    int fd = mkstemp(p->file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, rules, sizeof rules - 1), sizeof rules - 1);
    close(fd);
    broker_start(p, "0");
    return 0;
}

static int place_close(void **state)
{
    struct place *p = *state;
    hermes_stop(p->hermes);
    hermes_free(p->hermes);
    hermes_client_group_free(p->group);
    uv_close((uv_handle_t *)&p->patience, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    unlink(p->file);
    free(p);
    return 0;
}

static void arrive(struct place *p, struct guest *g)
{
    *g = (struct guest){.place = p, .fd = -1};
    struct hermes_client_options options = {
        .url = p->url, .events = &events, .user = g, .retry_ms = 1, .retry_max_ms = 1, .level = 2};
    assert_int_equal(hermes_client_new(&g->client, p->group, &options), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_open(g->client), HERMES_CLIENT_OK);
    while (g->answers == 0)
        uv_run(&p->loop, UV_RUN_ONCE);
}

static void until_told(struct guest *g, const char *what)
{
    while (!strstr(g->log, what))
        uv_run(&g->place->loop, UV_RUN_ONCE);
}

static void until_answers(struct guest *g, unsigned answers)
{
    while (g->answers < answers)
        uv_run(&g->place->loop, UV_RUN_ONCE);
}

static void publish_number(struct guest *g, const char *topic, uint64_t n)
{
    char data[32];
    int len = snprintf(data, sizeof data, "%llu", (unsigned long long)n);
    assert_int_equal(hermes_client_publish_with(g->client, topic, strlen(topic), data, (size_t)len,
                         &(struct hermes_publish_options){.ack = true, .token = n}),
        HERMES_CLIENT_OK);
}

static void nothing_is_lost_or_doubled_by_cuts(void **state)
{
    struct place *p = *state;
    struct guest publisher;
    struct guest subscriber;
    enum { MESSAGES = 600 };
    for (uint64_t each = 1; each <= 7; each += 3) {
        char topic[32];
        snprintf(topic, sizeof topic, "kept:%u", (unsigned)each);
        arrive(p, &publisher);
        int publisher_fd = connected_fd(p->port, -1);
        arrive(p, &subscriber);
        subscriber.next = 1;
        subscriber.cut_each = each;
        subscriber.other_fd = publisher_fd;
        assert_int_equal(
            hermes_client_subscribe(subscriber.client, topic, strlen(topic)), HERMES_CLIENT_OK);
        until_answers(&subscriber, 2);
        /* Some come while it is there, some while it is away. */
        for (uint64_t n = 1; n <= MESSAGES; n++) {
            publish_number(&publisher, topic, n);
            while (publisher.acked < n || (n % 4 == 0 && subscriber.next <= n))
                uv_run(&p->loop, UV_RUN_ONCE);
        }
        assert_int_equal(subscriber.not_recovered, 0);
        assert_in_range(subscriber.recovered, MESSAGES / 8 / each, MESSAGES);
        hermes_client_free(subscriber.client);
        hermes_client_free(publisher.client);
        while (connected_fd(p->port, -1) >= 0)
            uv_run(&p->loop, UV_RUN_NOWAIT);
    }
}

static void another_epoch_is_told(void **state)
{
    struct place *p = *state;
    struct guest g;
    char port[8];
    arrive(p, &g);
    assert_int_equal(hermes_client_subscribe(g.client, "kept:e", 6), HERMES_CLIENT_OK);
    publish_number(&g, "kept:e", 1);
    until_told(&g, "kept:e=1\n");
    snprintf(port, sizeof port, "%u", p->port);
    hermes_stop(p->hermes);
    hermes_free(p->hermes);
    broker_start(p, port);
    while (g.not_recovered == 0)
        uv_run(&p->loop, UV_RUN_ONCE);
    publish_number(&g, "kept:e", 2);
    until_told(&g, "kept:e=2\n");
    assert_int_equal(g.recovered, 0);
    hermes_client_free(g.client);
}

static void every_command_works_with_our_broker(void **state)
{
    struct place *p = *state;
    struct guest a;
    struct guest b;
    arrive(p, &a);
    arrive(p, &b);
    assert_int_equal(hermes_client_subscribe_with(a.client, "kept:x", 6,
                         &(struct hermes_subscribe_options){
                             .presence = true, .policy = HERMES_SLOW_DROP_OLDEST}),
        HERMES_CLIENT_OK);
    assert_int_equal(
        hermes_client_subscribe_pattern(a.client, "other:*", 7, NULL), HERMES_CLIENT_OK);
    until_answers(&a, 3);
    assert_int_equal(hermes_client_subscribe(b.client, "kept:x", 6), HERMES_CLIENT_OK);
    until_told(&a, "join kept:x\n");
    publish_number(&b, "kept:x", 1);
    until_told(&a, "kept:x=1\n");
    publish_number(&b, "other:y", 2);
    until_told(&a, "other:y=2 by other:*\n");
    assert_int_equal(hermes_client_publish_with(b.client, "kept:x", 6, "{\"a\" :1}", 8,
                         &(struct hermes_publish_options){.no_echo = true}),
        HERMES_CLIENT_OK);
    until_told(&a, "kept:x={\"a\" :1}\n");
    assert_int_equal(hermes_client_history(b.client, "kept:x", 6, NULL), HERMES_CLIENT_OK);
    until_told(&b, "kept 1:1\nkept 2:{\"a\" :1}\n");
    assert_null(strstr(b.log, "kept:x={"));
    assert_int_equal(
        hermes_client_history(b.client, "other:y", 7, &(struct hermes_history_options){.token = 8}),
        HERMES_CLIENT_OK);
    until_told(&b, "error no_history 8\n");
    assert_int_equal(hermes_client_presence(b.client, "kept:x", 6, 9), HERMES_CLIENT_OK);
    until_told(&b, "present 9\npresent 9\n");
    assert_int_equal(hermes_client_subscribe_pattern(
                         b.client, "a*", 2, &(struct hermes_subscribe_options){.token = 10}),
        HERMES_CLIENT_OK);
    until_told(&b, "error bad_pattern 10\n");
    assert_int_equal(hermes_client_unsubscribe(b.client, "kept:x", 6), HERMES_CLIENT_OK);
    until_told(&a, "leave kept:x\n");
    assert_int_equal(hermes_client_unsubscribe_pattern(a.client, "other:*", 7), HERMES_CLIENT_OK);
    unsigned answers = a.answers;
    until_answers(&a, answers + 1);
    publish_number(&b, "other:y", 3);
    publish_number(&b, "kept:x", 4);
    until_told(&a, "kept:x=4\n");
    assert_null(strstr(a.log, "other:y=3"));
    hermes_client_free(a.client);
    hermes_client_free(b.client);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            nothing_is_lost_or_doubled_by_cuts, place_open, place_close),
        cmocka_unit_test_setup_teardown(another_epoch_is_told, place_open, place_close),
        cmocka_unit_test_setup_teardown(
            every_command_works_with_our_broker, place_open, place_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
