/* The client library and an embedded broker, as a program outside of this project has them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "hermes/client.h"
#include "hermes/hermes.h"
#include "hermes/protocol.h"

struct place {
    struct hermes *hermes;
    uv_loop_t loop;
    uv_timer_t patience;
    struct hermes_client_group *group;
    char url[64];
};

/* One client and what it was told. */
struct guest {
    struct place *place;
    struct hermes_client *client;
    char log[4096];
    size_t len;
    unsigned opened;
    unsigned deliveries;
    unsigned numbers; /* deliveries that were the number that was due */
    unsigned answers;
    bool confirmed;
    bool closed;
    struct hermes_close why;
};

static void write_down(struct guest *g, const char *what, const char *text, size_t len)
{
    int more = snprintf(
        g->log + g->len, sizeof g->log - g->len, "%s%.*s\n", what, (int)len, text ? text : "");
    g->len += (size_t)more < sizeof g->log - g->len ? (size_t)more : 0;
}

static void on_open(struct hermes_client *c, void *user)
{
    struct guest *g = user;
    (void)c;
    g->opened++;
}

static void on_data(struct hermes_client *c, const char *data, size_t len, void *user)
{
    struct guest *g = user;
    (void)c;
    char due[16];
    snprintf(due, sizeof due, "%u", g->deliveries++);
    g->numbers += strlen(due) == len && memcmp(due, data, len) == 0;
    write_down(g, "data ", data, len);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    static const char *const kinds[] = {
        "info", "subscribed ", "unsubscribed ", "not subscribed ", "topics", "error "};
    struct guest *g = user;
    struct hermes_topic row;
    (void)c;
    g->answers++;
    if (answer->kind == HERMES_ANSWER_INFO)
        write_down(g, kinds[answer->kind], "", 0);
    else if (answer->kind == HERMES_ANSWER_ERROR)
        write_down(g, kinds[answer->kind], answer->message, answer->message_len);
    else
        write_down(g, kinds[answer->kind], answer->topic, answer->topic_len);
    while (answer->kind == HERMES_ANSWER_TOPICS && hermes_answer_topic(answer, &row))
        write_down(g, "row ", row.text, row.text_len);
    if (answer->next)
        write_down(g, "next ", answer->next, answer->next_len);
}

static void on_confirm(struct hermes_client *c, uint64_t token, void *user)
{
    (void)c;
    (void)token;
    ((struct guest *)user)->confirmed = true;
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct guest *g = user;
    (void)c;
    g->why = *why;
    g->closed = true;
}

static const struct hermes_client_events events = {.on_open = on_open,
    .on_data = on_data,
    .on_answer = on_answer,
    .on_confirm = on_confirm,
    .on_close = on_close};

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
    static const char *const settings[][2] = {
        {"WS_HOST", "127.0.0.1"}, {"WS_WORKERS", "2"}, {"WS_LOG_LEVEL", "off"}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_int_equal(hermes_set(p->hermes, settings[i][0], settings[i][1]), HERMES_OK);
    assert_int_equal(hermes_set(p->hermes, "WS_PORT", port), HERMES_OK);
    if (hermes_start(p->hermes) != HERMES_OK)
        fail_msg("%s", hermes_error(p->hermes));
    snprintf(p->url, sizeof p->url, "ws://127.0.0.1:%d", hermes_port(p->hermes));
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
    free(p);
    return 0;
}

static void wait_until(struct place *p, const bool *what)
{
    while (!*what)
        uv_run(&p->loop, UV_RUN_ONCE);
}

static void wait_for(struct place *p, const unsigned *counter, unsigned value)
{
    while (*counter < value)
        uv_run(&p->loop, UV_RUN_ONCE);
}

static void guest_arrives(struct place *p, struct guest *g)
{
    *g = (struct guest){.place = p};
    struct hermes_client_options options = {
        .url = p->url, .events = &events, .user = g, .retry_ms = 1, .retry_max_ms = 1};
    assert_int_equal(hermes_client_new(&g->client, p->group, &options), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_open(g->client), HERMES_CLIENT_OK);
}

/* Until the server has read all that was sent, and what it had answered by then has come. */
static void settle(struct guest *g)
{
    g->confirmed = false;
    assert_int_equal(hermes_client_confirm(g->client, 0), HERMES_CLIENT_OK);
    wait_until(g->place, &g->confirmed);
}

static void guest_leaves(struct guest *g)
{
    g->closed = false;
    hermes_client_close(g->client, HERMES_CLOSE_NORMAL, NULL);
    wait_until(g->place, &g->closed);
    assert_true(g->why.clean);
    hermes_client_free(g->client);
}

static void subscribe(struct guest *g, const char *topic)
{
    assert_int_equal(hermes_client_subscribe(g->client, topic, strlen(topic)), HERMES_CLIENT_OK);
}

static void publish(struct guest *g, const char *topic, const char *data)
{
    assert_int_equal(hermes_client_publish(g->client, topic, strlen(topic), data, strlen(data)),
        HERMES_CLIENT_OK);
}

static void answers_and_deliveries_are_told_apart(void **state)
{
    struct guest g;
    guest_arrives(*state, &g);
    wait_for(*state, &g.opened, 1);
    subscribe(&g, "a \"quoted\" \\ \xc3\xa4");
    publish(&g, "a \"quoted\" \\ \xc3\xa4", "{\"type\": \"error\", \"message\":\"mine\"}");
    subscribe(&g, "a \"quoted\" \\ \xc3\xa4");
    publish(&g, "a \"quoted\" \\ \xc3\xa4", "1.50");
    assert_int_equal(hermes_client_unsubscribe(g.client, "b", 1), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_send_text(g.client, "nonsense", 8), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_send_text(g.client, "{}", 2), HERMES_CLIENT_OK);
    wait_for(*state, &g.answers, 6);
    wait_for(*state, &g.deliveries, 2);
    assert_non_null(strstr(g.log, "error " HERMES_TEXT_MALFORMED_START));
    static const char *const parts[] = {"info\nsubscribed a \"quoted\" \\ \xc3\xa4\n",
        "data {\"type\": \"error\", \"message\":\"mine\"}\n", "data 1.50\n", "not subscribed b\n",
        "error Message must be valid JSON.\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(g.log, parts[i]))
            fail_msg("no %sin\n%s", parts[i], g.log);
    guest_leaves(&g);
}

static void every_error_of_the_server_is_known_as_one(void **state)
{
    struct guest g;
    char topic[1100];
    memset(topic, 't', sizeof topic);
    guest_arrives(*state, &g);
    wait_for(*state, &g.opened, 1);
    subscribe(&g, "a");
    assert_int_equal(hermes_client_subscribe(g.client, topic, sizeof topic), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_send_text(g.client, "{\"topic\":\"\\u0001\",\"data\":1}", 26),
        HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_send_text(g.client, "{\"topic\":\"\\ud800\",\"data\":1}", 26),
        HERMES_CLIENT_OK);
    for (int i = 0; i < 10000; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        subscribe(&g, name);
    }
    settle(&g);
    assert_int_equal(g.deliveries, 0);
    assert_int_equal(g.answers, 1 + 1 + 3 + 10000);
    guest_leaves(&g);
}

static void what_the_program_publishes_reaches_its_clients(void **state)
{
    struct place *p = *state;
    struct guest g;
    guest_arrives(p, &g);
    subscribe(&g, "a");
    wait_for(p, &g.answers, 2);
    for (unsigned i = 0; i < 1000; i++) {
        char number[16];
        int len = snprintf(number, sizeof number, "%u", i);
        assert_int_equal(hermes_publish(p->hermes, "a", 1, number, (size_t)len), HERMES_OK);
    }
    wait_for(p, &g.deliveries, 1000);
    assert_int_equal(g.numbers, 1000);
    guest_leaves(&g);
}

static void after_an_unsubscribe_nothing_comes(void **state)
{
    struct guest g;
    guest_arrives(*state, &g);
    wait_for(*state, &g.opened, 1);
    subscribe(&g, "a");
    publish(&g, "a", "0");
    wait_for(*state, &g.deliveries, 1);
    assert_int_equal(hermes_client_unsubscribe(g.client, "a", 1), HERMES_CLIENT_OK);
    publish(&g, "a", "1");
    settle(&g);
    assert_string_equal(g.log, "info\nsubscribed a\ndata 0\nunsubscribed a\n");
    guest_leaves(&g);
}

static void topics_come_page_by_page(void **state)
{
    struct guest g;
    guest_arrives(*state, &g);
    wait_for(*state, &g.opened, 1);
    subscribe(&g, "x:a");
    subscribe(&g, "x:b");
    subscribe(&g, "x:\"c\"");
    subscribe(&g, "y");
    assert_int_equal(hermes_client_topics(g.client, "x:", 2, NULL, 0, 2), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_topics(g.client, "x:", 2, "x:a", 3, 2), HERMES_CLIENT_OK);
    wait_for(*state, &g.answers, 7);
    assert_string_equal(strstr(g.log, "topics"),
        "topics\nrow {\"topic\":\"x:\\\"c\\\"\",\"subscribers\":1}\n"
        "row {\"topic\":\"x:a\",\"subscribers\":1}\nnext x:a\n"
        "topics\nrow {\"topic\":\"x:b\",\"subscribers\":1}\n");
    guest_leaves(&g);
}

/* Two hundred connections of one loop, all in one order. */
static void many_clients_share_a_group(void **state)
{
    enum { GUESTS = 200, MESSAGES = 500 };
    struct place *p = *state;
    struct guest *guests = calloc(GUESTS, sizeof *guests);
    assert_non_null(guests);
    for (int i = 0; i < GUESTS; i++) {
        guest_arrives(p, &guests[i]);
        subscribe(&guests[i], "a");
    }
    for (int i = 0; i < GUESTS; i++)
        wait_for(p, &guests[i].answers, 2);
    for (int i = 0; i < MESSAGES; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        publish(&guests[0], "a", number);
    }
    for (int i = 0; i < GUESTS; i++) {
        wait_for(p, &guests[i].deliveries, MESSAGES);
        assert_int_equal(guests[i].numbers, MESSAGES);
    }
    for (int i = 0; i < GUESTS; i++)
        i % 2 ? guest_leaves(&guests[i]) : hermes_client_free(guests[i].client);
    free(guests);
}

static void a_client_comes_back_to_a_broker_that_was_restarted(void **state)
{
    struct place *p = *state;
    struct guest g;
    char port[16];
    guest_arrives(p, &g);
    subscribe(&g, "a");
    wait_for(p, &g.answers, 2);
    snprintf(port, sizeof port, "%d", hermes_port(p->hermes));
    hermes_drain(p->hermes);
    wait_until(p, &g.closed);
    assert_int_equal(g.why.code, HERMES_CLOSE_RESTART);
    assert_true(g.why.will_retry);
    hermes_free(p->hermes);
    publish(&g, "a", "0");
    broker_start(p, port);
    wait_for(p, &g.deliveries, 1);
    assert_string_equal(g.log, "info\nsubscribed a\ninfo\nsubscribed a\ndata 0\n");
    guest_leaves(&g);
}

static void a_subprotocol_can_be_asked_for(void **state)
{
    struct place *p = *state;
    struct guest g = {.place = p};
    struct hermes_client_options options = {
        .url = p->url, .events = &events, .user = &g, .subprotocol = HERMES_PROTOCOL_V1};
    assert_int_equal(hermes_client_new(&g.client, p->group, &options), HERMES_CLIENT_OK);
    assert_int_equal(hermes_client_open(g.client), HERMES_CLIENT_OK);
    wait_for(p, &g.answers, 1);
    guest_leaves(&g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_open, place_close)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(answers_and_deliveries_are_told_apart),
        TEST(every_error_of_the_server_is_known_as_one),
        TEST(what_the_program_publishes_reaches_its_clients),
        TEST(after_an_unsubscribe_nothing_comes),
        TEST(topics_come_page_by_page),
        TEST(many_clients_share_a_group),
        TEST(a_client_comes_back_to_a_broker_that_was_restarted),
        TEST(a_subprotocol_can_be_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
