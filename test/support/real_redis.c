#include "support/real_redis.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MOST = 40 };

/* One that nobody has now. */
static unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

void real_redis_open(struct real_redis *r)
{
    *r = (struct real_redis){.folder = "/tmp/hermes-redis-XXXXXX"};
    assert_non_null(mkdtemp(r->folder));
    r->port = free_port();
}

void real_redis_start(struct real_redis *r, const char *const *more)
{
    char port[12];
    const char *arguments[ARGUMENTS_MOST] = {"redis-server", "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--dir", r->folder, "--port", port};
    size_t count = 11;
    snprintf(port, sizeof port, "%u", r->port);
    while (more && *more && count + 1 < ARGUMENTS_MOST)
        arguments[count++] = *more++;
    pid_t parent = getpid();
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int quiet = open("/dev/null", O_RDWR);
    dup2(quiet, STDIN_FILENO);
    dup2(quiet, STDOUT_FILENO);
    union {
        const char **in;
        char **out;
    } words = {arguments};
    execvp("redis-server", words.out);
    _exit(127);
}

void real_redis_kill(struct real_redis *r)
{
    int status;
    if (r->pid == 0)
        return;
    kill(r->pid, SIGKILL);
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    if (!WIFSIGNALED(status))
        fail_msg("redis-server had ended by itself with code %d", WEXITSTATUS(status));
    r->pid = 0;
}

void real_redis_close(struct real_redis *r)
{
    DIR *folder;
    real_redis_kill(r);
    folder = opendir(r->folder);
    for (struct dirent *one; folder && (one = readdir(folder));)
        (void)unlinkat(dirfd(folder), one->d_name, 0);
    if (folder)
        closedir(folder);
    assert_int_equal(rmdir(r->folder), 0);
}
