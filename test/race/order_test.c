/* Order under ThreadSanitizer: many threads publish to few topics, and what each subscriber has
 * read is compared afterwards, whatever its level and whether by name or by pattern. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "support/peer.h"
#include "support/tsan.h"

/* FILLER: makes messages so long that mailboxes get crowded and publishing clients have to wait;
 * they never go on when workers do not let them. */
enum {
    TOPICS = 3,
    SUBSCRIBERS = 8,
    INSIDERS = 3, /* threads of this program that publish */
    PUBLISHERS = 6,
    MESSAGES = 300, /* of each publisher, to the topics in turn */
    TOTAL = MESSAGES * PUBLISHERS,
    FILLER = 20000,
};

struct heard {
    int publisher;
    int n;
};

struct world {
    struct hermes *h;
    pthread_barrier_t ready;
    _Atomic int faults;
};

/* How a subscriber gets its messages. */
enum way { PLAIN, BY_NAME, BY_PATTERN, BY_BOTH, WAYS };

struct subscriber {
    struct world *world;
    pthread_t thread;
    enum way way;
    int count[TOPICS];
    struct heard heard[TOPICS][TOTAL];
};

struct publisher {
    struct world *world;
    pthread_t thread;
    int number;
};

/* At level 2: where the data begins, if the offset is the topic's next; else NULL. */
static const char *opened(const struct subscriber *s, const char *text, size_t len)
{
    const char *data = memmem(text, len, ",\"data\":", 8);
    int topic;
    char offset[64];
    if (!data || sscanf(data + 8, "[%d", &topic) != 1 || topic < 0 || topic >= TOPICS)
        return NULL;
    snprintf(offset, sizeof offset, "\"],\"offset\":%d%c", s->count[topic] + 1,
        s->way == BY_PATTERN ? ',' : '}');
    return memmem(text, len, offset, strlen(offset)) ? data + 8 : NULL;
}

static bool hear(struct subscriber *s, int last[PUBLISHERS], const char *text, size_t len)
{
    int topic, publisher, n;
    if (s->way != PLAIN)
        text = opened(s, text, len);
    if (!text)
        return false;
    if (sscanf(text, "[%d,%d,%d", &topic, &publisher, &n) != 3)
        return false;
    /* Guarantee 2, across topics too; as every number comes, once only (guarantee 3). */
    if (n != ++last[publisher] || topic != n % TOPICS)
        return false;
    s->heard[topic][s->count[topic]++] = (struct heard){publisher, n};
    return true;
}

static void *subscribe_and_read(void *user)
{
    struct subscriber *s = user;
    struct peer peer;
    int last[PUBLISHERS];
    memset(last, -1, sizeof last);
    bool fine = (s->way == PLAIN ? peer_open : peer_open2)(&peer, hermes_port(s->world->h));
    if (s->way == BY_PATTERN || s->way == BY_BOTH)
        fine = fine && peer_sendf(&peer, "{\"type\":\"subscribe\",\"pattern\":\"*\"}") &&
               peer_next(&peer, &(const char *){NULL}, &(size_t){0}) == PEER_TEXT;
    for (int i = 0; i < TOPICS && fine && s->way != BY_PATTERN; i++) {
        char topic[2] = {(char)('0' + i)};
        fine = peer_subscribe(&peer, topic);
    }
    pthread_barrier_wait(&s->world->ready);
    for (int i = 0; i < TOTAL && fine; i++) {
        const char *text;
        size_t len;
        fine =
            peer_next(&peer, &text, &len) == PEER_TEXT && len > FILLER && hear(s, last, text, len);
    }
    if (!fine)
        atomic_fetch_add(&s->world->faults, 1);
    peer_drop(&peer, false);
    return NULL;
}

static int write_value(char *out, size_t size, const struct publisher *p, int n)
{
    int len = snprintf(out, size, "[%d,%d,%d,\"", n % TOPICS, p->number, n);
    memset(out + len, 'x', FILLER);
    return len + FILLER + snprintf(out + len + FILLER, size - (size_t)len - FILLER, "\"]");
}

static void *publish_inside(void *user)
{
    struct publisher *p = user;
    char value[FILLER + 64];
    pthread_barrier_wait(&p->world->ready);
    for (int n = 0; n < MESSAGES; n++) {
        char topic = (char)('0' + n % TOPICS);
        int len = write_value(value, sizeof value, p, n);
        if (hermes_publish(p->world->h, &topic, 1, value, (size_t)len) != HERMES_OK)
            atomic_fetch_add(&p->world->faults, 1);
    }
    return NULL;
}

static void *publish_as_client(void *user)
{
    struct publisher *p = user;
    struct peer peer;
    char value[FILLER + 64];
    const char *text;
    size_t len;
    bool fine = peer_open(&peer, hermes_port(p->world->h));
    pthread_barrier_wait(&p->world->ready);
    for (int n = 0; n < MESSAGES && fine; n++) {
        int value_len = write_value(value, sizeof value, p, n);
        fine = peer_sendf(&peer, "{\"topic\":\"%d\",\"data\":%.*s}", n % TOPICS, value_len, value);
    }
    /* The pong tells that all before it was read. */
    fine = fine && peer_send_frame(&peer, PEER_PING, "", 0) &&
           peer_next(&peer, &text, &len) == PEER_PONG;
    if (!fine)
        atomic_fetch_add(&p->world->faults, 1);
    peer_drop(&peer, false);
    return NULL;
}

static void publishers_on_many_threads_are_heard_in_one_order(void **state)
{
    static struct subscriber subscribers[SUBSCRIBERS];
    struct publisher publishers[PUBLISHERS];
    struct world world = {.h = hermes_new()};
    (void)state;
    assert_int_equal(hermes_set(world.h, "port", "0"), HERMES_OK);
    assert_int_equal(hermes_set(world.h, "host", "127.0.0.1"), HERMES_OK);
    assert_int_equal(hermes_set(world.h, "workers", "3"), HERMES_OK);
    assert_int_equal(hermes_set(world.h, "log-level", "warn"), HERMES_OK);
    assert_int_equal(hermes_set(world.h, "max-backlog-bytes", "0"), HERMES_OK);
    assert_int_equal(hermes_set(world.h, "ping-seconds", "0"), HERMES_OK);
    assert_int_equal(hermes_start(world.h), HERMES_OK);
    pthread_barrier_init(&world.ready, NULL, SUBSCRIBERS + PUBLISHERS);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i] = (struct subscriber){.world = &world, .way = (enum way)(i % WAYS)};
        pthread_create(&subscribers[i].thread, NULL, subscribe_and_read, &subscribers[i]);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publisher){.world = &world, .number = i};
        pthread_create(&publishers[i].thread, NULL,
            i < INSIDERS ? publish_inside : publish_as_client, &publishers[i]);
    }
    for (int i = 0; i < SUBSCRIBERS; i++)
        pthread_join(subscribers[i].thread, NULL);
    for (int i = 0; i < PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    assert_int_equal(atomic_load(&world.faults), 0);
    for (int i = 1; i < SUBSCRIBERS; i++)
        for (int topic = 0; topic < TOPICS; topic++) {
            assert_int_equal(subscribers[i].count[topic], subscribers[0].count[topic]);
            assert_memory_equal(subscribers[i].heard[topic], subscribers[0].heard[topic],
                (size_t)subscribers[0].count[topic] * sizeof(struct heard));
        }
    hermes_stop(world.h);
    assert_int_equal(hermes_metric(world.h, "messages_published_total"), TOTAL);
    assert_int_equal(hermes_metric(world.h, "deliveries_total"), TOTAL * SUBSCRIBERS);
    assert_int_equal(hermes_metric(world.h, "paused_sessions"), 0);
    hermes_free(world.h);
    pthread_barrier_destroy(&world.ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishers_on_many_threads_are_heard_in_one_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
