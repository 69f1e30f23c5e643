#include "cluster/counts.h"

#include <string.h>

#include "cluster/redis_link.h"

/* BATCH: topics in one command; SLICE: of those at once. */
enum { BATCH = 64, SLICE = 64, SOON_MS = 10, FIELD = 1 + NODE_DIGITS };

/* KEYS: the topics' hashes. ARGV: the field, then a number for each. A hash that is not there gets
 * none: it would have neither an epoch nor an end. */
const char counts_script[] = "local field = ARGV[1]\n"
                             "for i, key in ipairs(KEYS) do\n"
                             "  local n = ARGV[i + 1]\n"
                             "  if n == '0' then\n"
                             "    redis.call('HDEL', key, field)\n"
                             "  elseif redis.call('EXISTS', key) == 1 then\n"
                             "    redis.call('HSET', key, field, n)\n"
                             "  end\n"
                             "end\n"
                             "return 1\n";

struct field {
    char text[FIELD];
};

static struct field field_of(uint64_t node)
{
    struct field field = {.text = {'n'}};
    struct node_text id = node_text(node);
    memcpy(field.text + 1, id.digits, sizeof id.digits);
    return field;
}

static void ignore(const struct resp *answer, void *user)
{
    (void)answer; /* where the link broke counts_again comes */
    (void)user;
}

static void put_key(struct redis_link *l, struct text topic)
{
    static const char prefix[] = "hermes:t:";
    redis_arg_begin(l, sizeof prefix - 1 + topic.len);
    redis_arg_piece(l, TEXT("hermes:t:"));
    redis_arg_piece(l, topic);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_numbers(struct counts *c, struct counted *const *entries, unsigned count)
{
    struct redis_link *l = entries[0]->link;
    struct field field = field_of(c->settings.nodes->settings.id);
    redis_begin(l, 4 + 2 * count);
    redis_arg(l, TEXT("EVALSHA"));
    redis_arg(l, redis_script(l, c->settings.script));
    redis_arg_number(l, count);
    for (unsigned i = 0; i < count; i++)
        put_key(l, entries[i]->name);
    redis_arg(l, (struct text){field.text, sizeof field.text});
    for (unsigned i = 0; i < count; i++)
        redis_arg_number(l, entries[i]->now);
    if (!redis_send(l, ignore, NULL))
        return;
    for (unsigned i = 0; i < count; i++)
        entries[i]->written = entries[i]->now;
}

/* Takes those of the first one's server, as many as go into a command, and writes them; false: that
 * takes no more now, and they stay. */
static bool write_batch(struct counts *c)
{
    struct counted *batch[BATCH];
    unsigned count = 0;
    struct redis_link *l = LIST_ITEM(c->due.next, struct counted, node)->link;
    bool up = redis_link_is_up(l);
    if (up && redis_link_full(l))
        return false;
    for (struct list *at = c->due.next, *next; at != &c->due && count < BATCH; at = next) {
        struct counted *entry = LIST_ITEM(at, struct counted, node);
        next = at->next;
        if (entry->link != l)
            continue;
        list_remove(at);
        if (entry->now != entry->written)
            batch[count++] = entry;
    }
    if (count > 0 && up)
        write_numbers(c, batch, count);
    return true;
}

static void flush(uv_timer_t *timer)
{
    struct counts *c = timer->data;
    for (unsigned i = 0; i < SLICE && !list_empty(&c->due); i++) {
        if (write_batch(c))
            continue;
        /* The others of it may be behind those of other servers. */
        struct list *first = c->due.next;
        list_remove(first);
        list_append(&c->due, first);
    }
    if (!list_empty(&c->due))
        uv_timer_start(&c->timer, flush, SOON_MS, 0);
}

/* --- topics ----------------------------------------------------------------------------------- */

void counts_add(struct counted *entry, struct redis_link *link, struct text name)
{
    *entry = (struct counted){.link = link, .name = name};
    list_init(&entry->node);
}

void counts_note(struct counts *c, struct counted *entry, uint32_t subscribers)
{
    entry->now = subscribers;
    if (entry->now == entry->written || !list_empty(&entry->node))
        return;
    list_append(&c->due, &entry->node);
    if (!uv_is_active((uv_handle_t *)&c->timer))
        uv_timer_start(&c->timer, flush, COUNTS_LATE_MS, 0);
}

void counts_again(struct counts *c, struct counted *entry)
{
    entry->written = UINT32_MAX; /* nobody knows: what became 0 meanwhile may still be there */
    counts_note(c, entry, entry->now);
}

void counts_remove(struct counts *c, struct counted *entry)
{
    list_remove(&entry->node);
    entry->now = 0;
    if (entry->written > 0 && redis_link_is_up(entry->link))
        write_numbers(c, &entry, 1);
}

/* --- adding up -------------------------------------------------------------------------------- */

/* Whether it has been missing for so long that it will not come back. Strangers of whom nothing was
 * heard for long make room. */
static bool is_dead(struct counts *c, uint64_t node)
{
    uint64_t now = uv_now(c->settings.loop);
    struct stranger *free_one = &c->strangers[0];
    for (size_t i = 0; i < COUNTS_STRANGERS; i++) {
        struct stranger *s = &c->strangers[i];
        if (s->node == node)
            return now - s->since_ms >= COUNTS_DEAD_MS;
        if (free_one->node != 0 && (s->node == 0 || s->since_ms < free_one->since_ms))
            free_one = s;
    }
    c->stranger_count += free_one->node == 0;
    *free_one = (struct stranger){node, now};
    return false;
}

static void forget_stranger(struct counts *c, uint64_t node)
{
    for (size_t i = 0; i < COUNTS_STRANGERS && c->stranger_count > 0; i++) {
        if (c->strangers[i].node != node)
            continue;
        c->strangers[i] = (struct stranger){0, 0};
        c->stranger_count--;
    }
}

static void take_out(struct redis_link *l, struct text topic, struct text field)
{
    if (!redis_link_is_up(l) || redis_link_full(l))
        return;
    redis_begin(l, 3);
    redis_arg(l, TEXT("HDEL"));
    put_key(l, topic);
    redis_arg(l, field);
    redis_send(l, ignore, NULL);
}

static uint32_t number_of(struct text digits)
{
    uint64_t number = 0;
    if (digits.len == 0 || digits.len > 10)
        return 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(digits.at[i] - '0');
    }
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

uint64_t counts_sum(struct counts *c, struct redis_link *link, struct text topic,
    const struct resp *fields, size_t count)
{
    const struct nodes *nodes = c->settings.nodes;
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        struct text field = fields[i].text;
        if (fields[i].kind != RESP_TEXT || fields[i + 1].kind != RESP_TEXT || field.len != FIELD ||
            field.at[0] != 'n')
            continue;
        uint64_t node = node_read((struct text){field.at + 1, NODE_DIGITS});
        if (node == 0 || node == nodes->settings.id)
            continue;
        if (nodes_has(nodes, node)) {
            forget_stranger(c, node);
            sum += number_of(fields[i + 1].text);
        } else if (is_dead(c, node)) {
            take_out(link, topic, field);
        }
    }
    return sum;
}

/* --- start and end ---------------------------------------------------------------------------- */

void counts_init(struct counts *c, const struct counts_settings *settings)
{
    *c = (struct counts){.settings = *settings};
    list_init(&c->due);
    uv_timer_init(settings->loop, &c->timer);
    c->timer.data = c;
}

void counts_close(struct counts *c)
{
    uv_close((uv_handle_t *)&c->timer, NULL);
}

void counts_fini(struct counts *c)
{
    while (!list_empty(&c->due))
        list_remove(c->due.next);
}
