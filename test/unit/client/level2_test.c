#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "unit/client/world2.h"

static void every_command_says_what_was_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct play p = {0};
    world2_open(&w, &p);
    world2_until_open(&w);
    world_subscribe(&w, "a");
    world2_subscribe(&w, "b",
        &(struct hermes_subscribe_options){
            .epoch = "e\"1", .epoch_len = 3, .offset = 18446744073709551615u});
    world2_subscribe(&w, "c",
        &(struct hermes_subscribe_options){
            .replay = 10, .policy = HERMES_SLOW_LATEST, .presence = true});
    world2_ok(hermes_client_subscribe_pattern(w.client, "d:*", 3, NULL));
    world2_ok(hermes_client_subscribe_pattern(w.client, "e:>", 3,
        &(struct hermes_subscribe_options){.policy = HERMES_SLOW_DROP_OLDEST, .presence = true}));
    world2_subscribe(&w, "f", &(struct hermes_subscribe_options){.policy = HERMES_SLOW_DISCONNECT});
    world_unsubscribe(&w, "a");
    world2_ok(hermes_client_unsubscribe_pattern(w.client, "d:*", 3));
    world2_ok(hermes_client_topics(w.client, "p", 1, "q", 1, 5));
    world2_ok(hermes_client_history(w.client, "a", 1, NULL));
    world2_ok(hermes_client_history(w.client, "a", 1,
        &(struct hermes_history_options){.epoch = "", .epoch_len = 0, .offset = 3, .limit = 1000}));
    world2_ok(hermes_client_presence(w.client, "a", 1, 0));
    world2_ok(world_publish(&w, "a", "1"));
    world2_ok(hermes_client_publish_with(
        w.client, "a", 1, "2", 1, &(struct hermes_publish_options){.no_echo = true}));
    world2_publish(&w, "done", 1);
    world2_until_seen(&w, "done");
    world_seen_is(&w,
        "1 {\"type\":\"subscribe\",\"topic\":\"a\",\"id\":\"#1\"}\n"
        "1 {\"type\":\"subscribe\",\"topic\":\"b\",\"since\":{\"epoch\":\"e\\\"1\",\"offset\":"
        "18446744073709551615},\"id\":\"#2\"}\n"
        "1 "
        "{\"type\":\"subscribe\",\"topic\":\"c\",\"replay\":10,\"policy\":\"latest\",\"presence\":"
        "true,\"id\":\"#3\"}\n"
        "1 {\"type\":\"subscribe\",\"pattern\":\"d:*\",\"id\":\"#4\"}\n"
        "1 "
        "{\"type\":\"subscribe\",\"pattern\":\"e:>\",\"policy\":\"drop_oldest\",\"presence\":true,"
        "\"id\":\"#5\"}\n"
        "1 {\"type\":\"subscribe\",\"topic\":\"f\",\"policy\":\"disconnect\",\"id\":\"#6\"}\n"
        "1 {\"type\":\"unsubscribe\",\"topic\":\"a\",\"id\":\"#7\"}\n"
        "1 {\"type\":\"unsubscribe\",\"pattern\":\"d:*\",\"id\":\"#8\"}\n"
        "1 {\"type\":\"topics\",\"prefix\":\"p\",\"after\":\"q\",\"limit\":5,\"id\":\"#9\"}\n"
        "1 {\"type\":\"history\",\"topic\":\"a\",\"id\":\"#10\"}\n"
        "1 {\"type\":\"history\",\"topic\":\"a\",\"since\":{\"epoch\":\"\",\"offset\":3},\"limit\":"
        "1000,\"id\":\"#11\"}\n"
        "1 {\"type\":\"presence\",\"topic\":\"a\",\"id\":\"#12\"}\n"
        "1 {\"topic\":\"a\",\"data\":1}\n"
        "1 {\"topic\":\"a\",\"data\":2,\"echo\":false}\n"
        "1 {\"id\":\"#13\",\"topic\":\"done\",\"data\":1}\n");
    world_close(&w);
}

static void a_server_without_level_2_is_not_connected_to(void **state)
{
    (void)state;
    struct world w;
    struct play p = {0};
    world2_open(&w, &p);
    w.fake.level1 = true;
    w.events.on_open = world_done_open;
    w.events.on_close = world_done_close;
    world2_ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "close 1006 the server does not speak level 2 (subprotocol hermes.v2)\n");
    world_close(&w);
}

static void what_needs_level_2_is_refused_at_level_1(void **state)
{
    (void)state;
    struct world w;
    struct hermes_client *c;
    world_open(&w);
    world_client(&w);
    c = w.client;
    assert_int_equal(hermes_client_subscribe_with(c, "a", 1, &(struct hermes_subscribe_options){0}),
        HERMES_CLIENT_NOT_LEVEL);
    assert_int_equal(hermes_client_subscribe_pattern(c, "a", 1, NULL), HERMES_CLIENT_NOT_LEVEL);
    assert_int_equal(hermes_client_unsubscribe_pattern(c, "a", 1), HERMES_CLIENT_NOT_LEVEL);
    assert_int_equal(
        hermes_client_publish_with(c, "a", 1, "1", 1, &(struct hermes_publish_options){0}),
        HERMES_CLIENT_NOT_LEVEL);
    assert_int_equal(hermes_client_history(c, "a", 1, NULL), HERMES_CLIENT_NOT_LEVEL);
    assert_int_equal(hermes_client_presence(c, "a", 1, 0), HERMES_CLIENT_NOT_LEVEL);
    assert_int_equal(hermes_client_queued_bytes(c), 0);
    world_close(&w);
}

static void options_that_may_not_be_are_refused(void **state)
{
    (void)state;
    struct world w;
    struct play p = {0};
    struct hermes_client *c;
    world2_open(&w, &p);
    struct hermes_client_options o = w.options;
    o.level = 3;
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_OPTION);
    o.level = 2;
    o.subprotocol = "other";
    assert_int_equal(hermes_client_new(&c, w.group, &o), HERMES_CLIENT_BAD_OPTION);
    c = w.client;
    struct hermes_subscribe_options both = {.epoch = "e", .epoch_len = 1, .replay = 1};
    struct hermes_subscribe_options since = {.epoch = "e", .epoch_len = 1};
    struct hermes_subscribe_options replay = {.replay = 1};
    struct hermes_subscribe_options policy = {.policy = (enum hermes_slow)4};
    assert_int_equal(hermes_client_subscribe_with(c, "a", 1, &both), HERMES_CLIENT_BAD_OPTION);
    assert_int_equal(hermes_client_subscribe_with(c, "a", 1, &policy), HERMES_CLIENT_BAD_OPTION);
    assert_int_equal(hermes_client_subscribe_with(c, "", 0, &replay), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(hermes_client_subscribe_pattern(c, "a", 1, &since), HERMES_CLIENT_BAD_OPTION);
    assert_int_equal(hermes_client_subscribe_pattern(c, "a", 1, &replay), HERMES_CLIENT_BAD_OPTION);
    assert_int_equal(hermes_client_subscribe_pattern(c, "a", 1, &policy), HERMES_CLIENT_BAD_OPTION);
    assert_int_equal(hermes_client_subscribe_pattern(c, "", 0, NULL), HERMES_CLIENT_BAD_TOPIC);
    assert_int_equal(hermes_client_history(c, "a", 1, NULL), HERMES_CLIENT_NOT_OPEN);
    assert_int_equal(hermes_client_presence(c, "a", 1, 0), HERMES_CLIENT_NOT_OPEN);
    world_close(&w);
}

static void texts_are_what_they_say_and_never_what_was_published(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e", "0", ""),
                MESSAGE(
                    "t", "{\"type\":\"error\",\"message\":\"Message must be valid JSON.\"}", "1"),
                MESSAGE("t", ACK("t", "1", "e", "7", ""), "2"),
                " { \"type\" : \"message\" , \"data\" : [1 , 2] , \"topic\":\"\\u0074\", "
                "\"offset\":3 } ",
                BY("x:\xc3\xa4", "null", "9", "x:*"),
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":4,\"to\":6}",
                "{\"type\":\"join\",\"topic\":\"t\",\"client\":\"c1\"}",
                "{\"type\":\"leave\",\"topic\":\"t\",\"client\":\"c1\"}"}},
        {"{\"topic\"",
            {"{\"type\":\"reconnect\",\"after_ms\":5}", "[1]",
                "{\"type\":\"error\",\"code\":\"rate_limited\",\"message\":\"m\"}",
                "{\"type\":\"pong\",\"id\":5}",
                "{\"type\":\"ack_publish\",\"topic\":\"u\",\"offset\":1,\"subscribers\":2,"
                "\"id\":\"mine\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world_subscribe(&w, "t");
    world2_until_told(&w, "leave");
    world2_ok(world_publish(&w, "t", "1"));
    world2_until_told(&w, "mine");
    world_log_is(&w, "subscribed topic=t epoch=e\n"
                     "t 1 {\"type\":\"error\",\"message\":\"Message must be valid JSON.\"}\n"
                     "t 2 " ACK("t", "1", "e", "7",
                         "") "\n"
                             "t 3 [1 , 2]\n"
                             "x:\xc3\xa4 9 null by x:*\n"
                             "gap t 4-6\n"
                             "join t c1\n"
                             "leave t c1\n"
                             "other text={\"type\":\"reconnect\",\"after_ms\":5}\n"
                             "other text=[1]\n"
                             "error code=rate_limited\n"
                             "other id=5 text={\"type\":\"pong\",\"id\":5}\n"
                             "published topic=u offset=1 subscribers=2 id=\"mine\"\n");
    world_close(&w);
}

static void without_on_delivery_its_data_is_told(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {NULL, {ACK("t", "1", "e", "0", ""), MESSAGE("t", "5", "1")}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    w.events.on_delivery = NULL;
    world2_until_open(&w);
    world_subscribe(&w, "t");
    world2_until_told(&w, "data 5\n");
    world_close(&w);
}

static void answers_find_the_tokens_in_any_order(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"presence\"", {0}},
        {"{\"type\":\"history\"", {0}},
        {"{\"type\":\"history\"",
            {"{\"type\":\"history\",\"topic\":\"h\",\"epoch\":\"e\",\"offset\":2,\"messages\":[{"
             "\"offset\":1,\"data\":{}},{\"offset\":2,\"data\":\"x\"}],\"id\":\"#2\"}",
                "{\"type\":\"error\",\"code\":\"no_history\",\"message\":\"m\",\"topic\":\"n\","
                "\"id\":"
                "\"#3\"}",
                "{\"type\":\"presence\",\"topic\":\"p\",\"clients\":[\"c1\",\"c2\"],\"id\":\"#"
                "1\"}"}},
        {"{\"type\":\"unsubscribe\"",
            {"{\"type\":\"error\",\"code\":\"not_subscribed\",\"message\":\"m\",\"topic\":\"u\","
             "\"id\":\"#4\"}"}},
        {"{\"type\":\"topics\"", {"{\"type\":\"topics\",\"topics\":[{\"topic\":\"a\","
                                  "\"subscribers\":1}],\"id\":\"#5\"}"}},
        {"{\"type\":\"subscribe\",\"pattern\"",
            {"{\"type\":\"ack_subscribe\",\"pattern\":\"a:*\",\"message\":\"m\",\"id\":\"#6\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    world2_open(&w, &p);
    world2_until_open(&w);
    world2_ok(hermes_client_presence(w.client, "p", 1, 11));
    world2_ok(hermes_client_history(
        w.client, "h", 1, &(struct hermes_history_options){.token = 22, .limit = 2}));
    world2_ok(
        hermes_client_history(w.client, "n", 1, &(struct hermes_history_options){.token = 33}));
    world2_until_told(&w, "presence");
    world_unsubscribe(&w, "u");
    world2_ok(hermes_client_topics(w.client, NULL, 0, NULL, 0, 0));
    world2_ok(hermes_client_subscribe_pattern(
        w.client, "a:*", 3, &(struct hermes_subscribe_options){.token = 44}));
    world2_until_told(&w, "pattern");
    world_log_is(&w, "history topic=h epoch=e offset=2 token=22 1:{} 2:\"x\"\n"
                     "error topic=n code=no_history token=33\n"
                     "presence topic=p token=11 c1 c2\n"
                     "not subscribed topic=u code=not_subscribed\n"
                     "topics a\n"
                     "subscribed pattern=a:* token=44\n");
    world_close(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_says_what_was_asked_for),
        cmocka_unit_test(a_server_without_level_2_is_not_connected_to),
        cmocka_unit_test(what_needs_level_2_is_refused_at_level_1),
        cmocka_unit_test(options_that_may_not_be_are_refused),
        cmocka_unit_test(texts_are_what_they_say_and_never_what_was_published),
        cmocka_unit_test(without_on_delivery_its_data_is_told),
        cmocka_unit_test(answers_find_the_tokens_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
