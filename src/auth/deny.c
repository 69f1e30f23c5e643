#include "auth/deny.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

static enum auth_load list_read(
    struct deny_list *list, const struct auth_source *source, const char *key, const json_t *value)
{
    if (!json_is_array(value))
        return auth_refuse(source, AUTH_UNUSABLE, "%s is no list: give [\"...\", ...]", key);
    size_t count = json_array_size(value);
    size_t bytes = count * sizeof(struct text);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(value, i);
        if (!json_is_string(entry) || json_string_length(entry) == 0)
            return auth_refuse(source, AUTH_UNUSABLE,
                "%s: entry %zu is no string, or empty: give the claim as the token has it", key,
                i + 1);
        bytes += json_string_length(entry);
    }
    if (count == 0)
        return AUTH_LOADED;
    list->at = malloc(bytes);
    if (!list->at)
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    char *copy = (char *)(list->at + count);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(value, i);
        list->at[i] = (struct text){copy, json_string_length(entry)};
        memcpy(copy, json_string_value(entry), list->at[i].len);
        copy += list->at[i].len;
    }
    list->count = count;
    qsort(list->at, count, sizeof *list->at, by_text);
    return AUTH_LOADED;
}

static enum auth_load root_read(struct deny *d, const struct auth_source *source, json_t *root)
{
    if (!json_is_object(root))
        return auth_refuse(
            source, AUTH_UNUSABLE, "is no object: give {\"jti\": [...], \"sub\": [...]}");
    enum auth_load code = AUTH_LOADED;
    for (void *at = json_object_iter(root); at && code == AUTH_LOADED;
         at = json_object_iter_next(root, at)) {
        const char *key = json_object_iter_key(at);
        struct deny_list *list = strcmp(key, "jti") == 0   ? &d->ids
                                 : strcmp(key, "sub") == 0 ? &d->users
                                                           : NULL;
        code = list ? list_read(list, source, key, json_object_iter_value(at))
                    : auth_refuse(source, AUTH_UNUSABLE,
                          "%s: there is no such key: give {\"jti\": [...], \"sub\": [...]}", key);
    }
    return code;
}

enum auth_load deny_parse(struct deny *d, const struct auth_source *source, struct text json)
{
    json_error_t fault;
    *d = (struct deny){0};
    if (json.len == 0)
        return auth_refuse(
            source, AUTH_UNUSABLE, "is empty: give {\"jti\": [...], \"sub\": [...]}");
    json_t *root = json_loadb(json.at, json.len, JSON_REJECT_DUPLICATES, &fault);
    if (!root) {
        if (fault.line < 0) /* how jansson mostly tells of that */
            return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
        return auth_refuse(
            source, AUTH_UNUSABLE, "line %d, column %d: %s", fault.line, fault.column, fault.text);
    }
    enum auth_load code = root_read(d, source, root);
    json_decref(root);
    if (code != AUTH_LOADED)
        deny_fini(d);
    return code;
}

enum auth_load deny_read(struct deny *d, const struct auth_source *source)
{
    struct secret file;
    *d = (struct deny){0};
    enum auth_load code = auth_read(source, DENY_FILE_MAX, &file);
    if (code == AUTH_LOADED)
        code = deny_parse(d, source, (struct text){(const char *)file.at, file.len});
    secret_fini(&file);
    return code;
}

void deny_fini(struct deny *d)
{
    free(d->ids.at);
    free(d->users.at);
    *d = (struct deny){0};
}

bool deny_has(const struct deny_list *list, struct text entry)
{
    return list->count > 0 && bsearch(&entry, list->at, list->count, sizeof entry, by_text);
}
