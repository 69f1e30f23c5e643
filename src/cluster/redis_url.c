#include "cluster/redis_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { HOST_MOST = 253, SECRET_MOST = 4096, DB_MOST = 65535 };

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decoded and terminated, so a zero byte cannot be in it. */
static const char *decode(char **out, struct text from)
{
    if (from.len > SECRET_MOST)
        return "the user or the password is too long";
    char *at = *out = malloc(from.len + 1);
    if (!at)
        return "there is no memory";
    for (size_t i = 0; i < from.len; i++, at++) {
        *at = from.at[i];
        if (*at != '%')
            continue;
        int high = i + 2 < from.len ? digit(from.at[i + 1]) : -1;
        int low = high >= 0 ? digit(from.at[i + 2]) : -1;
        *at = (char)(low >= 0 ? high << 4 | low : 0);
        if (*at == 0)
            return "a % in the user or the password has to be followed by two hexadecimal digits, "
                   "and %25 stands for itself";
        i += 2;
    }
    *at = 0;
    return NULL;
}

static const char *scheme_read(struct redis_url *url, struct text *rest)
{
    size_t plain = sizeof "redis://" - 1;
    url->tls = rest->len > plain && strncasecmp(rest->at, "rediss://", plain + 1) == 0;
    if (!url->tls && (rest->len < plain || strncasecmp(rest->at, "redis://", plain) != 0))
        return "it has to begin with redis:// or rediss://";
    rest->at += plain + url->tls;
    rest->len -= plain + url->tls;
    return NULL;
}

static const char *user_read(struct redis_url *url, struct text *rest)
{
    /* The last @: whoever forgets to encode one in a password means that, and a host has none. */
    const char *end = memrchr(rest->at, '@', rest->len);
    if (!end)
        return NULL;
    struct text all = {rest->at, (size_t)(end - rest->at)};
    rest->len -= all.len + 1;
    rest->at = end + 1;
    const char *colon = memchr(all.at, ':', all.len);
    if (!colon)
        return "a user needs a password: user:password@host, or :password@host";
    struct text user = {all.at, (size_t)(colon - all.at)};
    struct text password = {colon + 1, all.len - user.len - 1};
    if (password.len == 0)
        return "the password is empty";
    const char *error = user.len > 0 ? decode(&url->user, user) : NULL;
    return error ? error : decode(&url->password, password);
}

static bool host_char(char c, bool ipv6)
{
    if (digit(c) >= 0 || c == '.')
        return true;
    if (ipv6)
        return c == ':';
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static const char *host_read(struct redis_url *url, struct text *rest)
{
    bool ipv6 = rest->len > 0 && *rest->at == '[';
    const char *at = rest->at + ipv6;
    size_t most = rest->len - ipv6;
    size_t len = 0;
    while (len < most && host_char(at[len], ipv6))
        len++;
    if (len == 0)
        return "there is no host in it";
    if (len > HOST_MOST)
        return "the host's name is too long";
    if (ipv6 && (len == most || at[len] != ']'))
        return "an IPv6 address has to stand in brackets, as [::1]";
    url->host = malloc(len + 1);
    if (!url->host)
        return "there is no memory";
    memcpy(url->host, at, len);
    url->host[len] = 0;
    rest->at = at + len + ipv6;
    rest->len = most - len - ipv6;
    return NULL;
}

/* Digits up to something else, or -1. */
static long number_read(struct text *rest, long most)
{
    long number = 0;
    size_t len = 0;
    for (; len < rest->len && rest->at[len] >= '0' && rest->at[len] <= '9'; len++) {
        number = number * 10 + (rest->at[len] - '0');
        if (number > most)
            return -1;
    }
    rest->at += len;
    rest->len -= len;
    return len > 0 ? number : -1;
}

static const char *port_read(struct redis_url *url, struct text *rest)
{
    long port = 6379;
    if (rest->len > 0 && *rest->at == ':') {
        rest->at++;
        rest->len--;
        port = number_read(rest, 65535);
    }
    if (port <= 0)
        return "the port has to be a number from 1 to 65535";
    snprintf(url->port, sizeof url->port, "%u", (unsigned)port & 0xffff);
    return NULL;
}

static const char *db_read(struct redis_url *url, struct text *rest)
{
    if (rest->len == 0)
        return NULL;
    if (*rest->at != '/')
        return "what follows the host has to be :port or /database";
    rest->at++;
    rest->len--;
    long db = rest->len > 0 ? number_read(rest, DB_MOST) : 0;
    if (db < 0 || rest->len > 0)
        return "the database behind the / has to be a number";
    url->db = (unsigned)db;
    return NULL;
}

static const char *url_read(struct redis_url *url, struct text rest)
{
    static const char *(*const steps[])(struct redis_url *, struct text *) = {
        scheme_read, user_read, host_read, port_read, db_read};
    const char *error = NULL;
    for (size_t i = 0; !error && i < sizeof steps / sizeof *steps; i++)
        error = steps[i](url, &rest);
    return error;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next of those between commas, without blanks around it. */
static struct text url_next(const char **at)
{
    struct text next = {*at, strcspn(*at, ",")};
    *at += next.len + (next.at[next.len] == ',');
    while (next.len > 0 && blank(*next.at)) {
        next.at++;
        next.len--;
    }
    while (next.len > 0 && blank(next.at[next.len - 1]))
        next.len--;
    return next;
}

size_t redis_urls_read(const char *text, struct redis_url **list, char *error, size_t error_size)
{
    size_t commas = 0;
    for (const char *c = text; *c; c++)
        commas += *c == ',';
    *list = NULL;
    if (commas >= REDIS_URLS_MAX) {
        snprintf(error, error_size, "there are more than %d addresses in it", REDIS_URLS_MAX);
        return 0;
    }
    *list = calloc(commas + 1, sizeof **list);
    const char *why = *list ? NULL : "there is no memory";
    size_t count = 0;
    while (!why && count <= commas)
        why = url_read(*list + count++, url_next(&text));
    if (!why)
        return count;
    /* No piece of the text is told: it could be one of a password. */
    if (commas > 0)
        snprintf(error, error_size, "address %zu of %zu: %s", count, commas + 1, why);
    else
        snprintf(error, error_size, "%s", why);
    redis_urls_free(*list, count);
    *list = NULL;
    return 0;
}

void redis_urls_free(struct redis_url *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) {
        if (list[i].password)
            explicit_bzero(list[i].password, strlen(list[i].password));
        free(list[i].user);
        free(list[i].password);
        free(list[i].host);
    }
    free(list);
}
