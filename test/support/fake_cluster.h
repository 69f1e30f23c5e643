/* A cluster thread that is none: the test takes the errands that come to it and answers them by
 * hand, as another broker or Redis would have it.
 *
 * Order: behind rig_open, and fake_close before rig_close. Include worker_harness.h before this. */
#ifndef HERMES_SUPPORT_FAKE_CLUSTER_H
#define HERMES_SUPPORT_FAKE_CLUSTER_H

#include "base/clock.h"
#include "broker/backplane.h"
#include "broker/relay.h"

enum { FAKE_EPOCH = 0xabc, FAKE_CROWDED = 4096 };
#define FAKE_EPOCH_TEXT "0000000000000abc"

struct fake {
    struct rig *rig;
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
};

static inline void fake_rang(void *user)
{
    (void)user;
}

static inline void fake_open(struct fake *f, struct rig *r)
{
    *f = (struct fake){.rig = r};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(mailbox_open(&f->box, &f->loop, fake_rang, f), 0);
    r->shop.route.backplane = &f->box;
}

/* Gives it back; the worker has it when it turns. */
static inline void fake_return(struct fake *f, struct errand *e, enum errand_outcome outcome)
{
    if (e->kind == ERRAND_PUBLISH || e->kind == ERRAND_EVENT)
        message_drop(e->message);
    if (e->kind == ERRAND_PATTERN && e->offset == 0)
        e->offset = clock_ms();
    e->outcome = outcome;
    mailbox_done(&f->box, e->weight);
    backplane_return(e, false);
}

/* The next errand but joins and leaves, which are answered at once; or NULL. */
static inline struct errand *fake_try(struct fake *f)
{
    mailbox_take(&f->box, &f->tray);
    while (f->tray.at < f->tray.count) {
        struct mail mail = f->tray.mails[f->tray.at++];
        struct errand *e = mail.item;
        assert_int_equal(mail.kind, MAIL_ERRAND);
        if (e->kind != ERRAND_EVENT)
            return e;
        fake_return(f, e, ERRAND_DONE);
    }
    return NULL;
}

/* That is of that kind. */
static inline struct errand *fake_take(struct fake *f, enum errand_kind kind, const char *name)
{
    rig_turn(f->rig);
    struct errand *e = fake_try(f);
    assert_non_null(e);
    assert_int_equal(e->kind, kind);
    assert_true(text_equal(e->name, text_of(name)));
    return e;
}

static inline void fake_expect_nothing(struct fake *f)
{
    rig_settle(f->rig);
    assert_null(fake_try(f));
}

/* The topic is live from now on; its newest message has that offset. */
static inline void fake_follow(struct fake *f, struct errand *e, uint64_t offset)
{
    assert_int_equal(e->kind, ERRAND_FOLLOW);
    e->epoch = FAKE_EPOCH;
    e->offset = offset;
    assert_true(route_follow(&f->rig->shop.route, (struct route_rule){&rule_default, 0}, e->hash,
        e->name, FAKE_EPOCH, offset));
    fake_return(f, e, ERRAND_DONE);
}

/* Relays text messages as if they had just been numbered, the first one by that. */
static inline enum relay_result fake_relay(
    struct fake *f, const char *topic, uint64_t offset, const char *data)
{
    struct route *route = &f->rig->shop.route;
    struct text name = text_of(topic);
    uint8_t head[WS_HEAD_MAX];
    size_t len = strlen(data), head_len = ws_head(head, WS_TEXT, len);
    struct message *m = message_new(head_len + len);
    assert_non_null(m);
    memcpy(m->frames, head, head_len);
    memcpy(m->frames + head_len, data, len);
    m->offset = offset;
    enum relay_result result = route_relay(
        route, rig_rule(f->rig, topic), registry_hash(&route->registry, name), name, FAKE_EPOCH, m)
                                   .result;
    message_drop(m);
    return result;
}

/* Numbers a publish, up to `offset`, and gives it back. */
static inline void fake_number(
    struct fake *f, struct errand *e, uint64_t offset, uint32_t subscribers)
{
    struct message *m = e->message;
    assert_int_equal(e->kind, ERRAND_PUBLISH);
    m->offset = offset - m->count + 1;
    e->epoch = FAKE_EPOCH;
    e->offset = offset;
    e->subscribers = subscribers;
    route_relay(&f->rig->shop.route, (struct route_rule){&rule_default, 0}, e->hash, e->name,
        FAKE_EPOCH, m);
    fake_return(f, e, ERRAND_DONE);
}

/* Answers a fetch: messages `first` to `last`, which are their offsets, of `size` bytes each, are
 * kept of a topic that is at `offset`. */
static inline void fake_find(
    struct fake *f, struct errand *e, uint64_t first, uint64_t last, uint64_t offset, size_t size)
{
    assert_int_equal(e->kind, ERRAND_FETCH);
    e->epoch = FAKE_EPOCH;
    e->offset = offset;
    e->oldest = first;
    uint64_t from = e->from > first ? e->from : first;
    if (e->from == 0 && last - first >= e->most)
        from = last + 1 - e->most;
    e->first = from;
    for (uint64_t n = from; n <= last && e->count < e->most && e->found.len < e->bytes; n++) {
        uint8_t head[WS_HEAD_MAX];
        char data[64];
        size_t len = (size_t)snprintf(data, sizeof data, "%d", (int)n);
        size_t room = len > size ? len : size;
        buf_append(&e->found, head, ws_head(head, WS_TEXT, room));
        buf_append(&e->found, data, len);
        for (; len < room; len++)
            buf_append_char(&e->found, ' ');
        e->count++;
    }
    fake_return(f, e, ERRAND_DONE);
}

/* Unfollows whatever it made live, and gives back what has come. */
static inline void fake_close(struct fake *f)
{
    struct errand *e;
    while ((e = fake_try(f)) != NULL)
        fake_return(f, e, ERRAND_UNAVAILABLE);
    mailbox_close(&f->box);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    mailbox_fini(&f->box);
    tray_fini(&f->tray);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    rig_settle(f->rig);
}

#endif
