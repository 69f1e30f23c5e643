/* Clang's thread-safety annotations (-Wthread-safety); nothing elsewhere. GUARDED_BY only tells the
 * reader: C has no way to name another member of the same struct there. */
#ifndef HERMES_BASE_ANNOTATE_H
#define HERMES_BASE_ANNOTATE_H

#if defined(__clang__)
#define CAPABILITY(name) __attribute__((capability(name)))
#define REQUIRES(lock) __attribute__((requires_capability(lock)))
#define ACQUIRES(lock) __attribute__((acquire_capability(lock)))
#define RELEASES(lock) __attribute__((release_capability(lock)))
#define NO_THREAD_SAFETY_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(name)
#define REQUIRES(lock)
#define ACQUIRES(lock)
#define RELEASES(lock)
#define NO_THREAD_SAFETY_ANALYSIS
#endif

#define GUARDED_BY(lock)

#endif
