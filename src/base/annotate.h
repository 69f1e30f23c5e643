/* Clang's thread-safety annotations (-Wthread-safety); nothing elsewhere. */
#ifndef HERMES_BASE_ANNOTATE_H
#define HERMES_BASE_ANNOTATE_H

#if defined(__clang__)
#define CAPABILITY(name) __attribute__((capability(name)))
#define GUARDED_BY(lock) __attribute__((guarded_by(lock)))
#define REQUIRES(lock) __attribute__((requires_capability(lock)))
#define ACQUIRES(lock) __attribute__((acquire_capability(lock)))
#define RELEASES(lock) __attribute__((release_capability(lock)))
#define NO_THREAD_SAFETY_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(name)
#define GUARDED_BY(lock)
#define REQUIRES(lock)
#define ACQUIRES(lock)
#define RELEASES(lock)
#define NO_THREAD_SAFETY_ANALYSIS
#endif

#endif
