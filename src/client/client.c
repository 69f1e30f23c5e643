#include "client/client.h"
#include "client/trust.h"

#include <stdlib.h>
#include <string.h>

#include "hermes/protocol.h"
#include "proto/ws_out.h"

enum {
    CONNECT_MS = 10000,
    PING_MS = 25000,
    PONG_MS = 10000,
    CLOSE_MS = 5000,
    RETRY_MS = 500,
    RETRY_MAX_MS = 30000,
    MAX_QUEUED = 16 << 20,
};

static bool name_valid(const char *token)
{
    if (!*token)
        return false;
    for (; *token; token++)
        if (*token <= ' ' || *token > '~' || strchr("\"(),/:;<=>?@[\\]{}", *token))
            return false;
    return true;
}

static int options_check(const struct hermes_client_options *o)
{
    struct hermes_url url;
    struct sockaddr_storage address;
    if (!o->url || !hermes_url_parse(&url, o->url))
        return HERMES_CLIENT_BAD_URL;
    if (strncmp(url.scheme, "ws", 2) != 0)
        return HERMES_CLIENT_BAD_URL;
    if (o->source && uv_ip4_addr(o->source, 0, (struct sockaddr_in *)&address) != 0 &&
        uv_ip6_addr(o->source, 0, (struct sockaddr_in6 *)&address) != 0)
        return HERMES_CLIENT_BAD_OPTION;
    if (!o->events || o->level > 2 || (o->tls_key && !o->tls_certificate) ||
        (o->subprotocol && (o->level == 2 || !name_valid(o->subprotocol))) ||
        (o->token && !token_valid(o->token, strlen(o->token))))
        return HERMES_CLIENT_BAD_OPTION;
    return HERMES_CLIENT_OK;
}

static char *copy_string(char **at, const char *string)
{
    if (!string)
        return NULL;
    size_t size = strlen(string) + 1;
    char *copy = memcpy(*at, string, size);
    *at += size;
    return copy;
}

static size_t string_size(const char *string)
{
    return string ? strlen(string) + 1 : 0;
}

static bool settings_copy(struct client_settings *s, const struct hermes_client_options *o)
{
    const char *subprotocol = o->level == 2 ? HERMES_PROTOCOL_V2 : o->subprotocol;
    char *at = malloc(string_size(o->url) + string_size(o->source) + string_size(subprotocol));
    if (!at)
        return false;
    s->url = copy_string(&at, o->url);
    s->source = copy_string(&at, o->source);
    s->subprotocol = copy_string(&at, subprotocol);
    s->max_queued = o->max_queued_bytes ? o->max_queued_bytes : MAX_QUEUED;
    s->connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
    s->ping_ms = o->ping_ms ? o->ping_ms : PING_MS;
    s->pong_ms = o->pong_ms ? o->pong_ms : PONG_MS;
    s->close_ms = o->close_ms ? o->close_ms : CLOSE_MS;
    s->retry_ms = o->retry_ms ? o->retry_ms : RETRY_MS;
    s->retry_max_ms = o->retry_max_ms ? o->retry_max_ms : RETRY_MAX_MS;
    return true;
}

static bool url_secure(const char *text)
{
    struct hermes_url url;
    return hermes_url_parse(&url, text) && strcmp(url.scheme, "wss") == 0;
}

int hermes_client_new(struct hermes_client **out, struct hermes_client_group *group,
    const struct hermes_client_options *options)
{
    *out = NULL;
    int code = options_check(options);
    if (code != HERMES_CLIENT_OK)
        return code;
    struct hermes_client *c = calloc(1, sizeof *c);
    if (c && url_secure(options->url)) {
        c->trust =
            trust_find(group, &(struct tls_client_paths){options->tls_ca, options->tls_certificate,
                                  options->tls_key, options->tls_insecure});
        if (!c->trust) {
            free(c);
            return HERMES_CLIENT_BAD_TLS;
        }
    }
    if (!c || (options->token && !token_keep(c, options->token, strlen(options->token))) ||
        !settings_copy(&c->settings, options)) {
        if (c) {
            token_forget(c);
            trust_drop(group, c->trust);
        }
        free(c);
        return HERMES_CLIENT_NO_MEMORY;
    }
    c->group = group;
    c->events = options->events;
    c->user = options->user;
    c->state = CLIENT_IDLE;
    c->level = options->level == 2 ? 2 : 1;
    list_init(&c->due);
    deadline_init(&c->deadline);
    group->clients++;
    *out = c;
    return HERMES_CLIENT_OK;
}

static void release(struct hermes_client *c)
{
    struct hermes_client_group *group = c->group;
    dial_free(c->dial);
    buf_fini(&c->out);
    answers_clear(&c->answers);
    pending_fini(&c->pending);
    wanted_fini(&c->wanted);
    free(c->peer_reason);
    token_forget(c);
    secure_free(c->secure);
    trust_drop(group, c->trust);
    free(c->settings.url);
    free(c);
    group_leave(group);
}

void hermes_client_free(struct hermes_client *c)
{
    if (!c || c->freed)
        return;
    c->freed = true;
    c->state = CLIENT_IDLE;
    list_remove(&c->due);
    client_set_deadline(c, HERMES_CLIENT_NEVER);
    /* What is being fed ends by itself: its callback says so. */
    if (!c->busy)
        ws_release(c->group->frames, &c->reader);
    if (c->handle)
        client_close_handle(c);
    else if (!c->busy)
        release(c);
}

void client_enter(struct hermes_client *c)
{
    c->busy++;
}

void client_leave(struct hermes_client *c)
{
    if (--c->busy > 0 || !c->freed)
        return;
    ws_release(c->group->frames, &c->reader);
    if (!c->handle)
        release(c);
}

static void handle_closed(uv_handle_t *handle)
{
    struct hermes_client *c = handle->data;
    c->handle = false;
    if (c->freed && !c->busy)
        release(c);
    else if (!c->freed && c->state == CLIENT_DIALLING)
        dial_go(c);
}

void client_close_handle(struct hermes_client *c)
{
    secure_free(c->secure);
    c->secure = NULL;
    if (c->handle && !uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, handle_closed);
}

void client_set_deadline(struct hermes_client *c, uint32_t ms)
{
    if (ms == HERMES_CLIENT_NEVER)
        wheel_unset(&c->group->wheel, &c->deadline);
    else
        wheel_set(&c->group->wheel, &c->deadline, ms);
}

void client_turn(struct hermes_client *c)
{
    client_enter(c);
    if (c->state == CLIENT_DIALLING && !c->handle)
        dial_go(c);
    else if (client_connected(c))
        connection_flush(c);
    else if (c->state == CLIENT_ENDING)
        connection_end(c, c->ending, false);
    client_leave(c);
}

/* Dialling: an address took too long. Open: see connection_deadline. Waiting: the next attempt. */
void client_deadline(struct hermes_client *c)
{
    client_enter(c);
    if (c->state == CLIENT_DIALLING) {
        dial_failed(c, UV_ETIMEDOUT);
    } else if (client_connected(c)) {
        connection_deadline(c);
    } else if (c->state == CLIENT_WAITING) {
        c->dial = dial_new(c);
        c->state = CLIENT_DIALLING;
        if (!c->dial)
            connection_end(c, "out of memory", true);
        else if (!c->handle)
            dial_go(c);
    }
    client_leave(c);
}

int hermes_client_open(struct hermes_client *c)
{
    if (c->state != CLIENT_IDLE || c->freed)
        return HERMES_CLIENT_BUSY;
    c->dial = dial_new(c);
    if (!c->dial)
        return HERMES_CLIENT_NO_MEMORY;
    c->state = CLIENT_DIALLING;
    c->stay = true;
    c->attempts = 0;
    group_due(c->group, &c->due);
    return HERMES_CLIENT_OK;
}

static void end_soon(struct hermes_client *c, const char *reason)
{
    c->state = CLIENT_ENDING;
    c->ending = reason;
    client_set_deadline(c, HERMES_CLIENT_NEVER);
    group_due(c->group, &c->due);
}

void hermes_client_close(struct hermes_client *c, int code, const char *reason)
{
    c->stay = false;
    if (c->state == CLIENT_DIALLING || c->state == CLIENT_WAITING) {
        end_soon(c, "closed before it was connected");
        return;
    }
    if (c->state != CLIENT_OPEN)
        return;
    uint8_t body[125];
    size_t len = ws_close_body(body, code, reason ? reason : "");
    if (!send_frame(c, WS_CLOSE, body, len)) {
        end_soon(c, "out of memory");
        return;
    }
    c->state = CLIENT_CLOSING;
    c->close_code = (uint16_t)code;
    c->left = hermes_client_queued_bytes(c);
    client_set_deadline(c, c->settings.close_ms);
}

bool hermes_client_is_open(const struct hermes_client *c)
{
    return c->state == CLIENT_OPEN;
}

void hermes_client_pause(struct hermes_client *c)
{
    c->paused = true;
    if (client_connected(c))
        uv_read_stop((uv_stream_t *)&c->tcp);
}

void hermes_client_resume(struct hermes_client *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    if (client_connected(c))
        (void)connection_read(c);
}

const char *hermes_client_error(int result)
{
    switch ((enum hermes_client_result)result) {
    case HERMES_CLIENT_OK:
        return "no error";
    case HERMES_CLIENT_BAD_URL:
        return "the URL is not of the form ws://host[:port][/path] or wss://...";
    case HERMES_CLIENT_BAD_TLS:
        return "a certificate or key cannot be used";
    case HERMES_CLIENT_BAD_OPTION:
        return "an option has a value that may not be";
    case HERMES_CLIENT_BAD_TOPIC:
        return "a topic is UTF-8, not empty, and without control characters";
    case HERMES_CLIENT_NOT_JSON:
        return "the data is not valid JSON";
    case HERMES_CLIENT_NOT_UTF8:
        return "the text is not UTF-8";
    case HERMES_CLIENT_FULL:
        return "the queue is full";
    case HERMES_CLIENT_TOO_LARGE:
        return "the message is larger than the queue";
    case HERMES_CLIENT_NOT_OPEN:
        return "there is no open connection";
    case HERMES_CLIENT_BUSY:
        return "the client is in use";
    case HERMES_CLIENT_NO_MEMORY:
        return "out of memory";
    case HERMES_CLIENT_SYSTEM:
        return "the operating system refused";
    case HERMES_CLIENT_NOT_LEVEL:
        return "that works only at level 2";
    }
    return "unknown error";
}
