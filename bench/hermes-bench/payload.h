/* What is published: a JSON string of a given size that says where it comes from and when it was
 * meant to be sent, and of which every byte is checked.
 *
 *   " topic:8 publisher:6 number:10 moment:16 check:8 padding "
 *
 * The first four are hexadecimal, so that a frame can be read by eye; the check is derived from
 * them, and the padding from the number.
 * Threads: a form is only read, so all may share one. */
#ifndef HERMES_BENCH_PAYLOAD_H
#define HERMES_BENCH_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

enum {
    PAYLOAD_LEAST = 50,
    PAYLOAD_MOST = 16 << 20,
};

#define PAYLOAD_TOPICS ((uint64_t)1 << 32)
#define PAYLOAD_PUBLISHERS ((uint64_t)1 << 24)
#define PAYLOAD_NUMBERS ((uint64_t)1 << 40)

struct payload {
    uint32_t topic, publisher;
    uint64_t number;
    uint64_t moment; /* ns */
};

struct payload_form {
    size_t size;
    char *padding; /* what all paddings are pieces of */
};

void payload_form_init(struct payload_form *form, size_t size);
void payload_form_fini(struct payload_form *form);

/* Writes form->size bytes. */
void payload_write(const struct payload_form *form, char *out, const struct payload *p);

enum payload_verdict {
    PAYLOAD_GOOD,
    PAYLOAD_TORN,    /* `out` is right, but the rest is not what belongs to it */
    PAYLOAD_STRANGE, /* not even that */
};
enum payload_verdict payload_read(
    const struct payload_form *form, const char *data, size_t len, struct payload *out);

#endif
