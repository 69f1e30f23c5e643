#include "client/trust.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/group.h"

enum { TRUST_FILES = 3 };

/* What tells one state of a file from another. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct trust {
    struct trust *next;
    struct tls_trust *tls;
    unsigned users;
    bool old; /* another is in its place */
    bool insecure;
    struct stamp stamps[TRUST_FILES];
    char *files[TRUST_FILES]; /* authority, certificate, key; NULL where none is named */
    char names[];
};

static void stamp_read(struct stamp *s, const char *path)
{
    struct stat about;
    *s = (struct stamp){0};
    if (path && stat(path, &about) == 0)
        *s = (struct stamp){about.st_dev, about.st_ino, about.st_size, about.st_ctim};
}

static bool stamp_same(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool name_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool unchanged(const struct trust *t)
{
    for (int i = 0; i < TRUST_FILES; i++) {
        struct stamp now;
        stamp_read(&now, t->files[i]);
        if (!stamp_same(&now, &t->stamps[i]))
            return false;
    }
    return true;
}

static struct trust *trust_new(const struct tls_client_paths *paths, struct tls_report *report)
{
    const char *const files[TRUST_FILES] = {paths->ca, paths->certificate, paths->key};
    size_t size = 0;
    for (int i = 0; i < TRUST_FILES; i++)
        size += files[i] ? strlen(files[i]) + 1 : 0;
    struct trust *t = calloc(1, sizeof *t + size);
    if (!t)
        return NULL;
    t->insecure = paths->insecure;
    char *at = t->names;
    for (int i = 0; i < TRUST_FILES; i++) {
        /* Before they are read, so that a change meanwhile is seen later. */
        stamp_read(&t->stamps[i], files[i]);
        if (!files[i])
            continue;
        size_t len = strlen(files[i]) + 1;
        t->files[i] = memcpy(at, files[i], len);
        at += len;
    }
    t->tls = tls_trust_load(paths, report);
    if (t->tls)
        return t;
    free(t);
    return NULL;
}

static void trust_free(struct hermes_client_group *g, struct trust *t)
{
    struct trust **at = &g->trusts;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    tls_trust_drop(t->tls);
    free(t);
}

struct trust *trust_find(struct hermes_client_group *g, const struct tls_client_paths *paths)
{
    struct tls_report report = {"out of memory", ""};
    struct trust *t = g->trusts;
    while (t &&
           (t->old || t->insecure != paths->insecure || !name_same(t->files[0], paths->ca) ||
               !name_same(t->files[1], paths->certificate) || !name_same(t->files[2], paths->key)))
        t = t->next;
    if (t && unchanged(t)) {
        t->users++;
        return t;
    }
    struct trust *fresh = trust_new(paths, &report);
    if (!fresh) {
        _Static_assert(sizeof report.error == sizeof g->problem, "one line");
        memcpy(g->problem, report.error, sizeof g->problem);
        return NULL;
    }
    if (t) {
        t->old = true;
        if (t->users == 0)
            trust_free(g, t);
    }
    fresh->next = g->trusts;
    g->trusts = fresh;
    fresh->users = 1;
    return fresh;
}

struct trust *trust_again(struct hermes_client_group *g, struct trust *t)
{
    if (!t->old && unchanged(t))
        return t;
    struct trust *fresh = trust_find(
        g, &(struct tls_client_paths){t->files[0], t->files[1], t->files[2], t->insecure});
    if (!fresh)
        return t;
    trust_drop(g, t);
    return fresh;
}

struct tls_trust *trust_tls(const struct trust *t)
{
    return t->tls;
}

void trust_drop(struct hermes_client_group *g, struct trust *t)
{
    if (t && --t->users == 0 && t->old)
        trust_free(g, t);
}

void trust_fini(struct hermes_client_group *g)
{
    while (g->trusts)
        trust_free(g, g->trusts);
}
