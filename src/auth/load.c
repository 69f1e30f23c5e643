#include "auth/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum auth_load auth_refuse(
    const struct auth_source *source, enum auth_load code, const char *format, ...)
{
    va_list args;
    if (source->size == 0)
        return code;
    int len = snprintf(source->error, source->size, "%s: ", source->name);
    size_t at = len < 0 ? 0 : (size_t)len;
    if (at < source->size) {
        va_start(args, format);
        vsnprintf(source->error + at, source->size - at, format, args);
        va_end(args);
    }
    for (char *c = source->error; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return code;
}

static enum auth_load read_all(const struct auth_source *source, int fd, struct secret *out)
{
    size_t len = 0;
    /* One byte more than it had: it may grow while it is read. */
    while (len < out->len + 1) {
        ssize_t got = read(fd, out->at + len, out->len + 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return auth_refuse(source, AUTH_UNREADABLE, "cannot be read: %s", strerror(errno));
        if (got == 0)
            break;
        len += (size_t)got;
    }
    if (len > out->len)
        return auth_refuse(source, AUTH_UNREADABLE, "is being written to: try again");
    out->len = len;
    return AUTH_LOADED;
}

static enum auth_load read_open(
    const struct auth_source *source, int fd, size_t most, struct secret *out)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return auth_refuse(source, AUTH_UNREADABLE, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return auth_refuse(source, AUTH_UNREADABLE, "is %s: give a file",
            S_ISDIR(status.st_mode) ? "a directory" : "no regular file");
    if ((uintmax_t)status.st_size > most)
        return auth_refuse(source, AUTH_UNUSABLE, "has %ju bytes: give at most %zu",
            (uintmax_t)status.st_size, most);
    if (!secret_init(out, (size_t)status.st_size))
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    enum auth_load code = read_all(source, fd, out);
    if (code != AUTH_LOADED)
        secret_fini(out);
    return code;
}

enum auth_load auth_read(const struct auth_source *source, size_t most, struct secret *out)
{
    *out = (struct secret){0};
    /* Not to wait for a writer, should it be a FIFO. */
    int fd = open(source->name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return auth_refuse(source, AUTH_UNREADABLE, "cannot be opened: %s", strerror(errno));
    enum auth_load code = read_open(source, fd, most, out);
    close(fd);
    return code;
}
