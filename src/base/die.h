/* The answer to our own bugs, and to memory that the broker cannot go on without: a line on
 * standard error and abort(). Never for what a peer or the environment does. */
#ifndef HERMES_BASE_DIE_H
#define HERMES_BASE_DIE_H

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define MUST_TEXT_(x) #x
#define MUST_TEXT(x) MUST_TEXT_(x)

/* Holds in every build. */
#define MUST(condition)                                                                            \
    ((condition) ? (void)0 : die("%s", __FILE__ ":" MUST_TEXT(__LINE__) ": must hold: " #condition))

/* Holds too, but is looked at in debug builds only: for hot paths. */
#ifdef HERMES_DEBUG
#define MUST_DEBUG(condition) MUST(condition)
#else
#define MUST_DEBUG(condition) ((void)0)
#endif

#endif
