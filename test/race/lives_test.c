/* Whole lives of brokers under ThreadSanitizer: clients come, do what they may, and go, in order or
 * not, while other threads publish and read metrics; amid all that the broker is drained. Nothing
 * is timed: the end comes after so many visits, whenever that is. Half of the clients speak level 2
 * and use all of it; the rules change meanwhile. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "support/peer.h"
#include "support/random.h"
#include "support/tsan.h"

enum { CLIENTS = 5, PUBLISHERS = 2, TOPICS = 8, STEPS = 20, RECENT = 8, HISTORY = 20 };

struct life {
    struct hermes *h;
    int id;
    int port;
    int visits_wanted;
    _Atomic int faults;
    _Atomic int told;      /* how often hermes_on_stopped's callback came */
    _Atomic bool draining; /* set before hermes_drain: from then on connections may end */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int visits;
    sem_t credit;   /* what the publishers and the reader of metrics may still do */
    char rules[64]; /* the name of the file */
};

struct actor {
    struct life *life;
    int number;
    pthread_t thread;
};

/* cmocka's asserts are for the main thread. */
__attribute__((format(printf, 2, 3))) static void fault(struct life *life, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    flockfile(stdout);
    vprintf(format, arguments);
    putchar('\n');
    funlockfile(stdout);
    va_end(arguments);
    atomic_fetch_add(&life->faults, 1);
}

static const char *topic_name(struct random *dice)
{
    static const char *const names[TOPICS] = {
        "one", "two", "three", "four", "five", "six", "seven", "eight"};
    return names[random_below(dice, TOPICS)];
}

/* --- clients ---------------------------------------------------------------------------------- */

/* One connection of a client's. */
struct visit {
    struct life *life;
    struct peer peer;
    struct random *dice;
    bool enveloped; /* level 2 */
    int client;
    int number; /* of this client's connections */
    int published;
    struct {
        int visit;
        int last;
    } heard[CLIENTS + PUBLISHERS][RECENT]; /* of each publisher's latest connections */
};

/* Guarantee 2: what one connection published comes in the order sent; and nothing of another
 * broker's comes at all. */
static void check_data(struct visit *v, const char *text, size_t len)
{
    char copy[128];
    int broker, publisher, visit, n;
    snprintf(copy, sizeof copy, "%.*s", (int)len, text);
    if (sscanf(copy, "{\"b\":%d,\"p\":%d,\"v\":%d,\"n\":%d}", &broker, &publisher, &visit, &n) !=
            4 ||
        publisher < 0 || publisher >= CLIENTS + PUBLISHERS) {
        fault(v->life, "this was never published: %s", copy);
        return;
    }
    if (broker != v->life->id)
        fault(v->life, "a client of broker %d got %s", v->life->id, copy);
    int at = visit % RECENT;
    if (v->heard[publisher][at].visit > visit)
        return; /* its place is taken by a later one */
    if (v->heard[publisher][at].visit == visit && v->heard[publisher][at].last >= n)
        fault(v->life, "%s came behind number %d", copy, v->heard[publisher][at].last);
    v->heard[publisher][at].visit = visit;
    v->heard[publisher][at].last = n;
}

/* Old messages are replayed of these, so that they come again. */
static bool is_kept(const char *topic)
{
    return strncmp(topic, "six", 3) == 0 || strncmp(topic, "seven", 5) == 0;
}

/* A message at level 2. */
static void check_enveloped(struct visit *v, const char *text, size_t len)
{
    static const char start[] = "{\"type\":\"message\",\"topic\":\"";
    const char *data = memmem(text, len, ",\"data\":", 8);
    if (!data)
        fault(v->life, "a message without data: %.*s", (int)len, text);
    else if (!is_kept(text + sizeof start - 1))
        check_data(v, data + 8, len - (size_t)(data + 8 - text));
}

static bool is_one_of(const char *text, size_t len, const char *const *starts)
{
    while (*starts && !peer_is(text, len, *starts))
        starts++;
    return *starts != NULL;
}

/* What both levels may be answered, and what level 2. */
static bool is_expected(const struct visit *v, const char *text, size_t len)
{
    static const char *const both[] = {"{\"type\":\"ack_", "{\"type\":\"topics\"", NULL};
    static const char *const plain[] = {
        "{\"type\":\"error\",\"message\":\"Not subscribed to ", NULL};
    static const char *const enveloped[] = {"{\"type\":\"error\",\"code\":\"not_subscribed\"",
        "{\"type\":\"error\",\"code\":\"no_history\"", "{\"type\":\"join\"", "{\"type\":\"leave\"",
        "{\"type\":\"presence\"", "{\"type\":\"history\"", "{\"type\":\"pong\"",
        "{\"type\":\"reconnect\"", NULL};
    return is_one_of(text, len, both) || is_one_of(text, len, v->enveloped ? enveloped : plain);
}

/* False when the visit is over: something but a text came. */
static bool check(struct visit *v, int got, const char *text, size_t len, int expected_code)
{
    if (got == PEER_TEXT) {
        if (peer_is(text, len, "{\"b\":"))
            check_data(v, text, len);
        else if (v->enveloped && peer_is(text, len, "{\"type\":\"message\""))
            check_enveloped(v, text, len);
        else if (!is_expected(v, text, len))
            fault(v->life, "unexpected: %.*s", (int)(len < 100 ? len : 100), text);
        return true;
    }
    if (got == PEER_PONG)
        return true;
    if (got == PEER_CLOSE && v->peer.close_code == expected_code)
        return false;
    if (got == PEER_CLOSE && v->peer.close_code == 1012 && atomic_load(&v->life->draining))
        return false;
    if (got == PEER_END && (v->peer.close_code != 0 || atomic_load(&v->life->draining)))
        return false;
    fault(v->life, "a connection ended with %d, close code %d", got, v->peer.close_code);
    return false;
}

/* Reads until a text that begins so. */
static bool await(struct visit *v, const char *start)
{
    const char *text;
    size_t len;
    int got;
    do {
        got = peer_next(&v->peer, &text, &len);
        if (!check(v, got, text, len, 0))
            return false;
    } while (got != PEER_TEXT || !peer_is(text, len, start));
    return true;
}

static bool read_some(struct visit *v)
{
    const char *text;
    size_t len;
    for (;;) {
        int got = peer_try(&v->peer, &text, &len);
        if (got == PEER_NOTHING)
            return true;
        if (!check(v, got, text, len, 0))
            return false;
    }
}

static bool publish(struct visit *v)
{
    return peer_sendf(&v->peer, "{\"topic\":\"%s\",\"data\":{\"b\":%d,\"p\":%d,\"v\":%d,\"n\":%d}}",
        topic_name(v->dice), v->life->id, v->client, v->number, ++v->published);
}

static bool subscribe(struct visit *v, const char *topic)
{
    return peer_sendf(&v->peer, "{\"type\":\"subscribe\",\"topic\":\"%s\"}", topic);
}

/* What only level 2 can do. False when the connection is gone. */
static bool step2(struct visit *v)
{
    static const char *const patterns[] = {"*", ">", "one", "f:*"};
    const char *pattern = patterns[random_below(v->dice, 4)];
    const char *topic = topic_name(v->dice);
    const char *presence = random_below(v->dice, 2) ? ",\"presence\":true" : "";
    const char *policy = random_below(v->dice, 2) ? ",\"policy\":\"latest\"" : "";
    struct peer *p = &v->peer;
    switch (random_below(v->dice, 9)) {
    case 0:
    case 1:
        return peer_sendf(
            p, "{\"type\":\"subscribe\",\"pattern\":\"%s\"%s%s}", pattern, presence, policy);
    case 2:
        return peer_sendf(p, "{\"type\":\"unsubscribe\",\"pattern\":\"%s\"}", pattern);
    case 3:
        return peer_sendf(p, "{\"type\":\"presence\",\"topic\":\"%s\",\"id\":1}", topic);
    case 4:
        return peer_sendf(p, "{\"type\":\"history\",\"topic\":\"%s\",\"id\":1}", topic);
    case 5:
        return peer_sendf(p,
            "{\"type\":\"subscribe\",\"topics\":[\"%s\",\"six\",\"eight\"],\"replay\":%d%s%s}",
            topic, (int)random_below(v->dice, 2 * HISTORY), presence, policy);
    case 6:
        return peer_sendf(p,
            "{\"type\":\"subscribe\",\"topic\":\"%s\",\"since\":{\"epoch\":\"0123456789abcdef\","
            "\"offset\":1}}",
            topic);
    case 7:
        return peer_sendf(p, "{\"type\":\"ping\",\"id\":\"p\"}") && read_some(v);
    default:
        v->published++;
        return peer_sendf(p,
            "{\"topic\":\"%s\",\"data\":{\"b\":%d,\"p\":%d,\"v\":%d,\"n\":%d},\"id\":%d,"
            "\"echo\":%s}",
            topic, v->life->id, v->client, v->number, v->published, v->published,
            v->published % 2 ? "false" : "true");
    }
}

/* False when the connection is gone. */
static bool step(struct visit *v)
{
    if (v->enveloped && random_below(v->dice, 2))
        return step2(v);
    switch (random_below(v->dice, 10)) {
    case 0:
    case 1:
        return subscribe(v, topic_name(v->dice));
    case 2:
        return subscribe(v, topic_name(v->dice)) && await(v, "{\"type\":\"ack_subscribe\"");
    case 3:
        return peer_sendf(
            &v->peer, "{\"type\":\"unsubscribe\",\"topic\":\"%s\"}", topic_name(v->dice));
    case 4:
        return peer_sendf(&v->peer, "{\"type\":\"topics\"}");
    case 5:
        return peer_send_frame(&v->peer, PEER_PING, "x", 1);
    case 6:
    case 7:
        return read_some(v);
    default:
        return publish(v) && publish(v);
    }
}

/* Reads until the end, before which a close with that code has to come. */
static void await_close(struct visit *v, int code)
{
    const char *text;
    size_t len;
    int got;
    do
        got = peer_next(&v->peer, &text, &len);
    while (check(v, got, text, len, code));
    if (got == PEER_CLOSE) /* behind it comes the end */
        check(v, peer_next(&v->peer, &text, &len), text, len, code);
}

/* All the ways to go. */
static void leave(struct visit *v)
{
    static const uint8_t normal[] = {1000 >> 8, 1000 & 0xff};
    switch (random_below(v->dice, 6)) {
    case 0:
        peer_drop(&v->peer, true);
        break;
    case 1: /* with unread input, perhaps */
        peer_drop(&v->peer, false);
        break;
    case 2: /* in the midst of a frame */
        peer_send_bytes(&v->peer, "\x81\xfe\x01\x00....{\"topic", 16);
        peer_drop(&v->peer, false);
        break;
    case 3: /* a frame without a mask */
        if (peer_send_bytes(&v->peer, "\x81\x01x", 3))
            await_close(v, 1002);
        peer_drop(&v->peer, false);
        break;
    case 4: /* its own side first */
        shutdown(v->peer.fd, SHUT_WR);
        peer_drop(&v->peer, false);
        break;
    default:
        if (peer_send_frame(&v->peer, PEER_CLOSE, normal, sizeof normal))
            await_close(v, 1000);
        peer_drop(&v->peer, false);
    }
}

static void visit_over(struct life *life)
{
    pthread_mutex_lock(&life->lock);
    life->visits++;
    pthread_cond_signal(&life->changed);
    pthread_mutex_unlock(&life->lock);
    for (int i = 0; i < 20; i++)
        sem_post(&life->credit);
}

static void *come_and_go(void *user)
{
    struct actor *actor = user;
    struct life *life = actor->life;
    struct random dice = {(uint64_t)(life->id * 100 + actor->number)};
    for (int number = 1;; number++) {
        struct visit v = {.life = life, .dice = &dice, .client = actor->number, .number = number};
        if (random_below(&dice, 8) == 0 && peer_connect(&v.peer, life->port, 0)) {
            /* Never comes to a handshake. */
            peer_send_bytes(&v.peer, "GET / HT", 8);
            peer_drop(&v.peer, random_below(&dice, 2) == 0);
        }
        v.enveloped = random_below(&dice, 2);
        if (!(v.enveloped ? peer_open2 : peer_open)(&v.peer, life->port)) {
            if (!atomic_load(&life->draining))
                fault(life, "no connection, though the broker was not drained yet");
            return NULL;
        }
        bool there = true;
        for (int i = 0; i < STEPS && there; i++)
            there = step(&v);
        leave(&v);
        visit_over(life);
    }
}

/* --- rules ------------------------------------------------------------------------------------ */

/* Two topics keep messages, now more and now fewer, and at times none. */
static void write_rules(struct life *life, int turn)
{
    char name[sizeof life->rules + 32];
    snprintf(name, sizeof name, "%s.%lu", life->rules, (unsigned long)pthread_self());
    FILE *file = fopen(name, "w");
    if (!file)
        abort();
    fprintf(file, "{\"rules\":[{\"match\":\"six\",\"history\":%d,\"retain\":true}", HISTORY);
    if (turn % 3 > 0)
        fprintf(file, ",{\"match\":\"seven\",\"history\":%d,\"history_seconds\":1}",
            turn % 3 * HISTORY);
    fputs("]}", file);
    if (fclose(file) != 0 || rename(name, life->rules) != 0)
        abort();
}

/* --- threads of the embedding program --------------------------------------------------------- */

static void *publish_from_within(void *user)
{
    struct actor *actor = user;
    struct life *life = actor->life;
    struct random dice = {(uint64_t)(life->id * 100 + actor->number)};
    for (int n = 1;; n++) {
        char data[96];
        const char *topic = topic_name(&dice);
        int len = snprintf(
            data, sizeof data, "{\"b\":%d,\"p\":%d,\"v\":1,\"n\":%d}", life->id, actor->number, n);
        sem_wait(&life->credit);
        int code = hermes_publish(life->h, topic, strlen(topic), data, (size_t)len);
        if (code == HERMES_STOPPED && atomic_load(&life->draining))
            return NULL;
        if (code != HERMES_OK) {
            fault(life, "hermes_publish answered %d", code);
            return NULL;
        }
        if (n % 50 == 0)
            write_rules(life, n / 50);
        code = n % 50 ? HERMES_OK : hermes_reload(life->h);
        if (code != HERMES_OK && !(code == HERMES_STOPPED && atomic_load(&life->draining)))
            fault(life, "hermes_reload answered %d: %s", code, hermes_error(life->h));
    }
}

static void *read_metrics(void *user)
{
    struct life *life = ((struct actor *)user)->life;
    static const char *const counters[] = {
        "connections_total", "deliveries_total", "messages_published_total", "bytes_sent_total"};
    int64_t last[4] = {0};
    while (!atomic_load(&life->draining)) {
        sem_wait(&life->credit);
        for (int i = 0; i < 4; i++) {
            int64_t now = hermes_metric(life->h, counters[i]);
            if (now < last[i])
                fault(life, "the counter %s fell", counters[i]);
            last[i] = now;
        }
        if (hermes_metric(life->h, "no such metric") != -1)
            fault(life, "a metric that there is not has a value");
    }
    return NULL;
}

static void *drain(void *user)
{
    struct life *life = ((struct actor *)user)->life;
    hermes_drain(life->h);
    return NULL;
}

static void stopped(void *user)
{
    struct life *life = user;
    atomic_fetch_add(&life->told, 1);
}

/* --- a life ----------------------------------------------------------------------------------- */

static void start(struct actor *actor, struct life *life, int number, void *(*body)(void *))
{
    actor->life = life;
    actor->number = number;
    if (pthread_create(&actor->thread, NULL, body, actor) != 0)
        abort();
}

static void set(struct hermes *h, const char *name, const char *value)
{
    if (hermes_set(h, name, value) != HERMES_OK)
        abort();
}

static void expect_nothing_left(struct life *life)
{
    static const char *const gauges[] = {
        "connections", "sessions", "subscriptions", "blocked_sessions", "paused_sessions"};
    for (int i = 0; i < 5; i++)
        if (hermes_metric(life->h, gauges[i]) != 0)
            fault(life, "at the end %s is %lld", gauges[i],
                (long long)hermes_metric(life->h, gauges[i]));
    if (hermes_publish(life->h, "one", 3, "1", 1) != HERMES_STOPPED)
        fault(life, "a broker that ended takes messages");
    if (atomic_load(&life->told) != 1)
        fault(life, "the end was told %d times", atomic_load(&life->told));
}

static void *live(void *user)
{
    struct life *life = user;
    struct actor actors[CLIENTS + PUBLISHERS + 1];
    struct actor drainers[3];
    pthread_mutex_init(&life->lock, NULL);
    pthread_cond_init(&life->changed, NULL);
    sem_init(&life->credit, 0, 0);
    life->h = hermes_new();
    const char *folder = getenv("TMPDIR");
    snprintf(life->rules, sizeof life->rules, "%.30s/hermes-lives-%d-%d", folder ? folder : "/tmp",
        (int)getpid(), life->id);
    write_rules(life, 1);
    set(life->h, "config", life->rules);
    set(life->h, "history-bytes", "20k");
    set(life->h, "port", "0");
    set(life->h, "host", "127.0.0.1");
    set(life->h, "workers", "3");
    set(life->h, "log-level", "debug");
    set(life->h, "max-connections-per-address", "1000");
    hermes_on_stopped(life->h, stopped, life);
    if (hermes_start(life->h) != HERMES_OK)
        abort();
    life->port = hermes_port(life->h);
    for (int i = 0; i < CLIENTS; i++)
        start(&actors[i], life, i, come_and_go);
    for (int i = CLIENTS; i < CLIENTS + PUBLISHERS; i++)
        start(&actors[i], life, i, publish_from_within);
    start(&actors[CLIENTS + PUBLISHERS], life, 0, read_metrics);

    pthread_mutex_lock(&life->lock);
    while (life->visits < life->visits_wanted && atomic_load(&life->faults) == 0)
        pthread_cond_wait(&life->changed, &life->lock);
    pthread_mutex_unlock(&life->lock);
    atomic_store(&life->draining, true);
    for (int i = 0; i < 3; i++)
        start(&drainers[i], life, i, drain);
    for (int i = 0; i < 1000; i++)
        sem_post(&life->credit);
    hermes_stop(life->h);
    for (int i = 0; i < 3; i++)
        pthread_join(drainers[i].thread, NULL);
    /* The thousand may have been used up before the end; whoever acts now sees it. */
    for (int i = 0; i < PUBLISHERS + 1; i++)
        sem_post(&life->credit);
    for (int i = 0; i < CLIENTS + PUBLISHERS + 1; i++)
        pthread_join(actors[i].thread, NULL);
    expect_nothing_left(life);
    unlink(life->rules);
    hermes_free(life->h);
    sem_destroy(&life->credit);
    pthread_cond_destroy(&life->changed);
    pthread_mutex_destroy(&life->lock);
    return NULL;
}

/* The log is written in full, for it is shared by the threads too, but nobody wants to read it. */
static int log_to_nowhere(void **state)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    *state = (void *)(intptr_t)dup(STDERR_FILENO);
    return dup2(nowhere, STDERR_FILENO) < 0 || close(nowhere) != 0;
}

static int log_to_stderr(void **state)
{
    int before = (int)(intptr_t)*state;
    return dup2(before, STDERR_FILENO) < 0 || close(before) != 0;
}

static void clients_come_and_go_and_the_broker_ends_amid_them(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct life life = {.id = i + 1, .visits_wanted = 100 + 100 * i};
        live(&life);
        assert_int_equal(atomic_load(&life.faults), 0);
    }
}

static void two_brokers_in_one_process_know_nothing_of_each_other(void **state)
{
    struct life lives[2] = {
        {.id = 1, .visits_wanted = 200}, /* it ends while the other goes on */
        {.id = 2, .visits_wanted = 500},
    };
    pthread_t threads[2];
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live, &lives[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(atomic_load(&lives[i].faults), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            clients_come_and_go_and_the_broker_ends_amid_them, log_to_nowhere, log_to_stderr),
        cmocka_unit_test_setup_teardown(
            two_brokers_in_one_process_know_nothing_of_each_other, log_to_nowhere, log_to_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
