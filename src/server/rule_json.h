/* One rule of the rules file: a JSON object to a rule. */
#ifndef HERMES_SERVER_RULE_JSON_H
#define HERMES_SERVER_RULE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "broker/rules.h"

/* Where in which file it is, and where to say what is wrong there. */
struct rule_json {
    const char *name;
    size_t topic_bytes; /* the longest pattern; 0: no limit */
    size_t number;      /* of the rule, from 1; 0: outside of them */
    const char *key;    /* NULL: not at one */
    char *error;
    size_t size;
};

/* Writes "NAME: rule 3: history: " and what is wrong, as one line whatever the file and its name
 * hold; returns the code. */
int rule_json_refuse(const struct rule_json *r, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a value is, for a person. */
const char *rule_json_kind(const json_t *value);

/* HERMES_OK, HERMES_INVALID or HERMES_NO_MEMORY. The text of rule->match is the caller's to free
 * either way. */
int rule_json_read(struct rule_json *r, json_t *object, struct rule *rule);

#endif
