/* One connection of ours through TLS, and its peer, for the tests of net/tls.
 *
 * Order: scenery_open makes the certificates; for each connection scene_open, scene_close; then
 * scenery_close. Includes of cmocka come before. */
#ifndef HERMES_UNIT_NET_TLS_SCENE_H
#define HERMES_UNIT_NET_TLS_SCENE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/tls.h"
#include "net/tls_config.h"
#include "support/certificates.h"
#include "support/tls_peer.h"

struct scenery {
    struct certificates files;
    struct signer ca;
    struct signer stranger;
    struct certificate server;
    char server_path[CERTIFICATES_PATH];
    char key_path[CERTIFICATES_PATH];
    char ca_path[CERTIFICATES_PATH];
    struct tls_paths paths;  /* without client certificates */
    struct tls_paths asking; /* with */
};

struct scene {
    struct conn conn; /* first: see ready */
    uv_loop_t loop;
    struct poller poller;
    struct tls_peer peer;
    int fd;
    int events;
    struct tls_fault fault;
    unsigned agains;
};

static inline void scenery_open(struct scenery *all)
{
    struct certificate_wish wish = {.name = "CN=localhost", .dns = "localhost", .ip = "127.0.0.1"};
    memset(all, 0, sizeof *all);
    certificates_open(&all->files);
    signer_make(&all->ca, "CN=Test authority", NULL);
    signer_make(&all->stranger, "CN=Nobody known", NULL);
    certificate_make(&all->server, &all->ca, &wish);
    certificates_write(&all->files, all->server_path, "server.pem", all->server.pem, NULL);
    certificates_write(&all->files, all->key_path, "server.key", all->server.key, NULL);
    certificates_write(&all->files, all->ca_path, "ca.pem", all->ca.pem, NULL);
    all->paths = (struct tls_paths){all->server_path, all->key_path, NULL};
    all->asking = (struct tls_paths){all->server_path, all->key_path, all->ca_path};
}

static inline void scenery_close(struct scenery *all)
{
    signer_free(&all->ca);
    signer_free(&all->stranger);
    certificates_close(&all->files);
}

static inline struct tls_config *config_load(const struct tls_paths *paths)
{
    struct tls_config *config = NULL;
    struct tls_report report;
    if (!tls_config_load(paths, &config, 1, &report))
        fail_msg("%s", report.error);
    assert_string_equal(report.warning, "");
    return config;
}

static inline void scene_ready(struct conn *c, int events)
{
    ((struct scene *)(void *)c)->events = events;
}

/* Two ends of a real connection. */
static inline void scene_sockets(int fds[2], int send_bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int yes = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Both sides' buffers are chosen before they connect. */
    if (send_bytes)
        setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (send_bytes)
        setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &send_bytes, sizeof send_bytes);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&at, sizeof at), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[0] >= 0);
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    close(listener);
}

/* Connected; the peer's configuration may be changed before scene_meet. `send_bytes`: the sizes of
 * the sockets' buffers; 0: as the system has them. */
static inline void scene_open(struct scene *s, const char *ca, int send_bytes)
{
    int fds[2];
    memset(s, 0, sizeof *s);
    scene_sockets(fds, send_bytes);
    s->fd = fds[1];
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(poller_open(&s->poller, &s->loop, scene_ready), 0);
    assert_true(conn_open(&s->conn, &s->poller, fds[0]));
    tls_peer_open(&s->peer, fds[1], ca);
}

/* How many of them are ready; -1 where none is for long. */
static inline int scene_poll(struct pollfd *fds, nfds_t n)
{
    int count;
    do
        count = poll(fds, n, 60000);
    while (count < 0 && errno == EINTR);
    return count > 0 ? count : -1;
}

/* Waits for one of the two. */
static inline void scene_wait(struct scene *s)
{
    struct pollfd both[] = {{.fd = s->conn.fd, .events = POLLIN}, {.fd = s->fd, .events = POLLIN}};
    assert_true(scene_poll(both, 2) > 0);
}

static inline void scene_wait_for(int fd, int events)
{
    struct pollfd p = {.fd = fd, .events = (short)events};
    assert_int_equal(scene_poll(&p, 1), 1);
}

/* Both go through the handshake. What it came to on our side; `*theirs`: the library's code. */
static inline enum tls_step scene_shake(struct scene *s, struct tls_config *config, int *theirs)
{
    enum tls_step step = TLS_WANT_READ;
    bool ours = false;
    *theirs = MBEDTLS_ERR_SSL_WANT_READ;
    for (;;) {
        bool waits = true;
        if (*theirs == MBEDTLS_ERR_SSL_WANT_READ || *theirs == MBEDTLS_ERR_SSL_WANT_WRITE)
            *theirs = mbedtls_ssl_handshake(&s->peer.ssl);
        if (!ours) {
            step = tls_handshake(&s->conn, config, &s->fault);
            s->agains += step == TLS_AGAIN;
            waits = step != TLS_AGAIN;
            ours = step == TLS_DONE || step == TLS_FAILED || step == TLS_PLAIN;
        }
        bool done = *theirs != MBEDTLS_ERR_SSL_WANT_READ && *theirs != MBEDTLS_ERR_SSL_WANT_WRITE;
        if (ours && (done || step != TLS_DONE))
            return step;
        if (waits && !s->peer.most)
            scene_wait(s);
    }
}

/* Connected and through the handshake, with a peer like any other. */
static inline void scene_meet(struct scene *s, struct tls_config *config)
{
    int theirs;
    tls_peer_start(&s->peer, "localhost");
    enum tls_step step = scene_shake(s, config, &theirs);
    if (step == TLS_FAILED)
        fail_msg("%s -0x%04x", tls_failure_text(s->fault.failure), (unsigned)-s->fault.code);
    assert_int_equal(step, TLS_DONE);
    assert_int_equal(theirs, 0);
}

static inline void scene_close(struct scene *s)
{
    tls_peer_close(&s->peer);
    if (s->conn.fd >= 0)
        conn_close(&s->conn, &s->poller, false);
    poller_close(&s->poller);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    if (s->fd >= 0)
        close(s->fd);
}

static inline ssize_t scene_write(struct scene *s, const void *bytes, size_t len)
{
    union {
        const void *in;
        void *out;
    } at = {bytes};
    struct iovec piece = {at.out, len};
    return conn_write(&s->conn, &piece, 1);
}

/* All of it, whatever it takes. */
static inline void peer_write(struct scene *s, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0) {
        int wrote = mbedtls_ssl_write(&s->peer.ssl, at, len);
        if (wrote == MBEDTLS_ERR_SSL_WANT_WRITE) {
            scene_wait_for(s->fd, POLLOUT);
            continue;
        }
        assert_true(wrote > 0);
        at += wrote;
        len -= (size_t)wrote;
    }
}

/* Exactly so many. */
static inline void peer_read(struct scene *s, void *bytes, size_t len)
{
    char *at = bytes;
    while (len > 0) {
        int got = tls_peer_read(&s->peer, at, len);
        if (got == MBEDTLS_ERR_SSL_WANT_READ) {
            scene_wait_for(s->fd, POLLIN);
            continue;
        }
        assert_true(got > 0);
        at += got;
        len -= (size_t)got;
    }
}

static inline ssize_t scene_read(struct scene *s, void *bytes, size_t len)
{
    scene_wait_for(s->conn.fd, POLLIN);
    return conn_read(&s->conn, bytes, len);
}

#endif
