#include "report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *memory)
{
    if (!memory) {
        fputs("hermes-bench: out of memory\n", stderr);
        exit(70);
    }
    return memory;
}

void report_init(struct report *r)
{
    memset(r, 0, sizeof *r);
    r->settings = must(json_object());
    r->notes = must(json_array());
}

void report_fini(struct report *r)
{
    json_decref(r->settings);
    json_decref(r->notes);
    free(r->points);
    free(r->steps);
    free(r->rounds);
}

/* The array with room for one more; it doubles whenever its count is a power of two. */
static void *room(void *array, size_t count, size_t size)
{
    if (count & (count - 1) || count == 1)
        return array;
    return must(reallocarray(array, count ? count * 2 : 2, size));
}

void report_add_point(struct report *r, const struct report_point *point)
{
    r->points = room(r->points, r->point_count, sizeof *point);
    r->points[r->point_count++] = *point;
}

void report_add_step(struct report *r, const struct report_step *step)
{
    r->steps = room(r->steps, r->step_count, sizeof *step);
    r->steps[r->step_count++] = *step;
}

void report_add_round(struct report *r, double seconds)
{
    r->rounds = room(r->rounds, r->round_count, sizeof *r->rounds);
    r->rounds[r->round_count++] = seconds;
}

void report_note(struct report *r, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *note = json_string(text);
    if (!note) { /* from the command line, or cut in the midst of a character: what is ASCII of it
                  */
        for (char *c = text; *c; c++)
            *c = (char)((unsigned char)*c < 128 ? *c : '?');
        note = json_string(text);
    }
    if (json_array_append_new(r->notes, must(note)))
        must(NULL);
}

bool report_is_clean(const struct report *r)
{
    const struct report_faults *f = &r->faults;
    return (f->lost | f->doubled | f->reordered | f->disordered | f->damaged | f->refused |
               f->closed | f->unconnected | f->misnumbered | f->unrecovered) == 0;
}
