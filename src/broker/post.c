#include "broker/post.h"

#include "base/clock.h"
int post_all(const struct search *s, struct message *m, struct post_workers *asleep)
{
    struct route *r = s->route;
    int crowded = -1;
    uint32_t posts = 0;
    const struct match_set *matches = m->matches;
    for (size_t word = 0; word < r->registry.worker_words; word++)
        posts += (uint32_t)__builtin_popcountll(search_interest(s, matches, word));
    if (posts == 0)
        return -1;
    message_hold(m, posts);
    struct mail mail = {.kind = MAIL_MESSAGE,
        .weight = message_weight(m) + (uint32_t)sizeof(struct mail),
        .item = m};
    if (matches) /* few share a large one, see search_keep */
        mail.weight += (uint32_t)(matches->count * sizeof matches->patterns[0]);
    for (size_t word = 0; word < r->registry.worker_words; word++) {
        for (uint64_t set = search_interest(s, matches, word); set != 0; set &= set - 1) {
            unsigned worker = (unsigned)(word * 64) + (unsigned)__builtin_ctzll(set);
            enum mailbox_put put = mailbox_put(r->boxes[worker], mail);
            if (put == MAILBOX_CLOSED)
                message_drop(m); /* it has shut down: its subscribers are gone */
            else if (mailbox_crowded(r->boxes[worker], r->crowded))
                crowded = (int)worker;
            if (put == MAILBOX_RING)
                asleep->words[word] |= set & -set;
        }
    }
    return crowded;
}

void post_wake(struct route *r, const struct post_workers *asleep)
{
    for (size_t word = 0; word < r->registry.worker_words; word++)
        for (uint64_t set = asleep->words[word]; set != 0; set &= set - 1)
            mailbox_ring(r->boxes[word * 64 + (size_t)__builtin_ctzll(set)]);
}

void post_address(const struct search *s, struct message *m)
{
    m->hash = s->hash;
    m->topic = s->topic;
    m->matches = search_matches(s);
    if (m->matches)
        match_set_hold(m->matches);
}

void post_keep(struct search *s, struct message *m)
{
    struct kept *kept = s->topic->kept;
    bool empty = kept->history.count == 0;
    if (history_add(&kept->history, m, clock_ns() / 1000) && empty)
        keepers_filled(&s->stripe->keepers, kept);
}
