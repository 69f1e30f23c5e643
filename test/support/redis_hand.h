/* A connection to a Redis server by which a test itself asks, and waits for the answer: to look at
 * what is there, to do what other brokers would, and to hear what is published.
 *
 * Order: hand_open, which waits until the server can be used, hand_close. Include cmocka.h before
 *   this. */
#ifndef HERMES_SUPPORT_REDIS_HAND_H
#define HERMES_SUPPORT_REDIS_HAND_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/pattern.h"
#include "cluster/payload.h"
#include "cluster/resp_in.h"
#include "cluster/resp_out.h"
#include "cluster/scripts.h"

enum { HAND_WORDS = 1100, HAND_PATIENCE_S = 60 };

struct hand {
    int fd;
    struct resp_in *in;
    struct resp_out out;
    struct text words[HAND_WORDS];
    unsigned count;
    char run[17]; /* of the server, see cluster/scripts.c */
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
        ssize_t got;
        do /* what io_uring has done is told by a signal, too */
            got = recv(h->fd, h->bytes, sizeof h->bytes, 0);
        while (got < 0 && errno == EINTR);
        if (got <= 0)
            fail_msg("redis says nothing: %s", got ? strerror(errno) : "it has hung up");
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
        ssize_t sent;
        do
            sent = send(h->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
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
    const struct resp *info = hand_do(h, "INFO server");
    const char *run = memmem(info->text.at, info->text.len, "run_id:", 7);
    assert_non_null(run);
    snprintf(h->run, sizeof h->run, "%.16s", run + 7);
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

/* --- as another broker ------------------------------------------------------------------------ */

/* How often a command has been called since CONFIG RESETSTAT. */
static inline unsigned hand_calls(struct hand *h, const char *command)
{
    char wanted[60];
    const struct resp *info = hand_do(h, "INFO commandstats");
    int len = snprintf(wanted, sizeof wanted, "cmdstat_%s:calls=", command);
    const char *at = memmem(info->text.at, info->text.len, wanted, (size_t)len);
    return at ? (unsigned)atoi(at + len) : 0;
}

struct hand_place {
    uint64_t epoch;
    uint64_t offset; /* of the last message */
};

/* Publishes `count` messages, whose data are the numbers from `first` on. `keeps`: how many are
 * kept; 0: none. `epoch`: if it has none. */
static inline struct hand_place hand_publish(struct hand *h, const char *topic, uint64_t epoch,
    uint32_t keeps, uint64_t first, uint32_t count)
{
    static const char *const idle = "3600000";
    char keys[2][300], channels[2][300], head[PAYLOAD_HEAD], number[20], kept[20],
        proposed[HEX_DIGITS + 16];
    char *rest = malloc(400 + (size_t)count * 24);
    char *frames = malloc((size_t)count * 24);
    struct text name = text_of(topic), segments = name, segment = segment_take(&segments);
    struct payload p = {.kind = PAYLOAD_MESSAGES, .count = count, .topic = name};
    struct hand_place place;
    size_t len = 0;
    assert_non_null(rest);
    assert_non_null(frames);
    payload_head(&p, head);
    snprintf(keys[0], sizeof keys[0], "hermes:t:%s", topic);
    snprintf(keys[1], sizeof keys[1], "hermes:h:%s", topic);
    snprintf(channels[0], sizeof channels[0], "hermes:m:%s", topic);
    snprintf(channels[1], sizeof channels[1], "hermes:p:%.*s", (int)segment.len, segment.at);
    snprintf(number, sizeof number, "%u", count);
    snprintf(kept, sizeof kept, "%u", keeps);
    hex_write(epoch, proposed);
    memcpy(proposed + HEX_DIGITS, h->run, 16);
    memcpy(rest, head, sizeof head);
    memcpy(rest + sizeof head, name.at, name.len);
    hand_word(h, "EVAL");
    hand_word(h, cluster_scripts[keeps ? SCRIPT_KEEP : SCRIPT_PUBLISH]);
    hand_word(h, keeps ? "2" : "1");
    hand_word(h, keys[0]);
    if (keeps)
        hand_word(h, keys[1]);
    hand_word(h, number);
    hand_text(h, (struct text){proposed, sizeof proposed});
    hand_word(h, idle);
    hand_word(h, "0");
    hand_word(h, channels[0]);
    hand_word(h, "hermes:p:");
    hand_word(h, channels[1]);
    hand_text(h, (struct text){rest, sizeof head + name.len});
    if (keeps) {
        hand_word(h, kept);
        hand_word(h, "0");
        hand_word(h, "0");
        hand_word(h, "0");
    }
    for (uint32_t i = 0; i < count; i++) {
        char *at = frames + len;
        int digits = snprintf(at + 2, 22, "%llu", (unsigned long long)(first + i));
        at[0] = (char)0x81;
        at[1] = (char)digits;
        len += 2 + (size_t)digits;
        if (keeps)
            hand_text(h, (struct text){at, 2 + (size_t)digits});
    }
    if (!keeps) {
        memcpy(rest + sizeof head + name.len, frames, len);
        h->words[h->count - 1].len += len;
    }
    const struct resp *answer = hand_go(h);
    if (answer->kind != RESP_TEXT || answer->text.len != 2 * (size_t)HEX_DIGITS)
        fail_msg("%.*s", (int)answer->text.len, answer->text.at);
    assert_true(hex_read((struct text){answer->text.at, HEX_DIGITS}, &place.epoch));
    assert_true(hex_read((struct text){answer->text.at + HEX_DIGITS, HEX_DIGITS}, &place.offset));
    free(rest);
    free(frames);
    return place;
}

#endif
