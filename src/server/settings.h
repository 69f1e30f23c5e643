/* The settings of a broker: parsed, checked, and listed for help texts. The rows are in
 * server/settings.def. */
#ifndef HERMES_SERVER_SETTINGS_H
#define HERMES_SERVER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting {
#define SETTING(field, variable, flag, kind, value, zero, least, most, help) SETTING_##field,
#include "server/settings.def"
#undef SETTING
    SETTING_COUNT
};

#define PORT_OFF UINT64_MAX
#define PORT_AUTO (UINT64_MAX - 1)

struct settings {
    uint64_t numbers[SETTING_COUNT]; /* numbers, bytes, milliseconds, ports, PORT_OFF or PORT_AUTO,
                                      * or the place of a choice */
    char *texts[SETTING_COUNT];      /* of those that are texts, never NULL; NULL of the others */
};

/* All defaults; false when there is no memory. */
bool settings_init(struct settings *s);
void settings_fini(struct settings *s);

/* Wipes a secret, which is empty from then on. */
void settings_wipe(struct settings *s, enum setting which);

/* Sets one by its variable's or flag's name. 0, HERMES_UNKNOWN or HERMES_INVALID, and then one
 * sentence for a person in `error`. */
int settings_set(struct settings *s, const char *name, const char *value, char *error, size_t size);

#endif
