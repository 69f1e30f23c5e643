/* Commands and their answers, channels and their messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/cluster/fake_redis.h"

static void opened(struct scene *s, bool subscribes)
{
    scene_open(s);
    s->settings.subscribes = subscribes;
    s->settings.most_waiting = 100000;
    scene_link(s);
    scene_until(s, "up\n");
    buf_clear(&s->fake.heard);
}

static void answers_come_in_the_order_of_the_commands_which_go_in_one_write(void **state)
{
    struct scene s;
    struct buf expected = {0};
    char words[40];
    char name[40];
    (void)state;
    opened(&s, false);
    s.fake.writes = 0;
    for (int i = 0; i < 500; i++) {
        snprintf(words, sizeof words, "ECHO %d", i);
        snprintf(name, sizeof name, "%d", i);
        assert_true(scene_send(&s, words, name));
        buf_appendf(&expected, "%d: %d\n", i, i);
    }
    assert_int_equal(s.fake.writes, 0);
    while (s.log.len < expected.len)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_memory_equal(s.log.data, expected.data, expected.len);
    assert_int_equal(s.fake.writes, 1);
    buf_fini(&expected);
    scene_close(&s);
}

static void answers_that_come_byte_by_byte_are_the_same(void **state)
{
    struct scene s;
    (void)state;
    opened(&s, false);
    s.fake.slow = true;
    assert_true(scene_send(&s, "ECHO one", "one"));
    assert_true(scene_send(&s, "SET a b", "set"));
    assert_true(scene_send(&s, "ECHO two", "two"));
    scene_until(&s, "one: one\nset: OK\ntwo: two\n");
    scene_close(&s);
}

/* A handle that runs before the poll, and gives a command: it does not wait for the poll. */
static void in_prepare(uv_prepare_t *prepare)
{
    struct scene *s = prepare->data;
    uv_prepare_stop(prepare);
    assert_true(scene_send(s, "ECHO x", "echo"));
}

static void what_is_given_right_before_the_poll_does_not_wait_for_its_end(void **state)
{
    struct scene s;
    uv_prepare_t prepare;
    (void)state;
    opened(&s, false);
    uv_prepare_init(&s.loop, &prepare);
    prepare.data = &s;
    uv_prepare_start(&prepare, in_prepare);
    uv_run(&s.loop, UV_RUN_ONCE); /* would wait for the scene's patience */
    scene_until(&s, "echo: x\n");
    uv_close((uv_handle_t *)&prepare, NULL);
    scene_close(&s);
}

static void a_flush_writes_at_once(void **state)
{
    struct scene s;
    char bytes[100];
    (void)state;
    opened(&s, false);
    uv_read_stop((uv_stream_t *)&s.fake.newest->tcp);
    assert_true(scene_send(&s, "ECHO x", "echo"));
    redis_link_flush(s.link);
    int fd;
    assert_int_equal(uv_fileno((uv_handle_t *)&s.fake.newest->tcp, &fd), 0);
    assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), 21);
    scene_close(&s);
}

static void errors_are_answers(void **state)
{
    struct scene s;
    (void)state;
    opened(&s, false);
    s.fake.instead = "-WRONGTYPE READONLY is not what it says\r\n";
    assert_true(scene_send(&s, "GET x", "get"));
    scene_until(&s, "get: WRONGTYPE READONLY is not what it says\n");
    s.fake.instead = "-ERR Error running script (call to f_1): OOM command not allowed\r\n";
    assert_true(scene_send(&s, "GET x", "get"));
    scene_until(&s, "get: ERR Error");
    assert_true(redis_link_is_up(s.link));
    scene_close(&s);
}

static void a_server_that_cannot_be_written_to_any_more_is_left(void **state)
{
    static const char *const said[] = {"-READONLY You can't write against a read only replica.\r\n",
        "-LOADING Redis is loading\r\n", "-MASTERDOWN Link with MASTER is down\r\n",
        "-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct scene s;
        opened(&s, false);
        s.fake.instead = said[i];
        assert_true(scene_send(&s, "SET a b", "set"));
        assert_true(scene_send(&s, "SET a b", "next"));
        scene_until(&s, "set: "); /* that it was not done is known, */
        scene_until(&s, "next: lost\ndown: the server cannot be used: ");
        s.fake.instead = NULL;
        scene_until(&s, "up\n");
        scene_close(&s);
    }
}

static void an_answer_too_many_breaks_the_link(void **state)
{
    struct scene s;
    (void)state;
    opened(&s, false);
    fake_say(&s, "+OK\r\n", 5);
    scene_until(&s, "down: an answer that nobody has asked for: OK\n");
    scene_until(&s, "up\n");
    fake_say(&s, "HTTP/1.1 400\r\n", 14);
    scene_until(&s, "down: the server's answer cannot be read: ");
    scene_until(&s, "up\n");
    scene_close(&s);
}

static void whoever_asks_past_the_limit_breaks_the_link(void **state)
{
    struct scene s;
    (void)state;
    opened(&s, false);
    scene_drop_link(&s);
    s.settings.most_waiting = 4;
    scene_link(&s);
    scene_until(&s, "up\n");
    s.fake.mute = true;
    assert_true(scene_send(&s, "ECHO 1", "1"));
    assert_false(redis_link_full(s.link));
    assert_true(scene_send(&s, "ECHO 2", "2"));
    assert_true(redis_link_full(s.link)); /* half of it: whoever looks does not break it */
    assert_true(scene_send(&s, "ECHO 3", "3"));
    assert_true(scene_send(&s, "ECHO 4", "4"));
    assert_true(redis_link_is_up(s.link));
    assert_true(scene_send(&s, "ECHO 5", "5"));
    assert_false(redis_link_is_up(s.link));
    scene_until(&s, "1: lost\n2: lost\n3: lost\n4: lost\n5: lost\ndown: the server answers less");
    scene_close(&s);
}

static void whoever_writes_past_the_limit_breaks_the_link(void **state)
{
    static char bulk[20000];
    for (int tls = 0; tls < 2; tls++) {
        struct scene s;
        unsigned sent = 0;
        (void)state;
        scene_open(&s);
        if (tls)
            scene_tls(&s, FAKE_GOOD);
        memset(bulk, 'x', sizeof bulk);
        memcpy(bulk, "ECHO ", 5);
        bulk[sizeof bulk - 1] = 0;
        s.settings.most_unsent = 100000;
        s.settings.most_waiting = 100000;
        scene_link(&s);
        scene_until(&s, "up\n");
        uv_read_stop((uv_stream_t *)&s.fake.newest->tcp);
        while (!redis_link_full(s.link)) {
            assert_true(scene_send(&s, bulk, "echo"));
            sent++;
            scene_turns(&s, 1); /* what the system takes goes */
        }
        assert_true(sent > 5);
        assert_true(redis_link_is_up(s.link));
        for (int i = 0; i < 6; i++)
            (void)scene_send(&s, bulk, "echo");
        assert_false(redis_link_is_up(s.link));
        scene_until(&s, "down: the server takes less");
        scene_close(&s);
    }
}

static void what_the_system_takes_is_not_counted(void **state)
{
    static char bulk[20000];
    struct scene s;
    (void)state;
    scene_open(&s);
    memset(bulk, 'x', sizeof bulk);
    memcpy(bulk, "SET a ", 6);
    bulk[sizeof bulk - 1] = 0;
    s.settings.most_unsent = 30000;
    scene_link(&s);
    scene_until(&s, "up\n");
    for (int i = 0; i < 3; i++)
        assert_true(scene_send(&s, bulk, "set")); /* in one turn */
    assert_true(redis_link_is_up(s.link));
    scene_until(&s, "set: OK\nset: OK\nset: OK\n");
    scene_close(&s);
}

static void what_a_full_socket_did_not_take_goes_when_it_does(void **state)
{
    static char bulk[50000];
    for (int tls = 0; tls < 2; tls++) {
        struct scene s;
        char name[40];
        (void)state;
        scene_open(&s);
        if (tls)
            scene_tls(&s, FAKE_GOOD);
        memset(bulk, 'x', sizeof bulk);
        memcpy(bulk, "SET a ", 6);
        bulk[sizeof bulk - 1] = 0;
        s.settings.most_unsent = 64 << 20;
        scene_link(&s);
        scene_until(&s, "up\n");
        uv_stream_t *server = (uv_stream_t *)&s.fake.newest->tcp;
        uv_read_cb on_read = server->read_cb;
        uv_alloc_cb give = server->alloc_cb;
        uv_read_stop(server);
        for (int i = 0; i < 300; i++) {
            snprintf(name, sizeof name, "%d", i);
            assert_true(scene_send(&s, bulk, name));
            if (i % 7 == 0)
                scene_turns(&s, 1);
        }
        scene_turns(&s, 2);
        uv_read_start(server, give, on_read);
        for (int i = 0; i < 300; i++) {
            snprintf(name, sizeof name, "%d: OK\n", i);
            scene_until(&s, name);
        }
        assert_int_equal(s.downs, 0);
        scene_close(&s);
    }
}

static void messages_come_by_themselves_and_in_order(void **state)
{
    static const char said[] = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n"
                               "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\n2\r\n"
                               "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$0\r\n\r\n";
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct scene s;
        opened(&s, true);
        s.fake.slow = slow;
        assert_true(scene_send(&s, "SUBSCRIBE a b", ""));
        scene_until(&s, "subscribed a\nsubscribed b\n");
        unsigned settled = s.settled;
        fake_say(&s, said, sizeof said - 1);
        scene_until(&s, "message a 1\nmessage b 2\nmessage a \n");
        scene_turns(&s, 1);
        assert_true(slow || s.settled == settled + 1); /* one read */
        assert_true(scene_send(&s, "UNSUBSCRIBE b", ""));
        scene_until(&s, "unsubscribed b\n");
        scene_close(&s);
    }
}

static void a_subscription_that_is_refused_breaks_the_link(void **state)
{
    struct scene s;
    (void)state;
    opened(&s, true);
    static const char refusal[] = "-NOPERM no \x1b[31m channel\r\n";
    fake_say(&s, refusal, sizeof refusal - 1);
    scene_until(&s, "down: the server refuses: NOPERM no ?[31m channel\n");
    scene_until(&s, "up\n");
    fake_say(&s, ":1\r\n", 4);
    scene_until(&s, "down: the server says what it should not\n");
    scene_close(&s);
}

static void channels_that_are_not_confirmed_count_as_waited_for(void **state)
{
    struct scene s;
    (void)state;
    opened(&s, true);
    scene_drop_link(&s);
    s.settings.most_waiting = 8;
    s.settings.silence_ms = 80;
    scene_link(&s);
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "SUBSCRIBE a b c d", ""));
    assert_true(redis_link_full(s.link));
    scene_until(&s, "subscribed d\n");
    assert_false(redis_link_full(s.link));
    s.fake.mute = true;
    assert_true(scene_send(&s, "SUBSCRIBE e f g h i", ""));
    scene_until(&s, "down: the server is silent\n");
    s.fake.mute = false;
    scene_until(&s, "up\n");
    assert_false(redis_link_full(s.link));
    scene_close(&s);
}

static void a_paused_link_reads_nothing_and_takes_nobody_for_silent(void **state)
{
    static const char said[] = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n";
    struct scene s;
    (void)state;
    opened(&s, true);
    scene_drop_link(&s);
    s.settings.silence_ms = 40;
    scene_link(&s);
    scene_until(&s, "up\n");
    redis_link_pause(s.link, true);
    fake_say(&s, said, sizeof said - 1);
    for (uint64_t until = uv_now(&s.loop) + 150; uv_now(&s.loop) < until;)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(s.log.len, 0);
    redis_link_pause(s.link, false);
    scene_until(&s, "message a 1\n");
    assert_int_equal(s.downs, 0);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_in_the_order_of_the_commands_which_go_in_one_write),
        cmocka_unit_test(answers_that_come_byte_by_byte_are_the_same),
        cmocka_unit_test(what_is_given_right_before_the_poll_does_not_wait_for_its_end),
        cmocka_unit_test(a_flush_writes_at_once),
        cmocka_unit_test(errors_are_answers),
        cmocka_unit_test(a_server_that_cannot_be_written_to_any_more_is_left),
        cmocka_unit_test(an_answer_too_many_breaks_the_link),
        cmocka_unit_test(whoever_asks_past_the_limit_breaks_the_link),
        cmocka_unit_test(whoever_writes_past_the_limit_breaks_the_link),
        cmocka_unit_test(what_the_system_takes_is_not_counted),
        cmocka_unit_test(what_a_full_socket_did_not_take_goes_when_it_does),
        cmocka_unit_test(messages_come_by_themselves_and_in_order),
        cmocka_unit_test(a_subscription_that_is_refused_breaks_the_link),
        cmocka_unit_test(a_paused_link_reads_nothing_and_takes_nobody_for_silent),
        cmocka_unit_test(channels_that_are_not_confirmed_count_as_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
