/* TLS under ThreadSanitizer: clients of many threads connect, resume, publish and hear, while the
 * certificate changes; and a broker ends amid handshakes. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "support/certificates.h"
#include "support/peer.h"
#include "support/random.h"
#include "support/tls_peer.h"
#include "support/tsan.h"

enum {
    GUESTS = 4,
    VISITS = 12, /* of each */
    MESSAGES = 10,
    FILLER = 3000,
    TOTAL = GUESTS * VISITS * MESSAGES,
    PAIRS = 3,
};

struct inn {
    struct hermes *h;
    struct certificates files;
    struct signer ca;
    struct certificate pairs[PAIRS];
    char path[CERTIFICATES_PATH]; /* certificate and key in one, so that they change at a stroke */
    _Atomic int guests;           /* that are not done */
    _Atomic int faults;
    sem_t enough;
    int port;
};

struct guest {
    struct inn *inn;
    pthread_t thread;
    int number;
    struct tls_peer tls;
    struct peer peer; /* only the bytes that are read, and the socket */
    mbedtls_ssl_session session;
    bool has_session;
};

/* cmocka's asserts are for the main thread. */
__attribute__((format(printf, 2, 3))) static void fault(struct inn *inn, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    flockfile(stdout);
    vprintf(format, arguments);
    putchar('\n');
    funlockfile(stdout);
    va_end(arguments);
    atomic_fetch_add(&inn->faults, 1);
}

/* --- a client --------------------------------------------------------------------------------- */

/* Whether the library is to be called again. */
static bool again(const struct guest *g, int code)
{
    struct pollfd ready = {.fd = g->peer.fd};
    if (code != MBEDTLS_ERR_SSL_WANT_READ && code != MBEDTLS_ERR_SSL_WANT_WRITE)
        return false;
    ready.events = code == MBEDTLS_ERR_SSL_WANT_READ ? POLLIN : POLLOUT;
    int count;
    do
        count = poll(&ready, 1, PEER_PATIENCE * 1000);
    while (count < 0 && errno == EINTR);
    return count == 1;
}

static bool guest_shake(struct guest *g)
{
    int code;
    do
        code = mbedtls_ssl_handshake(&g->tls.ssl);
    while (again(g, code));
    return code == 0;
}

static bool guest_send(struct guest *g, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0) {
        int sent = mbedtls_ssl_write(&g->tls.ssl, at, len);
        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
        } else if (!again(g, sent)) {
            return false;
        }
    }
    return true;
}

static bool guest_say(struct guest *g, const char *text)
{
    uint8_t head[14];
    size_t len = strlen(text);
    return guest_send(g, head, peer_frame_head(head, PEER_TEXT, len)) && guest_send(g, text, len);
}

static bool guest_fill(struct guest *g)
{
    struct peer *p = &g->peer;
    if (p->at > 0) {
        memmove(p->bytes, p->bytes + p->at, p->len - p->at);
        p->len -= p->at;
        p->at = 0;
    }
    if (p->cap - p->len < 16384) {
        p->cap = p->cap * 2 + 32768;
        p->bytes = realloc(p->bytes, p->cap);
        if (!p->bytes)
            abort();
    }
    int got;
    do
        got = tls_peer_read(&g->tls, p->bytes + p->len, p->cap - p->len);
    while (again(g, got));
    p->len += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* The next text frame; NULL at the end. */
static const char *guest_hear(struct guest *g, size_t *len)
{
    int opcode;
    const char *payload;
    while (!peer_take(&g->peer, &opcode, &payload, len))
        if (!guest_fill(g))
            return NULL;
    return opcode == PEER_TEXT ? payload : NULL;
}

static bool guest_connect(struct guest *g)
{
    if (!peer_connect(&g->peer, g->inn->port, 0))
        return false;
    tls_peer_open(&g->tls, g->peer.fd, g->inn->ca.pem);
    tls_peer_start(&g->tls, "localhost");
    if (g->has_session && mbedtls_ssl_set_session(&g->tls.ssl, &g->session) != 0)
        abort();
    return true;
}

/* Ends the connection, politely or not. */
static void guest_leave(struct guest *g, bool polite, bool reset)
{
    if (polite)
        mbedtls_ssl_close_notify(&g->tls.ssl);
    tls_peer_close(&g->tls);
    peer_drop(&g->peer, reset);
}

static bool guest_upgrade(struct guest *g)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const char *end = NULL;
    size_t len;
    if (!guest_send(g, request, sizeof request - 1))
        return false;
    while (!end) {
        if (!guest_fill(g))
            return false;
        end = memmem(g->peer.bytes, g->peer.len, "\r\n\r\n", 4);
    }
    if (!peer_is(g->peer.bytes, g->peer.len, "HTTP/1.1 101 "))
        return false;
    g->peer.at = (size_t)(end - g->peer.bytes) + 4;
    const char *info = guest_hear(g, &len);
    return info && peer_is(info, len, "{\"type\":\"info\"");
}

/* What the server gave to come back with; by now it has, whichever version it is. */
static void guest_keep_session(struct guest *g)
{
    mbedtls_ssl_session_free(&g->session);
    mbedtls_ssl_session_init(&g->session);
    g->has_session = mbedtls_ssl_get_session(&g->tls.ssl, &g->session) == 0;
}

static bool guest_subscribe(struct guest *g, const char *topic)
{
    char text[96];
    size_t len;
    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topic\":\"%s\"}", topic);
    const char *answer = guest_say(g, text) ? guest_hear(g, &len) : NULL;
    return answer && peer_is(answer, len, "{\"type\":\"ack_subscribe\"");
}

/* --- those who come and go -------------------------------------------------------------------- */

static bool publish_and_hear(struct guest *g, int visit)
{
    char text[FILLER + 128];
    char own[16];
    snprintf(own, sizeof own, "own%d", g->number);
    if (!guest_subscribe(g, own))
        return false;
    for (int n = 0; n < MESSAGES; n++) {
        snprintf(text, sizeof text, "{\"topic\":\"%s\",\"data\":[%d,%d]}", own, visit, n);
        if (!guest_say(g, text))
            return false;
        snprintf(text, sizeof text, "{\"topic\":\"all\",\"data\":[%d,%d,\"%0*d\"]}", g->number,
            visit * MESSAGES + n, FILLER, n);
        if (!guest_say(g, text))
            return false;
    }
    for (int n = 0; n < MESSAGES; n++) {
        size_t len;
        const char *heard = guest_hear(g, &len);
        snprintf(text, sizeof text, "[%d,%d]", visit, n);
        if (!heard || len != strlen(text) || memcmp(heard, text, len) != 0)
            return false;
    }
    /* The answer tells that the last message to all was read, too: a reset may follow. */
    return guest_subscribe(g, "end");
}

static void *visit(void *user)
{
    struct guest *g = user;
    mbedtls_ssl_session_init(&g->session);
    for (int n = 0; n < VISITS; n++) {
        if (!guest_connect(g)) {
            fault(g->inn, "guest %d cannot connect", g->number);
            break;
        }
        bool fine = guest_shake(g) && guest_upgrade(g) && publish_and_hear(g, n);
        if (!fine)
            fault(g->inn, "guest %d, visit %d: not as it should be", g->number, n);
        if (n % 3 < 2)
            guest_keep_session(g);
        guest_leave(g, n % 2 == 0, n % 4 == 1);
    }
    mbedtls_ssl_session_free(&g->session);
    atomic_fetch_sub(&g->inn->guests, 1);
    return NULL;
}

/* Who stays all the time, whatever the certificate. */
static void *stay(void *user)
{
    struct guest *g = user;
    int last[GUESTS];
    memset(last, -1, sizeof last);
    for (int n = 0; n < TOTAL; n++) {
        size_t len;
        int number, value;
        const char *heard = guest_hear(g, &len);
        if (!heard || len < FILLER || sscanf(heard, "[%d,%d,", &number, &value) != 2 ||
            number < 0 || number >= GUESTS || value != last[number] + 1) {
            fault(g->inn, "message %d of %d is not the next", n, TOTAL);
            break;
        }
        last[number] = value;
    }
    atomic_fetch_sub(&g->inn->guests, 1);
    return NULL;
}

static void *read_metrics(void *user)
{
    struct inn *inn = user;
    int64_t last = 0;
    while (atomic_load(&inn->guests) > 0) {
        int64_t now = hermes_metric(inn->h, "tls_handshakes_total");
        if (now < last)
            fault(inn, "a counter fell");
        last = now;
        sched_yield();
    }
    return NULL;
}

/* --- the inn ---------------------------------------------------------------------------------- */

static void put(struct inn *inn, const char *pem, const char *key)
{
    char fresh[CERTIFICATES_PATH];
    certificates_write(&inn->files, fresh, "fresh", pem, key, NULL);
    if (rename(fresh, inn->path) != 0)
        abort();
}

static void set(struct hermes *h, const char *name, const char *value)
{
    if (hermes_set(h, name, value) != HERMES_OK)
        abort();
}

static void inn_open(struct inn *inn)
{
    struct certificate_wish wish = {.name = "CN=localhost", .dns = "localhost"};
    *inn = (struct inn){.h = hermes_new()};
    certificates_open(&inn->files);
    signer_make(&inn->ca, "CN=ca", NULL);
    for (int i = 0; i < PAIRS; i++)
        certificate_make(&inn->pairs[i], &inn->ca, &wish);
    certificates_write(
        &inn->files, inn->path, "server", inn->pairs[0].pem, inn->pairs[0].key, NULL);
    set(inn->h, "port", "0");
    set(inn->h, "host", "127.0.0.1");
    set(inn->h, "workers", "3");
    set(inn->h, "ping-seconds", "0");
    set(inn->h, "max-backlog-bytes", "0");
    set(inn->h, "tls-cert", inn->path);
    set(inn->h, "tls-port", "0");
    set(inn->h, "log-level", "debug");
    if (hermes_start(inn->h) != HERMES_OK)
        abort();
    inn->port = hermes_tls_port(inn->h);
}

static void inn_close(struct inn *inn)
{
    assert_int_equal(hermes_metric(inn->h, "connections"), 0);
    assert_int_equal(hermes_metric(inn->h, "sessions"), 0);
    assert_int_equal(atomic_load(&inn->faults), 0);
    hermes_free(inn->h);
    signer_free(&inn->ca);
    certificates_close(&inn->files);
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

static void clients_are_served_and_stay_whatever_certificate_comes(void **state)
{
    struct inn inn;
    struct guest guests[GUESTS] = {{0}};
    struct guest resident = {0};
    pthread_t metrics;
    (void)state;
    inn_open(&inn);
    resident.inn = &inn;
    assert_true(guest_connect(&resident) && guest_shake(&resident) && guest_upgrade(&resident));
    assert_true(guest_subscribe(&resident, "all"));
    atomic_store(&inn.guests, GUESTS + 1);
    pthread_create(&resident.thread, NULL, stay, &resident);
    pthread_create(&metrics, NULL, read_metrics, &inn);
    for (int i = 0; i < GUESTS; i++) {
        guests[i].inn = &inn;
        guests[i].number = i;
        pthread_create(&guests[i].thread, NULL, visit, &guests[i]);
    }
    for (int turn = 1; atomic_load(&inn.guests) > 0; turn++) {
        const struct certificate *pair = &inn.pairs[turn % PAIRS];
        bool bad = turn % 5 == 0;
        put(&inn, pair->pem, bad ? inn.pairs[(turn + 1) % PAIRS].key : pair->key);
        assert_int_equal(hermes_reload(inn.h), bad ? HERMES_INVALID : HERMES_OK);
    }
    for (int i = 0; i < GUESTS; i++)
        pthread_join(guests[i].thread, NULL);
    pthread_join(resident.thread, NULL);
    pthread_join(metrics, NULL);
    guest_leave(&resident, true, false);
    hermes_stop(inn.h);
    assert_int_equal(hermes_metric(inn.h, "tls_handshakes_total"), GUESTS * VISITS + 1);
    assert_int_equal(hermes_metric(inn.h, "messages_published_total"), 2 * TOTAL);
    inn_close(&inn);
}

/* --- an end amid handshakes ------------------------------------------------------------------- */

/* Handshakes that are given up after any number of flights, until there is nobody to talk to. */
static void *knock(void *user)
{
    struct guest *g = user;
    struct random dice = {(uint64_t)g->number};
    for (int n = 0; guest_connect(g); n++) {
        int flights = (int)random_below(&dice, 4);
        int code = MBEDTLS_ERR_SSL_WANT_READ;
        for (int i = 0; i < flights && code == MBEDTLS_ERR_SSL_WANT_READ; i++) {
            code = mbedtls_ssl_handshake(&g->tls.ssl);
            if (i + 1 < flights && !again(g, code))
                break;
        }
        if (code == 0 && guest_upgrade(g))
            guest_subscribe(g, "t");
        guest_leave(g, false, random_below(&dice, 2) == 0);
        if (n == VISITS)
            sem_post(&g->inn->enough);
    }
    return NULL;
}

static void a_broker_ends_amid_handshakes(void **state)
{
    struct inn inn;
    struct guest guests[GUESTS] = {{0}};
    (void)state;
    inn_open(&inn);
    sem_init(&inn.enough, 0, 0);
    for (int i = 0; i < GUESTS; i++) {
        guests[i].inn = &inn;
        guests[i].number = i;
        pthread_create(&guests[i].thread, NULL, knock, &guests[i]);
    }
    for (int i = 0; i < GUESTS; i++) {
        sem_wait(&inn.enough);
        put(&inn, inn.pairs[1].pem, inn.pairs[1].key);
        assert_int_equal(hermes_reload(inn.h), HERMES_OK);
    }
    hermes_stop(inn.h);
    for (int i = 0; i < GUESTS; i++)
        pthread_join(guests[i].thread, NULL);
    sem_destroy(&inn.enough);
    inn_close(&inn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            clients_are_served_and_stay_whatever_certificate_comes, log_to_nowhere, log_to_stderr),
        cmocka_unit_test_setup_teardown(
            a_broker_ends_amid_handshakes, log_to_nowhere, log_to_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
