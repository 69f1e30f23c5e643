#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "unit/client/world2.h"

/* ---- what the client tells, written down ---- */

static void on_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user)
{
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "%.*s %llu %.*s%s%.*s\n", (int)d->topic_len, d->topic,
        (unsigned long long)d->offset, (int)d->data_len, d->data, d->pattern ? " by " : "",
        (int)d->pattern_len, d->pattern ? d->pattern : "");
}

static void on_gap(struct hermes_client *c, const struct hermes_gap *g, void *user)
{
    struct world *w = user;
    (void)c;
    assert_true(g->topic && (g->topic_len == 0) == (g->pattern != NULL));
    if (g->pattern)
        buf_appendf(&w->log, "gap by %.*s\n", (int)g->pattern_len, g->pattern);
    else
        buf_appendf(&w->log, "gap %.*s %llu-%llu%s%.*s\n", (int)g->topic_len, g->topic,
            (unsigned long long)g->from, (unsigned long long)g->to, g->epoch ? " of " : "",
            (int)g->epoch_len, g->epoch ? g->epoch : "");
}

static void on_member(struct hermes_client *c, const struct hermes_member *m, void *user)
{
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "%s %.*s %.*s\n", m->joined ? "join" : "leave", (int)m->topic_len,
        m->topic, (int)m->client_len, m->client);
}

static void on_published(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    static const char *const outcomes[] = {"accepted", "refused", "unknown"};
    struct world *w = user;
    (void)c;
    buf_appendf(&w->log, "published %llu %s %llu %llu %.*s\n", (unsigned long long)p->token,
        outcomes[p->outcome], (unsigned long long)p->offset, (unsigned long long)p->subscribers,
        (int)p->code_len, p->code ? p->code : "");
}

static void note_some(struct buf *log, const char *name, const char *at, size_t len)
{
    if (at)
        buf_appendf(log, " %s=%.*s", name, (int)len, at);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *a, void *user)
{
    static const char *const names[] = {"info", "subscribed", "unsubscribed", "not subscribed",
        "topics", "error", "history", "presence", "published", "authenticated", "other"};
    struct world *w = user;
    struct hermes_message m;
    struct hermes_topic t;
    const char *client;
    size_t len;
    (void)c;
    if (a->kind == HERMES_ANSWER_INFO)
        return;
    buf_append_string(&w->log, names[a->kind]);
    note_some(&w->log, "topic", a->topic, a->topic_len);
    note_some(&w->log, "pattern", a->pattern, a->pattern_len);
    note_some(&w->log, "epoch", a->epoch, a->epoch_len);
    if (a->offset)
        buf_appendf(&w->log, " offset=%llu", (unsigned long long)a->offset);
    if (a->recovered)
        buf_append_string(
            &w->log, a->recovered == HERMES_RECOVERED_YES ? " recovered" : " not recovered");
    if (a->subscribers)
        buf_appendf(&w->log, " subscribers=%llu", (unsigned long long)a->subscribers);
    note_some(&w->log, "code", a->code, a->code_len);
    note_some(&w->log, "id", a->id, a->id_len);
    if (a->token)
        buf_appendf(&w->log, " token=%llu", (unsigned long long)a->token);
    while (a->kind == HERMES_ANSWER_HISTORY && hermes_answer_message(a, &m))
        buf_appendf(&w->log, " %llu:%.*s", (unsigned long long)m.offset, (int)m.data_len, m.data);
    while (a->kind == HERMES_ANSWER_PRESENCE && hermes_answer_client(a, &client, &len))
        buf_appendf(&w->log, " %.*s", (int)len, client);
    while (a->kind == HERMES_ANSWER_TOPICS && hermes_answer_topic(a, &t))
        buf_appendf(&w->log, " %.*s", (int)t.name_len, t.name);
    if (a->kind == HERMES_ANSWER_OTHER)
        note_some(&w->log, "text", a->text, a->text_len);
    buf_append_char(&w->log, '\n');
}

/* ---- a server with a play ---- */

static void serve(struct fake_conn *conn, const char *text, size_t len)
{
    struct world *w = conn->fake->user;
    struct play *p = w->more;
    buf_appendf(&w->seen, "%u ", conn->number);
    world_note(&w->seen, "", text, len);
    if (p->at == p->count)
        return;
    const struct act *act = &p->acts[p->at++];
    if (act->when && (len < strlen(act->when) || memcmp(text, act->when, strlen(act->when)) != 0))
        fail_msg("not what was due (%s): %.*s", act->when, (int)len, text);
    for (size_t i = 0; i < 8 && act->say[i]; i++) {
        if (strcmp(act->say[i], "-") == 0) {
            fake_drop(conn);
            return;
        }
        if (strcmp(act->say[i], ".") == 0)
            w->done = true;
        else
            fake_text(conn, act->say[i]);
    }
}

void world2_open(struct world *w, struct play *p)
{
    world_open(w);
    w->more = p;
    w->fake.text = serve;
    w->options.level = 2;
    w->events.on_delivery = on_delivery;
    w->events.on_gap = on_gap;
    w->events.on_member = on_member;
    w->events.on_published = on_published;
    w->events.on_answer = on_answer;
    w->events.on_open = NULL;
    w->events.on_close = NULL;
    world_client(w);
}

void world2_until_seen(struct world *w, const char *text)
{
    while (!w->seen.len || !memmem(w->seen.data, w->seen.len, text, strlen(text)))
        uv_run(&w->loop, UV_RUN_ONCE);
}

void world2_until_told(struct world *w, const char *text)
{
    while (!w->log.len || !memmem(w->log.data, w->log.len, text, strlen(text)))
        uv_run(&w->loop, UV_RUN_ONCE);
}

void world2_ok(int code)
{
    assert_int_equal(code, HERMES_CLIENT_OK);
}

void world2_until_open(struct world *w)
{
    world2_ok(hermes_client_open(w->client));
    while (!hermes_client_is_open(w->client))
        uv_run(&w->loop, UV_RUN_ONCE);
}

void world2_subscribe(struct world *w, const char *topic, const struct hermes_subscribe_options *o)
{
    world2_ok(hermes_client_subscribe_with(w->client, topic, strlen(topic), o));
}

void world2_publish(struct world *w, const char *topic, uint64_t token)
{
    world2_ok(hermes_client_publish_with(w->client, topic, strlen(topic), "1", 1,
        &(struct hermes_publish_options){.ack = true, .token = token}));
}
