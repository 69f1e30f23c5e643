/* The scenarios: each fills the run's report and closes the run's fleet.
 * False, with one line in `fault`, when it could not run. Threads: the main one. */
#ifndef HERMES_BENCH_SCENARIO_H
#define HERMES_BENCH_SCENARIO_H

#include "plan.h"
#include "run.h"

struct load;

/* fanout, topics, pairs, slow, soak; with --find-knee the search. */
bool scenario_load(struct run *run, char *fault, size_t fault_size);
bool scenario_storm(struct run *run, char *fault, size_t fault_size);
bool scenario_connect(struct run *run, char *fault, size_t fault_size);
bool scenario_churn(struct run *run, char *fault, size_t fault_size);

/* Connections that it has at the same time, for the preflight. */
size_t scenario_connections(const struct options *o);

/* ---- recover.c ---- */

/* The load is connected; stays open. */
bool storm_recover(struct run *run, struct load *load, char *fault, size_t fault_size);

/* ---- knee_run.c ---- */

bool search_knee(struct run *run, struct load *load, char *fault, size_t fault_size);

/* ---- soak.c ---- */

/* What soak does beside its plan. */
struct soak;
struct soak *soak_start(struct run *run, struct load *load);

/* Until the phase is over: now and then subscribers leave and come back. */
void soak_wait(struct soak *soak);

/* Before the load is closed. */
void soak_free(struct soak *soak);

void soak_plan(const struct options *o, struct plan *plan);

#endif
