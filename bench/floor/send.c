/* The batch of a round, and how it gets out: at fan-out the bytes of the one topic go to each
 * subscriber as they lie; with several topics each subscriber's spans are gathered first.
 *
 * Gathered by memcpy rather than by an iovec: with a dozen spans of 64 or 256 bytes that takes 8 %
 * less processor time, with spans of 1 KiB 12 % more; where the benches have several they are few.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <sys/epoll.h>

void *floor_grow(void *array, uint32_t *cap, size_t size)
{
    *cap = *cap ? *cap * 2 : 4;
    void *bigger = realloc(array, *cap * size);
    if (!bigger)
        load_die("no memory");
    return bigger;
}

static size_t head_put(unsigned char *to, size_t len)
{
    to[0] = 0x81;
    if (len < 126) {
        to[1] = (unsigned char)len;
        return 2;
    }
    if (len < 65536) {
        to[1] = 126;
        to[2] = (unsigned char)(len >> 8);
        to[3] = (unsigned char)len;
        return 4;
    }
    to[1] = 127;
    for (int i = 0; i < 8; i++)
        to[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    return 10;
}

void floor_publish(struct floor *f, struct topic *topic, const unsigned char *data, size_t len,
    size_t phase, const unsigned char mask[4])
{
    if (f->batch_len + len + 18 > f->batch_cap) {
        f->batch_cap = (f->batch_len + len + 18) * 2;
        if (f->batch_cap > BATCH_LIMIT || !(f->batch = realloc(f->batch, f->batch_cap)))
            load_die("more than %d bytes in one round", BATCH_LIMIT);
    }
    uint32_t from = (uint32_t)f->batch_len;
    unsigned char *to = f->batch + from;
    to += head_put(to, len);
    unmask(to, data, len, phase, mask);
    f->batch_len = (size_t)(to + len - f->batch);

    if (f->run_count && f->runs[f->run_count - 1].topic == topic) {
        f->runs[f->run_count - 1].len = (uint32_t)f->batch_len - f->runs[f->run_count - 1].from;
        return;
    }
    if (f->run_count == f->run_cap)
        f->runs = floor_grow(f->runs, &f->run_cap, sizeof *f->runs);
    f->runs[f->run_count++] = (struct run){topic, from, (uint32_t)f->batch_len - from};
}

static void peer_keep_unsent(
    struct floor *f, struct peer *p, const unsigned char *bytes, size_t len)
{
    if (p->out_from && p->out_len + len > p->out_cap) {
        memmove(p->out, p->out + p->out_from, p->out_len -= p->out_from);
        p->out_from = 0;
    }
    if (p->out_len + len > p->out_cap) {
        p->out_cap = (p->out_len + len) * 2;
        if (p->out_cap > BATCH_LIMIT || !(p->out = realloc(p->out, p->out_cap)))
            load_die("a subscriber does not read: more than %d bytes wait", BATCH_LIMIT);
    }
    memcpy(p->out + p->out_len, bytes, len);
    p->out_len += len;
    if (!p->waits_to_write) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.fd = p->fd};
        p->waits_to_write = true;
        epoll_ctl(f->epoll, EPOLL_CTL_MOD, p->fd, &e);
    }
}

void peer_put(struct floor *f, struct peer *p, const void *bytes, size_t len)
{
    ssize_t n = 0;
    if (!p->waits_to_write) {
        n = send(p->fd, bytes, len, MSG_NOSIGNAL);
        if (n == (ssize_t)len)
            return;
        if (n < 0 && errno != EAGAIN)
            return; /* the read side will see that it is gone */
        n = n < 0 ? 0 : n;
    }
    peer_keep_unsent(f, p, (const unsigned char *)bytes + n, len - (size_t)n);
}

void peer_send(struct floor *f, struct peer *p, const void *bytes, size_t len)
{
    if (p->tls)
        peer_seal(f, p, bytes, len);
    else
        peer_put(f, p, bytes, len);
}

void peer_write(struct floor *f, struct peer *p)
{
    ssize_t n = send(p->fd, p->out + p->out_from, p->out_len - p->out_from, MSG_NOSIGNAL);
    if (n < 0)
        n = errno == EAGAIN ? 0 : (ssize_t)(p->out_len - p->out_from);
    p->out_from += (size_t)n;
    if (p->out_from == p->out_len) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = p->fd};
        p->out_from = p->out_len = 0;
        p->waits_to_write = false;
        epoll_ctl(f->epoll, EPOLL_CTL_MOD, p->fd, &e);
    }
}

void peer_gather(struct floor *f, struct peer *p)
{
    uint32_t at = p->first_span;
    size_t len = 0;
    if (!at)
        return; /* gone, or sent before its unsubscription was acknowledged */
    p->first_span = p->last_span = 0;
    if (!f->spans[at].next) {
        peer_send(f, p, f->batch + f->spans[at].from, f->spans[at].len);
        return;
    }
    if (f->gather_cap < f->batch_len) {
        f->gather_cap = f->batch_len * 2;
        if (!(f->gather = realloc(f->gather, f->gather_cap)))
            load_die("no memory");
    }
    for (; at; at = f->spans[at].next) {
        memcpy(f->gather + len, f->batch + f->spans[at].from, f->spans[at].len);
        len += f->spans[at].len;
    }
    peer_send(f, p, f->gather, len);
}

void floor_route(struct floor *f)
{
    for (uint32_t r = 0; r < f->run_count; r++) {
        const struct run *run = &f->runs[r];
        for (uint32_t i = 0; i < run->topic->count; i++) {
            struct peer *p = run->topic->places[i].peer;
            struct span *last = &f->spans[p->last_span];
            if (p->last_span && last->from + last->len == run->from) {
                last->len += run->len;
                continue;
            }
            if (f->span_count == f->span_cap) {
                f->spans = floor_grow(f->spans, &f->span_cap, sizeof *f->spans);
                last = &f->spans[p->last_span];
            }
            if (p->last_span) {
                last->next = f->span_count;
            } else {
                p->first_span = f->span_count;
                if (f->touched_count == f->touched_cap)
                    f->touched = floor_grow(f->touched, &f->touched_cap, sizeof(struct peer *));
                f->touched[f->touched_count++] = p;
            }
            p->last_span = f->span_count;
            f->spans[f->span_count++] = (struct span){run->from, run->len, 0};
        }
    }
    f->run_count = 0;
}

void floor_flush(struct floor *f)
{
    if (f->run_count == 1 && !f->touched_count) {
        const struct run *run = f->runs;
        const struct place *place = run->topic->places, *end = place + run->topic->count;
        for (; place < end; place++)
            peer_send(f, place->peer, f->batch + run->from, run->len);
    } else {
        floor_route(f);
        for (uint32_t i = 0; i < f->touched_count; i++)
            peer_gather(f, f->touched[i]);
    }
    f->batch_len = 0;
    f->run_count = f->touched_count = 0;
    f->span_count = 1;
}
