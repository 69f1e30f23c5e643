#include "base/wipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#if defined(__x86_64__)

/* Registers are filled and read back with nothing in between that could use them itself. */
#define EACH_16(x)                                                                                 \
    x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
#define EACH_32(x)                                                                                 \
    EACH_16(x)                                                                                     \
    x(16) x(17) x(18) x(19) x(20) x(21) x(22) x(23) x(24) x(25) x(26) x(27) x(28) x(29) x(30) x(31)

#define FILL_XMM(n) "movdqu (%0), %%xmm" #n "\n\t"
#define FILL_YMM(n) "vmovdqu (%0), %%ymm" #n "\n\t"
#define FILL_ZMM(n) "vmovdqu64 (%0), %%zmm" #n "\n\t"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*64(%0)\n\t"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%0)\n\t"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%0)\n\t"

static void filled_and_wiped(unsigned char (*kept)[64], bool wiped)
{
    unsigned char pattern[64];
    memset(pattern, 0xa5, sizeof pattern);
    memset(kept, 0, 32 * sizeof *kept);
    void (*wipe)(void) = wipe_registers;
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile(EACH_32(FILL_ZMM)::"r"(pattern) : "memory");
    else if (__builtin_cpu_supports("avx"))
        __asm__ volatile(EACH_16(FILL_YMM)::"r"(pattern) : "memory");
    else
        __asm__ volatile(EACH_16(FILL_XMM)::"r"(pattern) : "memory");
    if (wiped)
        wipe();
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile(EACH_32(STORE_ZMM)::"r"(kept) : "memory");
    else if (__builtin_cpu_supports("avx"))
        __asm__ volatile(EACH_16(STORE_YMM)::"r"(kept) : "memory");
    else
        __asm__ volatile(EACH_16(STORE_XMM)::"r"(kept) : "memory");
}

static void no_vector_register_keeps_what_was_in_it(void **state)
{
    static unsigned char kept[32][64];
    static const unsigned char zero[32][64];
    (void)state;
    filled_and_wiped(kept, false);
    assert_int_equal(kept[15][15], 0xa5);
    filled_and_wiped(kept, true);
    assert_memory_equal(kept, zero, sizeof kept);
}

#else

static void no_vector_register_keeps_what_was_in_it(void **state)
{
    (void)state;
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_vector_register_keeps_what_was_in_it),
    };
    return cmocka_run_group_tests_name("wipe", tests, NULL, NULL);
}
