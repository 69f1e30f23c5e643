/* The rules file without memory: nothing is loaded, and all is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "hermes/hermes.h"
#include "server/rules_file.h"
#include "support/failing_alloc.h"

static const char json[] =
    "{\"rules\":[{\"match\":\"stock:*\",\"history\":3},{\"match\":\">\",\"retain\":true}]}";

/* Where jansson has no memory for a string, it says that there is none in the text. */
static void whichever_allocation_fails_nothing_is_loaded(void **state)
{
    (void)state;
    unsigned told = 0;
    unsigned others = 0;
    for (unsigned n = 1;; n++) {
        char error[200] = "";
        struct rules *rules;
        alloc_fail(n);
        int code = rules_file_parse("r.json", text_of(json), 0, &rules, error, sizeof error);
        bool failed = alloc_failed();
        if (!failed) {
            assert_int_equal(code, HERMES_OK);
            assert_int_equal(rules->count, 2);
            rules_drop(rules);
            break;
        }
        assert_null(rules);
        assert_memory_equal(error, "r.json: ", 8);
        if (code == HERMES_NO_MEMORY) {
            assert_non_null(strstr(error, "out of memory"));
            told++;
        } else {
            assert_int_equal(code, HERMES_INVALID);
            assert_non_null(strstr(error, " near '\""));
            others++;
        }
    }
    assert_true(told > 10);
    assert_true(others < told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whichever_allocation_fails_nothing_is_loaded),
    };
    json_object_seed(1);
    json_set_alloc_funcs(malloc, free); /* the wrapped one */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
