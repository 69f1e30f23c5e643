#include "net/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "support/dying.h"

static bool hold(struct addresses *a, const char *text, struct address **out)
{
    struct ip ip;
    assert_true(ip_parse(&ip, text_of(text)));
    return address_hold(a, &ip, out);
}

static void without_a_limit_nothing_is_counted(void **state)
{
    (void)state;
    struct addresses a;
    struct address *address;
    addresses_init(&a, 0);
    for (int i = 0; i < 10; i++) {
        assert_true(hold(&a, "127.0.0.1", &address));
        assert_null(address);
        address_drop(&a, address);
    }
    addresses_fini(&a);
}

/* Broken by a comparison that lets one more in, and by a count that a refused one raises: fails. */
static void an_address_gets_as_many_as_the_limit_says(void **state)
{
    (void)state;
    for (uint32_t limit = 1; limit < 5; limit++) {
        struct addresses a;
        struct address *held[5];
        struct address *other;
        struct address *refused;
        addresses_init(&a, limit);
        for (uint32_t i = 0; i < limit; i++)
            assert_true(hold(&a, "192.0.2.1", &held[i]));
        for (int i = 0; i < 3; i++) {
            assert_false(hold(&a, "192.0.2.1", &refused));
            assert_null(refused);
        }
        assert_true(hold(&a, "192.0.2.2", &other));
        address_drop(&a, held[0]);
        assert_true(hold(&a, "192.0.2.1", &held[0]));
        assert_false(hold(&a, "192.0.2.1", &refused));
        for (uint32_t i = 0; i < limit; i++)
            address_drop(&a, held[i]);
        address_drop(&a, other);
        assert_int_equal(a.map.count, 0);
        addresses_fini(&a);
    }
}

static void assert_same(const char *one, const char *other, bool same)
{
    struct addresses a;
    struct address *held[2] = {NULL, NULL};
    addresses_init(&a, 1);
    assert_true(hold(&a, one, &held[0]));
    if (hold(&a, other, &held[1]) == same)
        fail_msg("%s and %s", one, other);
    address_drop(&a, held[0]);
    address_drop(&a, held[1]);
    addresses_fini(&a);
}

static void who_counts_as_one_is_an_ipv4_address_or_an_ipv6_network(void **state)
{
    (void)state;
    assert_same("192.0.2.1", "192.0.2.1", true);
    assert_same("192.0.2.1", "192.0.2.2", false);
    assert_same("192.0.2.1", "::ffff:192.0.2.1", true);
    assert_same("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
    assert_same("2001:db8::1", "2001:db8::2", true);
    assert_same("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true);
    assert_same("2001:db8::1", "2001:db8:0:1::1", false);
    assert_same("::1", "::2", true);
    assert_same("::1", "127.0.0.1", false);
    assert_same("::", "0.0.0.0", false);
}

static void whoever_is_unknown_counts_as_one(void **state)
{
    (void)state;
    struct ip other = {{0}};
    struct addresses a;
    struct address *held[2];
    addresses_init(&a, 1);
    assert_true(address_hold(&a, &other, &held[0]));
    assert_false(address_hold(&a, &other, &held[1]));
    address_drop(&a, held[0]);
    addresses_fini(&a);
}

struct crowd {
    struct addresses addresses;
    _Atomic int in;
    _Atomic int most;
};

enum { THREADS = 4, ROUNDS = 5000, LIMIT = 2 };

static void *come_and_go(void *user)
{
    struct crowd *c = user;
    struct ip ip;
    assert_true(ip_parse(&ip, TEXT("192.0.2.0")));
    for (int i = 0; i < ROUNDS; i++) {
        struct address *address;
        ip.bytes[15] = (uint8_t)(i % 3);
        if (!address_hold(&c->addresses, &ip, &address))
            continue;
        int in = i % 3 ? 0 : atomic_fetch_add(&c->in, 1) + 1;
        if (in > LIMIT)
            atomic_store(&c->most, in);
        if (i % 3 == 0)
            atomic_fetch_sub(&c->in, 1);
        address_drop(&c->addresses, address);
    }
    return NULL;
}

static void the_limit_holds_for_all_threads_together(void **state)
{
    (void)state;
    static struct crowd c;
    pthread_t threads[THREADS];
    addresses_init(&c.addresses, LIMIT);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&c.most), 0);
    assert_int_equal(c.addresses.map.count, 0);
    addresses_fini(&c.addresses);
}

static void end(void *with)
{
    addresses_fini(with);
}

static void ending_with_a_connection_held_is_our_own_bug(void **state)
{
    (void)state;
    struct addresses a;
    struct address *address;
    addresses_init(&a, 1);
    assert_true(hold(&a, "127.0.0.1", &address));
    assert_true(dies(end, &a));
    address_drop(&a, address);
    addresses_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_nothing_is_counted),
        cmocka_unit_test(an_address_gets_as_many_as_the_limit_says),
        cmocka_unit_test(who_counts_as_one_is_an_ipv4_address_or_an_ipv6_network),
        cmocka_unit_test(whoever_is_unknown_counts_as_one),
        cmocka_unit_test(the_limit_holds_for_all_threads_together),
        cmocka_unit_test(ending_with_a_connection_held_is_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
