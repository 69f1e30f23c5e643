/* Links to a real redis-server. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/tls_client.h"
#include "support/real_redis.h"
#include "unit/cluster/fake_redis.h"

/* Two scenes in one loop would be more than is needed: each has its own, and they take turns. */
struct both {
    struct real_redis redis;
    struct scene commands;
    struct scene channels;
};

static const char *const scripts[] = {
    "return redis.call('PUBLISH', KEYS[1], ARGV[1])", "return {1, 'a', {2, 'b'}}", NULL};

static void link_to(struct scene *s, const struct real_redis *r, const char *user, const char *db)
{
    char url[200];
    snprintf(url, sizeof url, "redis://%s127.0.0.1:%u%s", user, r->port, db);
    scene_url(s, url);
    s->settings.silence_ms = 2000;
    scene_link(s);
}

static void both_open(struct both *b, const char *const *arguments)
{
    real_redis_open(&b->redis);
    real_redis_start(&b->redis, arguments);
    scene_open(&b->commands);
    scene_open(&b->channels);
    b->commands.settings.scripts = scripts;
    b->channels.settings.subscribes = true;
    link_to(&b->commands, &b->redis, "", "");
    link_to(&b->channels, &b->redis, "", "");
    scene_until(&b->commands, "up\n");
    scene_until(&b->channels, "up\n");
}

static void both_close(struct both *b)
{
    scene_close(&b->commands);
    scene_close(&b->channels);
    real_redis_close(&b->redis);
}

static bool publish(struct scene *s, const char *words)
{
    char all[200];
    snprintf(all, sizeof all, "EVALSHA %.40s 1 %s", redis_script(s->link, 0).at, words);
    bool sent = scene_send(s, all, "published to");
    redis_link_flush(s->link); /* it may be the other's loop that runs next */
    return sent;
}

static void what_is_published_by_a_script_comes_in_its_order(void **state)
{
    struct both b;
    char words[60];
    (void)state;
    both_open(&b, NULL);
    assert_true(scene_send(&b.channels, "SUBSCRIBE one two", ""));
    scene_until(&b.channels, "subscribed one\nsubscribed two\n");
    for (int i = 0; i < 900; i++) {
        snprintf(words, sizeof words, "%s %d", i % 3 ? "one" : "two", i);
        assert_true(publish(&b.commands, words));
    }
    for (int i = 0; i < 900; i++)
        scene_until(&b.commands, "published to: 1\n");
    for (int i = 0; i < 900; i++) {
        snprintf(words, sizeof words, "message %s %d\n", i % 3 ? "one" : "two", i);
        scene_until(&b.channels, words);
    }
    assert_true(scene_send(&b.channels, "UNSUBSCRIBE one", ""));
    scene_until(&b.channels, "unsubscribed one\n");
    assert_true(publish(&b.commands, "one x"));
    scene_until(&b.commands, "published to: 0\n");
    both_close(&b);
}

static void shape_of(const struct resp *r, void *user)
{
    bool *right = user;
    *right = r && r->kind == RESP_ARRAY && r->count == 3 && r->items[0].integer == 1 &&
             text_equal(r->items[1].text, TEXT("a")) && r->items[2].count == 2 &&
             r->items[2].items[0].integer == 2 && text_equal(r->items[2].items[1].text, TEXT("b"));
}

static void an_answer_has_the_shape_that_the_script_gave_it(void **state)
{
    struct both b;
    bool right = false;
    (void)state;
    both_open(&b, NULL);
    redis_begin(b.commands.link, 3);
    redis_arg(b.commands.link, TEXT("EVALSHA"));
    redis_arg(b.commands.link, redis_script(b.commands.link, 1));
    redis_arg_number(b.commands.link, 0);
    assert_true(redis_send(b.commands.link, shape_of, &right));
    assert_true(scene_send(&b.commands, "GET nothing", "get"));
    scene_until(&b.commands, "get: \n");
    assert_true(right);
    both_close(&b);
}

static void flushed_scripts_come_back(void **state)
{
    struct both b;
    (void)state;
    both_open(&b, NULL);
    assert_true(scene_send(&b.commands, "SCRIPT FLUSH", "flush"));
    assert_true(publish(&b.commands, "one x"));
    scene_until(&b.commands, "flush: OK\npublished to: NOSCRIPT");
    assert_true(publish(&b.commands, "one x"));
    scene_until(&b.commands, "published to: 0\n");
    assert_int_equal(b.commands.downs, 0);
    both_close(&b);
}

static void a_killed_server_is_found_again(void **state)
{
    struct both b;
    (void)state;
    both_open(&b, NULL);
    for (int i = 0; i < 2; i++) {
        real_redis_kill(&b.redis);
        scene_until(&b.commands, "down: ");
        scene_until(&b.channels, "down: ");
        real_redis_start(&b.redis, NULL);
        scene_until(&b.commands, "up\n");
        scene_until(&b.channels, "up\n");
        assert_true(scene_send(&b.channels, "SUBSCRIBE one", ""));
        scene_until(&b.channels, "subscribed one\n");
        assert_true(publish(&b.commands, "one x"));
        scene_until(&b.channels, "message one x\n");
    }
    both_close(&b);
}

static void a_stopped_server_is_silent(void **state)
{
    struct both b;
    (void)state;
    both_open(&b, NULL);
    scene_drop_link(&b.commands);
    b.commands.settings.silence_ms = 200;
    scene_link(&b.commands);
    scene_until(&b.commands, "up\n");
    kill(b.redis.pid, SIGSTOP);
    assert_true(scene_send(&b.commands, "SET a b", "set"));
    scene_until(&b.commands, "set: lost\ndown: the server is silent\n");
    kill(b.redis.pid, SIGCONT);
    scene_until(&b.commands, "up\n");
    both_close(&b);
}

static void a_master_that_becomes_a_replica_is_left_until_it_is_one_again(void **state)
{
    struct both b;
    char logged[8000];
    (void)state;
    both_open(&b, NULL);
    assert_true(scene_send(&b.commands, "REPLICAOF 127.0.0.1 1", "replica"));
    assert_true(scene_send(&b.commands, "SET a b", "set"));
    scene_until(&b.commands, "replica: OK\nset: READONLY");
    scene_until(&b.commands, "down: the server cannot be used: READONLY");
    /* Nobody of ours gets in now, so somebody else has to make it one again. */
    while (!strstr(scene_logged(&b.commands, logged, sizeof logged), "is no master"))
        uv_run(&b.commands.loop, UV_RUN_ONCE);
    snprintf(logged, sizeof logged, "redis-cli -p %u REPLICAOF NO ONE >/dev/null", b.redis.port);
    assert_int_equal(system(logged), 0);
    scene_until(&b.commands, "up\n");
    both_close(&b);
}

static void users_passwords_and_databases_are_used(void **state)
{
    static const char *const arguments[] = {"--requirepass", "p@ss:w/ord", "--user", "ali", "on",
        ">open,sesame", "~*", "&*", "+@all", NULL};
    struct real_redis redis;
    struct scene s;
    char logged[8000];
    (void)state;
    real_redis_open(&redis);
    real_redis_start(&redis, arguments);
    scene_open(&s);
    link_to(&s, &redis, ":p%40ss%3Aw%2Ford@", "/3");
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "SET key three", "set"));
    scene_until(&s, "set: OK\n");
    scene_drop_link(&s);
    link_to(&s, &redis, "ali:open%2Csesame@", "");
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "GET key", "get"));
    scene_until(&s, "get: \n");
    assert_true(scene_send(&s, "SELECT 3", "select"));
    assert_true(scene_send(&s, "GET key", "get"));
    scene_until(&s, "get: three\n");
    scene_drop_link(&s);
    scene_logged(&s, logged, sizeof logged);
    static const struct {
        const char *user;
        const char *db;
        const char *reason;
    } bad[] = {{":hidden@", "", "refuses the user or the password: WRONGPASS"},
        {"bob:hidden@", "", "refuses the user or the password: WRONGPASS"}, {"", "", "NOAUTH"},
        {"ali:open%2Csesame@", "/99", "refuses the database"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        link_to(&s, &redis, bad[i].user, bad[i].db);
        do
            uv_run(&s.loop, UV_RUN_ONCE);
        while (!*scene_logged(&s, logged, sizeof logged));
        if (!strstr(logged, bad[i].reason))
            fail_msg("%s is not in %s", bad[i].reason, logged);
        assert_null(strstr(logged, "hidden"));
        assert_null(strstr(logged, "sesame"));
        scene_drop_link(&s);
    }
    scene_close(&s);
    real_redis_close(&redis);
}

static void a_server_that_loads_is_waited_for(void **state)
{
    static const char *const slow[] = {
        "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024", NULL};
    struct both b;
    char logged[8000] = "";
    (void)state;
    both_open(&b, NULL);
    for (int i = 0; i < 300; i++) {
        snprintf(logged, sizeof logged, "SET key%d x", i);
        assert_true(scene_send(&b.commands, logged, "set"));
    }
    assert_true(scene_send(&b.commands, "SAVE", "save"));
    scene_until(&b.commands, "save: OK\n");
    scene_logged(&b.commands, logged, sizeof logged);
    real_redis_kill(&b.redis);
    real_redis_start(&b.redis, slow);
    scene_until(&b.commands, "down: ");
    do
        uv_run(&b.commands.loop, UV_RUN_ONCE);
    while (
        !strstr(scene_logged(&b.commands, logged, sizeof logged), "LOADING") && b.commands.ups < 2);
    assert_non_null(strstr(logged, "LOADING"));
    scene_until(&b.commands, "up\n");
    assert_true(scene_send(&b.commands, "DBSIZE", "size"));
    scene_until(&b.commands, "size: 300\n");
    both_close(&b);
}

static void the_server_cuts_off_who_does_not_read(void **state)
{
    static const char *const arguments[] = {
        "--client-output-buffer-limit", "pubsub", "100kb", "100kb", "1", NULL};
    static char words[30000];
    struct both b;
    (void)state;
    both_open(&b, arguments);
    assert_true(scene_send(&b.channels, "SUBSCRIBE one", ""));
    scene_until(&b.channels, "subscribed one\n");
    redis_link_pause(b.channels.link, true);
    scene_turns(&b.channels, 3);
    memset(words, 'x', sizeof words);
    memcpy(words, "PUBLISH one ", 12);
    words[sizeof words - 1] = 0;
    bool cut = false;
    while (!cut) {
        assert_true(scene_send(&b.commands, words, "published to"));
        scene_until(&b.commands, "published to: ");
        cut = b.commands.log.len > 0 && *b.commands.log.data == '0';
    }
    assert_int_equal(b.channels.downs, 0);
    redis_link_pause(b.channels.link, false);
    scene_until(&b.channels, "down: ");
    scene_until(&b.channels, "up\n");
    both_close(&b);
}

static void tls_is_spoken_with_it(void **state)
{
    struct real_redis redis;
    struct scene s;
    char port[12];
    char url[80];
    const char *arguments[] = {"--tls-port", port, "--port", "0", "--tls-auth-clients", "no",
        "--tls-cert-file", fake_tls_file(FAKE_GOOD), "--tls-key-file", fake_tls_file(FAKE_GOOD),
        "--tls-ca-cert-file", fake_tls_ca(), NULL};
    (void)state;
    real_redis_open(&redis);
    snprintf(port, sizeof port, "%u", redis.port);
    real_redis_start(&redis, arguments);
    scene_open(&s);
    scene_tls(&s, FAKE_GOOD); /* for what to trust */
    snprintf(url, sizeof url, "rediss://localhost:%u", redis.port);
    scene_url(&s, url);
    s.settings.scripts = scripts;
    scene_link(&s);
    scene_until(&s, "up\n");
    for (int i = 0; i < 300; i++)
        assert_true(scene_send(&s, "ECHO hello", "echo"));
    for (int i = 0; i < 300; i++)
        scene_until(&s, "echo: hello\n");
    scene_close(&s);
    real_redis_close(&redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_by_a_script_comes_in_its_order),
        cmocka_unit_test(an_answer_has_the_shape_that_the_script_gave_it),
        cmocka_unit_test(flushed_scripts_come_back),
        cmocka_unit_test(a_killed_server_is_found_again),
        cmocka_unit_test(a_stopped_server_is_silent),
        cmocka_unit_test(a_master_that_becomes_a_replica_is_left_until_it_is_one_again),
        cmocka_unit_test(users_passwords_and_databases_are_used),
        cmocka_unit_test(a_server_that_loads_is_waited_for),
        cmocka_unit_test(the_server_cuts_off_who_does_not_read),
        cmocka_unit_test(tls_is_spoken_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
