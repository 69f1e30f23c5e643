/* Starting and stopping under ThreadSanitizer: again and again, with somebody in the way. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "support/peer.h"
#include "support/tsan.h"

enum { LIVES = 20, KNOCKERS = 2 };

struct life {
    struct hermes *h;
    pthread_barrier_t gate;
    _Atomic int told;
    _Atomic int faults;
};

static void tell(void *user)
{
    struct life *life = user;
    atomic_fetch_add(&life->told, 1);
}

static struct hermes *started(struct life *life)
{
    struct hermes *h = hermes_new();
    assert_non_null(h);
    assert_int_equal(hermes_set(h, "port", "0"), HERMES_OK);
    assert_int_equal(hermes_set(h, "host", "127.0.0.1"), HERMES_OK);
    assert_int_equal(hermes_set(h, "workers", "2"), HERMES_OK);
    assert_int_equal(hermes_set(h, "log-level", "warn"), HERMES_OK);
    hermes_on_stopped(h, tell, life);
    assert_int_equal(hermes_start(h), HERMES_OK);
    return h;
}

/* Comes at the very moment at which the broker goes. */
static void *knock(void *user)
{
    struct life *life = user;
    struct peer peer;
    const char *text;
    size_t len;
    int port = hermes_port(life->h);
    pthread_barrier_wait(&life->gate);
    if (!peer_open(&peer, port))
        return NULL;
    int got = peer_next(&peer, &text, &len);
    if (got != PEER_END && !(got == PEER_CLOSE && peer.close_code == 1012))
        atomic_fetch_add(&life->faults, 1);
    peer_drop(&peer, false);
    return NULL;
}

/* From before the end until it is told. */
static void *publish(void *user)
{
    struct life *life = user;
    int code;
    pthread_barrier_wait(&life->gate);
    while ((code = hermes_publish(life->h, "t", 1, "1", 1)) == HERMES_OK)
        ;
    if (code != HERMES_STOPPED)
        atomic_fetch_add(&life->faults, 1);
    return NULL;
}

static void *drain(void *user)
{
    struct life *life = user;
    pthread_barrier_wait(&life->gate);
    hermes_drain(life->h);
    return NULL;
}

static void a_broker_may_be_stopped_while_clients_connect_and_threads_publish(void **state)
{
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        struct life life = {0};
        struct peer subscriber;
        pthread_t threads[KNOCKERS + 2];
        life.h = started(&life);
        assert_true(peer_open(&subscriber, hermes_port(life.h)));
        assert_true(peer_subscribe(&subscriber, "t"));
        pthread_barrier_init(&life.gate, NULL, KNOCKERS + 3);
        for (int k = 0; k < KNOCKERS; k++)
            pthread_create(&threads[k], NULL, knock, &life);
        pthread_create(&threads[KNOCKERS], NULL, publish, &life);
        pthread_create(&threads[KNOCKERS + 1], NULL, drain, &life);
        pthread_barrier_wait(&life.gate);
        /* What was published up to the end is read while it ends. */
        const char *text;
        size_t len;
        int got;
        while ((got = peer_next(&subscriber, &text, &len)) == PEER_TEXT)
            assert_true(len == 1 && *text == '1');
        assert_int_equal(got, PEER_CLOSE);
        assert_int_equal(subscriber.close_code, 1012);
        assert_int_equal(peer_next(&subscriber, &text, &len), PEER_END);
        peer_drop(&subscriber, false);
        hermes_stop(life.h);
        for (int k = 0; k < KNOCKERS + 2; k++)
            pthread_join(threads[k], NULL);
        assert_int_equal(atomic_load(&life.faults), 0);
        assert_int_equal(atomic_load(&life.told), 1);
        assert_int_equal(hermes_metric(life.h, "connections"), 0);
        hermes_free(life.h);
        pthread_barrier_destroy(&life.gate);
    }
}

static void a_broker_may_be_freed_as_soon_as_it_has_started(void **state)
{
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        struct life life = {0};
        life.h = started(&life);
        hermes_free(life.h);
        assert_int_equal(atomic_load(&life.told), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_may_be_stopped_while_clients_connect_and_threads_publish),
        cmocka_unit_test(a_broker_may_be_freed_as_soon_as_it_has_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
