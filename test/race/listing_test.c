/* The listing under ThreadSanitizer: whoever goes through all pages finds each topic that is there
 * all along once, while others come and go. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/topic_list.h"
#include "support/random.h"

/* STAY: topics that are there all along, RESTLESS: names of those that come and go, between them.
 */
enum { STAY = 1500, RESTLESS = 1500, CHURNERS = 2, LISTERS = 2, ROUNDS = 9, NAME_ROOM = 24 };

struct world {
    struct registry *registry;
    _Atomic bool done;
    _Atomic int faults;
};

struct party {
    struct world *world;
    int number;
    pthread_t thread;
};

static struct registry_topic *join(struct registry *r, const char *string)
{
    struct text name = text_of(string);
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(r, stripe, hash, name);
    if (!topic)
        topic = registry_make(r, stripe, hash, name);
    if (topic)
        registry_join(stripe, topic, 0, false);
    lock_give(&stripe->lock);
    return topic;
}

static void leave(struct registry *r, struct registry_topic *topic)
{
    struct stripe *stripe = registry_stripe(r, topic->hash);
    lock_take(&stripe->lock);
    registry_leave(r, stripe, topic, 0, topic->subscribers == 1, false);
    lock_give(&stripe->lock);
}

static void *come_and_go(void *user)
{
    struct party *p = user;
    struct registry *r = p->world->registry;
    struct registry_topic *there[RESTLESS] = {NULL};
    struct random random = {(uint64_t)p->number};
    while (!atomic_load(&p->world->done)) {
        size_t i = (size_t)random_below(&random, RESTLESS);
        char name[NAME_ROOM];
        snprintf(name, sizeof name, "t:%05zu:%s", i, i % 2 ? "restless" : "also");
        if (there[i]) {
            leave(r, there[i]);
            there[i] = NULL;
        } else if (!(there[i] = join(r, name))) {
            atomic_fetch_add(&p->world->faults, 1);
        }
    }
    for (size_t i = 0; i < RESTLESS; i++)
        if (there[i])
            leave(r, there[i]);
    return NULL;
}

/* Returns how many of those that stay were listed; less than 0 when something came twice or not in
 * order. */
static int list_all(struct registry *r, struct text pattern, size_t limit)
{
    char last[NAME_ROOM] = "";
    char after[NAME_ROOM] = "";
    int stayed = 0;
    bool more, fine = true;
    do {
        struct topic_list list;
        if (!topic_list_take(&list, r, TEXT("t:"), text_of(after), pattern, limit))
            return -1;
        for (size_t i = 0; i < list.count && fine; i++) {
            fine = text_compare(list.rows[i].name, text_of(last)) > 0;
            snprintf(last, sizeof last, "%.*s", (int)list.rows[i].name.len, list.rows[i].name.at);
            stayed += strstr(last, ":stays") != NULL;
        }
        more = list.next.at != NULL;
        if (more) {
            fine = fine && text_compare(list.next, text_of(last)) >= 0;
            snprintf(after, sizeof after, "%.*s", (int)list.next.len, list.next.at);
        }
        topic_list_fini(&list);
    } while (more && fine);
    return fine ? stayed : -1;
}

static void *list(void *user)
{
    struct party *p = user;
    struct registry *r = p->world->registry;
    static const size_t limits[] = {100, 300, 1000, 10000};
    for (int i = p->number; i < ROUNDS; i++) {
        size_t limit = limits[i % 4];
        struct text pattern = i % 2 ? (struct text){0} : TEXT("t:*:stays");
        if (list_all(r, pattern, limit) != STAY)
            atomic_fetch_add(&p->world->faults, 1);
    }
    return NULL;
}

static void a_topic_that_is_there_all_along_is_listed_once(void **state)
{
    struct world w = {.registry = aligned_alloc(64, sizeof *w.registry)};
    struct registry_topic *stay[STAY];
    struct party churners[CHURNERS], listers[LISTERS];
    (void)state;
    assert_non_null(w.registry);
    registry_init(w.registry, 1, 0);
    for (int i = 0; i < STAY; i++) {
        char name[NAME_ROOM];
        snprintf(name, sizeof name, "t:%05d:stays", i);
        stay[i] = join(w.registry, name);
        assert_non_null(stay[i]);
    }
    for (int i = 0; i < CHURNERS; i++) {
        churners[i] = (struct party){.world = &w, .number = i};
        pthread_create(&churners[i].thread, NULL, come_and_go, &churners[i]);
    }
    for (int i = 0; i < LISTERS; i++) {
        listers[i] = (struct party){.world = &w, .number = i};
        pthread_create(&listers[i].thread, NULL, list, &listers[i]);
    }
    for (int i = 0; i < LISTERS; i++)
        pthread_join(listers[i].thread, NULL);
    atomic_store(&w.done, true);
    for (int i = 0; i < CHURNERS; i++)
        pthread_join(churners[i].thread, NULL);
    assert_int_equal(atomic_load(&w.faults), 0);
    for (int i = 0; i < STAY; i++)
        leave(w.registry, stay[i]);
    assert_int_equal(list_all(w.registry, (struct text){0}, 10), 0);
    registry_fini(w.registry);
    free(w.registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_that_is_there_all_along_is_listed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
