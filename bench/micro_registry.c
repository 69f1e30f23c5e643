/* A million topics in the registry: what one costs to add, to find, to publish to and to remove,
 * the worst single case too, which is where a table that grows in one piece would show; and what a
 * page of their listing costs.
 *
 * Each operation is timed by itself, hashing the name and taking the stripe's lock included, on
 * topics in random order, so that neither caches nor the branch predictor know what comes; what
 * reading the clock costs is printed and not subtracted. One thread: nothing waits for a lock. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/die.h"
#include "broker/route.h"
#include "broker/topic_list.h"

enum { NAME_BYTES = 15, NAME_ROOM = 32, FRAME_BYTES = 64, PAGE = 1000, PAGES = 2000 };

struct bench {
    struct route route;
    struct route_rule rule;
    struct mailbox box;
    struct mailbox *boxes[1];
    struct tray tray;
    size_t count;
    char (*names)[NAME_ROOM];
    struct registry_topic **topics;
    uint32_t *order;
    uint32_t *ns;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct text name_of(const struct bench *b, uint32_t i)
{
    return (struct text){b->names[i], NAME_BYTES};
}

/* --- the operations: each does its work for topic i and returns the nanoseconds it took --------
 */

static uint64_t add(struct bench *b, uint32_t i)
{
    static const struct route_past nothing_past = {0};
    uint64_t begin = now_ns();
    uint64_t hash = registry_hash(&b->route.registry, name_of(b, i));
    struct route_joined joined =
        route_subscribe(&b->route, b->rule, 0, &b->tray, hash, name_of(b, i), false, &nothing_past);
    uint64_t end = now_ns();
    MUST(joined.topic && joined.made);
    history_view_fini(&joined.past);
    b->topics[i] = joined.topic;
    return end - begin;
}

static uint64_t find(struct bench *b, uint32_t i)
{
    uint64_t begin = now_ns();
    uint64_t hash = registry_hash(&b->route.registry, name_of(b, i));
    struct stripe *stripe = registry_stripe(&b->route.registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(&b->route.registry, stripe, hash, name_of(b, i));
    lock_give(&stripe->lock);
    uint64_t end = now_ns();
    MUST(topic == b->topics[i]);
    return end - begin;
}

static uint64_t publish(struct bench *b, uint32_t i)
{
    struct message *m = message_new(FRAME_BYTES);
    MUST(m);
    memset(m->frames, 'x', FRAME_BYTES);
    uint64_t begin = now_ns();
    uint64_t hash = registry_hash(&b->route.registry, name_of(b, i));
    struct route_result result = route_publish(&b->route, b->rule, hash, name_of(b, i), m);
    uint64_t end = now_ns();
    MUST(result.subscribers == 1);
    MUST(mailbox_take(&b->box, &b->tray));
    for (; b->tray.at < b->tray.count; b->tray.at++) {
        mailbox_done(&b->box, b->tray.mails[b->tray.at].weight);
        message_drop(b->tray.mails[b->tray.at].item);
    }
    return end - begin;
}

static uint64_t take_out(struct bench *b, uint32_t i)
{
    uint64_t begin = now_ns();
    bool gone = route_unsubscribe(&b->route, 0, b->topics[i], true, false);
    uint64_t end = now_ns();
    MUST(gone);
    return end - begin;
}

/* A page behind that topic. */
static uint64_t page(struct bench *b, uint32_t i, struct text pattern)
{
    struct topic_list list;
    uint64_t begin = now_ns();
    bool taken =
        topic_list_take(&list, &b->route.registry, TEXT("stock:"), name_of(b, i), pattern, PAGE);
    uint64_t end = now_ns();
    MUST(taken);
    topic_list_fini(&list);
    return end - begin;
}

static uint64_t list(struct bench *b, uint32_t i)
{
    return page(b, i, (struct text){0});
}

/* As many as one call looks at, none of which match. */
static uint64_t list_none(struct bench *b, uint32_t i)
{
    return page(b, i, TEXT("*:*:none"));
}

static uint64_t nothing(struct bench *b, uint32_t i)
{
    (void)b;
    (void)i;
    uint64_t begin = now_ns();
    return now_ns() - begin;
}

/* -----------------------------------------------------------------------------------------------
 */

static void shuffle(struct bench *b)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = b->count - 1; i > 0; i--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        size_t j = state % (i + 1);
        uint32_t swap = b->order[i];
        b->order[i] = b->order[j];
        b->order[j] = swap;
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *what, size_t times,
    uint64_t (*operation)(struct bench *, uint32_t))
{
    uint64_t sum = 0;
    times = times < b->count ? times : b->count;
    shuffle(b);
    for (size_t i = 0; i < times; i++) {
        uint64_t ns = operation(b, b->order[i]);
        b->ns[i] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
        sum += ns;
    }
    qsort(b->ns, times, sizeof b->ns[0], by_size);
    printf("%-10s %8.0f %8u %8u %9u %10u\n", what, (double)sum / (double)times, b->ns[times / 2],
        b->ns[times - 1 - times / 100], b->ns[times - 1 - times / 10000], b->ns[times - 1]);
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void ring(void *user)
{
    (void)user;
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    if (count < 100 || count > 900000000) {
        fputs("usage: micro_registry [topics, 100 or more; 1000000]\n", stderr);
        return 2;
    }
    uv_loop_t loop;
    struct bench *b = calloc(1, sizeof *b);
    MUST(b);
    b->count = count;
    b->names = calloc(b->count, sizeof b->names[0]);
    b->topics = calloc(b->count, sizeof(void *));
    b->order = calloc(b->count, sizeof b->order[0]);
    b->ns = calloc(b->count, sizeof b->ns[0]);
    MUST(b->names && b->topics && b->order && b->ns);
    for (size_t i = 0; i < b->count; i++) {
        snprintf(b->names[i], NAME_ROOM, "stock:%09zu", i);
        b->order[i] = (uint32_t)i;
        b->ns[i] = 1;
    }
    MUST(!uv_loop_init(&loop) && !mailbox_open(&b->box, &loop, ring, NULL));
    b->boxes[0] = &b->box;
    b->rule.rule = &rule_default;
    route_init(&b->route, 1, 0);
    b->route.boxes = b->boxes;
    b->route.crowded = 1 << 20;

    printf("%zu topics with names of %d bytes, one worker; ns per operation\n\n", b->count,
        NAME_BYTES);
    printf("%-10s %8s %8s %8s %9s %10s\n", "", "mean", "median", "99%", "99.99%", "worst");
    measure(b, "the clock", b->count, nothing);
    size_t before = heap_bytes();
    measure(b, "add", b->count, add);
    size_t after = heap_bytes();
    measure(b, "find", b->count, find);
    measure(b, "publish", b->count, publish);
    measure(b, "list 1000", PAGES, list);
    measure(b, "list none", PAGES, list_none);
    measure(b, "remove", b->count, take_out);
    printf("\n%.0f bytes of heap per topic, the tables' free slots included; %.0f left per topic "
           "when all are gone\n",
        (double)(after - before) / (double)b->count,
        ((double)heap_bytes() - (double)before) / (double)b->count);

    route_fini(&b->route);
    mailbox_close(&b->box);
    uv_run(&loop, UV_RUN_DEFAULT);
    mailbox_fini(&b->box);
    tray_fini(&b->tray);
    uv_loop_close(&loop);
    free(b->names);
    free(b->topics);
    free(b->order);
    free(b->ns);
    free(b);
    return 0;
}
