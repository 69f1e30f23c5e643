#include "base/hash.h"

#include <string.h>
#include <sys/random.h>

#include "base/die.h"
#include "base/word.h"

struct hash_key hash_key_random(void)
{
    struct hash_key key;
    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key)
        die("the system's random source does not answer");
    return key;
}

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

struct sip {
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint64_t d;
};

static inline void sip_round(struct sip *s)
{
    s->a += s->b;
    s->b = rotate(s->b, 13) ^ s->a;
    s->a = rotate(s->a, 32);
    s->c += s->d;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a += s->d;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c += s->b;
    s->b = rotate(s->b, 17) ^ s->c;
    s->c = rotate(s->c, 32);
}

static inline void sip_absorb(struct sip *s, uint64_t word)
{
    s->d ^= word;
    sip_round(s);
    s->a ^= word;
}

/* The last `len` % 8 bytes, the first of them lowest. Where eight can be read that end there, they
 * are, and those that have been absorbed are shifted out. */
static inline uint64_t sip_rest(const unsigned char *bytes, size_t len)
{
    size_t left = len % 8;
    if (len < 8)
        return word_load_part(bytes, len);
    return left ? word_load(bytes + len - 8) >> (64 - 8 * left) : 0;
}

uint64_t hash_bytes(struct hash_key key, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    struct sip s = {
        key.k0 ^ 0x736f6d6570736575ULL,
        key.k1 ^ 0x646f72616e646f6dULL,
        key.k0 ^ 0x6c7967656e657261ULL,
        key.k1 ^ 0x7465646279746573ULL,
    };
    for (size_t i = 0; i < len / 8; i++)
        sip_absorb(&s, word_load(p + 8 * i));
    sip_absorb(&s, (uint64_t)len << 56 | sip_rest(p, len));
    s.c ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}
