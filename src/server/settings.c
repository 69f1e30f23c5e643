#include "server/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "hermes/hermes.h"

enum setting_kind { NUMBER, SIZE, TIME, PORT, AUTO_PORT, STRING, SECRET, CHOICE };

struct row {
    enum setting_kind kind;
    bool zero;
    uint64_t least;
    uint64_t most;
};

static const struct row rows[SETTING_COUNT] = {
#define SETTING(field, variable, flag, kind, value, zero, least, most, help)                       \
    {kind, zero, least, most},
#include "server/settings.def"
#undef SETTING
};

static const struct hermes_setting texts[SETTING_COUNT] = {
#define SETTING(field, variable, flag, kind, value, zero, least, most, help)                       \
    {variable, flag, value, help, kind == SECRET},
#include "server/settings.def"
#undef SETTING
};

const struct hermes_setting *hermes_settings(size_t *count)
{
    *count = SETTING_COUNT;
    return texts;
}

bool settings_init(struct settings *s)
{
    char error[256];
    *s = (struct settings){0};
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (settings_set(s, texts[i].flag, texts[i].value, error, sizeof error) != 0)
            return false;
    return true;
}

void settings_fini(struct settings *s)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        settings_wipe(s, (enum setting)i);
        free(s->texts[i]);
        s->texts[i] = NULL;
    }
}

void settings_wipe(struct settings *s, enum setting which)
{
    if (rows[which].kind == SECRET && s->texts[which])
        explicit_bzero(s->texts[which], strlen(s->texts[which]));
}

/* How long the list of words is that a choice's help begins with. */
static size_t choices(const char *help)
{
    return strcspn(help, ":");
}

/* The place of a word in a list such as "text, json". */
static bool choose(const char *list, const char *word, uint64_t *out)
{
    size_t len = strlen(word);
    for (uint64_t place = 0; *list && *list != ':'; place++) {
        size_t end = strcspn(list, ",:");
        if (end == len && memcmp(list, word, len) == 0) {
            *out = place;
            return true;
        }
        list += end + strspn(list + end, ", ");
    }
    return false;
}

static bool parse(size_t which, const char *value, uint64_t *out)
{
    switch (rows[which].kind) {
    case NUMBER:
        return units_number(value, out);
    case SIZE:
        return units_size(value, out);
    case TIME:
        return units_time(value, out);
    case AUTO_PORT:
        *out = PORT_AUTO;
        if (strcmp(value, "auto") == 0)
            return true;
        /* fall through */
    case PORT:
        *out = PORT_OFF;
        return *value == '\0' || strcmp(value, "off") == 0 || units_number(value, out);
    case CHOICE:
        return choose(texts[which].help, value, out);
    case STRING:
    case SECRET:
        break;
    }
    return false;
}

/* What would have been right. */
static int refuse(size_t which, const char *value, char *error, size_t size)
{
    const struct row *row = &rows[which];
    const char *units = row->kind == SIZE ? " (bytes, or with k, m, g)" : "";
    const char *zero = row->kind == PORT             ? "off or "
                       : row->kind == AUTO_PORT      ? "off, auto or "
                       : row->zero && row->least > 0 ? "0 or "
                                                     : "";
    const char *variable = texts[which].variable;
    if (row->kind == CHOICE)
        snprintf(error, size, "%s=%s is none of its words: give one of %.*s", variable, value,
            (int)choices(texts[which].help), texts[which].help);
    else if (row->kind == TIME)
        snprintf(error, size,
            "%s=%s is no time that may be: give %s%g to %g seconds (or with ms, s,"
            " m, h)",
            variable, value, zero, (double)row->least / 1000, (double)row->most / 1000);
    else
        snprintf(error, size, "%s=%s is out of range: give %s%" PRIu64 " to %" PRIu64 "%s",
            variable, value, zero, row->least, row->most, units);
    return HERMES_INVALID;
}

int settings_set(struct settings *s, const char *name, const char *value, char *error, size_t size)
{
    size_t i = 0;
    while (i < SETTING_COUNT && strcmp(texts[i].variable, name) != 0 &&
           strcmp(texts[i].flag, name) != 0)
        i++;
    if (i == SETTING_COUNT) {
        snprintf(error, size, "there is no setting %s", name);
        return HERMES_UNKNOWN;
    }
    if (rows[i].kind == STRING || rows[i].kind == SECRET) {
        char *copy = strdup(value);
        if (!copy) {
            snprintf(error, size, "out of memory");
            return HERMES_NO_MEMORY;
        }
        settings_wipe(s, (enum setting)i);
        free(s->texts[i]);
        s->texts[i] = copy;
        return 0;
    }
    uint64_t number;
    bool port = rows[i].kind == PORT || rows[i].kind == AUTO_PORT;
    if (!parse(i, value, &number) || (number > rows[i].most && !(port && number >= PORT_AUTO)) ||
        (number < rows[i].least && !(number == 0 && rows[i].zero)))
        return refuse(i, value, error, size);
    s->numbers[i] = number;
    return 0;
}
