/* Subscribers of all brokers, in a topic's hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/worker_harness.h"

#include "unit/cluster/company.h"

/* A command of words and its answer, which is kept for a test to look at. */
struct talk {
    struct fellow *fellow;
    const char *topic; /* its hash is the answer: to be summed */
    bool back;
    uint64_t sum;
    struct buf said;
};

static void answered(const struct resp *answer, void *user)
{
    struct talk *t = user;
    t->back = true;
    assert_non_null(answer);
    if (t->topic)
        t->sum = counts_sum(&t->fellow->counts, t->fellow->commands, text_of(t->topic),
            answer->items, answer->count);
    for (size_t i = 0; i < answer->count; i++)
        buf_appendf(&t->said, "%s%.*s", i ? " " : "", (int)answer->items[i].text.len,
            answer->items[i].text.at);
    buf_append(&t->said, "", 1);
}

static void talk(struct company *c, struct talk *t, unsigned fellow, const char *words)
{
    struct redis_link *l = c->fellows[fellow].commands;
    unsigned count = 1;
    for (const char *at = words; *at; at++)
        count += *at == ' ';
    t->fellow = &c->fellows[fellow];
    t->back = false;
    buf_clear(&t->said);
    redis_begin(l, count);
    for (const char *end; count-- > 0; words = end + 1) {
        end = strchrnul(words, ' ');
        redis_arg(l, (struct text){words, (size_t)(end - words)});
    }
    assert_true(redis_send(l, answered, t));
    COMPANY_UNTIL(c, t->back);
}

static void expect_hash(struct company *c, const char *key, const char *expected)
{
    struct talk t = {.topic = NULL};
    char words[100];
    uint64_t end = clock_ms() + COMPANY_PATIENCE_MS;
    snprintf(words, sizeof words, "HGETALL hermes:t:%s", key);
    do {
        company_turn(c);
        talk(c, &t, 0, words);
    } while (strcmp(t.said.data, expected) != 0 && clock_ms() < end);
    assert_string_equal(t.said.data, expected);
    buf_fini(&t.said);
}

static void make_hash(struct company *c, const char *topic)
{
    struct talk t = {.topic = NULL};
    char words[100];
    snprintf(words, sizeof words, "HSET hermes:t:%s e 1", topic);
    talk(c, &t, 0, words);
    buf_fini(&t.said);
}

static uint64_t sum_of(struct company *c, unsigned fellow, const char *topic)
{
    struct talk t = {.topic = topic};
    char words[100];
    snprintf(words, sizeof words, "HGETALL hermes:t:%s", topic);
    talk(c, &t, fellow, words);
    buf_fini(&t.said);
    return t.sum;
}

/* Sooner or later: what others have written has another way to Redis. */
static void expect_sum(struct company *c, unsigned fellow, const char *topic, uint64_t expected)
{
    uint64_t end = clock_ms() + COMPANY_PATIENCE_MS;
    uint64_t sum = sum_of(c, fellow, topic);
    for (; sum != expected && clock_ms() < end; sum = sum_of(c, fellow, topic))
        company_turn(c);
    assert_int_equal(sum, expected);
}

static void note(struct company *c, unsigned fellow, struct counted *entry, uint32_t n)
{
    counts_note(&c->fellows[fellow].counts, entry, n);
}

/* Seen to fail where the own field is taken for a stranger's, and where those of the dead are. */
static void the_numbers_of_the_others_that_are_there_are_summed(void **state)
{
    static struct company c;
    struct counted entries[3];
    (void)state;
    company_open(&c, 3);
    make_hash(&c, "t");
    for (unsigned i = 0; i < 3; i++) {
        counts_add(&entries[i], c.fellows[i].commands, TEXT("t"));
        note(&c, i, &entries[i], 10 * i + 1);
    }
    COMPANY_UNTIL(&c, entries[0].written && entries[1].written && entries[2].written);
    expect_sum(&c, 0, "t", 11 + 21);
    expect_sum(&c, 1, "t", 1 + 21);
    for (unsigned i = 0; i < 2; i++) /* the own number is not that of a stranger */
        assert_int_equal(c.fellows[i].counts.stranger_count, 0);
    struct talk t = {.topic = NULL};
    talk(&c, &t, 0, "HSET hermes:t:t nffffffffffffffff 1000 n1 5 nx 7 o 9 n000000000000000 6");
    buf_fini(&t.said);
    expect_sum(&c, 2, "t", 1 + 11);
    c.fellows[1].hangs = true;
    COMPANY_UNTIL(&c, nodes_count(&c.fellows[0].nodes) == 2);
    expect_sum(&c, 0, "t", 21);
    company_close(&c);
}

/* Seen to fail with a field that is set to 0, and with a hash that is made for a number. */
static void a_number_is_written_when_it_changed_where_there_is_a_hash(void **state)
{
    static struct company c;
    struct counted there, absent;
    (void)state;
    company_open(&c, 1);
    make_hash(&c, "t");
    counts_add(&there, c.fellows[0].commands, TEXT("t"));
    counts_add(&absent, c.fellows[0].commands, TEXT("u"));
    note(&c, 0, &there, 3);
    note(&c, 0, &there, 4);
    note(&c, 0, &absent, 9);
    expect_hash(&c, "t", "e 1 n0000000000000001 4");
    expect_hash(&c, "u", "");
    note(&c, 0, &there, 0);
    expect_hash(&c, "t", "e 1");
    note(&c, 0, &there, 5);
    expect_hash(&c, "t", "e 1 n0000000000000001 5");
    counts_remove(&c.fellows[0].counts, &there);
    expect_hash(&c, "t", "e 1");
    company_close(&c);
}

/* Seen to fail where counts_again does nothing. */
static void a_number_is_written_again_after_redis_lost_it(void **state)
{
    static struct company c;
    struct counted entry;
    (void)state;
    company_open(&c, 1);
    make_hash(&c, "t");
    counts_add(&entry, c.fellows[0].commands, TEXT("t"));
    note(&c, 0, &entry, 3);
    expect_hash(&c, "t", "e 1 n0000000000000001 3");
    real_redis_kill(&c.redis);
    COMPANY_UNTIL(&c, !redis_link_is_up(c.fellows[0].commands));
    note(&c, 0, &entry, 4); /* nobody can hear that */
    COMPANY_UNTIL(&c, list_empty(&entry.node));
    real_redis_start(&c.redis, NULL);
    COMPANY_UNTIL(&c, redis_link_is_up(c.fellows[0].commands));
    make_hash(&c, "t");
    counts_again(&c.fellows[0].counts, &entry);
    expect_hash(&c, "t", "e 1 n0000000000000001 4");
    company_close(&c);
}

/* Redis has kept what it was told last. Seen to fail with a number that is taken for written when
 * it is 0. */
static void who_left_while_the_link_was_down_is_not_counted_when_it_is_back(void **state)
{
    static struct company c;
    struct counted entry;
    (void)state;
    company_open(&c, 1);
    make_hash(&c, "t");
    counts_add(&entry, c.fellows[0].commands, TEXT("t"));
    note(&c, 0, &entry, 3);
    expect_hash(&c, "t", "e 1 n0000000000000001 3");
    redis_link_break(c.fellows[0].commands, "of the test");
    COMPANY_UNTIL(&c, !redis_link_is_up(c.fellows[0].commands));
    note(&c, 0, &entry, 0);
    c.fellows[0].counts.timer.timer_cb(&c.fellows[0].counts.timer); /* before it is up again */
    assert_true(list_empty(&entry.node));
    COMPANY_UNTIL(&c, redis_link_is_up(c.fellows[0].commands));
    counts_again(&c.fellows[0].counts, &entry);
    expect_hash(&c, "t", "e 1");
    company_close(&c);
}

/* Of two servers, one of which is away. Seen to fail with a batch for whichever link is first. */
static void many_numbers_go_to_the_servers_of_their_topics(void **state)
{
    enum { TOPICS = 5000 };
    static struct company c;
    static struct counted entries[TOPICS];
    static char names[TOPICS][8];
    struct redis_url *nowhere;
    char error[100];
    (void)state;
    company_open(&c, 2);
    assert_int_equal(redis_urls_read("redis://127.0.0.1:1", &nowhere, error, sizeof error), 1);
    struct redis_url *kept = c.fellows[0].url;
    c.fellows[0].url = nowhere;
    struct redis_link *away = fellow_link(&c.fellows[0], false);
    c.fellows[0].url = kept;
    make_hash(&c, "4998");
    make_hash(&c, "4999");
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(names[i], sizeof names[i], "%u", i);
        counts_add(&entries[i], i % 2 ? away : c.fellows[0].commands, text_of(names[i]));
        note(&c, 0, &entries[i], i + 1);
    }
    COMPANY_UNTIL(&c, list_empty(&c.fellows[0].counts.due));
    for (unsigned i = 0; i < TOPICS; i++)
        assert_int_equal(entries[i].written, i % 2 ? 0 : i + 1);
    expect_hash(&c, "4998", "e 1 n0000000000000001 4999");
    expect_hash(&c, "4999", "e 1");
    redis_link_close(away);
    company_close(&c);
    redis_urls_free(nowhere, 1);
}

/* Seen to fail without take_out; and (the other way) where it is taken out at once. */
static void the_number_of_a_broker_long_dead_is_taken_out(void **state)
{
    static struct company c;
    struct talk t = {.topic = NULL};
    (void)state;
    company_open(&c, 1);
    talk(&c, &t, 0, "HSET hermes:t:t e 1 n00000000000000aa 7");
    struct counts *counts = &c.fellows[0].counts;
    for (int i = 0; i < 3; i++)
        assert_int_equal(sum_of(&c, 0, "t"), 0);
    expect_hash(&c, "t", "e 1 n00000000000000aa 7");
    assert_int_equal(counts->strangers[0].node, 0xaa);
    counts->strangers[0].since_ms -= COUNTS_DEAD_MS; /* as if it had been so long */
    assert_int_equal(sum_of(&c, 0, "t"), 0);
    expect_hash(&c, "t", "e 1");
    buf_fini(&t.said);
    company_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_of_the_others_that_are_there_are_summed),
        cmocka_unit_test(a_number_is_written_when_it_changed_where_there_is_a_hash),
        cmocka_unit_test(a_number_is_written_again_after_redis_lost_it),
        cmocka_unit_test(who_left_while_the_link_was_down_is_not_counted_when_it_is_back),
        cmocka_unit_test(many_numbers_go_to_the_servers_of_their_topics),
        cmocka_unit_test(the_number_of_a_broker_long_dead_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
