/* What a verdict says, in words and in JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "proto/json.h"
#include "session/session.h"
#include "session/verdict.h"

enum { FACTS_TOLD = 100, WHEN_MAX = 40 };

static const struct {
    int code;
    const char *text;
} closings[] = {
#define CLOSE_REASON(name, code, metric, text) {code, text},
#include "session/close_reasons.def"
#undef CLOSE_REASON
};

static const char *const policies[] = {"disconnect", "drop_oldest", "latest"};

static const char *verdict_name(enum verdict_kind kind)
{
    static const char *const names[] = {
#define VERDICT(name, text) text,
#include "session/verdicts.def"
#undef VERDICT
    };
    return names[kind];
}

/* A moment of the facts' clock. By hand: strftime would write it in the language of the program. */
static const char *when(const struct verdict_case *c, uint64_t ms, char out[WHEN_MAX])
{
    uint64_t wall = c->wall_ms - (c->now_ms > ms ? c->now_ms - ms : 0);
    time_t seconds = (time_t)(wall / 1000);
    struct tm t = {.tm_mday = 1};
    gmtime_r(&seconds, &t);
    snprintf(out, WHEN_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (t.tm_year + 1900) % 10000,
        t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)(wall % 1000));
    return out;
}

/* --- the words -------------------------------------------------------------------------------- */

struct telling {
    struct buf words;
    const struct verdict_case *c;
    const struct verdict *v;
    struct fact fact;  /* that it rests on, if on any */
    char at[WHEN_MAX]; /* of that */
};

/* How it was subscribed, and since when. */
static void say_subscription(struct telling *t)
{
    char since[WHEN_MAX];
    const struct verdict *v = t->v;
    buf_append_string(&t->words, "The client subscribed ");
    if (v->reason->is_pattern && v->reason->name.len == 0) {
        buf_append_string(&t->words, "by a pattern whose name is not known any more ");
    } else if (v->reason->is_pattern) {
        buf_append_string(&t->words, "by the pattern ");
        buf_append_text(&t->words, v->reason->name);
        buf_append_char(&t->words, ' ');
    } else {
        buf_append_string(&t->words, "to the topic ");
    }
    if (v->begin)
        buf_appendf(&t->words, "at %s", when(t->c, v->begin->ms, since));
    else
        buf_appendf(&t->words, "before %s, which is as far back as is remembered",
            when(t->c, v->remembered_ms, since));
}

static void say_closed(struct telling *t)
{
    const struct fact *fact = &t->fact;
    buf_appendf(&t->words, "the connection ended at %s: %s", t->at, closings[fact->why].text);
    if (closings[fact->why].code)
        buf_appendf(&t->words, " (code %d)", closings[fact->why].code);
}

static void say_not_there(struct telling *t)
{
    if (!t->c->open)
        buf_append_string(&t->words, " The client is not connected any more.");
    else if (!t->c->may)
        buf_append_string(&t->words, " By rules or token it may not subscribe to the topic.");
}

static void say_queued(struct telling *t)
{
    say_subscription(t);
    buf_appendf(&t->words,
        ", and the message was put into its queue, of which %" PRIu64 " bytes are not written yet.",
        t->c->unsent);
    buf_append_string(&t->words, t->v->kind == VERDICT_QUEUED
                                     ? " The message is among them."
                                     : " Whether the message is among them cannot be told.");
}

static void say_delivered(struct telling *t)
{
    say_subscription(t);
    buf_append_string(&t->words, ", and the message was written to its socket");
    if (!t->v->fact) {
        buf_append_char(&t->words, '.');
        return;
    }
    if (t->fact.kind == FACT_LEFT)
        buf_appendf(&t->words, " before it unsubscribed at %s.", t->at);
    else
        buf_appendf(&t->words, " before its connection ended at %s.", t->at);
}

static void say_dropped(struct telling *t)
{
    const struct fact *fact = &t->fact;
    buf_appendf(&t->words,
        "The client was too slow, and by the policy %s messages %" PRIu64 " to %" PRIu64
        " were dropped from its queue at %s.",
        policies[fact->why], fact->offset, fact->offset + fact->count - 1, t->at);
    buf_append_string(&t->words, t->c->untold
                                     ? " The gap frame that tells it so is still in its queue."
                                     : " A gap frame told it so, if it was connected long enough.");
}

static void say_forgotten(struct telling *t)
{
    char since[WHEN_MAX];
    const struct verdict *v = t->v;
    if (v->reason) {
        say_subscription(t);
        buf_append_string(&t->words, v->reason->name.len == 0 ? ". Whether it matches the topic"
                                     : v->begin && !v->reason->is_pattern
                                         ? ". Whether the message was dropped later"
                                         : ". Whether that was when the message came");
        buf_append_string(&t->words, " is not known any more, or never was.");
    } else {
        buf_append_string(&t->words,
            "Nothing is remembered of the client and the topic. It may have been subscribed, and "
            "that forgotten.");
    }
    if (v->remembered_ms)
        buf_appendf(
            &t->words, " What is remembered begins at %s.", when(t->c, v->remembered_ms, since));
}

static void say_refused(struct telling *t)
{
    buf_appendf(&t->words, "The client wanted to subscribe, and was refused at %s: %s.", t->at,
        error_code_name((enum error_code)t->fact.why));
}

static void say(struct telling *t)
{
    const struct verdict_case *c = t->c;
    const struct fact *fact = &t->fact;
    struct buf *w = &t->words;
    switch (t->v->kind) {
    case VERDICT_DELIVERED:
        say_delivered(t);
        break;
    case VERDICT_QUEUED:
    case VERDICT_QUEUED_OR_DELIVERED:
        say_queued(t);
        break;
    case VERDICT_ON_ITS_WAY:
        say_subscription(t);
        buf_append_string(w, ", and the message is on its way to it.");
        break;
    case VERDICT_CATCHING_UP:
        buf_appendf(w,
            "The client is given the past piece by piece, as it takes it: message %" PRIu64
            " comes next.",
            c->next);
        break;
    case VERDICT_DROPPED:
        say_dropped(t);
        break;
    case VERDICT_HISTORY_GONE:
        buf_appendf(w,
            "The client was given the past piece by piece, and at %s the history did not have "
            "messages %" PRIu64 " to %" PRIu64 " any more. A gap frame told it so.",
            t->at, fact->offset, fact->offset + fact->count - 1);
        break;
    case VERDICT_OWN:
        buf_append_string(w,
            "The client published the message itself, and asked not to get it (\"echo\":false).");
        break;
    case VERDICT_MISSED:
        buf_appendf(w,
            "The registry had lost the worker's interest in the topic, which was found and put "
            "right at %s. A gap frame told the client so.",
            t->at);
        break;
    case VERDICT_CUT_OFF:
        say_subscription(t);
        buf_append_string(w, ", and the message was put into its queue; then ");
        say_closed(t);
        buf_appendf(w,
            ". %s%" PRIu64 " bytes of its queue were not written then and thrown away, and the "
            "message may have been among them.",
            fact->count == UINT32_MAX ? "More than " : "", (uint64_t)fact->count);
        break;
    case VERDICT_CLOSED:
        buf_append_string(w, "Before the message came ");
        say_closed(t);
        buf_append_char(w, '.');
        break;
    case VERDICT_LEFT:
        buf_appendf(w, "The client had unsubscribed at %s, before the message came.", t->at);
        break;
    case VERDICT_SUBSCRIBED_LATER:
        say_subscription(t);
        buf_append_string(w, ", after the message.");
        break;
    case VERDICT_REFUSED:
        say_refused(t);
        say_not_there(t);
        break;
    case VERDICT_NOT_SUBSCRIBED:
        buf_append_string(
            w, "The client was subscribed neither to the topic nor by a pattern that matches it.");
        say_not_there(t);
        break;
    case VERDICT_NOT_PUBLISHED:
        buf_appendf(w,
            "There is no such message: the topic's newest one is %" PRIu64
            ". If it was published before, the topic was gone since and its offsets began anew.",
            c->newest);
        break;
    case VERDICT_EPOCH_ENDED:
        buf_append_string(w,
            "There is no such topic now: it went with its last subscriber, and its offsets with "
            "it. Nothing is remembered of the message.");
        break;
    case VERDICT_FORGOTTEN:
        say_forgotten(t);
        break;
    case VERDICT_UNKNOWN_CLIENT:
        buf_append_string(w, "No client with that id has been here since this broker started.");
        break;
    }
}

/* --- the facts -------------------------------------------------------------------------------- */

static const char *fact_name(enum fact_kind kind)
{
    switch (kind) {
    case FACT_SUBSCRIBED:
        return "subscribed";
    case FACT_LEFT:
        return "unsubscribed";
    case FACT_CLOSED:
    case FACT_CLOSED_ALL:
        return "closed";
    case FACT_DROPPED:
        return "dropped";
    case FACT_FORGOTTEN:
        return "history_gone";
    case FACT_OWN:
        return "own";
    case FACT_MISSED:
        return "missed";
    case FACT_REFUSED:
        return "refused";
    }
    return "";
}

static bool is_told(const struct verdict_case *c, const struct fact *fact)
{
    return fact->client == c->client && (fact->kind == FACT_CLOSED_ALL || verdict_reason(c, fact));
}

static void write_why(struct buf *out, const struct fact *fact)
{
    switch ((enum fact_kind)fact->kind) {
    case FACT_SUBSCRIBED:
    case FACT_DROPPED:
        buf_appendf(out, ",\"policy\":\"%s\"", policies[fact->why]);
        break;
    case FACT_CLOSED:
    case FACT_CLOSED_ALL:
        buf_append_string(out, ",\"code\":");
        if (closings[fact->why].code)
            buf_append_number(out, (unsigned long long)closings[fact->why].code);
        else
            buf_append_string(out, "null");
        buf_appendf(out, ",\"reason\":\"%s\",\"lost_bytes\":%u", closings[fact->why].text,
            (unsigned)fact->count);
        break;
    case FACT_REFUSED:
        buf_appendf(out, ",\"error\":\"%s\"", error_code_name((enum error_code)fact->why));
        break;
    case FACT_LEFT:
    case FACT_FORGOTTEN:
    case FACT_OWN:
    case FACT_MISSED:
        break;
    }
}

static void write_fact(struct buf *out, const struct verdict_case *c, const struct fact *fact)
{
    char at[WHEN_MAX];
    const struct reason *reason = verdict_reason(c, fact);
    buf_appendf(out, "{\"at\":\"%s\",\"what\":\"%s\"", when(c, fact->ms, at),
        fact_name((enum fact_kind)fact->kind));
    if (fact->is_pattern && reason) {
        buf_append_string(out, ",\"pattern\":");
        json_string_append(out, reason->name);
    }
    if (fact->kind == FACT_SUBSCRIBED && !fact->is_pattern)
        buf_appendf(
            out, ",\"from\":%" PRIu64 ",\"replayed\":%u", fact->offset, (unsigned)fact->count);
    else if ((fact->kind == FACT_LEFT || fact->kind == FACT_CLOSED) && !fact->is_pattern)
        buf_appendf(out, ",\"delivered_up_to\":%" PRIu64, fact->offset);
    else if (fact->kind >= FACT_DROPPED && fact->kind < FACT_REFUSED)
        buf_appendf(out, ",\"from\":%" PRIu64 ",\"to\":%" PRIu64, fact->offset,
            fact->offset + fact->count - 1);
    write_why(out, fact);
    buf_append_char(out, '}');
}

/* The one before `number` that is to be told, or -1. */
static int64_t told_before(
    const struct verdict_case *c, const struct fact_row *row, uint64_t number)
{
    while (number-- > facts_first(row))
        if (is_told(c, facts_at(row, number)))
            return (int64_t)number;
    return -1;
}

/* The newest ones, of both rows, the newest first. */
static void write_facts(struct buf *out, const struct verdict_case *c)
{
    const struct fact_row *rows[] = {&c->facts->subscriptions, &c->facts->losses};
    int64_t at[2];
    for (int i = 0; i < 2; i++)
        at[i] = told_before(c, rows[i], rows[i]->count);
    for (int told = 0; told < FACTS_TOLD && (at[0] >= 0 || at[1] >= 0); told++) {
        const struct fact *next[2];
        for (int i = 0; i < 2; i++)
            next[i] = at[i] >= 0 ? facts_at(rows[i], (uint64_t)at[i]) : NULL;
        int newer = !next[0] || (next[1] && next[1]->ms >= next[0]->ms);
        if (told > 0)
            buf_append_char(out, ',');
        write_fact(out, c, next[newer]);
        at[newer] = told_before(c, rows[newer], (uint64_t)at[newer]);
    }
}

void verdict_write(struct buf *out, const struct verdict_case *c, const struct verdict *v)
{
    struct telling t = {.c = c, .v = v};
    if (v->fact) {
        t.fact = *v->fact;
        when(c, v->fact->ms, t.at);
    }
    say(&t);
    const char *name = verdict_name(v->kind);
    buf_appendf(out, "\"verdict\":\"%s\",\"outcome\":\"%s\",\"words\":", name, name);
    json_string_append(out, buf_text(&t.words));
    buf_append_string(out, ",\"text\":");
    json_string_append(out, buf_text(&t.words));
    buf_append_string(out, ",\"facts\":[");
    write_facts(out, c);
    buf_append_char(out, ']');
    out->failed |= t.words.failed;
    buf_fini(&t.words);
}
