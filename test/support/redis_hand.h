/* A connection to a Redis server by which a test itself asks, and waits for the answer: to look at
 * what is there, to do what other brokers would, and to hear what is published.
 *
 * Order: hand_open, which waits until the server can be used, hand_close. Include cmocka.h before
 *   this. */
#ifndef HERMES_SUPPORT_REDIS_HAND_H
#define HERMES_SUPPORT_REDIS_HAND_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/resp_in.h"
#include "cluster/resp_out.h"

enum { HAND_WORDS = 1100, HAND_PATIENCE_S = 60 };

struct hand {
    int fd;
    struct resp_in *in;
    struct resp_out out;
    struct text words[HAND_WORDS];
    unsigned count;
    char bytes[65536];
};

static inline const struct resp *hand_next(struct hand *h)
{
    const struct resp *answer;
    for (;;) {
        enum resp_result result = resp_in_next(h->in, &answer);
        if (result == RESP_DONE)
            return answer;
        assert_int_equal(result, RESP_MORE);
        ssize_t got = recv(h->fd, h->bytes, sizeof h->bytes, 0);
        if (got <= 0)
            fail_msg("redis says nothing");
        resp_in_feed(h->in, h->bytes, (size_t)got);
    }
}

/* The words of the next command, one by one; they have to stay until hand_go. */
static inline void hand_text(struct hand *h, struct text word)
{
    assert_true(h->count < HAND_WORDS);
    h->words[h->count++] = word;
}

static inline void hand_word(struct hand *h, const char *word)
{
    hand_text(h, text_of(word));
}

static inline void hand_send(struct hand *h)
{
    resp_out_begin(&h->out, h->count);
    for (unsigned i = 0; i < h->count; i++)
        resp_out_arg(&h->out, h->words[i]);
    assert_true(resp_out_end(&h->out));
    struct text bytes = resp_out_text(&h->out);
    while (bytes.len > 0) {
        ssize_t sent = send(h->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes.at += sent;
        bytes.len -= (size_t)sent;
    }
    resp_out_clear(&h->out, false);
    h->count = 0;
}

static inline const struct resp *hand_go(struct hand *h)
{
    hand_send(h);
    return hand_next(h);
}

/* A command of words with blanks between. */
static inline const struct resp *hand_do(struct hand *h, const char *line)
{
    while (*line) {
        size_t len = strcspn(line, " ");
        hand_text(h, (struct text){line, len});
        line += len + strspn(line + len, " ");
    }
    return hand_go(h);
}

/* One that is answered by a number. */
static inline int64_t hand_number(struct hand *h, const char *line)
{
    const struct resp *answer = hand_do(h, line);
    assert_int_equal(answer->kind, RESP_INTEGER);
    return answer->integer;
}

static inline void hand_close(struct hand *h)
{
    close(h->fd);
    resp_in_free(h->in);
    resp_out_fini(&h->out);
    free(h);
}

static inline struct hand *hand_open(unsigned port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = HAND_PATIENCE_S};
    struct hand *h = calloc(1, sizeof *h);
    uint64_t end = clock_ms() + HAND_PATIENCE_S * 1000;
    assert_non_null(h);
    for (;;) {
        h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(h->fd >= 0);
        if (connect(h->fd, (struct sockaddr *)&at, sizeof at) == 0)
            break;
        close(h->fd);
        assert_true(clock_ms() < end); /* it has just been started */
        usleep(1000);
    }
    setsockopt(h->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    h->in = resp_in_new();
    assert_non_null(h->in);
    while (hand_do(h, "PING")->kind != RESP_STATUS)
        assert_true(clock_ms() < end);
    return h;
}

/* --- ends of others --------------------------------------------------------------------------- */

/* Ends the connections that subscribe to something, or those that do not, but of the connections
 * whose ids are in `spared`. Returns how many. */
static inline unsigned hand_kill(
    struct hand *h, bool subscribers, const int64_t *spared, size_t spared_count)
{
    int64_t ids[64];
    unsigned count = 0;
    const struct resp *list = hand_do(h, "CLIENT LIST");
    assert_int_equal(list->kind, RESP_TEXT);
    char *lines = strndup(list->text.at, list->text.len);
    assert_non_null(lines);
    for (char *rest = lines, *line; (line = strsep(&rest, "\n")) != NULL;) {
        const char *sub = strstr(line, " sub=");
        if (strncmp(line, "id=", 3) != 0 || !sub || (atoi(sub + 5) > 0) != subscribers)
            continue;
        int64_t id = atoll(line + 3);
        bool keep = false;
        for (size_t i = 0; i < spared_count; i++)
            keep |= spared[i] == id;
        assert_true(count < 64);
        if (!keep)
            ids[count++] = id;
    }
    free(lines);
    for (unsigned i = 0; i < count; i++) {
        char line[60];
        snprintf(line, sizeof line, "CLIENT KILL ID %lld", (long long)ids[i]);
        hand_do(h, line); /* may be gone by itself */
    }
    return count;
}

#endif
