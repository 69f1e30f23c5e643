#include "session/worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "auth/verifier.h"
#include "base/die.h"
#include "broker/backplane.h"
#include "session/bearer.h"
#include "session/catch_up.h"
#include "session/drain.h"
#include "session/inquiry.h"
#include "session/parked.h"
#include "session/secure.h"
#include "session/session.h"

enum { READERS_KEPT = 64, FRAGMENTS_MAX = 65536 };

/* --- the round of the loop -------------------------------------------------------------------- */

/* Publishers anywhere that wait for this mailbox may go on. */
static void let_waiters_go(struct worker *w)
{
    uint64_t waiters[MAILBOX_WAITERS_MAX / 64];
    if (mailbox_crowded(&w->box, w->shop->route.crowded / 2) || !mailbox_waiters(&w->box, waiters))
        return;
    for (unsigned i = 0; i < w->shop->count; i++)
        if (waiters[i / 64] & 1ULL << (i % 64))
            mailbox_post(w->shop->route.boxes[i], (struct mail){.kind = MAIL_RESUME});
}

static void keep_spinning(uv_idle_t *idle)
{
    (void)idle; /* being active is what it is for */
}

/* Ends the worker once nothing is left, when it drains. */
static void close_when_empty(struct worker *w)
{
    if (!w->draining || w->sessions.used > 0 || w->closing)
        return;
    w->closing = true;
    atomic_fetch_sub(&w->shop->at_work, 1);
    mailbox_close(&w->box);
    wheel_close(&w->wheel, NULL);
    wheel_close(&w->bearers, NULL);
    poller_close(&w->poller);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_close((uv_handle_t *)&w->unfinished, NULL);
    uv_close((uv_handle_t *)&w->drain_timer, NULL);
    uv_close((uv_handle_t *)&w->listing_timer, NULL);
    uv_close((uv_handle_t *)&w->catching_again, NULL);
    uv_close((uv_handle_t *)&w->sweeper, NULL);
    pulse_close(&w->pulse);
    uv_close((uv_handle_t *)&w->auditor, NULL);
}

/* Nobody who might still look at them is at work now. */
static void free_ended(struct worker *w)
{
    while (w->ended) {
        struct session *s = w->ended;
        w->ended = s->ended_before;
        slab_free(&w->sessions, s);
    }
    close_when_empty(w);
}

/* Not before the turn: what a session does by a rule is not to lose it midway. */
static void take_rules(struct worker *w)
{
    w->other_rules = false;
    rules_drop(w->rules);
    w->rules = rules_box_take(&w->shop->rules);
    worker_sweep(w);
    worker_take_keys(w);
    worker_take_tls(w);
}

static void worker_turn(uv_prepare_t *prepare)
{
    struct worker *w = prepare->data;
    pulse_turn(&w->pulse);
    if (w->other_rules)
        take_rules(w);
    mailbox_take(&w->box, &w->tray);
    bool finished = worker_deliver_slice(w);
    if (!list_empty(&w->resumable))
        finished &= !worker_resume_parked(w);
    if (!list_empty(&w->catching))
        finished &= !worker_catch_up(w);
    finished &= worker_inquire(w);
    if (w->telling)
        finished &= worker_drain_step(w);
    worker_flush(w, WORKER_FLUSH_SLICE);
    worker_relieve(w);
    finished &= worker_secure(w, WORKER_SECURE_NS);
    let_waiters_go(w);
    metric_set(&w->metrics, METRIC_mailbox_bytes,
        (int64_t)atomic_load_explicit(&w->box.weight, memory_order_relaxed));
    free_ended(w);
    /* Who hurries what was published has taken mail that nobody has looked at. */
    finished = finished && w->tray.at == w->tray.count;
    finished = finished && !w->strained && w->queue.count == 0 && mailbox_sleep(&w->box);
    if (w->closing || finished)
        uv_idle_stop(&w->unfinished);
    else
        uv_idle_start(&w->unfinished, keep_spinning);
}

static void mail_came(void *user)
{
    (void)user; /* the turn before the next poll does the work */
}

static void deadline_met(struct deadline *d, void *user)
{
    (void)user;
    session_deadline(LIST_ITEM(d, struct session, deadline));
}

/* --- start and stop --------------------------------------------------------------------------- */

void worker_open_ring(struct worker *w)
{
    if (w->shop->io_uring)
        w->ring = ring_new(&w->no_ring);
    else
        w->no_ring = "switched off";
}

/* What came after the last turn. */
static void drop_mail(struct worker *w)
{
    mailbox_take(&w->box, &w->tray);
    for (; w->tray.at < w->tray.count; w->tray.at++) {
        struct mail mail = w->tray.mails[w->tray.at];
        if (mail.kind == MAIL_MESSAGE)
            message_drop(mail.item);
        else if (mail.kind == MAIL_PRESENCE)
            presence_abandon(mail.item);
        else if (mail.kind == MAIL_INQUIRY)
            worker_inquiry_lose(w, mail.item);
        else if (mail.kind == MAIL_ERRAND)
            ((struct errand *)mail.item)->lost(mail.item);
        else if (mail.kind == MAIL_CONNECTION) {
            struct connection connection = connection_of(mail);
            close(connection.fd);
            address_drop(w->shop->addresses, connection.address);
            atomic_fetch_sub(&w->shop->connections, 1);
        }
    }
    tray_fini(&w->tray);
}

static void worker_main(void *user)
{
    struct worker *w = user;
    worker_open_ring(w);
    pulse_open(&w->pulse, &w->loop, w->shop->observed);
    if (pthread_getcpuclockid(pthread_self(), &w->cpu_clock) != 0)
        w->cpu_clock = CLOCK_REALTIME; /* never a thread's: nothing is known */
    uv_sem_post(&w->begun);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ring_free(w->ring);
    w->ring = NULL;
    /* Whoever asked something waits for it, and is waited for by the broker's end. */
    worker_inquiries_lose(w);
    drop_mail(w);
    w->shop->ended(w->shop->user);
}

int worker_init(struct worker *w, struct workshop *shop, unsigned index)
{
    struct ws_settings framing = {
        .max_message = shop->limits.message_bytes ? shop->limits.message_bytes : SIZE_MAX / 4,
        .max_fragments = FRAGMENTS_MAX,
        .server = true,
        .max_held = shop->limits.backlog_bytes,
        .spare = READERS_KEPT,
    };
    w->shop = shop;
    w->index = index;
    w->readers = ws_pool_new(&framing);
    if (!w->readers)
        return UV_ENOMEM;
    int code = UV_ENOMEM;
    if (!facts_init(&w->facts))
        goto no_facts;
    code = uv_loop_init(&w->loop);
    if (code != 0)
        goto no_loop;
    code = mailbox_open(&w->box, &w->loop, mail_came, w);
    if (code != 0)
        goto no_mailbox;
    code = poller_open(&w->poller, &w->loop, session_ready);
    if (code != 0)
        goto no_poller;
    wheel_open(&w->wheel, &w->loop, deadline_met, w);
    wheel_open(&w->bearers, &w->loop, bearer_due, w);
    uv_prepare_init(&w->loop, &w->turn);
    uv_idle_init(&w->loop, &w->unfinished);
    uv_timer_init(&w->loop, &w->drain_timer);
    uv_timer_init(&w->loop, &w->listing_timer);
    uv_timer_init(&w->loop, &w->catching_again);
    w->turn.data = w;
    w->drain_timer.data = w;
    w->listing_timer.data = w;
    w->catching_again.data = w;
    uv_timer_init(&w->loop, &w->sweeper);
    w->sweeper.data = w;
    uv_timer_init(&w->loop, &w->auditor);
    w->auditor.data = w;
    uv_prepare_start(&w->turn, worker_turn);
    slab_init(&w->sessions, sizeof(struct session));
    local_init(&w->topics);
    log_init(&w->log, shop->limits.backlog_bytes);
    list_init(&w->waiting);
    list_init(&w->inquiries);
    list_init(&w->catching);
    list_init(&w->resumable);
    list_init(&w->securing);
    list_init(&w->insecure);
    w->other_rules = true;
    w->pulse.fd = -1;
    w->pulse.stamp_ms = UINT64_MAX;
    shop->route.boxes[index] = &w->box;
    atomic_fetch_add(&shop->at_work, 1);
    return 0;

no_poller:
    mailbox_close(&w->box);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    mailbox_fini(&w->box);
no_mailbox:
    uv_loop_close(&w->loop);
no_loop:
    facts_fini(&w->facts);
no_facts:
    ws_pool_free(w->readers);
    return code;
}

int worker_start(struct worker *w)
{
    int code = uv_sem_init(&w->begun, 0);
    if (code != 0)
        return code;
    code = uv_thread_create(&w->thread, worker_main, w);
    if (code == 0)
        uv_sem_wait(&w->begun);
    uv_sem_destroy(&w->begun);
    return code;
}

void worker_join(struct worker *w)
{
    uv_thread_join(&w->thread);
}

void worker_fini(struct worker *w)
{
    if (!w->closing) { /* never ran */
        w->draining = true;
        close_when_empty(w);
        uv_run(&w->loop, UV_RUN_DEFAULT);
    }
    drop_mail(w);
    mailbox_fini(&w->box);
    MUST(uv_loop_close(&w->loop) == 0);
    outbox_spares_free(&w->log);
    log_fini(&w->log);
    local_fini(&w->topics);
    slab_fini(&w->sessions);
    facts_fini(&w->facts);
    ws_pool_free(w->readers);
    ring_free(w->ring);
    buf_fini(&w->gathered.topic);
    buf_fini(&w->gathered.acks);
    buf_fini(&w->acks);
    buf_fini(&w->scratch);
    buf_fini(&w->untouched);
    buf_fini(&w->enveloped);
    buf_fini(&w->events);
    envelope_fini(&w->envelope);
    marks_fini(&w->marks);
    rules_drop(w->rules);
    verifier_free(w->verifier);
    auth_keys_drop(w->keys);
    tls_config_drop(w->tls);
    free(w->paused);
    free(w->queue.sessions);
}
