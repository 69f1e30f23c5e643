/* What of a backlog the system has, in records that the server can read. */
#include "client/secure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/client.h"

static void only_whole_records_count_as_sent(void **state)
{
    (void)state;
    enum { RECORD = 16384, GROWTH = 29, LEAD = 40, BEFORE = 100000 };
    enum { CHUNK = 2 * RECORD + 500, BYTES = LEAD + CHUNK + 3 * GROWTH };
    static const struct {
        size_t handed;
        size_t sent; /* of the chunk */
    } rows[] = {
        {0, 0},
        {LEAD, 0},
        {LEAD + RECORD, 0},
        {LEAD + RECORD + GROWTH - 1, 0},
        {LEAD + RECORD + GROWTH, RECORD},
        {LEAD + 2 * (RECORD + GROWTH) - 1, RECORD},
        {LEAD + 2 * (RECORD + GROWTH), 2 * RECORD},
        {BYTES - 1, 2 * RECORD},
        {BYTES, CHUNK},
    };
    struct backlog b = {.secure = true,
        .veiled = {.taken = BEFORE + CHUNK,
            .chunk = CHUNK,
            .bytes = BYTES,
            .lead = LEAD,
            .record = RECORD}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        b.veiled.handed = rows[i].handed;
        assert_int_equal(secure_sent(NULL, &b), BEFORE + rows[i].sent);
    }
    struct backlog fresh = {.secure = true};
    assert_int_equal(secure_sent(NULL, &fresh), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_whole_records_count_as_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
