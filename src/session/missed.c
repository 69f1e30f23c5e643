/* What a break of the cluster may have cost those who subscribe by patterns. */
#include "base/die.h"
#include "broker/local.h"
#include "proto/reply2.h"
#include "session/session.h"
#include "session/worker.h"

static void tell(struct worker *w, struct local_topic *local)
{
    struct place *places = local_places(local);
    buf_clear(&w->scratch);
    reply2_gap_pattern(&w->scratch, pattern_text(&w->shop->route.patterns, local->pattern));
    if (w->scratch.failed)
        die("no memory to tell of a gap"); /* it must not be lost in silence */
    for (uint32_t i = 0; i < local->count; i++) {
        struct session *s = session_of(places[i].subscriber);
        session_send(s, buf_text(&w->scratch));
    }
}

void worker_tell_missed(struct worker *w)
{
    for (size_t part = 0; part < LOCAL_PARTS; part++) {
        struct local_topic *local;
        size_t at = 0;
        while ((local = map_next(&w->topics.parts[part], &at)) != NULL)
            if (local->is_pattern)
                tell(w, local);
    }
}
