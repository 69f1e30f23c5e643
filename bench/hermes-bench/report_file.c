#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *report_read(const char *path, char *fault, size_t fault_size)
{
    json_error_t error;
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(fault, fault_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    json_t *report = json_loadf(file, 0, &error);
    fclose(file);
    if (!report) {
        snprintf(fault, fault_size, "%s: not JSON: %s (line %d)", path, error.text, error.line);
        return NULL;
    }
    const json_t *shape = json_object_get(report, "hermes_bench");
    if (!json_is_integer(shape) || !json_is_string(json_object_get(report, "scenario"))) {
        snprintf(fault, fault_size, "%s: not a report of hermes-bench", path);
    } else if (json_integer_value(shape) != REPORT_SHAPE) {
        snprintf(fault, fault_size, "%s: a report of shape %lld, this hermes-bench reads %d", path,
            (long long)json_integer_value(shape), (int)REPORT_SHAPE);
    } else {
        return report;
    }
    json_decref(report);
    return NULL;
}

bool report_save(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    const bool written = fwrite(text, 1, length, file) == length;
    const int why = errno;
    if (fclose(file) == 0 && written) /* what was buffered may fail only here */
        return true;
    if (!written)
        errno = why;
    return false;
}

bool report_write(const json_t *report, const char *path)
{
    /* 13 digits: a nanosecond in an hour. */
    char *text = json_dumps(report, JSON_INDENT(1) | JSON_REAL_PRECISION(13));
    if (!text) {
        errno = ENOMEM;
        return false;
    }
    const size_t length = strlen(text);
    text[length] = '\n'; /* in place of the terminator, which is not written */
    const bool ok = report_save(path, text, length + 1);
    free(text);
    return ok;
}

double report_number(const json_t *report, const char *path)
{
    char key[64];
    while (report) {
        const size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        report = json_object_get(report, key);
        if (!path[length])
            break;
        path += length + 1;
    }
    return json_is_number(report) ? json_number_value(report) : (double)NAN;
}

const char *report_text(const json_t *report, const char *key)
{
    const char *text = json_string_value(json_object_get(report, key));
    return text ? text : "";
}
