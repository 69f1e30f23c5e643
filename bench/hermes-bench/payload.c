#include "payload.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* The head, in words of eight characters: topic, publisher and number, moment, check. */
enum { WORDS = 5, HEAD = (WORDS + 1) * 8, SHIFTS = 64 };
_Static_assert(PAYLOAD_LEAST == HEAD + 2, "as the header says");

#define EACH_BYTE 0x0101010101010101u

static uint64_t word_load(const char *at)
{
    uint64_t w;
    memcpy(&w, at, sizeof w);
    return le64toh(w);
}

static void word_store(char *at, uint64_t w)
{
    w = htole64(w);
    memcpy(at, &w, sizeof w);
}

/* Eight nibbles, one to a byte, as hexadecimal digits. */
static uint64_t digits(uint64_t nibbles)
{
    uint64_t letters = (nibbles + 6 * EACH_BYTE) >> 4 & EACH_BYTE;
    return nibbles + '0' * EACH_BYTE + letters * ('a' - '0' - 10);
}

static uint64_t hex_of(uint32_t value)
{
    uint64_t w = value;
    w = (w >> 16 | w << 32) & 0x0000ffff0000ffff;
    w = (w >> 8 | w << 16) & 0x00ff00ff00ff00ff;
    w = (w >> 4 | w << 8) & 0x0f0f0f0f0f0f0f0f;
    return digits(w);
}

/* Right for digits; what others give is of no account, since the check does not fit them. */
static uint32_t hex_value(uint64_t w)
{
    w = (w & 0x0f * EACH_BYTE) + (w >> 6 & EACH_BYTE) * 9;
    w = (w << 4 | w >> 8) & 0x00ff00ff00ff00ff;
    w = (w << 8 | w >> 16) & 0x0000ffff0000ffff;
    return (uint32_t)(w << 16 | w >> 32);
}

/* Written out: this runs once per delivery. */
static inline uint64_t check_of(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t h = ((((a * odd ^ b) * odd ^ c) * odd ^ d) * odd ^ e) * odd;
    /* A changed bit changes itself and those above it, so the uppermost come down to where they are
     * kept. Letters, because they cost less than digits. */
    h ^= h >> 28;
    return (h & 0x0f * EACH_BYTE) | 0x60 * EACH_BYTE;
}

static const char *padding_of(const struct payload_form *form, uint64_t number)
{
    return form->padding + number % SHIFTS;
}

void payload_form_init(struct payload_form *form, size_t size)
{
    /* Any two shifts of it differ nearly everywhere. */
    uint32_t state = 12345;
    form->size = size;
    form->padding = memory_new(size + SHIFTS, 1);
    for (size_t i = 0; i < size + SHIFTS; i++) {
        state = state * 1664525 + 1013904223;
        form->padding[i] = (char)('A' + (state >> 24) % 26);
    }
}

void payload_form_fini(struct payload_form *form)
{
    free(form->padding);
    form->padding = NULL;
}

void payload_write(const struct payload_form *form, char *out, const struct payload *p)
{
    uint64_t from = (uint64_t)p->publisher << 40 | (p->number & (PAYLOAD_NUMBERS - 1));
    uint64_t words[WORDS] = {hex_of(p->topic), hex_of((uint32_t)(from >> 32)),
        hex_of((uint32_t)from), hex_of((uint32_t)(p->moment >> 32)), hex_of((uint32_t)p->moment)};
    out[0] = out[form->size - 1] = '"';
    for (int i = 0; i < WORDS; i++)
        word_store(out + 1 + 8 * i, words[i]);
    word_store(out + 1 + 8 * WORDS, check_of(words[0], words[1], words[2], words[3], words[4]));
    memcpy(out + 1 + HEAD, padding_of(form, p->number), form->size - HEAD - 2);
}

enum payload_verdict payload_read(
    const struct payload_form *form, const char *data, size_t len, struct payload *out)
{
    if (len < PAYLOAD_LEAST)
        return PAYLOAD_STRANGE;
    uint64_t topic = word_load(data + 1);
    uint64_t from = word_load(data + 9);
    uint64_t number = word_load(data + 17);
    uint64_t late = word_load(data + 25);
    uint64_t early = word_load(data + 33);
    if (word_load(data + 41) != check_of(topic, from, number, late, early))
        return PAYLOAD_STRANGE;
    uint32_t high = hex_value(from);
    out->topic = hex_value(topic);
    out->publisher = high >> 8;
    out->number = (uint64_t)(high & 0xff) << 32 | hex_value(number);
    out->moment = (uint64_t)hex_value(late) << 32 | hex_value(early);
    if (len != form->size || data[0] != '"' || data[len - 1] != '"' ||
        memcmp(data + 1 + HEAD, padding_of(form, out->number), len - HEAD - 2) != 0)
        return PAYLOAD_TORN;
    return PAYLOAD_GOOD;
}
