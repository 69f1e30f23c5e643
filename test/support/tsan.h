/* What ThreadSanitizer is to be quiet about. Included once by a test whose threads open descriptors
 * while a broker ends. */
#ifndef HERMES_SUPPORT_TSAN_H
#define HERMES_SUPPORT_TSAN_H

/* libuv closes its descriptors by a bare system call that ThreadSanitizer does not see; when their
 * numbers come again it takes two descriptors for one. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:^epoll_create1$\n"
           "race:^eventfd$\n";
}

#endif
