#include "preflight.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static bool line_of(const char *path, char *text, int size)
{
    FILE *file = fopen(path, "re");
    const bool got = file && fgets(text, size, file);
    if (file)
        fclose(file);
    return got;
}

static uint64_t number_of(const char *path)
{
    char text[64];
    return line_of(path, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

static uint64_t raise_own_files(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    if (limit.rlim_max < wanted) { /* the system's own bound, which root may go to */
        const rlim_t most = number_of("/proc/sys/fs/nr_open");
        const struct rlimit more = {most, most};
        if (most > limit.rlim_max && setrlimit(RLIMIT_NOFILE, &more) == 0)
            return most;
    }
    const rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : soft;
}

static uint64_t files_of(long pid)
{
    char path[64], line[256];
    uint64_t files = 0;
    snprintf(path, sizeof path, "/proc/%ld/limits", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "Max open files", 14) == 0)
            files =
                strtoull(line + 14, NULL, 10); /* "unlimited" is not known, which does as well */
    }
    if (file)
        fclose(file);
    return files;
}

static uint64_t open_in(long pid)
{
    char path[64];
    uint64_t count = 0;
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count > 2 ? count - 2 : 0;
}

/* An address is of this machine when one can bind to it. */
static bool is_local(const char *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *first = NULL;
    bool local = false;
    if (!host || getaddrinfo(host, NULL, &hints, &first))
        return false;
    for (const struct addrinfo *a = first; a && !local; a = a->ai_next) {
        const int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        local = bind(fd, a->ai_addr, a->ai_addrlen) == 0;
        close(fd);
    }
    freeaddrinfo(first);
    return local;
}

static uint64_t time_wait(void)
{
    char line[256];
    uint64_t count = 0;
    FILE *file = fopen("/proc/net/sockstat", "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *tw = strncmp(line, "TCP:", 4) == 0 ? strstr(line, " tw ") : NULL;
        if (tw)
            count = strtoull(tw + 4, NULL, 10);
    }
    if (file)
        fclose(file);
    return count;
}

/* The least backlog of those that listen at the port, from the kernel's answer. False: its end. */
static bool least_backlog(struct nlmsghdr *first, size_t size, uint16_t port, uint64_t *least)
{
    for (struct nlmsghdr *h = first; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
        if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
            return false;
        const struct inet_diag_msg *socket = NLMSG_DATA(h);
        if (ntohs(socket->id.idiag_sport) != port)
            continue;
        if (*least == 0 || socket->idiag_wqueue < *least)
            *least = socket->idiag_wqueue; /* of a listening socket: its backlog */
    }
    return true;
}

static uint64_t backlog_of(uint16_t port)
{
    enum { LISTEN = 10 }; /* TCP_LISTEN, which two headers define, at odds */
    const int families[] = {AF_INET, AF_INET6};
    union {
        struct nlmsghdr header;
        char bytes[8192];
    } answer;
    uint64_t least = 0;
    for (size_t i = 0; i < 2; i++) {
        struct {
            struct nlmsghdr header;
            struct inet_diag_req_v2 body;
        } ask;
        memset(&ask, 0, sizeof ask);
        ask.header.nlmsg_len = sizeof ask;
        ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
        ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        ask.body.sdiag_family = (uint8_t)families[i];
        ask.body.sdiag_protocol = IPPROTO_TCP;
        ask.body.idiag_states = 1u << LISTEN;
        const int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        if (fd < 0)
            return 0;
        ssize_t got = send(fd, &ask, sizeof ask, 0);
        while (got > 0) {
            got = recv(fd, &answer, sizeof answer, 0);
            if (got <= 0 || !least_backlog(&answer.header, (size_t)got, port, &least))
                break;
        }
        close(fd);
    }
    return least;
}

void preflight_read(const struct preflight *p, struct preflight_facts *f)
{
    char range[64];
    memset(f, 0, sizeof *f);
    f->files = raise_own_files(p->connections + 64);
    if (p->pid > 0) {
        f->server_files = files_of(p->pid);
        f->server_open = open_in(p->pid);
    }
    if (line_of("/proc/sys/net/ipv4/ip_local_port_range", range, sizeof range)) {
        char *end;
        const uint64_t low = strtoull(range, &end, 10), high = strtoull(end, NULL, 10);
        f->ports = high >= low && high < 65536 ? high - low + 1 : 0;
    }
    f->local = is_local(p->host);
    f->time_wait = time_wait();
    const uint64_t reuse = number_of("/proc/sys/net/ipv4/tcp_tw_reuse");
    f->time_wait_reused = reuse == 1 || (reuse == 2 && f->local); /* 2: on loopback */
    f->somaxconn = number_of("/proc/sys/net/core/somaxconn");
    f->backlog = f->local ? backlog_of(p->port) : 0;
    f->tracked = number_of("/proc/sys/net/netfilter/nf_conntrack_max");
    f->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
}
