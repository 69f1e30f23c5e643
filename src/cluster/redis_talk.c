#include <string.h>

#include "base/die.h"
#include "cluster/redis_link_state.h"

/* LEFT_MOST: answers; CLOSE_MS: between two writes that follow one another. */
enum { LEFT_MOST = 256, LATE_MS = 2, CLOSE_MS = 1 };

/* ---- commands ---- */

void redis_begin(struct redis_link *l, unsigned arguments)
{
    l->arguments = arguments;
    resp_out_begin(&l->out, arguments);
}

void redis_arg(struct redis_link *l, struct text argument)
{
    resp_out_arg(&l->out, argument);
}

void redis_arg_number(struct redis_link *l, uint64_t number)
{
    resp_out_number(&l->out, number);
}

void redis_arg_begin(struct redis_link *l, size_t len)
{
    resp_out_arg_begin(&l->out, len);
}

void redis_arg_piece(struct redis_link *l, struct text piece)
{
    resp_out_piece(&l->out, piece);
}

static void turn(uv_idle_t *handle)
{
    struct redis_link *l = handle->data;
    uv_idle_stop(handle);
    redis_link_flush(l);
}

/* An idle handle runs before the next poll; if only the poll of this turn is still to come, that
 * does not wait, as a prepare handle that is started among others' would let it. */
static void write_soon(struct redis_link *l)
{
    if (!uv_is_active((uv_handle_t *)&l->turn))
        uv_idle_start(&l->turn, turn);
}

bool redis_talk_send(struct redis_link *l, redis_answer answered, void *user)
{
    if (!resp_out_end(&l->out))
        return false;
    if (!redis_waiting_add(&l->waiting, answered, user)) {
        resp_out_undo(&l->out);
        return false;
    }
    if (l->waiting.count == 1)
        l->ticks = 0;
    l->hurried = ++l->given;
    write_soon(l);
    return true;
}

static size_t unsent(const struct redis_link *l)
{
    return resp_out_text(&l->out).len + (l->wire ? redis_wire_held(l->wire) : 0);
}

static size_t awaited(const struct redis_link *l)
{
    return l->waiting.count + l->unconfirmed;
}

bool redis_link_full(const struct redis_link *l)
{
    return unsent(l) >= l->set.most_unsent / 2 || awaited(l) >= l->set.most_waiting / 2;
}

bool redis_send(struct redis_link *l, redis_answer answered, void *user)
{
    MUST_DEBUG(l->set.subscribes == !answered);
    if (l->state != LINK_UP) {
        (void)resp_out_end(&l->out);
        resp_out_undo(&l->out);
        return false;
    }
    if (l->set.subscribes) {
        if (!resp_out_end(&l->out)) { /* nobody would be told that it did not subscribe */
            redis_link_fail(l, "out of memory", TEXT(""));
            return false;
        }
        if (!redis_link_awaits(l))
            l->ticks = 0;
        l->unconfirmed += l->arguments - 1;
        write_soon(l);
    } else if (!redis_talk_send(l, answered, user)) {
        return false;
    }
    if (unsent(l) > l->set.most_unsent)
        redis_link_flush(l);
    if (unsent(l) > l->set.most_unsent)
        redis_link_fail(l, "the server takes less than it is given", TEXT(""));
    else if (awaited(l) > l->set.most_waiting)
        redis_link_fail(l, "the server answers less than it is asked", TEXT(""));
    return true;
}

bool redis_send_unhurried(struct redis_link *l, redis_answer answered, void *user)
{
    uint64_t hurried = l->hurried;
    bool sent = redis_send(l, answered, user);
    l->hurried = hurried;
    return sent;
}

/* ---- answers that nobody waits for ---- */

static bool hurries(const struct redis_link *l)
{
    return l->hurried > l->answered || l->waiting.count == 0 || l->waiting.count > LEFT_MOST;
}

void redis_talk_watch(struct redis_link *l)
{
    if (!l->leaves)
        return;
    l->leaves = false;
    uv_timer_stop(&l->late);
    redis_wire_read(l->wire, !l->paused);
}

static void too_late(uv_timer_t *timer)
{
    struct redis_link *l = timer->data;
    redis_link_look(l);
    redis_talk_watch(l);
}

/* Each wake-up costs more than what it is for. Only where one publish follows another: a single
 * one would pay for the timer, and for being watched again. */
static void watch_or_leave(struct redis_link *l)
{
    uint64_t now = uv_now(l->loop);
    bool close = now - l->wrote_at <= CLOSE_MS;
    l->wrote_at = now;
    if (hurries(l) || l->paused) {
        redis_talk_watch(l);
    } else if (!l->leaves && close) {
        l->leaves = true;
        redis_wire_read(l->wire, false);
        uv_timer_start(&l->late, too_late, LATE_MS, 0);
    }
}

void redis_link_look(struct redis_link *l)
{
    if (l->leaves && l->waiting.count > 0 && l->state == LINK_UP)
        redis_wire_look(l->wire);
}

/* ---- writing ---- */

void redis_link_flush(struct redis_link *l)
{
    struct text bytes = resp_out_text(&l->out);
    if (bytes.len == 0 || (l->state != LINK_UP && l->state != LINK_GREETING))
        return;
    size_t written = redis_wire_write(l->wire, bytes);
    resp_out_sent(&l->out, written);
    if (written == bytes.len)
        uv_idle_stop(&l->turn);
    if (!l->set.subscribes)
        watch_or_leave(l);
}

static void on_pong(const struct resp *answer, void *user)
{
    (void)answer;
    (void)user;
}

void redis_talk_ping(struct redis_link *l)
{
    resp_out_begin(&l->out, 1);
    resp_out_arg(&l->out, TEXT("PING"));
    if (!l->set.subscribes) {
        (void)redis_talk_send(l, on_pong, NULL);
    } else if (resp_out_end(&l->out)) {
        l->pinged = true;
        write_soon(l);
    }
}

/* ---- answers ---- */

static bool starts(struct text text, const char *word)
{
    return text_starts_with(text, text_of(word));
}

/* It cannot be written to, and there may be another behind the same name by now. A script that
 * ran into it has it in the midst (before Redis 7). */
static bool is_unfit(struct text error)
{
    static const char *const words[] = {"READONLY ", "LOADING ", "MASTERDOWN "};
    bool script = starts(error, "ERR Error running script");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (starts(error, words[i]) ||
            (script && memmem(error.at, error.len, words[i], strlen(words[i]))))
            return true;
    return false;
}

static void heard_answer(struct redis_link *l, const struct resp *answer)
{
    struct redis_wanted wanted;
    if (!redis_waiting_take(&l->waiting, &wanted)) {
        redis_link_fail(l, "an answer that nobody has asked for", answer->text);
        return;
    }
    l->answered++;
    if (l->state == LINK_UP && answer->kind == RESP_ERROR) {
        if (is_unfit(answer->text))
            redis_link_fail(l, "the server cannot be used", answer->text);
        else if (starts(answer->text, "NOSCRIPT"))
            redis_greet_again(l);
    }
    wanted.answered(answer, wanted.user);
    if (l->state == LINK_GREETING && l->waiting.count == 0)
        redis_link_up(l);
}

static void heard_confirmed(struct redis_link *l, struct text channel, bool yes)
{
    if (l->unconfirmed > 0)
        l->unconfirmed--;
    if (l->set.events->subscribed)
        l->set.events->subscribed(l, channel, yes, l->set.user);
}

static void heard_push(struct redis_link *l, const struct resp *answer)
{
    const struct resp *items = answer->items;
    struct text kind = answer->kind == RESP_ARRAY && answer->count > 0 ? items[0].text : TEXT("");
    if (answer->kind == RESP_ARRAY && answer->count == 3) {
        if (text_equal(kind, TEXT("message"))) {
            if (l->set.events->message)
                l->set.events->message(l, items[1].text, items[2].text, l->set.user);
            return;
        }
        bool yes = text_equal(kind, TEXT("subscribe"));
        if (yes || text_equal(kind, TEXT("unsubscribe"))) {
            heard_confirmed(l, items[1].text, yes);
            return;
        }
    }
    /* In an array once there is a channel, and alone before. */
    if (text_equal(kind, TEXT("pong")) || answer->kind == RESP_STATUS)
        l->pinged = false;
    else
        redis_link_fail(l,
            answer->kind == RESP_ERROR ? "the server refuses"
                                       : "the server says what it should not",
            answer->text);
}

void redis_talk_heard(struct redis_link *l, const char *bytes, size_t len)
{
    l->ticks = 0;
    resp_in_feed(l->in, bytes, len);
    while (l->state == LINK_UP || l->state == LINK_GREETING) {
        const struct resp *answer;
        enum resp_result result = resp_in_next(l->in, &answer);
        if (result == RESP_MORE)
            return;
        if (result == RESP_BAD)
            redis_link_fail(l, "the server's answer cannot be read", text_of(resp_in_fault(l->in)));
        else if (l->set.subscribes && l->state == LINK_UP)
            heard_push(l, answer);
        else
            heard_answer(l, answer);
    }
}
