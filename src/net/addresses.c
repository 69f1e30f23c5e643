#include "net/addresses.h"

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

/* What one customer gets. */
static struct ip key_of(const struct ip *from)
{
    struct ip key = *from;
    if (!ip_is_v4(from))
        memset(key.bytes + 8, 0, 8);
    return key;
}

static bool is_address(const void *item, const void *wanted)
{
    return memcmp(&((const struct address *)item)->ip, wanted, sizeof(struct ip)) == 0;
}

bool address_hold(struct addresses *a, const struct ip *from, struct address **out)
{
    *out = NULL;
    if (a->limit == 0)
        return true;
    struct ip key = key_of(from);
    uint64_t hash = hash_bytes(a->key, &key, sizeof key);
    lock_take(&a->lock);
    struct address *address = map_find(&a->map, hash, is_address, &key);
    bool added = !address && (address = calloc(1, sizeof *address)) != NULL;
    if (added) {
        address->hash = hash;
        address->ip = key;
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
