/* A command that waits, as the text that it may have come as. */
#include "proto/command.h"
#include "proto/json.h"
#include "session/parked.h"

static void add_string(struct buf *out, const char *key, struct text value)
{
    buf_append_string(out, key);
    json_string_append(out, value);
}

static void add_number(struct buf *out, const char *key, uint64_t value)
{
    buf_append_string(out, key);
    buf_append_number(out, value);
}

static void add_names(struct buf *out, const struct text *names, size_t count)
{
    if (count == 1) {
        add_string(out, ",\"topic\":", names[0]);
        return;
    }
    buf_append_string(out, ",\"topics\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_string_append(out, names[i]);
    }
    buf_append_char(out, ']');
}

void far_command_write(struct buf *out, const struct session *s, const struct command *c,
    const struct text *names, size_t count)
{
    static const char *const policies[] = {
        [COMMAND_POLICY_NONE] = "",
        [COMMAND_DISCONNECT] = ",\"policy\":\"disconnect\"",
        [COMMAND_DROP_OLDEST] = ",\"policy\":\"drop_oldest\"",
        [COMMAND_LATEST] = ",\"policy\":\"latest\"",
    };
    bool history = c->kind == COMMAND_HISTORY;
    buf_append_string(out, history ? "{\"type\":\"history\"" : "{\"type\":\"subscribe\"");
    if (c->pattern.len)
        add_string(out, ",\"pattern\":", c->pattern);
    else
        add_names(out, names, count);
    if (s->enveloped) {
        if (c->id.len) {
            buf_append_string(out, ",\"id\":");
            buf_append_text(out, c->id);
        }
        if (c->has_since) {
            add_string(out, ",\"since\":{\"epoch\":", c->epoch);
            add_number(out, ",\"offset\":", c->since);
            buf_append_char(out, '}');
        }
        if (history)
            add_number(out, ",\"limit\":", c->limit);
        if (c->replay > 0)
            add_number(out, ",\"replay\":", c->replay);
        if (c->presence)
            buf_append_string(out, ",\"presence\":true");
        buf_append_string(out, policies[c->policy]);
    }
    buf_append_char(out, '}');
}
