/* Standard input, line by line, on a loop: a file, a pipe or a terminal, of any length. */
#ifndef HERMES_CLI_INPUT_H
#define HERMES_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "cli/watch.h"

struct input;

/* One line, terminated, without its line feed (`input->line` is its number, from 1); NULL for one
 * that is longer than the limit. */
typedef void input_line(struct input *in, const char *line, size_t len);

/* After each piece that was read, and at the end (`ended`), with an errno or 0. */
typedef void input_turn(struct input *in, int error);

struct input {
    struct watch watch;
    uv_idle_t idle;  /* for a file, which is always ready */
    struct buf rest; /* of a line that is not complete */
    size_t most;
    input_line *each;
    input_turn *turn;
    void *user;
    uint64_t line;
    bool ended;
    bool skipping; /* a line that is too long, up to its end */
    bool open;
    bool paused;
};

/* Starts reading. */
void input_open(
    struct input *in, uv_loop_t *loop, size_t most, input_line *each, input_turn *turn, void *user);
void input_pause(struct input *in);
void input_resume(struct input *in);

/* The struct must stay until the loop has run on. Nothing happens when it was not opened. */
void input_close(struct input *in);

#endif
