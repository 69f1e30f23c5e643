#include "net/addresses.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

void addresses_init(struct addresses *a, uint32_t limit)
{
    lock_init(&a->lock, LOCK_ADDRESSES);
    a->key = hash_key_random();
    a->map = (struct map){0};
    a->limit = limit;
}

void addresses_fini(struct addresses *a) NO_THREAD_SAFETY_ANALYSIS
{
    MUST(a->map.count == 0);
    map_fini(&a->map);
    lock_fini(&a->lock);
}

static bool is_mapped(const uint8_t *bytes)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

static void key_of(const struct sockaddr *from, uint8_t bytes[16])
{
    memset(bytes, 0, 16);
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
        bytes[10] = bytes[11] = 0xff;
        memcpy(bytes + 12, &v4->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
        memcpy(bytes, &v6->sin6_addr, 16);
        if (!is_mapped(bytes))
            memset(bytes + 8, 0, 8);
    }
}

static bool is_address(const void *item, const void *wanted)
{
    return memcmp(((const struct address *)item)->bytes, wanted, 16) == 0;
}

bool address_hold(struct addresses *a, const struct sockaddr *from, struct address **out)
{
    *out = NULL;
    if (a->limit == 0)
        return true;
    uint8_t bytes[16];
    key_of(from, bytes);
    uint64_t hash = hash_bytes(a->key, bytes, sizeof bytes);
    lock_take(&a->lock);
    struct address *address = map_find(&a->map, hash, is_address, bytes);
    bool added = !address && (address = calloc(1, sizeof *address)) != NULL;
    if (added) {
        address->hash = hash;
        memcpy(address->bytes, bytes, sizeof bytes);
        if (!map_add(&a->map, hash, address)) {
            free(address);
            address = NULL;
        }
    }
    bool ok = address && address->connections < a->limit;
    if (ok) {
        address->connections++;
        *out = address;
    }
    lock_give(&a->lock);
    return ok;
}

void address_drop(struct addresses *a, struct address *address)
{
    if (!address)
        return;
    lock_take(&a->lock);
    if (--address->connections == 0) {
        map_remove(&a->map, address->hash, address);
        free(address);
    }
    lock_give(&a->lock);
}
