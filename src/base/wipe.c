#include "base/wipe.h"

#if defined(__x86_64__)

/* clang-format off */
#define LOW(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) \
    x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
#define HIGH(x) x(16) x(17) x(18) x(19) x(20) x(21) x(22) x(23) \
    x(24) x(25) x(26) x(27) x(28) x(29) x(30) x(31)
#define CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
    "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
/* clang-format on */

#define ZERO_XMM(n) "pxor %%xmm" #n ", %%xmm" #n "\n\t"
#define ZERO_ZMM(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"

/* The high ones cannot be named as clobbered where the compiler was not told of them; that any call
 * may change them covers it. */
__attribute__((noinline)) void wipe_registers(void)
{
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile(HIGH(ZERO_ZMM)::: "memory");
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: CLOBBERS);
    else
        __asm__ volatile(LOW(ZERO_XMM)::: CLOBBERS);
}

#else

void wipe_registers(void)
{
}

#endif
