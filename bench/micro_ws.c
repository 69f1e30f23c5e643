/* What one received message costs: ws_feed over 64 KiB reads full of masked text frames, in
 * nanoseconds per message, beside a memcpy of the same bytes.
 *
 *   ascii   frames whole in the input
 *   utf-8   the same, every second character of two bytes
 *   pieces  each frame comes in two halves, and so through a reader and wslay */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "proto/ws_in.h"
#include "proto/ws_out.h"

enum { READ = 65536, SECONDS_EACH = 1 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    size_t *bytes = user;
    (void)opcode;
    (void)payload;
    *bytes += len;
    return true;
}

static bool on_control(void *user, const char *payload, size_t len)
{
    (void)user;
    (void)payload;
    (void)len;
    return true;
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    (void)code;
    return on_control(user, reason, len);
}

static const struct ws_events events = {on_message, on_control, on_control, on_close};

enum kind { ASCII, UTF8, PIECES, COPY };

/* Nanoseconds per message. The input is made anew for each round, since feeding unmasks it, and the
 * time of that is not counted. */
static double measure(enum kind kind, size_t size)
{
    static const uint8_t key[4] = {0x12, 0x9a, 0x7c, 0xe5};
    struct ws_settings settings = {.max_message = 1 << 20, .server = true, .spare = 4};
    struct ws_pool *pool = ws_pool_new(&settings);
    struct ws_reader *reader = NULL;
    struct buf frames = {0};
    char *text = malloc(size);
    char *input = malloc(READ);
    char *copy = malloc(READ);
    if (!pool || !text || !input || !copy)
        exit(1);
    for (size_t i = 0; i < size; i++)
        text[i] = kind != UTF8 || i % 3 == 0 ? 'x' : i % 3 == 1 ? '\xc3' : '\xa4';
    if (kind == UTF8 && size % 3 == 2)
        text[size - 1] = 'x';
    ws_frame_masked(&frames, WS_TEXT, text, size, key);
    size_t frame = frames.len;
    size_t count = READ / frame;
    while (frames.len < count * frame)
        ws_frame_masked(&frames, WS_TEXT, text, size, key);

    double spent = 0;
    size_t messages = 0;
    size_t bytes = 0;
    while (spent < SECONDS_EACH * 1e9 / 4) {
        memcpy(input, frames.data, frames.len);
        double start = now();
        int code = 0;
        if (kind == COPY)
            for (size_t i = 0; i < count; i++)
                memcpy(copy + i * size, input + i * frame, size);
        else if (kind == PIECES)
            for (size_t i = 0; i < count && code == 0; i++) {
                size_t half = frame / 2;
                code = ws_feed(pool, &reader, input + i * frame, half, &events, &bytes);
                if (code == 0)
                    code = ws_feed(
                        pool, &reader, input + i * frame + half, frame - half, &events, &bytes);
            }
        else
            code = ws_feed(pool, &reader, input, frames.len, &events, &bytes);
        spent += now() - start;
        if (code != 0) {
            fprintf(stderr, "close code %d\n", code);
            exit(1);
        }
        messages += count;
        __asm__ volatile("" : : "r"(copy) : "memory");
    }
    if (kind != COPY && bytes != messages * size) {
        fprintf(stderr, "%zu bytes of %zu\n", bytes, messages * size);
        exit(1);
    }
    ws_release(pool, &reader);
    ws_pool_free(pool);
    buf_fini(&frames);
    free(text);
    free(input);
    free(copy);
    return spent / (double)messages;
}

int main(void)
{
    static const size_t sizes[] = {64, 256, 1024, 16384};
    printf("%8s %10s %10s %10s %10s   ns per message\n", "bytes", "ascii", "utf-8", "pieces",
        "memcpy");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        printf("%8zu %10.1f %10.1f %10.1f %10.1f\n", sizes[i], measure(ASCII, sizes[i]),
            measure(UTF8, sizes[i]), measure(PIECES, sizes[i]), measure(COPY, sizes[i]));
    return 0;
}
