#include "cli/input.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/die.h"

static void line_end(struct input *in)
{
    in->line++;
    if (in->skipping) {
        in->each(in, NULL, 0);
    } else {
        buf_append_char(&in->rest, 0);
        MUST(!in->rest.failed);
        in->each(in, in->rest.data, in->rest.len - 1);
    }
    in->skipping = false;
    buf_clear(&in->rest);
}

static void line_add(struct input *in, const char *bytes, size_t len)
{
    if (in->skipping || len > in->most - in->rest.len) {
        in->skipping = true;
        buf_fini(&in->rest);
        return;
    }
    buf_append(&in->rest, bytes, len);
}

static void take_piece(struct input *in)
{
    char bytes[65536];
    ssize_t len = read(STDIN_FILENO, bytes, sizeof bytes);
    if (len < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (len <= 0) {
        int error = len < 0 ? errno : 0;
        if (in->rest.len > 0 || in->skipping)
            line_end(in);
        in->ended = true;
        input_pause(in);
        in->turn(in, error);
        return;
    }
    const char *at = bytes;
    const char *end = bytes + len;
    for (const char *feed; (feed = memchr(at, '\n', (size_t)(end - at))) != NULL; at = feed + 1) {
        line_add(in, at, (size_t)(feed - at));
        line_end(in);
    }
    line_add(in, at, (size_t)(end - at));
    in->turn(in, 0);
}

static void ready(struct watch *w)
{
    take_piece((struct input *)w);
}

static void idle(uv_idle_t *handle)
{
    take_piece(handle->data);
}

void input_open(
    struct input *in, uv_loop_t *loop, size_t most, input_line *each, input_turn *turn, void *user)
{
    *in = (struct input){
        .most = most, .each = each, .turn = turn, .user = user, .open = true, .paused = true};
    uv_idle_init(loop, &in->idle);
    in->idle.data = in;
    /* A file cannot be watched, nor need it. */
    (void)watch_open(&in->watch, loop, STDIN_FILENO, EPOLLIN, ready);
    watch_pause(&in->watch);
    input_resume(in);
}

void input_pause(struct input *in)
{
    if (!in->open || in->paused)
        return;
    in->paused = true;
    watch_pause(&in->watch);
    uv_idle_stop(&in->idle);
}

void input_resume(struct input *in)
{
    if (!in->open || !in->paused || in->ended)
        return;
    in->paused = false;
    if (in->watch.open)
        watch_resume(&in->watch);
    else
        uv_idle_start(&in->idle, idle);
}

void input_close(struct input *in)
{
    if (!in->open)
        return;
    in->open = false;
    watch_close(&in->watch);
    uv_close((uv_handle_t *)&in->idle, NULL);
    buf_fini(&in->rest);
}
