/* What decoding one publish costs, and what jansson's parse of the same text costs in the same run.
 *
 * Use: micro_json [seconds per figure, default 0.3] */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "proto/command.h"
#include "proto/json.h"

/* Runs once over the text; the result only keeps the compiler from dropping the work. */
typedef size_t work(char *text, size_t len);

static size_t decode(char *text, size_t len)
{
    struct command c;
    command_decode(&c, text, len, 1);
    if (c.kind != COMMAND_PUBLISH)
        abort();
    return c.data.len;
}

static size_t validate_utf8(char *text, size_t len)
{
    return utf8_valid(text, len);
}

static size_t parse_with_jansson(char *text, size_t len)
{
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    size_t type = json_typeof(value);
    json_decref(value);
    return type;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The best of five rounds, in nanoseconds per run: what disturbs a round only ever makes it slower.
 */
static double nanoseconds(work *run, struct buf *text, double seconds)
{
    volatile size_t sink = 0;
    double best = 0;
    for (int round = 0; round < 5; round++) {
        unsigned long runs = 0;
        double start = now();
        double spent;
        do {
            for (int i = 0; i < 256; i++)
                sink += run(text->data, text->len);
            runs += 256;
            spent = now() - start;
        } while (spent < seconds / 5);
        double each = spent / (double)runs * 1e9;
        if (round == 0 || each < best)
            best = each;
    }
    (void)sink;
    return best;
}

/* One long string, as of a document or an encoded picture. */
static void one_string(struct buf *b, size_t size)
{
    buf_append_char(b, '"');
    while (b->len < size - 1)
        buf_append_char(b, "The quick brown fox jumps over the lazy dog. "[b->len % 45]);
    buf_append_char(b, '"');
}

/* Rows of short keys, numbers and strings, as of a price feed. */
static void records(struct buf *b, size_t size)
{
    buf_append_char(b, '[');
    for (unsigned n = 1; b->len == 1 || b->len + 40 < size; n++) {
        if (b->len > 1)
            buf_append_char(b, ',');
        buf_appendf(b, "{\"id\":%u,\"px\":%u.%02u,\"sym\":\"AB%u\"}", n * 7919 % 100000,
            n * 31 % 900, n % 100, n % 10);
    }
    buf_append_char(b, ']');
}

/* Readings of a sensor. */
static void numbers(struct buf *b, size_t size)
{
    buf_append_char(b, '[');
    for (unsigned n = 1; b->len + 12 < size; n++) {
        if (b->len > 1)
            buf_append_char(b, ',');
        if (n % 3 == 0)
            buf_appendf(b, "%u", 1700000000 + n * 7919);
        else
            buf_appendf(b, "%s%u.%02u", n % 2 ? "-" : "", n * 31 % 900, n % 100);
    }
    buf_append_char(b, ']');
}

/* One string of text that is not ASCII, with some escapes. */
static void foreign(struct buf *b, size_t size)
{
    static const char piece[] = "Grüße aus \\\"Köln\\\" \\u2014 日本語 ";
    buf_append_char(b, '"');
    do
        buf_append_string(b, piece);
    while (b->len + sizeof piece < size);
    buf_append_char(b, '"');
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fill)(struct buf *b, size_t size);
    } shapes[] = {
        {"string", one_string}, {"numbers", numbers}, {"records", records}, {"foreign", foreign}};
    static const size_t sizes[] = {64, 1024, 16384};
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.3;

    printf("%-8s %7s %7s %12s %8s %12s %7s %10s\n", "data", "payload", "frame", "ns/command",
        "GB/s", "jansson ns", "ratio", "utf8 GB/s");
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct buf data = {0};
            struct buf frame = {0};
            shapes[shape].fill(&data, sizes[i]);
            buf_append_string(&frame, "{\"topic\":\"stock:ABC\",\"data\":");
            buf_append_text(&frame, buf_text(&data));
            buf_append_char(&frame, '}');
            double ours = nanoseconds(decode, &frame, seconds);
            double utf8 = nanoseconds(validate_utf8, &frame, seconds);
            double jansson = nanoseconds(parse_with_jansson, &frame, seconds);
            printf("%-8s %7zu %7zu %12.1f %8.2f %12.1f %7.1f %10.2f\n", shapes[shape].name,
                data.len, frame.len, ours, (double)frame.len / ours, jansson, jansson / ours,
                (double)frame.len / utf8);
            buf_fini(&data);
            buf_fini(&frame);
        }
    }
    return 0;
}
