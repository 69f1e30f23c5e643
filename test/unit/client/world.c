#include "unit/client/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/die.h"

void world_note(struct buf *log, const char *what, const char *text, size_t len)
{
    buf_append_string(log, what);
    buf_append(log, text, len);
    buf_append_char(log, '\n');
}

static void on_open(struct hermes_client *c, void *user)
{
    struct world *w = user;
    (void)c;
    world_note(&w->log, "open", "", 0);
}

static void on_data(struct hermes_client *c, const char *data, size_t len, void *user)
{
    struct world *w = user;
    (void)c;
    world_note(&w->log, "data ", data, len);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    static const char *const names[] = {
        "info ", "subscribed ", "unsubscribed ", "not subscribed ", "topics ", "error "};
    struct world *w = user;
    (void)c;
    if (answer->topic)
        world_note(&w->log, names[answer->kind], answer->topic, answer->topic_len);
    else
        world_note(&w->log, names[answer->kind], answer->message, answer->message_len);
}

static void on_confirm(struct hermes_client *c, uint64_t token, void *user)
{
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "confirm %llu\n", (unsigned long long)token);
}

static void note_close(struct world *w, const struct hermes_close *why)
{
    buf_appendf(&w->log, "close %d %s%s%s%s%.*s\n", why->code, why->opened ? "opened " : "",
        why->clean ? "clean " : "", why->left_out ? "left out " : "",
        why->will_retry ? "retry " : "", (int)why->reason_len, why->reason ? why->reason : "");
    w->last = *why;
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    (void)c;
    note_close(user, why);
}

void world_done_open(struct hermes_client *c, void *user)
{
    on_open(c, user);
    ((struct world *)user)->done = true;
}

void world_done_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    on_close(c, why, user);
    ((struct world *)user)->done = true;
}

void world_done_final(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    on_close(c, why, user);
    ((struct world *)user)->done |= !why->will_retry;
}

static void text_seen(struct fake_conn *conn, const char *text, size_t len)
{
    struct world *w = conn->fake->user;
    buf_appendf(&w->seen, "%u ", conn->number);
    world_note(&w->seen, "", text, len);
}

static void out_of_patience(uv_timer_t *timer)
{
    struct world *w = timer->data;
    die("waited in vain; log:\n%.*sseen:\n%.*s", (int)w->log.len, w->log.data, (int)w->seen.len,
        w->seen.data);
}

static bool with_tls;

void world_tls(bool on)
{
    with_tls = on;
}

void world_open(struct world *w)
{
    *w = (struct world){0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->patience);
    w->patience.data = w;
    uv_timer_start(&w->patience, out_of_patience, 60000, 0);
    fake_open(&w->fake, &w->loop, "127.0.0.1");
    w->fake.user = w;
    w->fake.text = text_seen;
    w->group = hermes_client_group_new(&w->loop, NULL);
    assert_non_null(w->group);
    w->events = (struct hermes_client_events){.on_open = on_open,
        .on_data = on_data,
        .on_answer = on_answer,
        .on_confirm = on_confirm,
        .on_close = on_close};
    w->options = (struct hermes_client_options){
        .url = w->fake.url, .events = &w->events, .user = w, .retry_ms = 1, .retry_max_ms = 1};
    if (!with_tls)
        return;
    fake_secure(&w->fake, fake_tls_new(FAKE_GOOD, false));
    w->options.tls_ca = fake_tls_ca();
}

void world_client(struct world *w)
{
    assert_int_equal(hermes_client_new(&w->client, w->group, &w->options), HERMES_CLIENT_OK);
}

void world_run(struct world *w)
{
    while (!w->done)
        uv_run(&w->loop, UV_RUN_ONCE);
    w->done = false;
}

void world_close(struct world *w)
{
    hermes_client_free(w->client);
    hermes_client_group_free(w->group);
    uv_close((uv_handle_t *)&w->patience, NULL);
    fake_close(&w->fake);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buf_fini(&w->log);
    buf_fini(&w->seen);
}

static void is(struct buf *b, const char *lines)
{
    buf_append_char(b, 0);
    assert_string_equal(b->data, lines);
    b->len--;
}

void world_log_is(struct world *w, const char *lines)
{
    is(&w->log, lines);
}

void world_seen_is(struct world *w, const char *lines)
{
    is(&w->seen, lines);
}

void world_subscribe(struct world *w, const char *topic)
{
    assert_int_equal(hermes_client_subscribe(w->client, topic, strlen(topic)), HERMES_CLIENT_OK);
}

void world_unsubscribe(struct world *w, const char *topic)
{
    assert_int_equal(hermes_client_unsubscribe(w->client, topic, strlen(topic)), HERMES_CLIENT_OK);
}

int world_publish(struct world *w, const char *topic, const char *data)
{
    return hermes_client_publish(w->client, topic, strlen(topic), data, strlen(data));
}

void world_open_client(struct world *w)
{
    assert_int_equal(hermes_client_open(w->client), HERMES_CLIENT_OK);
}

/* Answers every command as a server would, and says "done" at a publish to the topic "done". */
/* The topic, when the text is that command; NULL else. */
static const char *command_topic(const char *text, size_t len, const char *type, char topic[64])
{
    char start[64];
    size_t start_len = (size_t)snprintf(start, sizeof start, "{\"type\":\"%s\",\"topic\":\"", type);
    if (len < start_len + 2 || memcmp(text, start, start_len) != 0)
        return NULL;
    snprintf(topic, 64, "%.*s", (int)(len - start_len - 2), text + start_len);
    return topic;
}

void world_serve(struct fake_conn *conn, const char *text, size_t len)
{
    struct world *w = conn->fake->user;
    static const char done[] = "{\"topic\":\"done\",";
    char topic[64];
    char answer[256];
    buf_appendf(&w->seen, "%u ", conn->number);
    world_note(&w->seen, "", text, len);
    if (command_topic(text, len, "subscribe", topic)) {
        snprintf(answer, sizeof answer,
            "{\"type\":\"ack_subscribe\",\"topic\":\"%s\",\"message\":\"Successfully subscribed to "
            "%s\"}",
            topic, topic);
        fake_text(conn, answer);
    } else if (command_topic(text, len, "unsubscribe", topic)) {
        snprintf(answer, sizeof answer, "{\"type\":\"error\",\"message\":\"Not subscribed to %s\"}",
            topic);
        fake_text(conn, answer);
    } else if (len > sizeof done && memcmp(text, done, sizeof done - 1) == 0) {
        w->done = true;
    } else {
        fake_frame(conn, WS_TEXT, text, len);
    }
}
