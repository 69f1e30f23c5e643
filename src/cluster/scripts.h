/* What Redis does for us in one step each, so that nothing comes between. */
#ifndef HERMES_CLUSTER_SCRIPTS_H
#define HERMES_CLUSTER_SCRIPTS_H

/* In the order of scripts[]. What each is given and answers is said in scripts.c, or as noted. */
enum cluster_script {
    SCRIPT_PUBLISH,
    SCRIPT_KEEP,
    SCRIPT_POSITIONS,
    SCRIPT_RENEW,
    SCRIPT_FETCH,
    SCRIPT_NODES,  /* cluster/nodes.h */
    SCRIPT_COUNTS, /* cluster/counts.h */
    SCRIPT_LEAVE,
    SCRIPT_PUBLISH_ONCE,
    SCRIPT_KEEP_ONCE,
};

extern const char *const cluster_scripts[]; /* NULL at the end */

#endif
