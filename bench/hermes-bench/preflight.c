#include "preflight.h"

#include "human.h"

#include <stdarg.h>

/* Beside its connections a process has files, pipes and epolls open. */
enum { OTHER_FILES = 64, TIME_WAIT_SECONDS = 60 };

struct verdict {
    FILE *out;
    bool possible, quiet;
};

static __attribute__((format(printf, 3, 4))) void say(
    struct verdict *v, bool impossible, const char *format, ...)
{
    va_list arguments;
    fputs(impossible ? "cannot: " : "limit: ", v->out);
    va_start(arguments, format);
    vfprintf(v->out, format, arguments);
    va_end(arguments);
    putc('\n', v->out);
    v->quiet = false;
    if (impossible)
        v->possible = false;
}

#define COUNT(n) human_count((double)(n)).text

static void judge_files(
    const struct preflight *p, const struct preflight_facts *f, struct verdict *v)
{
    const uint64_t own = p->connections + OTHER_FILES;
    const uint64_t theirs = p->connections + (f->server_open ? f->server_open : OTHER_FILES);
    if (f->files && f->files < own)
        say(v, true,
            "%s connections need %s descriptors here, %s are allowed; raise: ulimit -Hn %llu",
            COUNT(p->connections), COUNT(own), COUNT(f->files), (unsigned long long)own);
    if (f->server_files && f->server_files < theirs)
        say(v, true,
            "the server would need %s descriptors (%s are open now), %s are allowed; start it "
            "after: "
            "ulimit -n %llu",
            COUNT(theirs), COUNT(f->server_open), COUNT(f->server_files),
            (unsigned long long)theirs);
}

static void judge_ports(
    const struct preflight *p, const struct preflight_facts *f, struct verdict *v)
{
    const uint64_t sources = p->sources ? p->sources : 1;
    const uint64_t ports = f->ports * sources, lasting = ports / TIME_WAIT_SECONDS;
    const double closed = p->connects_per_second * TIME_WAIT_SECONDS;
    if (ports == 0)
        return;
    if (ports < p->connections) {
        const uint64_t needed = (p->connections + f->ports - 1) / f->ports;
        say(v, true,
            "%s source address%s, %s ports each: %s connections to one address and port, %s are "
            "wanted; name %s: --source %s",
            COUNT(sources), sources == 1 ? "" : "es", COUNT(f->ports), COUNT(ports),
            COUNT(p->connections), COUNT(needed),
            f->local ? "127.0.0.1,127.0.0.2,…" : "more addresses of this machine");
    } else if (!f->time_wait_reused && ports < p->connections + f->time_wait) {
        say(v, false,
            "%s ports are in TIME_WAIT for up to a minute, %s connections may find too few of %s; "
            "wait, or name more by --source",
            COUNT(f->time_wait), COUNT(p->connections), COUNT(ports));
    } else if (!f->time_wait_reused && closed > (double)ports) {
        say(v, false,
            "a closed connection holds its port for %d s: %s ports allow %s connects/s for long, "
            "not %s; sysctl net.ipv4.tcp_tw_reuse=1, or name more by --source",
            (int)TIME_WAIT_SECONDS, COUNT(ports), COUNT(lasting), COUNT(p->connects_per_second));
    }
}

static void judge_backlog(
    const struct preflight *p, const struct preflight_facts *f, struct verdict *v)
{
    const uint64_t backlog = f->backlog ? f->backlog : f->somaxconn;
    /* Paced, it is what comes while the server is busy with something else for a tenth of a
     * second. */
    const uint64_t together =
        p->at_once && p->at_once < p->connections ? p->at_once : p->connections;
    const uint64_t burst =
        p->connects_per_second > 0 ? (uint64_t)(p->connects_per_second / 10) : together;
    if (!f->local || backlog == 0 || burst <= backlog)
        return;
    if (f->backlog == 0 || f->somaxconn <= f->backlog)
        say(v, false,
            "up to %s connects at once meet a backlog of %s (somaxconn): those beyond are tried "
            "again after a second; sysctl net.core.somaxconn=%s and start the server anew",
            COUNT(burst), COUNT(backlog), "65535");
    else
        say(v, false,
            "up to %s connects at once meet the server's backlog of %s: those beyond are tried "
            "again after a second; WS_BACKLOG for Hermes, up to somaxconn, %s",
            COUNT(burst), COUNT(backlog), COUNT(f->somaxconn));
}

static void judge_machine(
    const struct preflight *p, const struct preflight_facts *f, struct verdict *v)
{
    if (f->tracked && f->tracked < p->connections)
        say(v, false,
            "the firewall remembers %s connections, %s are wanted: others are dropped where it "
            "looks; sysctl net.netfilter.nf_conntrack_max",
            COUNT(f->tracked), COUNT(p->connections));
    if (f->processors && p->threads > f->processors)
        say(v, false, "%u threads on %u processors wait for each other, which counts as latency",
            p->threads, f->processors);
    else if (f->processors && f->local && p->threads >= f->processors)
        say(v, false,
            "the server runs here too: %u thread%s of this tool and it share %u processor%s, so "
            "latencies hold waiting for both; CPU figures do not",
            p->threads, p->threads == 1 ? "" : "s", f->processors, f->processors == 1 ? "" : "s");
}

bool preflight_judge(const struct preflight *p, const struct preflight_facts *f, FILE *out)
{
    struct verdict v = {out, true, true};
    judge_files(p, f, &v);
    judge_ports(p, f, &v);
    judge_backlog(p, f, &v);
    judge_machine(p, f, &v);
    if (v.quiet)
        fprintf(out, "no limit in the way: %s descriptors, %s ports a source address\n",
            COUNT(f->files), COUNT(f->ports));
    return v.possible;
}

bool preflight_check(const struct preflight *p, FILE *out)
{
    struct preflight_facts facts;
    preflight_read(p, &facts);
    return preflight_judge(p, &facts, out);
}
