#include "auth/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SETS = CACHE_PLACES / CACHE_WAYS };

static struct claims *claims_make(void)
{
    struct claims *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->references = 1;
    return c;
}

/* The digest of the n-th token of a set. */
static const unsigned char *digest(uint32_t set, unsigned char n)
{
    static unsigned char bytes[CACHE_DIGEST];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &set, sizeof set);
    bytes[CACHE_DIGEST - 1] = n;
    return bytes;
}

static void an_empty_one_has_nothing(void **state)
{
    struct cache c = {0};
    (void)state;
    assert_null(cache_find(&c, digest(0, 0)));
    cache_forget(&c, digest(0, 0));
    cache_fini(&c);
}

static void a_place_holds_its_claims(void **state)
{
    struct cache c = {0};
    struct claims *claims = claims_make();
    (void)state;
    cache_put(&c, digest(7, 1), claims);
    assert_int_equal(claims->references, 2);
    assert_ptr_equal(cache_find(&c, digest(7, 1)), claims);
    assert_null(cache_find(&c, digest(7, 2)));
    assert_null(cache_find(&c, digest(8, 1)));
    cache_forget(&c, digest(7, 2));
    assert_int_equal(claims->references, 2);
    cache_forget(&c, digest(7, 1));
    assert_int_equal(claims->references, 1);
    assert_null(cache_find(&c, digest(7, 1)));
    cache_put(&c, digest(7, 1), claims);
    cache_fini(&c);
    assert_int_equal(claims->references, 1);
    claims_drop(claims);
}

static void the_one_that_nobody_asked_for_the_longest_makes_room(void **state)
{
    struct cache c = {0};
    struct claims *claims[CACHE_WAYS + 1];
    (void)state;
    for (unsigned char i = 0; i < CACHE_WAYS; i++)
        cache_put(&c, digest(SETS - 1, i), claims[i] = claims_make());
    cache_find(&c, digest(SETS - 1, 0));
    cache_put(&c, digest(SETS - 1, CACHE_WAYS), claims[CACHE_WAYS] = claims_make());
    for (unsigned char i = 0; i <= CACHE_WAYS; i++) {
        struct claims *found = cache_find(&c, digest(SETS - 1, i));
        assert_ptr_equal(found, i == 1 ? NULL : claims[i]);
    }
    for (size_t i = 0; i <= CACHE_WAYS; i++)
        claims_drop(claims[i]);
    cache_fini(&c);
}

static void a_place_that_was_given_back_is_taken_first(void **state)
{
    struct cache c = {0};
    struct claims *claims = claims_make();
    (void)state;
    for (unsigned char i = 0; i < CACHE_WAYS; i++)
        cache_put(&c, digest(3, i), claims);
    cache_forget(&c, digest(3, 2));
    cache_put(&c, digest(3, 9), claims);
    for (unsigned char i = 0; i < CACHE_WAYS; i++)
        assert_true((cache_find(&c, digest(3, i)) != NULL) == (i != 2));
    cache_fini(&c);
    claims_drop(claims);
}

static void there_is_an_end_to_it(void **state)
{
    struct cache c = {0};
    struct claims *claims = claims_make();
    (void)state;
    for (uint32_t i = 0; i < 3 * CACHE_PLACES; i++)
        cache_put(&c, digest(i, (unsigned char)(i / SETS)), claims);
    assert_int_equal(claims->references, 1 + CACHE_PLACES);
    cache_fini(&c);
    claims_drop(claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_has_nothing),
        cmocka_unit_test(a_place_holds_its_claims),
        cmocka_unit_test(the_one_that_nobody_asked_for_the_longest_makes_room),
        cmocka_unit_test(a_place_that_was_given_back_is_taken_first),
        cmocka_unit_test(there_is_an_end_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
