#include "auth/secret.h"

#include <mbedtls/platform_util.h>
#include <sys/mman.h>
#include <unistd.h>

bool secret_init(struct secret *s, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (len / page + 1) * page;
    void *at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *s = (struct secret){0};
    if (at == MAP_FAILED)
        return false;
    /* Neither is owed: a limit on locked memory or an old kernel must not keep us from starting. */
    (void)mlock(at, mapped);
    (void)madvise(at, mapped, MADV_DONTDUMP);
    *s = (struct secret){at, len, mapped};
    return true;
}

void secret_fini(struct secret *s)
{
    if (s->at) {
        mbedtls_platform_zeroize(s->at, s->mapped);
        munmap(s->at, s->mapped);
    }
    *s = (struct secret){0};
}
