/* The life of a link: it is kept up, and what was waited for when it broke is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/cluster/fake_redis.h"

static void a_link_comes_up_by_itself(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_link(&s);
    assert_false(redis_link_is_up(s.link));
    assert_false(scene_send(&s, "ECHO early", "early"));
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "ECHO hello", "echo"));
    scene_until(&s, "echo: hello\n");
    assert_null(memmem(s.fake.heard.data, s.fake.heard.len, "early", 5));
    scene_close(&s);
}

static void what_is_waited_for_is_lost_before_the_link_is_down_and_it_comes_up_again(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_link(&s);
    scene_until(&s, "up\n");
    s.fake.mute = true;
    assert_true(scene_send(&s, "ECHO one", "one"));
    assert_true(scene_send(&s, "ECHO two", "two"));
    scene_until_heard(&s, "ECHO two\n");
    fake_hang_up(&s);
    s.fake.mute = false;
    scene_until(&s, "one: lost\ntwo: lost\ndown: the server ended the connection\n");
    assert_false(redis_link_is_up(s.link));
    assert_false(scene_send(&s, "ECHO late", "late"));
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "ECHO three", "three"));
    scene_until(&s, "three: three\n");
    assert_int_equal(s.downs, 1);
    scene_close(&s);
}

static void what_was_not_sent_before_a_break_is_not_sent_after_it(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_link(&s);
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "SET never sent", "set"));
    redis_link_break(s.link, "for a test");
    assert_false(redis_link_is_up(s.link));
    assert_int_equal(s.downs, 0); /* nothing is called before the loop's next turn */
    scene_until(&s, "set: lost\ndown: for a test\n");
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "ECHO next", "next"));
    scene_until(&s, "next: next\n");
    assert_null(memmem(s.fake.heard.data, s.fake.heard.len, "never", 5));
    scene_close(&s);
}

static void an_answer_that_breaks_in_its_midst_is_lost(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_link(&s);
    scene_until(&s, "up\n");
    s.fake.instead = "$10\r\nhalf";
    assert_true(scene_send(&s, "GET x", "get"));
    scene_until_heard(&s, "GET x\n");
    scene_turns(&s, 3);
    fake_hang_up(&s);
    s.fake.instead = NULL;
    scene_until(&s, "get: lost\ndown: the server ended the connection\n");
    scene_until(&s, "up\n");
    assert_true(scene_send(&s, "ECHO whole", "echo"));
    scene_until(&s, "echo: whole\n"); /* nothing of the half is read in front of it */
    scene_close(&s);
}

static void a_server_that_answers_nothing_any_more_is_left(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    s.settings.silence_ms = 80;
    scene_link(&s);
    scene_until(&s, "up\n");
    s.fake.mute = true;
    assert_true(scene_send(&s, "ECHO x", "echo"));
    scene_until(&s, "echo: lost\ndown: the server is silent\n");
    s.fake.mute = false;
    scene_until(&s, "up\n");
    scene_close(&s);
}

static void a_server_that_says_something_is_not_silent(void **state)
{
    static const char said[] = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n";
    struct scene s;
    (void)state;
    scene_open(&s);
    s.settings.silence_ms = 80;
    s.settings.subscribes = true;
    scene_link(&s);
    scene_until(&s, "up\n");
    s.fake.mute = true; /* it has more to do than to confirm */
    assert_true(scene_send(&s, "SUBSCRIBE b", ""));
    for (uint64_t until = uv_now(&s.loop) + 400; uv_now(&s.loop) < until;) {
        fake_say(&s, said, sizeof said - 1);
        uv_run(&s.loop, UV_RUN_ONCE);
    }
    assert_int_equal(s.downs, 0);
    scene_until(&s, "down: the server is silent\n");
    scene_close(&s);
}

static void an_idle_link_finds_out_that_its_server_is_gone(void **state)
{
    for (int subscribes = 0; subscribes < 2; subscribes++) {
        struct scene s;
        (void)state;
        scene_open(&s);
        s.settings.silence_ms = 80;
        s.settings.subscribes = subscribes;
        scene_link(&s);
        scene_until(&s, "up\n");
        buf_clear(&s.fake.heard);
        scene_until_heard(&s, "PING\n"); /* answered */
        scene_until_heard(&s, "PING\n");
        assert_int_equal(s.downs, 0);
        s.fake.mute = true;
        scene_until(&s, "down: the server is silent\n");
        s.fake.mute = false;
        scene_until(&s, "up\n");
        scene_close(&s);
    }
}

static void a_server_that_is_silent_from_the_beginning_is_left(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    s.settings.silence_ms = 60;
    s.fake.mute = true;
    scene_link(&s);
    while (s.fake.accepted < 3)
        uv_run(&s.loop, UV_RUN_ONCE);
    s.fake.mute = false;
    scene_until(&s, "up\n");
    assert_int_equal(s.downs, 0);
    scene_close(&s);
}

static void closing_gives_what_is_waited_for_and_calls_nothing_else(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    scene_link(&s);
    scene_until(&s, "up\n");
    s.fake.mute = true;
    assert_true(scene_send(&s, "ECHO x", "echo"));
    scene_drop_link(&s);
    assert_int_equal(s.log.len, sizeof "echo: lost\n" - 1);
    scene_turns(&s, 5);
    assert_int_equal(s.log.len, sizeof "echo: lost\n" - 1);
    scene_close(&s);
}

static void drop(struct scene *s)
{
    s->in_event = NULL;
    scene_drop_link(s);
}

static void a_link_can_be_closed_in_each_of_its_events(void **state)
{
    static const char *const when[] = {
        "up\n", "down: ", "echo: x\n", "echo: lost\n", "dial", "subscribed c\n", "message c m\n"};
    (void)state;
    for (size_t i = 0; i < sizeof when / sizeof *when; i++) {
        struct scene s;
        scene_open(&s);
        s.settings.subscribes = i >= 5;
        if (i == 0)
            s.in_event = drop;
        scene_link(&s);
        if (i == 4) {
            scene_turns(&s, 2);
        } else {
            scene_until(&s, "up\n");
            if (i > 0)
                s.in_event = drop;
            s.fake.mute = i == 3;
        }
        if (i == 1)
            redis_link_break(s.link, "");
        if (i == 2 || i == 3) {
            assert_true(scene_send(&s, "ECHO x", "echo"));
            assert_true(scene_send(&s, "ECHO x", "echo"));
        }
        if (i == 3)
            redis_link_break(s.link, "");
        if (i == 5)
            assert_true(scene_send(&s, "SUBSCRIBE c d", ""));
        if (i == 6) {
            const char twice[] = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n"
                                 "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n";
            fake_say(&s, twice, sizeof twice - 1);
        }
        if (i != 0 && i != 4)
            scene_until(&s, when[i]);
        assert_true(i == 4 || s.link == NULL);
        assert_int_equal(s.downs, i == 1);
        scene_close(&s);
    }
}

static void failed_connects_are_logged_once_and_not_each(void **state)
{
    struct scene s;
    char logged[4000];
    (void)state;
    scene_open(&s);
    s.fake.role = "slave";
    scene_link(&s);
    while (s.fake.accepted < 4)
        uv_run(&s.loop, UV_RUN_ONCE);
    scene_logged(&s, logged, sizeof logged);
    assert_non_null(strstr(logged, "redis cannot be used"));
    assert_non_null(strstr(logged, "the server is no master: slave"));
    assert_null(strstr(strstr(logged, "redis cannot be used") + 1, "redis cannot be used"));
    s.fake.role = "master";
    scene_until(&s, "up\n");
    scene_logged(&s, logged, sizeof logged);
    assert_non_null(strstr(logged, "redis connected"));
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_comes_up_by_itself),
        cmocka_unit_test(what_is_waited_for_is_lost_before_the_link_is_down_and_it_comes_up_again),
        cmocka_unit_test(what_was_not_sent_before_a_break_is_not_sent_after_it),
        cmocka_unit_test(an_answer_that_breaks_in_its_midst_is_lost),
        cmocka_unit_test(a_server_that_answers_nothing_any_more_is_left),
        cmocka_unit_test(a_server_that_says_something_is_not_silent),
        cmocka_unit_test(an_idle_link_finds_out_that_its_server_is_gone),
        cmocka_unit_test(a_server_that_is_silent_from_the_beginning_is_left),
        cmocka_unit_test(closing_gives_what_is_waited_for_and_calls_nothing_else),
        cmocka_unit_test(a_link_can_be_closed_in_each_of_its_events),
        cmocka_unit_test(failed_connects_are_logged_once_and_not_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
