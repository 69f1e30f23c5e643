#include "churn.h"
#include "scenario.h"

bool scenario_churn(struct run *run, char *fault, size_t fault_size)
{
    const struct options *o = run->o;
    struct churn churn;
    (void)fault;
    (void)fault_size;
    churn_open(&churn, run, o->connections, false);
    if (o->warmup > 0) {
        run->doing = "warming up";
        churn_start(&churn);
        run_wait(run, uv_hrtime() + run_seconds(o->warmup), NULL, NULL, 0);
        churn_stop(&churn);
    }
    if (!run->interrupted) {
        run->doing = "measuring";
        run_begin(run);
        churn_start(&churn);
        run_wait(run, run->begun + run_seconds(o->seconds), NULL, NULL, 0);
        churn_stop(&churn);
        run_end(run, 0);
    }
    churn_close(&churn);
    fleet_close(&run->fleet);
    return true;
}
