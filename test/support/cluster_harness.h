/* A broker's cluster thread without a thread: the test turns its loop, and takes the mail of its
 * workers, which are mailboxes and no more, and the errands that come back.
 *
 * Order: site_open, site_close; by then nobody may subscribe (site_leave). Include cmocka.h before
 *   this. */
#ifndef HERMES_SUPPORT_CLUSTER_HARNESS_H
#define HERMES_SUPPORT_CLUSTER_HARNESS_H

#include <fcntl.h>
#include <inttypes.h>

#include "base/clock.h"
#include "broker/relay.h"
#include "cluster/cluster.h"
#include "cluster/followed.h"
#include "support/route_harness.h"

enum { SITE_WORKERS = 3, SITE_PATIENCE_MS = 60000, SITE_URLS = 200 };

/* An errand of a test's. */
struct sent {
    struct errand errand;
    struct site *site;
    unsigned back; /* how often it has come */
    unsigned nth;  /* of all that have come back */
};

struct site {
    struct logger logger;
    int null;
    struct workshop shop;
    uv_loop_t loop; /* of the bells of its workers */
    struct mailbox boxes[SITE_WORKERS];
    struct mailbox *pointers[SITE_WORKERS];
    struct tray trays[SITE_WORKERS];
    struct mailbox home;
    struct tray home_tray;
    struct cluster cluster;
    char urls[SITE_URLS];
    unsigned backs;
    unsigned missed[SITE_WORKERS];     /* MAIL_MISSED */
    struct buf journals[SITE_WORKERS]; /* what each worker was given, see site_note */
    unsigned heard_when[SITE_WORKERS]; /* `backs`, when it was given the newest message */
    bool paused;                       /* the workers take no mail */
    void (*heard)(struct site *s, unsigned worker, const struct message *m);
    void *user;
};

/* Turns it until that is so. */
#define SITE_UNTIL(site, condition)                                                                \
    do {                                                                                           \
        uint64_t end_ = clock_ms() + SITE_PATIENCE_MS;                                             \
        while (!(condition) && clock_ms() < end_)                                                  \
            site_turn(site, UV_RUN_ONCE);                                                          \
        assert_true(condition);                                                                    \
    } while (0)

/* --- what workers are given ------------------------------------------------------------------- */

/* The number behind that name in a notice. */
static inline uint64_t site_number(const struct message *m, const char *name)
{
    const char *at = memmem(m->frames, m->len, name, strlen(name));
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Each message's data and a blank; "[from-to] " of a gap, and "{from-to} " where offsets begin
 * anew, an exclamation mark behind it if something was lost for certain; "<data> " of an event. */
static inline void site_note(struct site *s, unsigned worker, const struct message *m)
{
    struct buf *journal = &s->journals[worker];
    const char *at = m->frames;
    struct text data;
    char note[80];
    for (uint32_t i = 0; i < m->count; i++) {
        at = message_frame(at, &data);
        buf_append_text(journal, data);
        buf_append_text(journal, TEXT(" "));
    }
    if (m->count == 0 && m->event == EVENT_GAP) {
        bool anew = memmem(m->frames, m->len, "\"epoch\":", 8) != NULL;
        snprintf(note, sizeof note, "%c%" PRIu64 "-%" PRIu64 "%c%s ", anew ? '{' : '[',
            site_number(m, "\"from\":"), site_number(m, "\"to\":"), anew ? '}' : ']',
            m->lost ? "!" : "");
        buf_append_text(journal, text_of(note));
    } else if (m->count == 0) {
        message_frame(at, &data);
        buf_append_text(journal, TEXT("<"));
        buf_append_text(journal, data);
        buf_append_text(journal, TEXT("> "));
    }
}

/* Forgets the journal up to here, which is that. */
static inline void site_heard(struct site *s, unsigned worker, const char *expected)
{
    struct buf *journal = &s->journals[worker];
    struct text text = buf_text(journal);
    if (!text_equal(text, text_of(expected)))
        fail_msg(
            "worker %u was given '%.*s' and not '%s'", worker, (int)text.len, text.at, expected);
    journal->len = 0;
}

/* Works off what is in the tray. */
static inline void site_deliver(struct site *s, unsigned worker)
{
    struct tray *tray = &s->trays[worker];
    while (tray->at < tray->count) {
        struct mail mail = tray->mails[tray->at++];
        if (mail.kind == MAIL_MESSAGE) {
            s->heard_when[worker] = s->backs;
            s->heard(s, worker, mail.item);
            message_drop(mail.item);
        }
        s->missed[worker] += mail.kind == MAIL_MISSED;
        mailbox_done(&s->boxes[worker], mail.weight);
    }
}

static inline void site_take_mail(struct site *s)
{
    for (unsigned i = 0; i < s->shop.count && !s->paused; i++) {
        mailbox_take(&s->boxes[i], &s->trays[i]);
        site_deliver(s, i);
    }
    mailbox_take(&s->home, &s->home_tray);
    while (s->home_tray.at < s->home_tray.count) {
        struct mail mail = s->home_tray.mails[s->home_tray.at++];
        assert_int_equal(mail.kind, MAIL_ERRAND);
        mailbox_done(&s->home, mail.weight);
        errand_finish(mail.item);
    }
}

static inline void site_turn(struct site *s, uv_run_mode mode)
{
    uv_run(&s->cluster.loop, mode);
    site_take_mail(s);
}

/* What it has to do is done, and its links have written it; nothing is waited for. */
static inline void site_turns(struct site *s, unsigned turns)
{
    while (turns-- > 0)
        site_turn(s, UV_RUN_NOWAIT);
}

/* --- errands ---------------------------------------------------------------------------------- */

static inline void sent_back(struct errand *e)
{
    struct sent *w = LIST_ITEM(e, struct sent, errand);
    w->back++;
    w->nth = ++w->site->backs;
}

static inline void sent_lost(struct errand *e)
{
    (void)e;
    fail_msg("the mailbox is there");
}

static inline void site_send(struct site *s, struct sent *w, struct errand e, const char *name)
{
    *w = (struct sent){.errand = e, .site = s};
    w->errand.home = &s->home;
    w->errand.done = sent_back;
    w->errand.lost = sent_lost;
    w->errand.name = text_of(name);
    w->errand.hash = registry_hash(&s->shop.route.registry, w->errand.name);
    w->errand.weight = 100;
    backplane_send(&s->shop.route, &w->errand);
}

static inline void site_wait(struct site *s, struct sent *w, enum errand_outcome outcome)
{
    SITE_UNTIL(s, w->back > 0);
    assert_int_equal(w->back, 1);
    assert_int_equal(w->errand.outcome, outcome);
}

static inline struct route_rule site_rule(struct site *s, const char *name)
{
    return cluster_rule(&s->cluster, text_of(name));
}

/* `count` messages, whose data are the numbers from `first` on. */
static inline void site_publish(
    struct site *s, struct sent *w, const char *name, uint64_t first, uint32_t count)
{
    site_send(s, w,
        (struct errand){.kind = ERRAND_PUBLISH,
            .message = numbers(first, count),
            .limits = site_rule(s, name).rule->history},
        name);
}

static inline void site_follow(struct site *s, const char *name)
{
    struct sent w;
    site_send(s, &w, (struct errand){.kind = ERRAND_FOLLOW}, name);
    site_wait(s, &w, ERRAND_DONE);
}

/* The topic as its cluster thread has it, or NULL. */
static inline struct followed *site_followed(struct site *s, const char *name)
{
    struct text text = text_of(name);
    return followed_find(&s->cluster, registry_hash(&s->shop.route.registry, text), text);
}

static inline bool site_is(struct site *s, const char *name, enum follow_state state)
{
    struct followed *f = site_followed(s, name);
    return f && f->state == state;
}

/* --- subscribing ------------------------------------------------------------------------------ */

/* The first step of a subscribe; `topic` is NULL where it has to be followed first. */
static inline struct route_joined site_try_join(struct site *s, unsigned worker, const char *name)
{
    struct text text = text_of(name);
    struct route_joined joined = route_subscribe(&s->shop.route, site_rule(s, name), worker,
        &s->trays[worker], registry_hash(&s->shop.route.registry, text), text, false, NULL);
    site_deliver(s, worker);
    return joined;
}

/* Follows it and subscribes. */
static inline struct registry_topic *site_join(struct site *s, unsigned worker, const char *name)
{
    struct route_joined joined = site_try_join(s, worker, name);
    if (joined.absent) {
        site_follow(s, name);
        joined = site_try_join(s, worker, name);
    }
    assert_non_null(joined.topic);
    return joined.topic;
}

static inline void site_leave(struct site *s, unsigned worker, struct registry_topic *topic)
{
    route_unsubscribe(&s->shop.route, worker, topic, true, false);
    if (!s->paused)
        site_take_mail(s);
}

static inline struct pattern *site_match(struct site *s, unsigned worker, const char *pattern)
{
    struct text text = text_of(pattern);
    uint64_t hash = registry_hash(&s->shop.route.registry, text);
    struct pattern *p = patterns_join(&s->shop.route.patterns, hash, text, worker, false);
    assert_non_null(p);
    mailbox_take(&s->boxes[worker], &s->trays[worker]);
    site_deliver(s, worker);
    return p;
}

/* The same behind an errand. */
static inline struct pattern *site_join_pattern(
    struct site *s, unsigned worker, const char *pattern)
{
    struct sent w;
    site_send(s, &w, (struct errand){.kind = ERRAND_PATTERN}, pattern);
    site_wait(s, &w, ERRAND_DONE);
    return site_match(s, worker, pattern);
}

static inline void site_leave_pattern(struct site *s, unsigned worker, struct pattern *p)
{
    patterns_leave(&s->shop.route.patterns, p, worker, true, false);
    site_take_mail(s);
}

/* --- start and end ---------------------------------------------------------------------------- */

static inline void site_rang(void *user)
{
    (void)user;
}

static inline void site_ended(void *user)
{
    (void)user;
}

/* The patterns are copied. */
static inline void site_use_rules(struct site *s, const struct rule *list, size_t count)
{
    struct rule *copy = malloc((count + 1) * sizeof *copy);
    assert_non_null(copy);
    for (size_t i = 0; i < count; i++) {
        char *match = malloc(list[i].match.len);
        assert_non_null(match);
        memcpy(match, list[i].match.at, list[i].match.len);
        copy[i] = list[i];
        copy[i].match.at = match;
    }
    struct rules *rules = rules_new(copy, count);
    assert_non_null(rules);
    rules_box_put(&s->shop.rules, rules);
}

/* What all tests have: "kept:..." keeps 1000 messages, "few:..." three, others nothing. */
static inline void site_usual_rules(struct site *s)
{
    struct rule rules[2] = {rule_keeping(1000), rule_keeping(3)};
    rules[0].match = TEXT("kept:>");
    rules[1].match = TEXT("few:>");
    site_use_rules(s, rules, 2);
}

/* A broker without its cluster thread. */
static inline struct site *site_new(void)
{
    struct site *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    s->null = open(getenv("SITE_LOG") ? "/dev/stderr" : "/dev/null", O_WRONLY | O_CLOEXEC);
    logger_init(&s->logger, s->null, LOG_DEBUG, false);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    for (unsigned i = 0; i < SITE_WORKERS; i++) {
        assert_int_equal(mailbox_open(&s->boxes[i], &s->loop, site_rang, NULL), 0);
        s->pointers[i] = &s->boxes[i];
    }
    assert_int_equal(mailbox_open(&s->home, &s->loop, site_rang, NULL), 0);
    s->shop.route.boxes = s->pointers;
    s->shop.route.crowded = 4 << 20;
    s->shop.count = SITE_WORKERS;
    s->shop.logger = &s->logger;
    s->shop.limits.message_bytes = 1 << 20;
    route_init(&s->shop.route, SITE_WORKERS, 0);
    rules_box_init(&s->shop.rules);
    site_usual_rules(s);
    s->heard = site_note;
    return s;
}

static inline void site_begin(struct site *s, const char *urls)
{
    char error[200] = "";
    struct cluster_settings settings = {
        .urls = s->urls, .ca = "", .shop = &s->shop, .logger = &s->logger, .ended = site_ended};
    snprintf(s->urls, sizeof s->urls, "%s", urls);
    if (cluster_open(&s->cluster, &settings, error, sizeof error) != 0)
        fail_msg("%s", error);
}

static inline bool site_is_up(const struct site *s)
{
    return s->cluster.up == s->cluster.shard_count;
}

/* At that port of this machine, and up. */
static inline struct site *site_open(unsigned port)
{
    struct site *s = site_new();
    char urls[SITE_URLS];
    snprintf(urls, sizeof urls, "redis://127.0.0.1:%u", port);
    site_begin(s, urls);
    SITE_UNTIL(s, site_is_up(s));
    return s;
}

/* The cluster thread ends: what is under way comes back. */
static inline void site_stop(struct site *s)
{
    cluster_stop(&s->cluster);
    uv_run(&s->cluster.loop, UV_RUN_DEFAULT);
    assert_true(s->cluster.closing);
    assert_int_equal(s->cluster.under_way, 0);
    assert_int_equal(s->cluster.held, 0);
    cluster_fini(&s->cluster);
    s->paused = false;
    site_take_mail(s);
}

/* What is left of a broker whose cluster thread has ended. */
static inline void site_free(struct site *s)
{
    for (unsigned i = 0; i < SITE_WORKERS; i++) {
        mailbox_close(&s->boxes[i]);
        tray_fini(&s->trays[i]);
        buf_fini(&s->journals[i]);
    }
    mailbox_close(&s->home);
    tray_fini(&s->home_tray);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    for (unsigned i = 0; i < SITE_WORKERS; i++) {
        assert_int_equal(atomic_load(&s->boxes[i].weight), 0);
        mailbox_fini(&s->boxes[i]);
    }
    mailbox_fini(&s->home);
    route_fini(&s->shop.route);
    rules_box_fini(&s->shop.rules);
    logger_fini(&s->logger);
    close(s->null);
    free(s);
}

static inline void site_close(struct site *s)
{
    site_stop(s);
    site_free(s);
}

#endif
