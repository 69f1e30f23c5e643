#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/die.h"
#include "cli/cli.h"
#include "cli/link.h"

enum {
    LINES_MOST = 256 << 10, /* then they are written at once */
    WRITE_MOST = 4096,      /* what a pipe that is ready takes without blocking (PIPE_BUF) */
};

static void turn(uv_check_t *check)
{
    lines_flush(check->data);
}

static void reader_gone(struct watch *w)
{
    struct lines *l = (struct lines *)((char *)w - offsetof(struct lines, reader));
    link_quit(l->link, CLI_OK);
}

void lines_open(struct lines *l, struct link *link)
{
    *l = (struct lines){.link = link};
    MUST(uv_check_init(&link->loop, &l->turn) == 0);
    l->turn.data = l;
    uv_check_start(&l->turn, turn);
    /* A file has no reader, and cannot be watched. */
    (void)watch_open(&l->reader, &link->loop, STDOUT_FILENO, 0, reader_gone);
}

void lines_close(struct lines *l)
{
    if (!l->link)
        return;
    lines_flush(l);
    buf_fini(&l->text);
    uv_close((uv_handle_t *)&l->turn, NULL);
    watch_close(&l->reader);
}

void lines_add(struct lines *l, const char *text, size_t len)
{
    size_t start = l->text.len;
    buf_append(&l->text, text, len);
    buf_append_char(&l->text, '\n');
    MUST(!l->text.failed);
    if (len && (memchr(text, '\n', len) || memchr(text, '\r', len)))
        for (char *at = l->text.data + start, *end = at + len; at < end; at++)
            if (*at == '\n' || *at == '\r')
                *at = ' ';
    if (l->text.len >= LINES_MOST)
        lines_flush(l);
}

/* Waits until standard output takes more; false when a signal came first. */
static bool wait_for_room(const struct lines *l)
{
    struct pollfd fds[2] = {
        {.fd = STDOUT_FILENO, .events = POLLOUT}, {.fd = l->link->signal_fd, .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, 2, -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (fds[0].revents)
            return true;
        if (fds[1].revents)
            return false;
    }
}

void lines_flush(struct lines *l)
{
    size_t at = 0;
    while (at < l->text.len) {
        if (!wait_for_room(l)) {
            link_quit(l->link, CLI_OK);
            break;
        }
        size_t len = l->text.len - at;
        ssize_t written =
            write(STDOUT_FILENO, l->text.data + at, len < WRITE_MOST ? len : WRITE_MOST);
        if (written >= 0) {
            at += (size_t)written;
        } else if (errno == EPIPE) {
            link_quit(l->link, CLI_OK);
            break;
        } else if (errno != EINTR && errno != EAGAIN) {
            link_error(l->link, "cannot write to standard output: %s", strerror(errno));
            link_quit(l->link, CLI_FAILED);
            break;
        }
    }
    buf_clear(&l->text);
}
