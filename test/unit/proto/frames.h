/* What a test says of frames that were written. Includes nothing of cmocka's: the test does. */
#ifndef HERMES_TEST_UNIT_PROTO_FRAMES_H
#define HERMES_TEST_UNIT_PROTO_FRAMES_H

#include "base/buf.h"
#include "proto/json.h"

/* How long the header is of an unmasked frame with that payload. */
static inline size_t head_length(size_t payload)
{
    return payload < 126 ? 2 : payload < 65536 ? 4 : 10;
}

/* One whole text frame with that payload, JSON, behind `from` bytes; then the buffer is emptied. */
static inline void assert_frame_behind(struct buf *out, size_t from, struct text payload)
{
    const uint8_t *frame = (const uint8_t *)out->data + from;
    size_t head = head_length(payload.len);
    assert_false(out->failed);
    assert_true(out->len > from + head);
    struct text found = {(const char *)frame + head, out->len - from - head};
    if (!text_equal(found, payload))
        fail_msg("%.*s\nis not\n%.*s", (int)found.len, found.at, (int)payload.len, payload.at);
    assert_int_equal(frame[0], 0x81);
    if (head == 2) {
        assert_int_equal(frame[1], payload.len);
    } else {
        uint64_t len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | frame[i];
        assert_int_equal(frame[1], head == 4 ? 126 : 127);
        assert_int_equal(len, payload.len);
    }
    assert_true(json_valid(payload.at, payload.len));
    buf_clear(out);
}

static inline void assert_frame(struct buf *out, const char *payload)
{
    assert_frame_behind(out, 0, text_of(payload));
}

/* Where the whole frames end that `len` bytes begin with. */
static inline size_t whole_frames(const char *bytes, size_t len)
{
    size_t at = 0;
    while (len - at >= 4) {
        const uint8_t *head = (const uint8_t *)bytes + at;
        size_t next = head[1] < 126 ? at + 2 + head[1] : at + 4 + (head[2] << 8 | head[3]);
        if (head[0] != 0x81 || next > len)
            break;
        at = next;
    }
    return at;
}

#endif
