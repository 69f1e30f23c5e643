#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "unit/client/world.h"

/* ---- what the client tells, written down ---- */

static void on_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user)
{
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "%.*s %llu %.*s%s%.*s\n", (int)d->topic_len, d->topic,
        (unsigned long long)d->offset, (int)d->data_len, d->data, d->pattern ? " by " : "",
        (int)d->pattern_len, d->pattern ? d->pattern : "");
}

static void on_gap(struct hermes_client *c, const struct hermes_gap *g, void *user)
{
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "gap %.*s %llu-%llu\n", (int)g->topic_len, g->topic,
        (unsigned long long)g->from, (unsigned long long)g->to);
}

static void on_member(struct hermes_client *c, const struct hermes_member *m, void *user)
{
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "%s %.*s %.*s\n", m->joined ? "join" : "leave", (int)m->topic_len,
        m->topic, (int)m->client_len, m->client);
}

static void on_published(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    static const char *const outcomes[] = {"accepted", "refused", "unknown"};
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "published %llu %s %llu %llu %.*s\n", (unsigned long long)p->token,
        outcomes[p->outcome], (unsigned long long)p->offset, (unsigned long long)p->subscribers,
        (int)p->code_len, p->code ? p->code : "");
}

static void note_some(struct buf *log, const char *name, const char *at, size_t len)
{
    if (at)
        buf_appendf(log, " %s=%.*s", name, (int)len, at);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *a, void *user)
{
    static const char *const names[] = {"info", "subscribed", "unsubscribed", "not subscribed",
        "topics", "error", "history", "presence", "published", "other"};
    struct world *w = user;
    struct hermes_message m;
    struct hermes_topic t;
    const char *client;
    size_t len;
    (void)c;
    if (a->kind == HERMES_ANSWER_INFO)
        return;
    buf_append_string(&w->log, names[a->kind]);
    note_some(&w->log, "topic", a->topic, a->topic_len);
    note_some(&w->log, "pattern", a->pattern, a->pattern_len);
    note_some(&w->log, "epoch", a->epoch, a->epoch_len);
    if (a->offset)
        buf_appendf(&w->log, " offset=%llu", (unsigned long long)a->offset);
    if (a->recovered)
        buf_append_string(
            &w->log, a->recovered == HERMES_RECOVERED_YES ? " recovered" : " not recovered");
    if (a->subscribers)
        buf_appendf(&w->log, " subscribers=%llu", (unsigned long long)a->subscribers);
    note_some(&w->log, "code", a->code, a->code_len);
    note_some(&w->log, "id", a->id, a->id_len);
    if (a->token)
        buf_appendf(&w->log, " token=%llu", (unsigned long long)a->token);
    while (a->kind == HERMES_ANSWER_HISTORY && hermes_answer_message(a, &m))
        buf_appendf(&w->log, " %llu:%.*s", (unsigned long long)m.offset, (int)m.data_len, m.data);
    while (a->kind == HERMES_ANSWER_PRESENCE && hermes_answer_client(a, &client, &len))
        buf_appendf(&w->log, " %.*s", (int)len, client);
    while (a->kind == HERMES_ANSWER_TOPICS && hermes_answer_topic(a, &t))
        buf_appendf(&w->log, " %.*s", (int)t.name_len, t.name);
    if (a->kind == HERMES_ANSWER_OTHER)
        note_some(&w->log, "text", a->text, a->text_len);
    buf_append_char(&w->log, '\n');
}

/* ---- a server with a play: what to say to the n-th text it gets ---- */

struct act {
    const char *when;   /* how the text begins, or NULL: any */
    const char *say[8]; /* texts; "-" drops the connection, "." ends world_run */
};

struct play {
    const struct act *acts;
    size_t count;
    size_t at;
};

static void serve(struct fake_conn *conn, const char *text, size_t len)
{
    struct world *w = conn->fake->user;
    struct play *p = w->more;
    buf_appendf(&w->seen, "%u ", conn->number);
    world_note(&w->seen, "", text, len);
    if (p->at == p->count)
        return;
    const struct act *act = &p->acts[p->at++];
    if (act->when && (len < strlen(act->when) || memcmp(text, act->when, strlen(act->when)) != 0))
        fail_msg("not what was due (%s): %.*s", act->when, (int)len, text);
    for (size_t i = 0; i < 8 && act->say[i]; i++) {
        if (strcmp(act->say[i], "-") == 0) {
            fake_drop(conn);
            return;
        }
        if (strcmp(act->say[i], ".") == 0)
            w->done = true;
        else
            fake_text(conn, act->say[i]);
    }
}

static void level2(struct world *w, struct play *p)
{
    world_open(w);
    w->more = p;
    w->fake.text = serve;
    w->options.level = 2;
    w->events.on_delivery = on_delivery;
    w->events.on_gap = on_gap;
    w->events.on_member = on_member;
    w->events.on_published = on_published;
    w->events.on_answer = on_answer;
    w->events.on_open = NULL;
    w->events.on_close = NULL;
    world_client(w);
}

#define PLAY(acts)                                                                                 \
    {                                                                                              \
        (acts), sizeof(acts) / sizeof *(acts), 0                                                   \
    }

static void until_seen(struct world *w, const char *text)
{
    while (!w->seen.len || !memmem(w->seen.data, w->seen.len, text, strlen(text)))
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void until_told(struct world *w, const char *text)
{
    while (!w->log.len || !memmem(w->log.data, w->log.len, text, strlen(text)))
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void ok(int code)
{
    assert_int_equal(code, HERMES_CLIENT_OK);
}

static void until_open(struct world *w)
{
    ok(hermes_client_open(w->client));
    while (!hermes_client_is_open(w->client))
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void subscribe_with(
    struct world *w, const char *topic, const struct hermes_subscribe_options *o)
{
    ok(hermes_client_subscribe_with(w->client, topic, strlen(topic), o));
}

static void publish_acked(struct world *w, const char *topic, uint64_t token)
{
    ok(hermes_client_publish_with(w->client, topic, strlen(topic), "1", 1,
        &(struct hermes_publish_options){.ack = true, .token = token}));
}

#define ACK(topic, id, epoch, offset, more)                                                        \
    "{\"type\":\"ack_subscribe\",\"topic\":\"" topic                                               \
    "\",\"message\":\"Successfully subscribed to " topic "\",\"epoch\":\"" epoch                   \
    "\",\"offset\":" offset more ",\"id\":\"#" id "\"}"
#define MESSAGE(topic, data, offset)                                                               \
    "{\"type\":\"message\",\"topic\":\"" topic "\",\"data\":" data ",\"offset\":" offset "}"
#define BY(topic, data, offset, pattern)                                                           \
    "{\"type\":\"message\",\"topic\":\"" topic "\",\"data\":" data ",\"offset\":" offset           \
    ",\"pattern\":\"" pattern "\"}"

/* ---- tests ---- */

static void every_command_says_what_was_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct play p = {0};
    level2(&w, &p);
    until_open(&w);
    world_subscribe(&w, "a");
    subscribe_with(&w, "b",
        &(struct hermes_subscribe_options){
            .epoch = "e\"1", .epoch_len = 3, .offset = 18446744073709551615u});
    subscribe_with(&w, "c",
        &(struct hermes_subscribe_options){
            .replay = 10, .policy = HERMES_SLOW_LATEST, .presence = true});
    ok(hermes_client_subscribe_pattern(w.client, "d:*", 3, NULL));
    ok(hermes_client_subscribe_pattern(w.client, "e:>", 3,
        &(struct hermes_subscribe_options){.policy = HERMES_SLOW_DROP_OLDEST, .presence = true}));
    subscribe_with(&w, "f", &(struct hermes_subscribe_options){.policy = HERMES_SLOW_DISCONNECT});
    world_unsubscribe(&w, "a");
    ok(hermes_client_unsubscribe_pattern(w.client, "d:*", 3));
    ok(hermes_client_topics(w.client, "p", 1, "q", 1, 5));
    ok(hermes_client_history(w.client, "a", 1, NULL));
    ok(hermes_client_history(w.client, "a", 1,
        &(struct hermes_history_options){.epoch = "", .epoch_len = 0, .offset = 3, .limit = 1000}));
    ok(hermes_client_presence(w.client, "a", 1, 0));
    ok(world_publish(&w, "a", "1"));
    ok(hermes_client_publish_with(
        w.client, "a", 1, "2", 1, &(struct hermes_publish_options){.no_echo = true}));
    publish_acked(&w, "done", 1);
    until_seen(&w, "done");
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
    level2(&w, &p);
    w.fake.level1 = true;
    w.events.on_open = world_done_open;
    w.events.on_close = world_done_close;
    ok(hermes_client_open(w.client));
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
    level2(&w, &p);
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
    level2(&w, &p);
    until_open(&w);
    world_subscribe(&w, "t");
    until_told(&w, "leave");
    ok(world_publish(&w, "t", "1"));
    until_told(&w, "mine");
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
    level2(&w, &p);
    w.events.on_delivery = NULL;
    until_open(&w);
    world_subscribe(&w, "t");
    until_told(&w, "data 5\n");
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
    level2(&w, &p);
    until_open(&w);
    ok(hermes_client_presence(w.client, "p", 1, 11));
    ok(hermes_client_history(
        w.client, "h", 1, &(struct hermes_history_options){.token = 22, .limit = 2}));
    ok(hermes_client_history(w.client, "n", 1, &(struct hermes_history_options){.token = 33}));
    until_told(&w, "presence");
    world_unsubscribe(&w, "u");
    ok(hermes_client_topics(w.client, NULL, 0, NULL, 0, 0));
    ok(hermes_client_subscribe_pattern(
        w.client, "a:*", 3, &(struct hermes_subscribe_options){.token = 44}));
    until_told(&w, "pattern");
    world_log_is(&w, "history topic=h epoch=e offset=2 token=22 1:{} 2:\"x\"\n"
                     "error topic=n code=no_history token=33\n"
                     "presence topic=p token=11 c1 c2\n"
                     "not subscribed topic=u code=not_subscribed\n"
                     "topics a\n"
                     "subscribed pattern=a:* token=44\n");
    world_close(&w);
}

/* ---- recovery ---- */

static void a_lost_connection_goes_on_behind_the_last_message(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":2",
            {ACK("t", "1", "e1", "7", ""), MESSAGE("t", "6", "6"), MESSAGE("t", "7", "7"),
                MESSAGE("t", "8", "8"), "-"}},
        /* All are there, and one more comes live. */
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e1\",\"offset\":8}",
            {ACK("t", "2", "e1", "10", ",\"recovered\":true"), MESSAGE("t", "9", "9"),
                MESSAGE("t", "10", "10"), MESSAGE("t", "11", "11"), "-"}},
        /* Some are not. */
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e1\",\"offset\":11}",
            {ACK("t", "3", "e1", "99", ",\"recovered\":false"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e1\",\"offset\":99}",
            {ACK("t", "4", "e2", "1", ",\"recovered\":false"), MESSAGE("t", "2", "2"), "-"}},
        /* Cut in the midst of a replay. */
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":2}",
            {ACK("t", "5", "e2", "5", ",\"recovered\":true"), MESSAGE("t", "3", "3"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":3}",
            {"."}},
    };
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    subscribe_with(&w, "t", &(struct hermes_subscribe_options){.replay = 2, .token = 5});
    ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e1 offset=7 token=5\nt 6 6\nt 7 7\nt 8 8\n"
                     "subscribed topic=t epoch=e1 offset=10 recovered token=5\nt 9 9\nt 10 10\n"
                     "t 11 11\n"
                     "subscribed topic=t epoch=e1 offset=99 not recovered token=5\n"
                     "subscribed topic=t epoch=e2 offset=1 not recovered token=5\nt 2 2\n"
                     "subscribed topic=t epoch=e2 offset=5 recovered token=5\nt 3 3\n");
    world_close(&w);
}

static void what_was_seen_is_not_told_twice(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e", "7", ",\"recovered\":true"), MESSAGE("t", "5", "5"),
                MESSAGE("t", "6", "6"), MESSAGE("t", "6", "6"), MESSAGE("t", "7", "7"),
                " " MESSAGE("t", "7", "7"), BY("t", "0", "3", "*"), MESSAGE("t", "8", "8")}},
        {NULL, {MESSAGE("other", "7", "7"), MESSAGE("t", "8", "8"), MESSAGE("t", "9", "9")}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    until_open(&w);
    subscribe_with(
        &w, "t", &(struct hermes_subscribe_options){.epoch = "e", .epoch_len = 1, .offset = 5});
    until_told(&w, "t 8 8");
    ok(world_publish(&w, "x", "1"));
    until_told(&w, "t 9 9");
    world_log_is(&w, "subscribed topic=t epoch=e offset=7 recovered\nt 6 6\nt 7 7\nt 3 0 by *\n"
                     "t 8 8\nother 7 7\nt 9 9\n");
    world_close(&w);
}

static void what_a_gap_told_is_not_asked_for_again(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e", "2", ""), MESSAGE("t", "3", "3"),
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":4,\"to\":9}",
                "{\"type\":\"gap\",\"topic\":\"t\",\"from\":1,\"to\":2}", "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e\",\"offset\":9}",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    world_subscribe(&w, "t");
    ok(hermes_client_open(w.client));
    world_run(&w);
    world_close(&w);
}

/* A pattern that is subscribed first would bring what the replay of a topic brings too. */
static void topics_are_subscribed_before_patterns(void **state)
{
    (void)state;
    struct world w;
    struct play p = {0};
    level2(&w, &p);
    for (char name[] = "a"; *name <= 'h'; ++*name) {
        ok(hermes_client_subscribe_pattern(w.client, name, 1, NULL));
        world_subscribe(&w, name);
    }
    ok(world_publish(&w, "done", "1"));
    until_open(&w);
    until_seen(&w, "done");
    buf_append_char(&w.seen, 0);
    unsigned topics = 0;
    const char *at = w.seen.data;
    for (; (at = strstr(at, "\"subscribe\",\"topic\"")) != NULL; at++)
        topics++;
    assert_int_equal(topics, 8);
    at = strstr(w.seen.data, "\"pattern\"");
    assert_non_null(at);
    assert_null(strstr(at, "\"subscribe\",\"topic\""));
    for (topics = 0; (at = strstr(at, "\"subscribe\",\"pattern\"")) != NULL; at++)
        topics++;
    assert_int_equal(topics, 7); /* all but the first, which `at` was within */
    w.seen.len--;
    world_close(&w);
}

static void subscribing_again_replays_nothing_and_keeps_the_place(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":3,\"id\":\"#1\"}",
            {ACK("t", "1", "e", "4", ""), MESSAGE("t", "5", "5")}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"policy\":\"latest\",\"id\":\"#2\"}",
            {MESSAGE("t", "6", "6"), ACK("t", "2", "e", "6", ""), MESSAGE("t", "7", "7"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e\",\"offset\":7},"
         "\"policy\":"
         "\"latest\"",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    until_open(&w);
    subscribe_with(&w, "t", &(struct hermes_subscribe_options){.replay = 3});
    until_told(&w, "t 5 5");
    subscribe_with(&w, "t",
        &(struct hermes_subscribe_options){
            .replay = 100, .policy = HERMES_SLOW_LATEST, .token = 9});
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e offset=4\nt 5 5\nt 6 6\n"
                     "subscribed topic=t epoch=e offset=6 token=9\nt 7 7\n");
    world_close(&w);
}

/* The first acknowledgement is of a subscription that is no more. */
static void an_answer_to_an_earlier_life_counts_for_nothing(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"subscribe\"", {0}},
        {"{\"type\":\"unsubscribe\"", {0}},
        {"{\"type\":\"subscribe\"",
            {ACK("t", "1", "e1", "50", ""), MESSAGE("t", "51", "51"),
                "{\"type\":\"ack_unsubscribe\",\"topic\":\"t\",\"message\":\"m\",\"id\":\"#2\"}",
                ACK("t", "3", "e2", "0", ""), MESSAGE("t", "1", "1"), "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\":{\"epoch\":\"e2\",\"offset\":1}",
            {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    until_open(&w);
    world_subscribe(&w, "t");
    world_unsubscribe(&w, "t");
    world_subscribe(&w, "t");
    world_run(&w);
    world_log_is(&w, "subscribed topic=t epoch=e1 offset=50\nt 51 51\nunsubscribed topic=t\n"
                     "subscribed topic=t epoch=e2\nt 1 1\n");
    world_close(&w);
}

/* A subscription that was begun anew from a place of its own keeps that place. */
static void an_earlier_life_does_not_move_the_place(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"subscribe\"", {0}},
        {"{\"type\":\"unsubscribe\"", {0}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"since\"",
            {ACK("t", "1", "e", "50", ""), ACK("t", "3", "e", "51", ",\"recovered\":true"),
                MESSAGE("t", "41", "41"), "."}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    until_open(&w);
    world_subscribe(&w, "t");
    world_unsubscribe(&w, "t");
    subscribe_with(
        &w, "t", &(struct hermes_subscribe_options){.epoch = "e", .epoch_len = 1, .offset = 40});
    until_told(&w, "t 41 41");
    world_close(&w);
}

static void questions_end_with_their_connection(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"type\":\"presence\"", {"-"}},
        {NULL, {"{\"type\":\"presence\",\"topic\":\"a\",\"clients\":[],\"id\":\"#1\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    until_open(&w);
    ok(hermes_client_presence(w.client, "a", 1, 7));
    while (w.fake.connections < 2 || !hermes_client_is_open(w.client))
        uv_run(&w.loop, UV_RUN_ONCE);
    ok(world_publish(&w, "a", "1"));
    until_told(&w, "presence");
    world_log_is(&w, "presence topic=a\n");
    world_close(&w);
}

static void a_subscription_that_was_refused_is_asked_for_again_as_it_was(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":3",
            {"{\"type\":\"error\",\"code\":\"forbidden\",\"message\":\"m\",\"topic\":\"t\",\"id\":"
             "\"#1\"}",
                "-"}},
        {"{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":3", {"."}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    subscribe_with(&w, "t", &(struct hermes_subscribe_options){.replay = 3, .token = 6});
    ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "error topic=t code=forbidden token=6\n");
    world_close(&w);
}

/* ---- publishing ---- */

static void a_publish_that_asks_for_it_is_answered(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {0}}, {NULL, {0}}, {NULL, {0}},
        {NULL,
            {"{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":3,\"subscribers\":4,\"id\":"
             "\"#1\"}",
                "{\"type\":\"error\",\"code\":\"too_large\",\"message\":\"m\",\"topic\":\"a\","
                "\"id\":\"#2\"}",
                "{\"type\":\"error\",\"code\":\"rate_limited\",\"message\":\"m\"}",
                "{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":4,\"subscribers\":4,\"id\":"
                "\"#4\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    until_open(&w);
    for (uint64_t token = 101; token <= 104; token++)
        publish_acked(&w, "a", token);
    until_told(&w, "104");
    /* The third had no answer of its own. */
    world_log_is(&w, "published 101 accepted 3 4 \npublished 102 refused 0 0 too_large\n"
                     "error code=rate_limited\n"
                     "published 103 refused 0 0 \npublished 104 accepted 4 4 \n");
    world_close(&w);
}

static void a_publish_without_an_answer_is_told_before_the_end(void **state)
{
    (void)state;
    static const struct act acts[] = {{"{\"topic\"", {0}}, {NULL, {0}}, {NULL, {"-"}},
        {"{\"id\":\"#3\"", {"{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":1,"
                            "\"subscribers\":0,\"id\":\"#3\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    w.events.on_close = world_done_close;
    /* What waits for a connection is sent on the first one; nothing is told of it meanwhile. */
    ok(world_publish(&w, "a", "0"));
    publish_acked(&w, "a", 1);
    publish_acked(&w, "a", 2);
    ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "published 1 unknown 0 0 \npublished 2 unknown 0 0 \n"
                     "close 1006 opened retry the server ended the connection without a word\n");
    buf_clear(&w.log);
    publish_acked(&w, "a", 3);
    until_told(&w, "published");
    world_log_is(&w, "published 3 accepted 1 0 \n");
    world_close(&w);
}

/* The server reads nothing, then goes away: what was handed over is unknown, the rest is sent on
 * the next connection and answered there. */
static void acknowledge(struct fake_conn *conn, const char *text, size_t len)
{
    char id[32];
    char answer[128];
    static const char start[] = "{\"id\":\"";
    if (len < sizeof start || memcmp(text, start, sizeof start - 1) != 0)
        return;
    snprintf(id, sizeof id, "%.*s", (int)strcspn(text + sizeof start - 1, "\""),
        text + sizeof start - 1);
    snprintf(answer, sizeof answer,
        "{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":1,\"subscribers\":0,\"id\":\"%s\"}",
        id);
    fake_text(conn, answer);
}

struct outcomes {
    uint64_t next;
    uint64_t unknown;
};

static void count_outcome(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct outcomes *o = ((struct world *)user)->more;
    (void)c;
    assert_int_equal(p->token, o->next++);
    if (p->outcome == HERMES_PUBLISH_UNKNOWN)
        o->unknown++;
    else
        assert_int_equal(p->outcome, HERMES_PUBLISH_ACCEPTED);
}

static void answers_to_what_is_sent_later_come_later(void **state)
{
    (void)state;
    struct world w;
    struct outcomes o = {0};
    enum { MESSAGES = 3000, BYTES = 20000 };
    char *data = malloc(BYTES);
    level2(&w, NULL);
    w.more = &o;
    w.fake.text = acknowledge;
    w.fake.deaf = true;
    w.events.on_published = count_outcome;
    w.events.on_close = world_done_close;
    hermes_client_free(w.client);
    w.options.max_queued_bytes = (size_t)MESSAGES * (BYTES + 100);
    world_client(&w);
    until_open(&w);
    memset(data, 'x', BYTES);
    data[0] = data[BYTES - 1] = '"';
    for (uint64_t i = 0; i < MESSAGES; i++)
        ok(hermes_client_publish_with(w.client, "a", 1, data, BYTES,
            &(struct hermes_publish_options){.ack = true, .token = i}));
    free(data);
    for (int i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    w.fake.deaf = false;
    fake_reset(w.fake.all);
    world_run(&w);
    size_t texts = hermes_client_queued_texts(w.client);
    assert_in_range(texts, 1, MESSAGES - 1);
    assert_int_equal(o.next, MESSAGES - texts);
    assert_int_equal(o.unknown, MESSAGES - texts);
    while (o.next < MESSAGES)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(o.unknown, MESSAGES - texts);
    world_close(&w);
}

static void what_the_queue_refuses_is_not_answered(void **state)
{
    (void)state;
    static const struct act acts[] = {
        {"{\"id\":\"#1\"", {"{\"type\":\"ack_publish\",\"topic\":\"a\",\"offset\":1,"
                            "\"subscribers\":0,\"id\":\"#1\"}"}}};
    struct play p = PLAY(acts);
    struct world w;
    char data[100];
    struct hermes_publish_options o = {.ack = true, .token = 1};
    level2(&w, &p);
    hermes_client_free(w.client);
    w.options.max_queued_bytes = 100;
    world_client(&w);
    memset(data, '1', sizeof data);
    assert_int_equal(hermes_client_publish_with(w.client, "a", 1, data, sizeof data, &o),
        HERMES_CLIENT_TOO_LARGE);
    publish_acked(&w, "a", 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            hermes_client_publish_with(w.client, "a", 1, data, 50, &o), HERMES_CLIENT_FULL);
    assert_int_equal(
        hermes_client_publish_with(w.client, "a", 1, "x", 1, &o), HERMES_CLIENT_NOT_JSON);
    ok(hermes_client_open(w.client));
    until_told(&w, "published");
    world_log_is(&w, "published 2 accepted 1 0 \n");
    world_close(&w);
}

static void free_at_publish(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct world *w = user;
    (void)p;
    assert_int_equal(hermes_client_open(c), HERMES_CLIENT_BUSY);
    assert_false(hermes_client_is_open(c));
    hermes_client_free(c);
    w->client = NULL;
    w->done = true;
}

static void a_client_may_be_freed_while_it_tells_what_was_lost(void **state)
{
    (void)state;
    static const struct act acts[] = {{NULL, {0}}, {NULL, {"-"}}};
    struct play p = PLAY(acts);
    struct world w;
    level2(&w, &p);
    w.events.on_published = free_at_publish;
    w.events.on_close = world_done_close;
    publish_acked(&w, "a", 1);
    publish_acked(&w, "a", 2);
    ok(hermes_client_open(w.client));
    world_run(&w);
    world_log_is(&w, "");
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
        cmocka_unit_test(a_lost_connection_goes_on_behind_the_last_message),
        cmocka_unit_test(what_was_seen_is_not_told_twice),
        cmocka_unit_test(what_a_gap_told_is_not_asked_for_again),
        cmocka_unit_test(topics_are_subscribed_before_patterns),
        cmocka_unit_test(subscribing_again_replays_nothing_and_keeps_the_place),
        cmocka_unit_test(an_answer_to_an_earlier_life_counts_for_nothing),
        cmocka_unit_test(an_earlier_life_does_not_move_the_place),
        cmocka_unit_test(questions_end_with_their_connection),
        cmocka_unit_test(a_subscription_that_was_refused_is_asked_for_again_as_it_was),
        cmocka_unit_test(a_publish_that_asks_for_it_is_answered),
        cmocka_unit_test(a_publish_without_an_answer_is_told_before_the_end),
        cmocka_unit_test(answers_to_what_is_sent_later_come_later),
        cmocka_unit_test(what_the_queue_refuses_is_not_answered),
        cmocka_unit_test(a_client_may_be_freed_while_it_tells_what_was_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
