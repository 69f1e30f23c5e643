#include <stdio.h>
#include <string.h>

#include "cluster/redis_link_state.h"

/* The word that an error begins with. */
static struct text code_of(struct text error)
{
    size_t len = 0;
    while (len < error.len && len < 20 && error.at[len] >= 'A' && error.at[len] <= 'Z')
        len++;
    return (struct text){error.at, len};
}

/* Nothing else of its answer is told: a server that does not know AUTH says what it was given. */
static void on_auth(const struct resp *answer, void *user)
{
    if (answer && answer->kind == RESP_ERROR)
        redis_link_fail(user, "the server refuses the user or the password", code_of(answer->text));
}

static void on_select(const struct resp *answer, void *user)
{
    if (answer && answer->kind == RESP_ERROR)
        redis_link_fail(user, "the server refuses the database", answer->text);
}

static void on_ping(const struct resp *answer, void *user)
{
    if (answer && answer->kind == RESP_ERROR)
        redis_link_fail(user, "the server is not ready", answer->text);
}

/* Who may not ask, or asks something that does not know, finds out at the first write. */
static void on_role(const struct resp *answer, void *user)
{
    if (!answer || answer->kind != RESP_ARRAY || answer->count == 0)
        return;
    struct text role = answer->items[0].text;
    if (!text_equal(role, TEXT("master")))
        redis_link_fail(user, "the server is no master", role);
}

/* Who may not ask does without. */
static void on_info(const struct resp *answer, void *user)
{
    static const char key[] = "run_id:";
    struct redis_link *l = user;
    if (!answer || answer->kind != RESP_TEXT)
        return;
    const char *end = answer->text.at + answer->text.len;
    const char *at = memmem(answer->text.at, answer->text.len, key, sizeof key - 1);
    for (at = at ? at + sizeof key - 1 : end; at < end && l->run_len < RUN_DIGITS; at++) {
        if (!(*at >= '0' && *at <= '9') && !(*at >= 'a' && *at <= 'f'))
            break;
        l->run[l->run_len++] = *at;
    }
    if (l->run_len < RUN_DIGITS)
        l->run_len = 0;
}

static void on_script(const struct resp *answer, void *user)
{
    struct redis_link *l = user;
    if (!answer)
        return;
    if (answer->kind != RESP_TEXT || answer->text.len != SCRIPT_SHA)
        redis_link_fail(l, "the server does not load a script", answer->text);
    else
        memcpy(l->shas[l->loaded++], answer->text.at, SCRIPT_SHA);
}

static void on_again(const struct resp *answer, void *user)
{
    struct redis_link *l = user;
    if (!answer)
        return;
    l->loading--;
    if (answer->kind == RESP_ERROR)
        redis_link_fail(l, "the server does not load a script again", answer->text);
}

static void load(struct redis_link *l, redis_answer answered)
{
    for (unsigned i = 0; i < l->scripts; i++) {
        resp_out_begin(&l->out, 3);
        resp_out_arg(&l->out, TEXT("SCRIPT"));
        resp_out_arg(&l->out, TEXT("LOAD"));
        resp_out_arg(&l->out, text_of(l->set.scripts[i]));
        if (!redis_talk_send(l, answered, l)) {
            redis_link_fail(l, "out of memory", TEXT(""));
            return;
        }
    }
}

/* Alone in the buffer, which has the room at once, so that the password is in one place, from where
 * it is wiped. A new socket takes a few hundred bytes. */
static bool authenticate(struct redis_link *l)
{
    const struct redis_url *url = l->set.url;
    struct resp_out *out = &l->out;
    if (!url->password)
        return true;
    resp_out_clear(out, false);
    if (!buf_reserve(
            &out->bytes, 200 + strlen(url->password) + (url->user ? strlen(url->user) : 0)))
        return false;
    resp_out_begin(out, url->user ? 3 : 2);
    resp_out_arg(out, TEXT("AUTH"));
    if (url->user)
        resp_out_arg(out, text_of(url->user));
    resp_out_arg(out, text_of(url->password));
    bool sent = redis_talk_send(l, on_auth, l);
    redis_link_flush(l);
    sent = sent && resp_out_text(out).len == 0;
    resp_out_clear(out, true);
    return sent;
}

void redis_greet(struct redis_link *l)
{
    char db[12];
    l->loaded = l->loading = 0;
    l->run_len = 0;
    bool sent = authenticate(l);
    if (sent && l->set.url->db != 0) {
        snprintf(db, sizeof db, "%u", l->set.url->db);
        resp_out_begin(&l->out, 2);
        resp_out_arg(&l->out, TEXT("SELECT"));
        resp_out_arg(&l->out, text_of(db));
        sent = redis_talk_send(l, on_select, l);
    }
    if (sent) {
        resp_out_begin(&l->out, 1);
        resp_out_arg(&l->out, TEXT("PING"));
        sent = redis_talk_send(l, on_ping, l);
    }
    if (sent) {
        resp_out_begin(&l->out, 1);
        resp_out_arg(&l->out, TEXT("ROLE"));
        sent = redis_talk_send(l, on_role, l);
    }
    if (sent) {
        resp_out_begin(&l->out, 2);
        resp_out_arg(&l->out, TEXT("INFO"));
        resp_out_arg(&l->out, TEXT("server"));
        sent = redis_talk_send(l, on_info, l);
    }
    if (sent)
        load(l, on_script);
    else
        redis_link_fail(l, "out of memory", TEXT(""));
}

void redis_greet_again(struct redis_link *l)
{
    if (l->loading > 0 || l->scripts == 0)
        return;
    l->loading = l->scripts;
    load(l, on_again);
}
