#include "net/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <mbedtls/net_sockets.h>

#include "base/die.h"
#include "net/conn.h"
#include "net/tls_state.h"

enum { READS_AT_LAST = 4, FIRST_OF_TLS = 0x16 };

/* --- the socket, as the library sees it ------------------------------------------------------- */

static ssize_t receive_some(int fd, void *bytes, size_t len, int flags)
{
    ssize_t got;
    do
        got = recv(fd, bytes, len, flags);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Nothing but what was received before: whoever calls the library does that. */
static int receive(void *of, unsigned char *bytes, size_t len)
{
    struct tls *t = of;
    struct tls_config *config = t->config;
    size_t part = len < config->raw_len ? len : config->raw_len;
    if (part == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(bytes, config->raw, part);
    config->raw += part;
    config->raw_len -= part;
    return (int)part;
}

static int transmit(void *of, const unsigned char *bytes, size_t len)
{
    struct tls *t = of;
    int more = t->goes_on ? MSG_MORE : 0;
    for (;;) {
        ssize_t sent = send(t->fd, bytes, len, MSG_NOSIGNAL | more);
        if (sent > 0) {
            t->sent += (uint32_t)sent;
            t->more = more != 0;
            return (int)sent;
        }
        if (sent == 0 || conn_write_failed(errno) == CONN_AGAIN)
            return MBEDTLS_ERR_SSL_WANT_WRITE;
        if (errno != EINTR)
            return MBEDTLS_ERR_NET_SEND_FAILED;
    }
}

/* No more comes for now. */
static void push(struct tls *t)
{
    int yes = 1;
    if (t->more)
        setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    t->more = false;
}

/* --- the handshake ---------------------------------------------------------------------------- */

const char *tls_failure_text(enum tls_failure failure)
{
    static const char *const texts[] = {
#define TLS_FAILURE(name, metric, text) text,
#include "net/tls_failures.def"
#undef TLS_FAILURE
    };
    return texts[failure];
}

static enum tls_failure failure_of(struct tls *t, int code)
{
    switch (code) {
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
    case MBEDTLS_ERR_NET_RECV_FAILED:
    case MBEDTLS_ERR_NET_SEND_FAILED:
        return TLS_FAULT_GONE;
#if TLS_LIBRARY_3
    case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
        return TLS_FAULT_VERSION;
    case MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL:
        return TLS_FAULT_ALPN;
    case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE:
        return TLS_FAULT_SUITE;
#else
    case MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION:
        return TLS_FAULT_VERSION;
    case MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN:
    case MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE:
        return TLS_FAULT_SUITE;
#endif
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
        return TLS_FAULT_RECORD;
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return TLS_FAULT_REFUSED;
    case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
        return TLS_FAULT_CLIENT_CERTIFICATE_MISSING;
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return mbedtls_ssl_get_verify_result(&t->ssl) &
                       (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)
                   ? TLS_FAULT_CLIENT_CERTIFICATE_EXPIRED
                   : TLS_FAULT_CLIENT_CERTIFICATE_UNTRUSTED;
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED:
    case MBEDTLS_ERR_PK_ALLOC_FAILED:
    case MBEDTLS_ERR_MPI_ALLOC_FAILED:
        return TLS_FAULT_NO_MEMORY;
    default:
        return TLS_FAULT_PROTOCOL;
    }
}

/* Where the library ends without an alert the client would see nothing but the end. */
static void last_word(struct tls *t, enum tls_failure failure)
{
    bool silent = failure == TLS_FAULT_CLIENT_CERTIFICATE_MISSING && !tls_newest(&t->ssl);
#if !TLS_LIBRARY_3
    silent = silent || failure == TLS_FAULT_SUITE;
#endif
    if (silent)
        mbedtls_ssl_send_alert_message(
            &t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
    /* What was not read would make a reset of the end, which may overtake the alert. */
    for (int i = 0; i < READS_AT_LAST; i++)
        if (receive_some(t->fd, t->config->small, sizeof t->config->small, MSG_TRUNC) <= 0)
            break;
    shutdown(t->fd, SHUT_WR);
}

static enum tls_step failed(struct tls_fault *fault, enum tls_failure failure, int code)
{
    *fault = (struct tls_fault){failure, code};
    return TLS_FAILED;
}

static struct tls *tls_new(int fd, struct tls_config *config)
{
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->fd = fd;
    t->greeting = true;
    t->config = config;
    tls_config_hold(config);
    mbedtls_ssl_init(&t->ssl);
    if (mbedtls_ssl_setup(&t->ssl, &config->ssl) != 0) {
        tls_close(t, false);
        return NULL;
    }
    mbedtls_ssl_set_bio(&t->ssl, t, transmit, receive, NULL);
    return t;
}

static bool expensive(const struct tls *t, int state)
{
    bool asked = t->config->client_ca.version != 0;
    switch (state) {
    case MBEDTLS_SSL_SERVER_KEY_EXCHANGE:
    case MBEDTLS_SSL_CLIENT_KEY_EXCHANGE:
        return true;
    case MBEDTLS_SSL_CLIENT_CERTIFICATE:
        return asked;
    case MBEDTLS_SSL_CERTIFICATE_VERIFY: /* the client's; in TLS 1.3 ours */
        return asked || tls_newest(&t->ssl);
#if TLS_LIBRARY_3
    case MBEDTLS_SSL_CLIENT_CERTIFICATE_VERIFY:
        return asked;
#endif
    case MBEDTLS_SSL_SERVER_HELLO: /* of TLS 1.3: agrees on the keys */
        return tls_newest(&t->ssl);
    default:
        return false;
    }
}

/* The library's steps, before the second expensive one. */
static int steps(struct tls *t)
{
    bool tired = false;
    int code;
    do {
        int state = t->ssl.TLS_PRIVATE(state);
        if (tired && expensive(t, state)) {
            code = 0;
            break;
        }
        tired = tired || expensive(t, state);
        t->goes_on = state != MBEDTLS_SSL_SERVER_HELLO_DONE && state != MBEDTLS_SSL_SERVER_FINISHED;
        code = mbedtls_ssl_handshake_step(&t->ssl);
    } while (code == 0 && !tls_over(&t->ssl));
    t->goes_on = false;
    return code;
}

enum tls_step tls_handshake(struct conn *c, struct tls_config *config, struct tls_fault *fault)
{
    struct tls_config *own = c->tls ? c->tls->config : config;
    /* Only looked at: what the library does not take, because this is no TLS or the handshake is
     * over, stays in the socket. */
    ssize_t got = receive_some(c->fd, own->small, sizeof own->small, MSG_PEEK);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
        return failed(fault, TLS_FAULT_GONE, 0);
    if (!c->tls) {
        if (got < 0)
            return TLS_WANT_READ;
        if (own->small[0] != FIRST_OF_TLS)
            return TLS_PLAIN;
        c->tls = tls_new(c->fd, config);
        if (!c->tls)
            return failed(fault, TLS_FAULT_NO_MEMORY, 0);
    }
    struct tls *t = c->tls;
    own->raw = own->small;
    own->raw_len = got > 0 ? (size_t)got : 0;
    int code = steps(t);
    size_t taken = (size_t)(own->raw - own->small);
    own->raw_len = 0;
    if (taken > 0)
        receive_some(c->fd, own->small, taken, MSG_TRUNC);
    push(t);
    if (code == MBEDTLS_ERR_SSL_WANT_READ)
        return TLS_WANT_READ;
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE)
        return TLS_WANT_WRITE;
    if (code != 0) {
        enum tls_failure failure = failure_of(t, code);
        last_word(t, failure);
        return failed(fault, failure, code);
    }
    if (!tls_over(&t->ssl))
        return TLS_AGAIN;
    t->greeting = false;
    tls_return(&t->config->lender, &t->places, &t->ssl);
    return TLS_DONE;
}

const char *tls_version(const struct conn *c)
{
    return mbedtls_ssl_get_version(&c->tls->ssl);
}

const char *tls_suite(const struct conn *c)
{
    return mbedtls_ssl_get_ciphersuite(&c->tls->ssl);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Told by every read from now on. */
static void ends(struct tls *t, enum tls_end end)
{
    t->end = (uint8_t)end;
}

/* Takes what still comes, so that the socket is not reset for it when it is closed. */
static ssize_t read_ended(struct tls *t, void *bytes, size_t len)
{
    receive_some(t->fd, bytes, len, 0);
    return t->end == TLS_ENDED ? 0 : CONN_BROKEN;
}

/* Decrypts what was received, to the front of the buffer that it lies at the end of. The library
 * takes a record whole before it gives its bytes, and no more come out than were half there
 * (CONN_READ_MORE at most) and were taken: none is written over one that was not taken yet. Returns
 * how many. */
static size_t decrypt(struct tls *t, uint8_t *bytes)
{
    struct tls_config *config = t->config;
    size_t total = 0;
    while (config->raw_len > 0 && t->end == TLS_GOES_ON) {
        size_t room = (size_t)(config->raw + config->raw_len - (bytes + total));
        int got = mbedtls_ssl_read(&t->ssl, bytes + total, room);
        if (got > 0) {
            total += (size_t)got;
            continue;
        }
        switch (got) {
        case MBEDTLS_ERR_SSL_WANT_READ:
#if TLS_LIBRARY_3
        case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
#endif
            break;
        case 0: /* a record with nothing in it: what ends says so in another way */
            break;
        case MBEDTLS_ERR_SSL_CONN_EOF:
        case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
            ends(t, TLS_ENDED);
            break;
        default:
            ends(t, TLS_BROKEN);
        }
    }
    return total;
}

ssize_t tls_read(struct tls *t, void *bytes, size_t len)
{
    struct tls_config *config = t->config;
    uint8_t *raw = (uint8_t *)bytes + CONN_READ_MORE;
    if (t->end != TLS_GOES_ON)
        return read_ended(t, bytes, len);
    ssize_t got = receive_some(t->fd, raw, len, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_AGAIN : CONN_BROKEN;
    if (got == 0) {
        t->end = TLS_ENDED;
        return 0;
    }
    if (!tls_lend(&config->lender, &t->places, &t->ssl, LEND_BOTH)) {
        ends(t, TLS_BROKEN);
        return CONN_BROKEN;
    }
    config->raw = raw;
    config->raw_len = (size_t)got;
    size_t total = decrypt(t, bytes);
    MUST_DEBUG(t->end != TLS_GOES_ON || mbedtls_ssl_get_bytes_avail(&t->ssl) == 0);
    tls_return(&config->lender, &t->places, &t->ssl);
    if (t->end == TLS_GOES_ON)
        return total > 0 ? (ssize_t)total : CONN_AGAIN;
    if (total > 0) {
        /* The socket is to stay readable: nothing may be behind the end, and nobody look again. */
        shutdown(t->fd, SHUT_RD);
        return (ssize_t)total;
    }
    return t->end == TLS_ENDED ? 0 : CONN_BROKEN;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Where in the pieces a write is. */
struct place {
    const struct iovec *pieces;
    int count;
    size_t at; /* in the first of them */
};

/* The next bytes for one record: as they lie, or (small pieces) gathered. */
static const uint8_t *next(struct tls_config *config, struct place *p, size_t most, size_t *len)
{
    while (p->count > 0 && p->at == p->pieces->iov_len) {
        p->pieces++;
        p->count--;
        p->at = 0;
    }
    *len = 0;
    if (p->count == 0)
        return NULL;
    size_t left = p->pieces->iov_len - p->at;
    if (left >= most || p->count == 1) {
        const uint8_t *from = (const uint8_t *)p->pieces->iov_base + p->at;
        *len = left < most ? left : most;
        p->at += *len;
        return from;
    }
    while (p->count > 0 && *len < most) {
        left = p->pieces->iov_len - p->at;
        size_t part = left < most - *len ? left : most - *len;
        if (part > 0)
            memcpy(config->small + *len, (const uint8_t *)p->pieces->iov_base + p->at, part);
        *len += part;
        p->at += part;
        if (p->at == p->pieces->iov_len) {
            p->pieces++;
            p->count--;
            p->at = 0;
        }
    }
    return config->small;
}

/* Bytes of records that are encrypted and wait for the socket: of ours, or of an alert that the
 * library had to send while it read. */
static bool owes(const struct tls *t)
{
    return t->ssl.TLS_PRIVATE(out_left) > 0;
}

/* Sends them. While there are any, a write does nothing else, whatever it is given, so they have to
 * be gone before anything is written; and when there are none, one would begin a record. */
static ssize_t pay(struct tls *t)
{
    if (!owes(t))
        return 0;
    int code = mbedtls_ssl_write(&t->ssl, t->config->small, 1);
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE)
        return CONN_AGAIN;
    return code < 0 ? CONN_BROKEN : 0;
}

/* As conn_write: a record that the socket takes but in part counts as written. */
static ssize_t write_records(struct tls *t, const struct iovec *pieces, int count)
{
    struct place place = {pieces, count, 0};
    int record = mbedtls_ssl_get_max_out_record_payload(&t->ssl);
    size_t most = record > 0 && record < TLS_RECORD ? (size_t)record : TLS_RECORD;
    size_t len;
    size_t total = 0;
    const uint8_t *from;
    while ((from = next(t->config, &place, most, &len)) != NULL) {
        t->goes_on = place.count > 1 || (place.count == 1 && place.at < place.pieces->iov_len);
        int code = mbedtls_ssl_write(&t->ssl, from, len);
        if (code == MBEDTLS_ERR_SSL_WANT_WRITE)
            return (ssize_t)(total + len);
        if (code < 0 || (size_t)code != len)
            return CONN_BROKEN;
        total += len;
    }
    return (ssize_t)total;
}

ssize_t tls_write(struct tls *t, const struct iovec *pieces, int count)
{
    struct tls_lender *lender = &t->config->lender;
    ssize_t state = pay(t);
    if (state != 0)
        return state;
    if (!tls_lend(lender, &t->places, &t->ssl, LEND_OUT))
        return CONN_BROKEN;
    ssize_t wrote = write_records(t, pieces, count);
    t->goes_on = false;
    push(t);
    tls_return(lender, &t->places, &t->ssl);
    return wrote;
}

/* Says that nothing more comes, behind what is owed; the end of the stream follows. */
static ssize_t say_end(struct tls *t)
{
    int code = mbedtls_ssl_close_notify(&t->ssl);
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE)
        return CONN_AGAIN;
    t->finished = true;
    shutdown(t->fd, SHUT_WR);
    return code == 0 ? 0 : CONN_BROKEN;
}

ssize_t tls_flush(struct tls *t)
{
    struct tls_lender *lender = &t->config->lender;
    ssize_t state = pay(t);
    if (state == 0 && t->finishing && !t->finished)
        state = tls_lend(lender, &t->places, &t->ssl, LEND_OUT) ? say_end(t) : CONN_BROKEN;
    if (state == 0)
        tls_return(lender, &t->places, &t->ssl);
    return state;
}

uint32_t tls_take_sent(struct tls *t)
{
    uint32_t sent = t->sent;
    t->sent = 0;
    return sent;
}

bool tls_pending(const struct tls *t)
{
    return owes(t) || (t->finishing && !t->finished);
}

void tls_finish(struct tls *t)
{
    t->finishing = true;
    if (tls_flush(t) == CONN_BROKEN && !t->finished) {
        t->finished = true;
        shutdown(t->fd, SHUT_WR);
    }
}

void tls_close(struct tls *t, bool polite)
{
    struct tls_lender *lender = &t->config->lender;
    if (polite && !t->greeting && !t->finishing && pay(t) == 0 &&
        tls_lend(lender, &t->places, &t->ssl, LEND_OUT))
        mbedtls_ssl_close_notify(&t->ssl);
    if (!t->greeting)
        tls_return(lender, &t->places, &t->ssl);
    mbedtls_ssl_free(&t->ssl);
    tls_config_drop(t->config);
    mbedtls_platform_zeroize(t, sizeof *t);
    free(t);
}
