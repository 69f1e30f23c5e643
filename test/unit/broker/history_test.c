/* Against a naive model: random rows, limits, ages and evictions, and views that are read later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/history.h"
#include "support/random.h"

enum { DATA_MOST = 70000 };

/* A message's data, which tells its offset and is of any length. */
static size_t data_len(uint64_t offset)
{
    struct random r = {offset * 31};
    switch (random_below(&r, 40)) {
    case 0:
        return random_below(&r, DATA_MOST);
    case 1:
    case 2:
        return random_below(&r, 3000);
    case 3:
        return 120 + random_below(&r, 12);
    default:
        return random_below(&r, 40);
    }
}

static char data_byte(uint64_t offset, size_t i)
{
    return (char)(offset * 7 + i * 13);
}

static bool is_data(uint64_t offset, struct text data)
{
    bool fine = data.len == data_len(offset);
    for (size_t i = 0; i < data.len && fine; i++)
        fine = data.at[i] == data_byte(offset, i);
    return fine;
}

static size_t frame_head(unsigned char head[10], size_t len)
{
    head[0] = 0x81;
    if (len < 126) {
        head[1] = (unsigned char)len;
        return 2;
    }
    if (len < 65536) {
        head[1] = 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        return 4;
    }
    head[1] = 127;
    for (int i = 0; i < 8; i++)
        head[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    return 10;
}

static struct message *message_of(uint64_t offset, uint32_t count)
{
    size_t room = 0;
    for (uint32_t i = 0; i < count; i++)
        room += 10 + data_len(offset + i);
    struct message *m = message_begin(room);
    assert_non_null(m);
    m->offset = offset;
    for (uint32_t i = 0; i < count; i++) {
        unsigned char head[10];
        size_t len = data_len(offset + i);
        size_t head_len = frame_head(head, len);
        memcpy(m->frames + m->len, head, head_len);
        for (size_t k = 0; k < len; k++)
            m->frames[m->len + head_len + k] = data_byte(offset + i, k);
        m->len += (uint32_t)(head_len + len);
        m->count++;
    }
    return m;
}

/* The messages `oldest` up to `next`, which is not among them. */
struct model {
    struct history_limits limits;
    uint64_t oldest;
    uint64_t next;
    uint64_t us[1 << 16]; /* when each was published */
};

static size_t model_bytes(const struct model *m)
{
    size_t bytes = 0;
    for (uint64_t i = m->oldest; i < m->next; i++)
        bytes += data_len(i);
    return bytes;
}

static void model_forget(struct model *m, uint64_t now_us)
{
    while (m->next - m->oldest > m->limits.messages)
        m->oldest++;
    while (m->limits.bytes > 0 && m->next - m->oldest > 1 && model_bytes(m) > m->limits.bytes)
        m->oldest++;
    while (m->limits.age_us > 0 && m->next - m->oldest > (m->limits.retain ? 1 : 0) &&
           now_us - m->us[m->oldest] >= m->limits.age_us)
        m->oldest++;
}

static void model_add(struct model *m, uint32_t count, uint64_t now_us)
{
    while (count-- > 0)
        m->us[m->next++] = now_us;
    model_forget(m, now_us);
}

static void add(struct history *h, uint64_t offset, uint32_t count, uint64_t now_us)
{
    struct message *m = message_of(offset, count);
    assert_true(history_add(h, m, now_us));
    message_drop(m);
}

static void compare(const struct history *h, const struct model *m)
{
    assert_int_equal(h->oldest, m->oldest);
    assert_int_equal(h->count, m->next - m->oldest);
    assert_int_equal(h->bytes, model_bytes(m));
    if (h->count > 0)
        assert_int_equal(history_oldest_us(h), m->us[m->oldest]);
    else
        assert_null(h->first);
}

/* A view and what it has to show. */
struct look {
    struct history_view view;
    uint64_t first;
    uint64_t last;
};

static struct look look_at(
    const struct history *h, const struct model *m, uint64_t from, uint32_t most, bool newest)
{
    uint64_t first = from > m->oldest ? from : m->oldest;
    uint64_t end = m->next;
    if (first > end)
        first = end;
    if (end - first > most) {
        if (newest)
            first = end - most;
        else
            end = first + most;
    }
    return (struct look){history_view(h, from, most, newest), first, end - 1};
}

static void look_through(struct look *l)
{
    size_t bytes = 0;
    uint64_t offset;
    struct text data;
    if (l->first > l->last) {
        assert_true(l->view.first > l->view.last);
    } else {
        assert_int_equal(l->view.first, l->first);
        assert_int_equal(l->view.last, l->last);
    }
    for (uint64_t i = l->first; i <= l->last; i++) {
        assert_true(history_view_next(&l->view, &offset, &data));
        assert_int_equal(offset, i);
        assert_true(is_data(i, data));
        bytes += data.len;
    }
    assert_false(history_view_next(&l->view, &offset, &data));
    assert_true(l->view.bytes >= bytes);
    history_view_fini(&l->view);
}

static struct history_limits random_limits(struct random *r)
{
    struct history_limits limits = {.messages = 1 + (uint32_t)random_below(r, 5)};
    if (random_below(r, 2))
        limits.messages = 1 + (uint32_t)random_below(r, 200);
    if (random_below(r, 20) == 0)
        limits.messages = 0;
    if (random_below(r, 3) == 0)
        limits.bytes = 1 + random_below(r, 20000);
    if (random_below(r, 3) == 0)
        limits.age_us = 1 + random_below(r, 1000);
    limits.retain = random_below(r, 2);
    return limits;
}

static void what_is_kept_is_what_a_naive_model_keeps(void **state)
{
    enum { LOOKS = 8, STEPS = 2000, ROUNDS = 60 };
    struct random r = {1};
    struct model *m = malloc(sizeof *m);
    (void)state;
    assert_non_null(m);
    for (int round = 0; round < ROUNDS; round++) {
        struct history_budget budget = {0};
        struct history h;
        struct look looks[LOOKS] = {{{0}, 0, 0}};
        uint64_t now = 0;
        m->oldest = m->next = 1 + random_below(&r, 20);
        m->limits = random_limits(&r);
        history_init(&h, m->limits, &budget, m->next);
        for (int step = 0; step < STEPS; step++) {
            now += random_below(&r, 100);
            switch (random_below(&r, 16)) {
            case 0:
                history_expire(&h, now);
                model_forget(m, now);
                break;
            case 1:
                if (h.count > 0 && random_below(&r, 4) == 0) {
                    uint64_t oldest = h.oldest;
                    history_evict(&h);
                    assert_true(h.oldest > oldest);
                    m->oldest = h.oldest;
                }
                break;
            case 2:
                if (random_below(&r, 16) == 0) {
                    m->limits = random_limits(&r);
                    history_limit(&h, m->limits, now);
                    model_forget(m, now);
                }
                break;
            case 3:
            case 4:
            case 5: {
                struct look *l = &looks[random_below(&r, LOOKS)];
                uint64_t from = random_below(&r, 4) == 0 ? 0 : m->next + 3 - random_below(&r, 200);
                if (from > m->next + 3)
                    from = 0;
                if (l->first > 0)
                    look_through(l);
                *l = look_at(&h, m, from,
                    random_below(&r, 4) == 0 ? UINT32_MAX : (uint32_t)random_below(&r, 50),
                    random_below(&r, 2));
                break;
            }
            default: {
                uint32_t count = random_below(&r, 3) == 0 ? 1 + (uint32_t)random_below(&r, 30) : 1;
                add(&h, m->next, count, now);
                model_add(m, count, now);
            }
            }
            compare(&h, m);
        }
        history_fini(&h);
        assert_int_equal(atomic_load(&budget.used), 0);
        for (size_t i = 0; i < LOOKS; i++)
            if (looks[i].first > 0)
                look_through(&looks[i]);
    }
    free(m);
}

/* --- what it costs ---------------------------------------------------------------------------- */

/* `count` messages with `len` bytes of data each. */
static struct message *row_of(uint64_t offset, uint32_t count, size_t len)
{
    struct message *m = message_begin(count * (len + 10));
    assert_non_null(m);
    m->offset = offset;
    for (; m->count < count; m->count++) {
        unsigned char head[10];
        size_t head_len = frame_head(head, len);
        memcpy(m->frames + m->len, head, head_len);
        memset(m->frames + m->len + head_len, 'x', len);
        m->len += (uint32_t)(head_len + len);
    }
    return m;
}

static void add_row(struct history *h, uint64_t offset, uint32_t count, size_t len)
{
    struct message *m = row_of(offset, count, len);
    assert_true(history_add(h, m, 0));
    message_drop(m);
}

static void one_small_value_costs_little(void **state)
{
    (void)state;
    struct history_budget budget = {0};
    struct history h;
    history_init(&h, (struct history_limits){.messages = 1, .retain = true}, &budget, 1);
    for (uint64_t offset = 1; offset < 100; offset++) {
        add_row(&h, offset, 1, offset % 3);
        assert_in_range(atomic_load(&budget.used), 1, 100);
    }
    /* A large one's room is not kept for a small one. */
    add_row(&h, 100, 1, 3000);
    assert_in_range(atomic_load(&budget.used), 3000, 3100);
    add_row(&h, 101, 1, 3);
    assert_in_range(atomic_load(&budget.used), 1, 100);
    history_fini(&h);
}

static void a_full_history_has_few_blocks_and_wastes_little(void **state)
{
    enum { KEPT = 100, DATA = 64, ROW = 16 + 72 /* its head, the frame and what aligns it */ };
    (void)state;
    struct history_budget budget = {0};
    struct history h;
    history_init(&h, (struct history_limits){.messages = KEPT}, &budget, 1);
    for (uint64_t offset = 1; offset < 10 * KEPT; offset++) {
        add_row(&h, offset, 1, DATA);
        assert_in_range(atomic_load(&budget.used), h.count * ROW, 2 * h.count * ROW + 256);
    }
    int blocks = 0;
    for (; h.count > 0; blocks++)
        history_evict(&h);
    assert_in_range(blocks, 2, 4);
    assert_int_equal(atomic_load(&budget.used), 0);
    history_fini(&h);
}

static void a_large_message_is_held_and_not_copied(void **state)
{
    (void)state;
    struct history_budget budget = {0};
    struct history h;
    struct message *m = row_of(1, 1, 5000);
    history_init(&h, (struct history_limits){.messages = 2}, &budget, 1);
    assert_true(history_add(&h, m, 0));
    assert_int_equal(atomic_load(&m->references), 2);
    assert_in_range(atomic_load(&budget.used), message_weight(m), message_weight(m) + 100);

    struct history_view v = history_view(&h, 1, 1, false);
    uint64_t offset;
    struct text data;
    assert_true(history_view_next(&v, &offset, &data));
    assert_ptr_equal(data.at, m->frames + 4);
    add_row(&h, 2, 2, 10);
    assert_int_equal(atomic_load(&m->references), 2); /* for the view */
    assert_in_range(atomic_load(&budget.used), 1, 200);
    history_view_fini(&v);
    assert_int_equal(atomic_load(&m->references), 1);
    message_drop(m);
    history_fini(&h);
}

static void a_row_of_more_than_is_kept_costs_what_is_kept(void **state)
{
    (void)state;
    struct history_budget budget = {0};
    struct history h;
    history_init(&h, (struct history_limits){.messages = 2}, &budget, 1);
    add_row(&h, 1, 200, 40); /* which would be held as a whole */
    assert_int_equal(h.oldest, 199);
    assert_int_equal(h.count, 2);
    assert_in_range(atomic_load(&budget.used), 80, 200);
    history_fini(&h);
    /* So much that it could be held. */
    history_init(&h, (struct history_limits){.messages = 50}, &budget, 1);
    add_row(&h, 1, 500, 100);
    assert_int_equal(h.count, 50);
    assert_in_range(atomic_load(&budget.used), 5000, 6000);
    history_fini(&h);
}

static void a_long_history_grows_by_small_blocks(void **state)
{
    enum { KEPT = 5000, BLOCK = 16384 };
    (void)state;
    struct history_budget budget = {0};
    struct history h;
    size_t before = 0;
    history_init(&h, (struct history_limits){.messages = KEPT}, &budget, 1);
    for (uint64_t offset = 1; offset <= KEPT; offset++) {
        add_row(&h, offset, 1, 64);
        assert_true(atomic_load(&budget.used) <= before + BLOCK + 64);
        before = atomic_load(&budget.used);
    }
    history_fini(&h);
}

static void what_only_views_hold_is_off_the_budget(void **state)
{
    (void)state;
    struct history_budget budget = {0};
    struct history h;
    history_init(&h, (struct history_limits){.messages = 10}, &budget, 1);
    add_row(&h, 1, 10, 40);
    struct history_view v = history_view(&h, 1, 10, false);
    history_fini(&h);
    assert_int_equal(atomic_load(&budget.used), 0);
    uint64_t offset;
    struct text data;
    for (uint64_t i = 1; i <= 10; i++)
        assert_true(history_view_next(&v, &offset, &data) && offset == i && data.len == 40);
    history_view_fini(&v);
}

static void no_history_is_an_empty_view(void **state)
{
    (void)state;
    struct history_view v = history_view(NULL, 0, 10, true);
    uint64_t offset;
    struct text data;
    assert_true(v.first > v.last);
    assert_false(history_view_next(&v, &offset, &data));
    history_view_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_what_a_naive_model_keeps),
        cmocka_unit_test(one_small_value_costs_little),
        cmocka_unit_test(a_full_history_has_few_blocks_and_wastes_little),
        cmocka_unit_test(a_large_message_is_held_and_not_copied),
        cmocka_unit_test(a_row_of_more_than_is_kept_costs_what_is_kept),
        cmocka_unit_test(a_long_history_grows_by_small_blocks),
        cmocka_unit_test(what_only_views_hold_is_off_the_budget),
        cmocka_unit_test(no_history_is_an_empty_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
