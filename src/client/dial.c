#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/client.h"
#include "client/response.h"
#include "hermes/protocol.h"
#include "proto/handshake.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* What a TLS server answers to a plain request. */
enum { FIRST_OF_ALERT = 0x15, FIRST_LINE_MOST = 150 };

/* A lookup cannot be called off once it runs, so it outlives the attempt it was for. */
struct lookup {
    uv_getaddrinfo_t request;
    struct hermes_client *client; /* NULL: nobody waits for it any more */
};

struct dial {
    struct hermes_url url;
    struct lookup *lookup;   /* while it runs */
    struct addrinfo *found;  /* to be freed */
    struct addrinfo literal; /* for a host that is an address */
    struct addrinfo *next;   /* address to try */
    struct sockaddr_storage literal_address;
    struct sockaddr_storage source;
    bool resolved;
    int error;         /* the last, of libuv's */
    char problem[160]; /* with TLS; empty: it was something else */
    char accept[29];
    struct buf in; /* the server's half of the handshake, as far as it has come */
};

static bool address_read(struct sockaddr_storage *out, const char *host, uint16_t port)
{
    return uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)out) == 0;
}

struct dial *dial_new(const struct hermes_client *c)
{
    struct dial *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    /* Both have been read once, by hermes_client_new. */
    (void)hermes_url_parse(&d->url, c->settings.url);
    if (c->settings.source)
        (void)address_read(&d->source, c->settings.source, 0);
    return d;
}

void dial_free(struct dial *d)
{
    if (!d)
        return;
    if (d->lookup) {
        d->lookup->client = NULL;
        uv_cancel((uv_req_t *)&d->lookup->request);
    }
    uv_freeaddrinfo(d->found);
    buf_fini(&d->in);
    free(d);
}

/* No address is left to try, or none was found. */
static void give_up(struct hermes_client *c)
{
    const struct dial *d = c->dial;
    char why[500];
    snprintf(why, sizeof why, d->resolved ? "cannot connect to %s port %u: %s" : "%s port %u: %s",
        d->url.host, d->url.port, *d->problem ? d->problem : uv_strerror(d->error));
    connection_end(c, why, true);
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = (struct lookup *)request;
    struct hermes_client *c = lookup->client;
    free(lookup);
    if (c)
        c->dial->lookup = NULL;
    if (!c || c->freed || c->state != CLIENT_DIALLING) {
        uv_freeaddrinfo(found);
        return;
    }
    client_enter(c);
    struct dial *d = c->dial;
    d->found = d->next = found;
    d->error = status;
    d->resolved = status == 0;
    if (status != 0)
        give_up(c);
    else
        dial_go(c);
    client_leave(c);
}

static void resolve(struct hermes_client *c)
{
    struct dial *d = c->dial;
    if (address_read(&d->literal_address, d->url.host, d->url.port)) {
        d->literal.ai_family = d->literal_address.ss_family;
        d->literal.ai_addr = (struct sockaddr *)&d->literal_address;
        d->next = &d->literal;
        d->resolved = true;
        return;
    }
    char port[6];
    snprintf(port, sizeof port, "%u", d->url.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct lookup *lookup = calloc(1, sizeof *lookup);
    d->error = lookup ? uv_getaddrinfo(
                            c->group->loop, &lookup->request, looked_up, d->url.host, port, &hints)
                      : UV_ENOMEM;
    if (d->error != 0) {
        free(lookup);
        give_up(c);
        return;
    }
    lookup->client = c;
    d->lookup = lookup;
    client_set_deadline(c, c->settings.connect_ms);
}

/* A new socket takes a few hundred bytes at once. */
static int write_all(struct hermes_client *c, const struct buf *out)
{
    uv_buf_t bytes = uv_buf_init(out->data, (unsigned)out->len);
    int written = uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1);
    return written < 0 ? written : (size_t)written < out->len ? UV_ENOBUFS : 0;
}

/* What lets it in before those who are new, where there is a crowd. */
static const char *coming_back(const struct hermes_client *c, const char *target)
{
    if (!c->known || c->level != 2)
        return "";
    return strchr(target, '?') ? "&resume=1" : "?resume=1";
}

/* The opening handshake, RFC 6455 section 4.1. */
int dial_request(struct hermes_client *c)
{
    struct dial *d = c->dial;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t random[17] = {0};
    char key[25];
    group_random(c->group, random, 16);
    for (size_t i = 0; i < 22; i++) {
        size_t bit = i * 6;
        unsigned pair = (unsigned)random[bit / 8] << 8 | random[bit / 8 + 1];
        key[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    /* 16 bytes are 21 digits and two bits more. */
    memcpy(key + 22, "==", 3);
    handshake_accept_value(d->accept, (struct text){key, 24});

    struct buf *out = &c->group->text;
    buf_clear(out);
    buf_appendf(out, "GET %s%s%s HTTP/1.1\r\n", *d->url.target == '/' ? "" : "/", d->url.target,
        coming_back(c, d->url.target));
    buf_appendf(out, d->url.ipv6 ? "Host: [%s]" : "Host: %s", d->url.host);
    if (d->url.port != (c->trust ? 443 : 80))
        buf_appendf(out, ":%u", d->url.port);
    buf_appendf(out,
        "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
        "Sec-WebSocket-Version: 13\r\n",
        key);
    if (c->settings.subprotocol)
        buf_appendf(out, "Sec-WebSocket-Protocol: %s\r\n", c->settings.subprotocol);
    if (c->token)
        buf_appendf(out, "Authorization: Bearer %s\r\n", c->token);
    buf_append_string(out, "\r\n");
    if (out->failed)
        return UV_ENOMEM;
    int code = c->secure ? secure_write(c, out) : write_all(c, out);
    c->fresh = false;
    if (c->token)
        explicit_bzero(out->data, out->len);
    return code;
}

static void connected(uv_connect_t *request, int status)
{
    struct hermes_client *c = request->handle->data;
    free(request);
    if (status == UV_ECANCELED || c->freed || c->state != CLIENT_DIALLING ||
        uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    client_enter(c);
    if (status == 0)
        status = c->trust ? secure_start(c, c->dial->url.host) : dial_request(c);
    if (status == 0)
        status = connection_read(c);
    if (status != 0)
        dial_failed(c, status);
    client_leave(c);
}

static int connect_to(struct hermes_client *c, const struct addrinfo *to)
{
    struct dial *d = c->dial;
    int fd;
    int yes = 1;
    int code = uv_tcp_init_ex(c->group->loop, &c->tcp, (unsigned)to->ai_family);
    if (code != 0)
        return code;
    c->handle = true;
    c->tcp.data = c;
    uv_tcp_nodelay(&c->tcp, 1);
    if (c->settings.source) {
        /* The port is chosen with the connection, so that one source can have as many as there are
         * ports to each destination. */
        if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
            (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        code = uv_tcp_bind(&c->tcp, (struct sockaddr *)&d->source, 0);
    }
    if (code != 0)
        return code;
    uv_connect_t *request = malloc(sizeof *request);
    if (!request)
        return UV_ENOMEM;
    code = uv_tcp_connect(request, &c->tcp, to->ai_addr, connected);
    if (code != 0)
        free(request);
    return code;
}

void dial_go(struct hermes_client *c)
{
    struct dial *d = c->dial;
    /* The handle's end and the turn both come here, for who is opened again as soon as it ended. */
    if (d->lookup)
        return;
    if (!d->resolved)
        resolve(c);
    if (c->dial != d || !d->resolved)
        return;
    while (d->next) {
        const struct addrinfo *to = d->next;
        d->next = to->ai_next;
        buf_clear(&d->in);
        *d->problem = 0;
        c->tls = HERMES_TLS_FINE;
        int code = c->settings.source && d->source.ss_family != to->ai_family ? UV_EAFNOSUPPORT
                                                                              : connect_to(c, to);
        if (code == 0) {
            client_set_deadline(c, c->settings.connect_ms);
            return;
        }
        d->error = code;
        if (c->handle) {
            client_close_handle(c);
            return;
        }
    }
    give_up(c);
}

void dial_failed(struct hermes_client *c, int error)
{
    c->dial->error = error;
    client_set_deadline(c, HERMES_CLIENT_NEVER);
    if (!c->dial->resolved)
        give_up(c);
    else
        client_close_handle(c);
}

/* Who shows a certificate that is no good, or wants another of ours, will do so again. */
static bool tls_may_change(int problem)
{
    return problem == HERMES_TLS_DATES || problem == HERMES_TLS_PLAIN ||
           problem == HERMES_TLS_OTHER;
}

void dial_distrusted(struct hermes_client *c, const char *problem)
{
    if (c->tls != HERMES_TLS_CLOSED) {
        connection_end(c, problem, tls_may_change(c->tls));
        return;
    }
    snprintf(c->dial->problem, sizeof c->dial->problem, "%s", problem);
    dial_failed(c, UV_ECONNRESET);
}

/* What the server says to this request it will say again, unless it is about the moment. */
static bool may_change(int status)
{
    return status >= 500 || status == 408 || status == 425 || status == 429;
}

/* Of a body, as far as it came with its head: when it is a sentence, and no markup. */
static struct text first_line(struct text body)
{
    size_t len = 0;
    while (len < body.len && body.at[len] >= ' ' && body.at[len] <= '~')
        len++;
    bool line = len > 0 && len <= FIRST_LINE_MOST && (len == body.len || body.at[len] == '\n');
    bool sentence = line && ((body.at[0] >= 'A' && body.at[0] <= 'Z') ||
                                (body.at[0] >= 'a' && body.at[0] <= 'z'));
    return (struct text){body.at, sentence ? len : 0};
}

void dial_bytes(struct hermes_client *c, const char *bytes, size_t len)
{
    struct dial *d = c->dial;
    struct response r;
    struct text line;
    char why[300];
    buf_append(&d->in, bytes, len);
    if (d->in.failed) {
        dial_failed(c, UV_ENOMEM);
        return;
    }
    if (!c->trust && *d->in.data == FIRST_OF_ALERT) {
        connection_end(c, "the server speaks TLS there: wss://", true);
        return;
    }
    switch (response_read(&r, d->in.data, d->in.len, d->accept, c->settings.subprotocol)) {
    case RESPONSE_MORE:
        return;
    case RESPONSE_REFUSED:
        line = first_line((struct text){d->in.data + r.used, d->in.len - r.used});
        snprintf(why, sizeof why, "the server answered %d %.*s%s%.*s", r.status,
            (int)(r.phrase.len < 100 ? r.phrase.len : 100), r.phrase.at, line.len ? ": " : "",
            (int)line.len, line.at);
        connection_end(c, why, may_change(r.status));
        return;
    case RESPONSE_BAD:
        snprintf(why, sizeof why, "not a WebSocket server: %s", r.fault);
        connection_end(c, why, true);
        return;
    case RESPONSE_OPEN:
        break;
    }
    if (c->level == 2 && !r.selected) {
        connection_end(
            c, "the server does not speak level 2 (subprotocol " HERMES_PROTOCOL_V2 ")", false);
        return;
    }
    struct buf in = d->in;
    d->in = (struct buf){0};
    connection_open(c, in.data + r.used, in.len - r.used);
    buf_fini(&in);
}
