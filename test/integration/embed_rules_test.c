/* The rules file of a broker inside of a program: loaded at the start, and anew when it says so. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "support/peer.h"

static char folder[64];
static char path[80];

static int make_folder(void **state)
{
    const char *above = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%.40s/hermes-rules-XXXXXX", above ? above : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/rules.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_rules(const char *rules)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "{\"rules\":[%s]}\n", rules);
    assert_int_equal(fclose(file), 0);
}

static struct hermes *fresh(void)
{
    struct hermes *h = hermes_new();
    assert_non_null(h);
    assert_int_equal(hermes_set(h, "WS_PORT", "0"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_HOST", "127.0.0.1"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_WORKERS", "2"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_LOG_LEVEL", "off"), HERMES_OK);
    assert_int_equal(hermes_set(h, "WS_CONFIG", path), HERMES_OK);
    return h;
}

static struct hermes *started(const char *rules)
{
    write_rules(rules);
    struct hermes *h = fresh();
    if (hermes_start(h) != HERMES_OK)
        fail_msg("%s", hermes_error(h));
    return h;
}

static int publish(struct hermes *h, const char *topic, const char *data)
{
    return hermes_publish(h, topic, strlen(topic), data, strlen(data));
}

static void assert_told(const struct hermes *h, const char *what)
{
    char expected[300];
    snprintf(expected, sizeof expected, "WS_CONFIG=%s: %s", path, what);
    assert_string_equal(hermes_error(h), expected);
}

static void it_does_not_start_with_a_bad_file_and_does_with_a_good_one(void **state)
{
    (void)state;
    struct hermes *h = fresh();
    unlink(path);
    assert_int_equal(hermes_start(h), HERMES_SYSTEM);
    assert_told(h, "cannot be opened: No such file or directory");
    write_rules("{\"match\":\"a\"},{\"match\":\"b\",\"policy\":\"fast\"}");
    assert_int_equal(hermes_start(h), HERMES_INVALID);
    assert_told(h, "rule 2: policy: \"fast\" is none of its words: give one of disconnect, "
                   "drop_oldest, latest");
    assert_int_equal(hermes_port(h), 0);
    write_rules("{\"match\":\"short\",\"max_bytes\":3}");
    assert_int_equal(hermes_start(h), HERMES_OK);
    assert_int_equal(publish(h, "short", "123"), HERMES_OK);
    assert_int_equal(publish(h, "short", "1234"), HERMES_TOO_LARGE);
    assert_int_equal(publish(h, "other", "1234"), HERMES_OK);
    hermes_free(h);
}

static void the_first_rule_that_matches_counts(void **state)
{
    (void)state;
    struct hermes *h =
        started("{\"match\":\"a:b\",\"max_bytes\":9},{\"match\":\"a:*\",\"max_bytes\":"
                "3},{\"match\":\"a:>\",\"max_bytes\":5}");
    assert_int_equal(publish(h, "a:b", "123456789"), HERMES_OK);
    assert_int_equal(publish(h, "a:b", "1234567890"), HERMES_TOO_LARGE);
    assert_int_equal(publish(h, "a:c", "1234"), HERMES_TOO_LARGE);
    assert_int_equal(publish(h, "a:c:d", "1234"), HERMES_OK);
    assert_int_equal(publish(h, "a:c:d", "123456"), HERMES_TOO_LARGE);
    assert_int_equal(publish(h, "a", "1234567890"), HERMES_OK);
    hermes_free(h);
}

static void a_reload_takes_the_new_file_whole_or_not_at_all(void **state)
{
    (void)state;
    struct hermes *h = started("{\"match\":\"t\",\"max_bytes\":3}");
    write_rules("{\"match\":\"t\",\"max_bytes\":5},{\"match\":\"u\",\"max_bytes\":-5}");
    assert_int_equal(hermes_reload(h), HERMES_INVALID);
    assert_told(h, "rule 2: max_bytes: -5 is out of range: give 0 (WS_MAX_MESSAGE_BYTES alone "
                   "counts) to 1073741824 bytes");
    assert_int_equal(publish(h, "t", "1234"), HERMES_TOO_LARGE);
    unlink(path);
    assert_int_equal(hermes_reload(h), HERMES_SYSTEM);
    assert_told(h, "cannot be opened: No such file or directory");
    assert_int_equal(publish(h, "t", "1234"), HERMES_TOO_LARGE);
    write_rules("{\"match\":\"t\",\"max_bytes\":5}");
    assert_int_equal(hermes_reload(h), HERMES_OK);
    assert_int_equal(publish(h, "t", "1234"), HERMES_OK);
    assert_int_equal(publish(h, "t", "123456"), HERMES_TOO_LARGE);
    write_rules("");
    assert_int_equal(hermes_reload(h), HERMES_OK);
    assert_int_equal(publish(h, "t", "123456"), HERMES_OK);
    hermes_free(h);
}

static void the_file_may_be_another_one_or_none(void **state)
{
    (void)state;
    struct hermes *h = started("{\"match\":\"t\",\"max_bytes\":3}");
    assert_int_equal(hermes_set(h, "config", ""), HERMES_OK);
    assert_int_equal(publish(h, "t", "1234"), HERMES_TOO_LARGE);
    assert_int_equal(hermes_reload(h), HERMES_OK);
    assert_int_equal(publish(h, "t", "1234"), HERMES_OK);
    assert_int_equal(hermes_reload(h), HERMES_OK);
    assert_int_equal(hermes_set(h, "config", path), HERMES_OK);
    assert_int_equal(hermes_reload(h), HERMES_OK);
    assert_int_equal(publish(h, "t", "1234"), HERMES_TOO_LARGE);
    hermes_free(h);
}

static void nothing_is_reloaded_where_nothing_runs(void **state)
{
    (void)state;
    write_rules("");
    struct hermes *h = fresh();
    assert_int_equal(hermes_reload(h), HERMES_STOPPED);
    assert_int_equal(hermes_start(h), HERMES_OK);
    assert_int_equal(hermes_reload(h), HERMES_OK);
    hermes_drain(h);
    assert_int_equal(hermes_reload(h), HERMES_STOPPED);
    hermes_wait(h);
    assert_int_equal(hermes_reload(h), HERMES_STOPPED);
    hermes_free(h);
}

/* The program is not one of those whom the rule keeps out. */
static void the_program_may_publish_where_no_client_may(void **state)
{
    (void)state;
    struct hermes *h = started("{\"match\":\"news\",\"publish\":\"nobody\"}");
    struct peer p;
    const char *text;
    size_t len;
    assert_true(peer_open(&p, hermes_port(h)));
    assert_true(peer_subscribe(&p, "news"));
    assert_true(peer_sendf(&p, "{\"topic\":\"news\",\"data\":\"mine\"}"));
    assert_int_equal(peer_next(&p, &text, &len), PEER_TEXT);
    assert_true(peer_is(text, len, "{\"type\":\"error\""));
    assert_int_equal(publish(h, "news", "\"the program's\""), HERMES_OK);
    assert_int_equal(peer_next(&p, &text, &len), PEER_TEXT);
    assert_true(len == 15 && peer_is(text, len, "\"the program's\""));
    peer_drop(&p, false);
    hermes_free(h);
}

/* --- beside threads that publish -------------------------------------------------------------- */

enum { PUBLISHERS = 2, RELOADS = 100 };

struct publisher {
    struct hermes *hermes;
    _Atomic bool *done;
    pthread_t thread;
    int wrong;
};

/* With either file 3 bytes go and 7 do not. */
static void *publish_on(void *user)
{
    struct publisher *p = user;
    while (!atomic_load(p->done)) {
        int short_one = publish(p->hermes, "t", "123");
        int long_one = publish(p->hermes, "t", "12345");
        if (short_one != HERMES_OK || (long_one != HERMES_OK && long_one != HERMES_TOO_LARGE) ||
            publish(p->hermes, "t", "1234567") != HERMES_TOO_LARGE)
            p->wrong++;
    }
    return NULL;
}

static void rules_may_change_while_threads_publish(void **state)
{
    (void)state;
    struct hermes *h = started("{\"match\":\"t\",\"max_bytes\":3}");
    struct publisher publishers[PUBLISHERS];
    _Atomic bool done = false;
    for (size_t i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publisher){.hermes = h, .done = &done};
        assert_int_equal(
            pthread_create(&publishers[i].thread, NULL, publish_on, &publishers[i]), 0);
    }
    for (int i = 0; i < RELOADS; i++) {
        write_rules(i % 2 ? "{\"match\":\"t\",\"max_bytes\":3}"
                          : "{\"match\":\"t\",\"max_bytes\":5,\"history\":10}");
        assert_int_equal(hermes_reload(h), HERMES_OK);
    }
    atomic_store(&done, true);
    for (size_t i = 0; i < PUBLISHERS; i++) {
        pthread_join(publishers[i].thread, NULL);
        assert_int_equal(publishers[i].wrong, 0);
    }
    hermes_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_not_start_with_a_bad_file_and_does_with_a_good_one),
        cmocka_unit_test(the_first_rule_that_matches_counts),
        cmocka_unit_test(a_reload_takes_the_new_file_whole_or_not_at_all),
        cmocka_unit_test(the_file_may_be_another_one_or_none),
        cmocka_unit_test(nothing_is_reloaded_where_nothing_runs),
        cmocka_unit_test(the_program_may_publish_where_no_client_may),
        cmocka_unit_test(rules_may_change_while_threads_publish),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
