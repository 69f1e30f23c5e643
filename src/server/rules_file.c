#include "server/rules_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hermes/hermes.h"
#include "server/rule_json.h"

static int read_list(struct rule_json *r, const json_t *list, struct rules **out)
{
    size_t count = json_array_size(list);
    if (count > RULES_MAX)
        return rule_json_refuse(
            r, HERMES_INVALID, "holds %zu rules: give at most %d", count, RULES_MAX);
    r->key = NULL;
    struct rule *rules = calloc(count ? count : 1, sizeof *rules);
    if (!rules)
        return rule_json_refuse(r, HERMES_NO_MEMORY, "out of memory");
    int code = HERMES_OK;
    for (size_t i = 0; i < count && code == HERMES_OK; i++) {
        r->number = i + 1;
        code = rule_json_read(r, json_array_get(list, i), &rules[i]);
    }
    if (code == HERMES_OK) {
        r->number = 0;
        r->key = NULL;
        *out = rules_new(rules, count);
        if (*out)
            return HERMES_OK;
        code = rule_json_refuse(r, HERMES_NO_MEMORY, "out of memory");
    }
    rules_list_free(rules, count);
    return code;
}

static int read_root(struct rule_json *r, json_t *root, struct rules **out)
{
    if (!json_is_object(root))
        return rule_json_refuse(
            r, HERMES_INVALID, "is %s: give {\"rules\": [...]}", rule_json_kind(root));
    for (void *at = json_object_iter(root); at; at = json_object_iter_next(root, at)) {
        r->key = json_object_iter_key(at);
        if (strcmp(r->key, "rules") != 0)
            return rule_json_refuse(
                r, HERMES_INVALID, "there is no such key: give {\"rules\": [...]}");
    }
    r->key = "rules";
    json_t *value = json_object_get(root, "rules");
    if (!value)
        return rule_json_refuse(r, HERMES_INVALID, "is missing: give {\"rules\": [...]}");
    if (!json_is_array(value))
        return rule_json_refuse(
            r, HERMES_INVALID, "is %s: give a list, {\"rules\": [...]}", rule_json_kind(value));
    return read_list(r, value, out);
}

int rules_file_parse(const char *name, struct text json, size_t topic_bytes, struct rules **out,
    char *error, size_t size)
{
    struct rule_json r = {.name = name, .topic_bytes = topic_bytes, .error = error, .size = size};
    json_error_t fault;
    *out = NULL;
    if (json.len == 0)
        return rule_json_refuse(&r, HERMES_INVALID, "is empty: give {\"rules\": [...]}");
    /* Numbers as doubles, which no number of digits is too large for: the ranges tell more. */
    json_t *root =
        json_loadb(json.at, json.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &fault);
    if (!root) {
        if (fault.line < 0) /* how jansson mostly tells of that */
            return rule_json_refuse(&r, HERMES_NO_MEMORY, "out of memory");
        return rule_json_refuse(
            &r, HERMES_INVALID, "line %d, column %d: %s", fault.line, fault.column, fault.text);
    }
    int code = read_root(&r, root, out);
    json_decref(root);
    return code;
}

/* --- the file --------------------------------------------------------------------------------- */

static int read_all(const struct rule_json *r, int fd, char *bytes, size_t room, size_t *len)
{
    *len = 0;
    while (*len < room) {
        ssize_t got = read(fd, bytes + *len, room - *len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rule_json_refuse(r, HERMES_SYSTEM, "cannot be read: %s", strerror(errno));
        if (got == 0)
            return HERMES_OK;
        *len += (size_t)got;
    }
    return HERMES_OK;
}

static int read_open(const struct rule_json *r, int fd, size_t topic_bytes, struct rules **out)
{
    struct stat status;
    size_t len = 0;
    if (fstat(fd, &status) != 0)
        return rule_json_refuse(r, HERMES_SYSTEM, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return rule_json_refuse(r, HERMES_SYSTEM, "is %s: give a file",
            S_ISDIR(status.st_mode) ? "a directory" : "no regular file");
    if (status.st_size > RULES_FILE_MAX)
        return rule_json_refuse(r, HERMES_INVALID, "has %" PRIu64 " bytes: give at most %d",
            (uint64_t)status.st_size, RULES_FILE_MAX);
    /* One byte more: it may grow while it is read. */
    size_t room = (size_t)status.st_size + 1;
    char *bytes = malloc(room);
    if (!bytes)
        return rule_json_refuse(r, HERMES_NO_MEMORY, "out of memory");
    int code = read_all(r, fd, bytes, room, &len);
    if (code == HERMES_OK && len == room)
        code = rule_json_refuse(r, HERMES_SYSTEM, "is being written to: try again");
    if (code == HERMES_OK)
        code = rules_file_parse(
            r->name, (struct text){bytes, len}, topic_bytes, out, r->error, r->size);
    free(bytes);
    return code;
}

int rules_file_read(
    const char *path, size_t topic_bytes, struct rules **out, char *error, size_t size)
{
    struct rule_json r = {.name = path, .error = error, .size = size};
    *out = NULL;
    /* Not to wait for a writer, should it be a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return rule_json_refuse(&r, HERMES_SYSTEM, "cannot be opened: %s", strerror(errno));
    int code = read_open(&r, fd, topic_bytes, out);
    close(fd);
    return code;
}
