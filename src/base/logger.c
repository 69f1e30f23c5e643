#include "base/logger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_MAX_BYTES = 2048, LINES_A_SECOND = 10 };

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

struct line {
    char bytes[LINE_MAX_BYTES];
    size_t len;
    bool full;
};

void logger_init(struct logger *l, int fd, enum log_level level, bool json)
{
    *l = (struct logger){.fd = fd, .level = level, .json = json};
    pthread_mutex_init(&l->lock, NULL);
}

bool logger_keep(struct logger *l, size_t bytes)
{
    l->ring = log_ring_new(bytes);
    return l->ring != NULL;
}

enum log_level log_level_named(struct text name)
{
    enum log_level level = LOG_DEBUG;
    while (level < LOG_OFF && !text_equal(name, text_of(level_names[level])))
        level++;
    return level;
}

void logger_fini(struct logger *l)
{
    log_ring_free(l->ring);
    l->ring = NULL;
    pthread_mutex_destroy(&l->lock);
}

/* Not cleared as a whole: it is large. */
static void line_begin(struct line *line)
{
    line->len = 0;
    line->full = false;
}

static void line_add(struct line *line, const char *bytes, size_t len)
{
    /* Room is kept for the closing brace and the newline. */
    size_t room = sizeof line->bytes - 8 - line->len;
    if (len > room) {
        len = room;
        line->full = true;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void line_string(struct line *line, const char *string)
{
    line_add(line, string, strlen(string));
}

/* Escapes as JSON does, so that no field can break a line or forge another, in text form too. */
static void line_escaped(struct line *line, struct text t)
{
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.at[i];
        char escape[8];
        if (sizeof line->bytes - line->len < 32)
            return;
        if (c == '"' || c == '\\')
            line_add(line, (char[]){'\\', (char)c}, 2);
        else if (c < 0x20 || c >= 0x7f)
            line_add(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        else
            line_add(line, (char *)&c, 1);
    }
}

static bool plain(struct text t)
{
    for (size_t i = 0; i < t.len; i++)
        if (t.at[i] <= ' ' || t.at[i] >= 0x7f || strchr("\"\\=", t.at[i]))
            return false;
    return t.len > 0;
}

static void line_field(struct line *line, const struct log_field *field, bool json)
{
    char number[24];
    size_t before = line->len;
    line_string(line, json ? ",\"" : " ");
    line_string(line, field->name);
    line_string(line, json ? "\":" : "=");
    if (field->kind == FIELD_NUMBER) {
        snprintf(number, sizeof number, "%" PRId64, field->number);
        line_string(line, number);
    } else if (!json && plain(field->text)) {
        line_add(line, field->text.at, field->text.len < 512 ? field->text.len : 512);
    } else {
        struct text t = {field->text.at, field->text.len < 512 ? field->text.len : 512};
        line_string(line, "\"");
        line_escaped(line, t);
        line_string(line, "\"");
    }
    if (line->full)
        line->len = before; /* a field is there whole or not at all */
}

static void line_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    char text[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, sizeof text - len, ".%03dZ", (int)(now.tv_nsec / 1000000));
    line_string(line, text);
}

static void write_line(struct logger *l, enum log_level level, const char *event,
    const struct log_field *fields, size_t count)
{
    struct line line;
    line_begin(&line);
    line_string(&line, l->json ? "{\"time\":\"" : "");
    line_time(&line);
    line_string(&line, l->json ? "\",\"level\":\"" : " ");
    line_string(&line, level_names[level]);
    line_string(&line, l->json ? "\",\"event\":\"" : " ");
    line_string(&line, event);
    line_string(&line, l->json ? "\"" : "");
    for (size_t i = 0; i < count; i++)
        line_field(&line, &fields[i], l->json);
    if (l->json)
        line.bytes[line.len++] = '}';
    line.bytes[line.len++] = '\n';
    /* A log that cannot be written must not stop the broker: there is nobody to tell. */
    ssize_t ignored = write(l->fd, line.bytes, line.len);
    (void)ignored;
}

static void keep_line(struct logger *l, enum log_level level, const char *event,
    const struct log_field *fields, size_t count)
{
    struct line line;
    line_begin(&line);
    line_string(&line, ",\"time\":\"");
    line_time(&line);
    line_string(&line, "\",\"level\":\"");
    line_string(&line, level_names[level]);
    line_string(&line, "\",\"event\":\"");
    line_string(&line, event);
    line_string(&line, "\",\"fields\":{");
    size_t start = line.len;
    for (size_t i = 0; i < count; i++)
        line_field(&line, &fields[i], true);
    if (line.len > start) /* each field begins with a comma */
        memmove(line.bytes + start, line.bytes + start + 1, --line.len - start);
    line.bytes[line.len++] = '}';
    line.bytes[line.len++] = '}';
    log_ring_add(l->ring, level, (struct text){line.bytes, line.len});
}

void logger_write(struct logger *l, enum log_level level, const char *event,
    const struct log_field *fields, size_t count)
{
    if (!logger_wants(l, level))
        return;
    write_line(l, level, event, fields, count);
    if (l->ring)
        keep_line(l, level, event, fields, count);
}

void logger_limited(struct logger *l, enum log_limit limit, enum log_level level, const char *event,
    const struct log_field *fields, size_t count)
{
    struct log_allowance *a = &l->allowances[limit];
    uint64_t second = clock_ms() / 1000;
    uint32_t left_out = 0;
    bool write_it = false;
    pthread_mutex_lock(&l->lock);
    if (a->second != second) {
        left_out = a->left_out;
        *a = (struct log_allowance){.second = second};
    }
    if (a->written < LINES_A_SECOND) {
        a->written++;
        write_it = true;
    } else {
        a->left_out++;
    }
    pthread_mutex_unlock(&l->lock);
    if (!write_it)
        return;
    if (left_out > 0)
        logger_write(l, level, "lines left out",
            (struct log_field[]){LOG_STRING("like", event), LOG_NUMBER("count", left_out)}, 2);
    logger_write(l, level, event, fields, count);
}
