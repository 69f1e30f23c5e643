/* A route and the mailboxes of its workers, without the workers: the test takes their mail.
 *
 * Order: scene_open, scene_close; by then nobody may subscribe. Include cmocka.h before this. */
#ifndef HERMES_SUPPORT_ROUTE_HARNESS_H
#define HERMES_SUPPORT_ROUTE_HARNESS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/route.h"
#include "broker/sweep.h"

enum { SCENE_WORKERS = 70, SCENE_ROOM = 1 << 20 };

struct scene {
    uv_loop_t loop;
    struct route route;
    unsigned workers;
    struct mailbox boxes[SCENE_WORKERS];
    struct mailbox *pointers[SCENE_WORKERS];
    struct tray trays[SCENE_WORKERS];
};

static const struct route_rule RULE = {&rule_default, 0};

static inline void scene_rang(void *user)
{
    (void)user;
}

static inline struct scene *scene_open_with(unsigned workers, size_t history_bytes)
{
    struct scene *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    for (unsigned i = 0; i < workers; i++) {
        assert_int_equal(mailbox_open(&s->boxes[i], &s->loop, scene_rang, NULL), 0);
        s->pointers[i] = &s->boxes[i];
    }
    s->route.boxes = s->pointers;
    s->workers = workers;
    s->route.crowded = SCENE_ROOM;
    route_init(&s->route, workers, history_bytes);
    return s;
}

static inline struct scene *scene_open(unsigned workers)
{
    return scene_open_with(workers, 0);
}

/* Whatever mail is left must have been taken. */
static inline void scene_close(struct scene *s)
{
    for (unsigned i = 0; i < s->workers; i++)
        if (!uv_is_closing((uv_handle_t *)&s->boxes[i].bell.handle))
            mailbox_close(&s->boxes[i]);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    for (unsigned i = 0; i < s->workers; i++) {
        assert_false(mailbox_take(&s->boxes[i], &s->trays[i]));
        tray_fini(&s->trays[i]);
        mailbox_fini(&s->boxes[i]);
    }
    route_fini(&s->route);
    free(s);
}

static inline uint64_t hash_of(struct scene *s, struct text name)
{
    return registry_hash(&s->route.registry, name);
}

/* The topic as it is, looked at without its stripe; NULL when it is not there. */
static inline struct registry_topic *topic_of(struct scene *s, struct text name)
{
    uint64_t hash = hash_of(s, name);
    struct stripe *stripe = registry_stripe(&s->route.registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(&s->route.registry, stripe, hash, name);
    lock_give(&stripe->lock);
    return topic;
}

/* --- rules ------------------------------------------------------------------------------------ */

/* A rule by which `messages` are kept, of rules of that version. */
static inline struct rule rule_keeping(uint32_t messages)
{
    struct rule rule = rule_default;
    rule.history.messages = messages;
    return rule;
}

/* --- publishing ------------------------------------------------------------------------------- */

/* A message of `count` frames, whose data are the numbers from `first` on. */
static inline struct message *numbers(uint64_t first, uint32_t count)
{
    struct message *m = message_begin(24 * (size_t)count);
    assert_non_null(m);
    for (uint32_t i = 0; i < count; i++) {
        int len = snprintf(m->frames + m->len + 2, 22, "%llu", (unsigned long long)(first + i));
        m->frames[m->len] = (char)0x81;
        m->frames[m->len + 1] = (char)len;
        m->len += 2 + (uint32_t)len;
        m->count++;
    }
    return m;
}

static inline struct route_result publish_by(
    struct scene *s, struct route_rule rule, struct text name, uint64_t first, uint32_t count)
{
    return route_publish(&s->route, rule, hash_of(s, name), name, numbers(first, count));
}

/* --- subscribing ------------------------------------------------------------------------------ */

static inline struct route_joined subscribe_by(struct scene *s, struct route_rule rule,
    unsigned worker, struct text name, const struct route_past *past)
{
    struct route_joined joined = route_subscribe(
        &s->route, rule, worker, &s->trays[worker], hash_of(s, name), name, false, past);
    assert_non_null(joined.topic);
    assert_true(joined.epoch == joined.topic->epoch);
    return joined;
}

static inline struct pattern *subscribe_pattern(struct scene *s, unsigned worker, const char *text)
{
    struct text name = text_of(text);
    struct pattern *pattern =
        patterns_join(&s->route.patterns, hash_of(s, name), name, worker, false);
    assert_non_null(pattern);
    mailbox_take(&s->boxes[worker], &s->trays[worker]);
    return pattern;
}

/* --- mail ------------------------------------------------------------------------------------- */

/* The next message of the worker's tray, which it works off; NULL when there is none. The reference
 * becomes the caller's. */
static inline struct message *next_mail(struct scene *s, unsigned worker)
{
    struct tray *tray = &s->trays[worker];
    if (tray->at == tray->count)
        return NULL;
    struct mail *mail = &tray->mails[tray->at++];
    assert_int_equal(mail->kind, MAIL_MESSAGE);
    struct message *m = mail->item;
    size_t matches = m->matches ? m->matches->count * sizeof m->matches->patterns[0] : 0;
    assert_int_equal(mail->weight, message_weight(m) + sizeof *mail + matches); /* all are kept */
    mailbox_done(&s->boxes[worker], mail->weight);
    return m;
}

/* Takes and drops that worker's mail; returns how many mails there were, all of that topic and
 * in order. */
static inline unsigned drain(struct scene *s, unsigned worker, const struct registry_topic *topic)
{
    unsigned count = 0;
    uint64_t last = 0;
    struct message *m;
    mailbox_take(&s->boxes[worker], &s->trays[worker]);
    while ((m = next_mail(s, worker)) != NULL) {
        assert_ptr_equal(m->topic, topic);
        assert_true(m->offset > last);
        last = m->offset;
        message_drop(m);
        count++;
    }
    return count;
}

/* Drops all mail of all workers. */
static inline void drain_all(struct scene *s)
{
    struct message *m;
    for (unsigned i = 0; i < s->workers; i++) {
        mailbox_take(&s->boxes[i], &s->trays[i]);
        while ((m = next_mail(s, i)) != NULL)
            message_drop(m);
    }
}

/* --- views ------------------------------------------------------------------------------------ */

/* The view holds the messages `first` to `last`, whose data are their offsets plus `more`; it is
 * ended. */
static inline void assert_view(
    struct history_view *view, uint64_t first, uint64_t last, uint64_t more)
{
    uint64_t offset;
    struct text data;
    char expected[24];
    for (uint64_t n = first; n <= last; n++) {
        assert_true(history_view_next(view, &offset, &data));
        assert_true(offset == n);
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)(n + more));
        assert_true(text_equal(data, text_of(expected)));
    }
    assert_false(history_view_next(view, &offset, &data));
    history_view_fini(view);
}

static inline void assert_nothing(struct history_view *view)
{
    assert_view(view, 1, 0, 0);
}

#endif
