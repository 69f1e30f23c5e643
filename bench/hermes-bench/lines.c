#include "lines.h"

#include "human.h"

#include <stdbool.h>
#include <string.h>

void lines_start(struct lines *l, const char *label)
{
    fputs("  ", l->out);
    human_pad(l->out, label, -(LINES_INDENT - 2));
    l->column = LINES_INDENT;
}

void lines_add(struct lines *l, const char *text, const char *between)
{
    const bool first = l->column == LINES_INDENT;
    const int width = human_width(text) + (first ? 0 : human_width(between));
    if (!first && l->column + width > LINES_WIDTH) {
        fprintf(l->out, "\n%*s", LINES_INDENT, "");
        l->column = LINES_INDENT;
    } else if (!first) {
        fputs(between, l->out);
    }
    human_pad(l->out, text, 0);
    l->column += width;
}

void lines_end(struct lines *l)
{
    putc('\n', l->out);
}

void lines_paragraph(FILE *out, const char *label, const char *text)
{
    struct lines l = {out, 0};
    char word[LINES_WIDTH];
    lines_start(&l, label);
    while (*text) {
        const size_t length = strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        lines_add(&l, word, " ");
        text += length;
        text += strspn(text, " ");
    }
    lines_end(&l);
}
