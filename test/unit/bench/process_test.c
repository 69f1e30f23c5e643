#include "hermes-bench/process.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG = 64 << 20 };

static uint64_t own_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void ones_own_time_is_read_to_less_than_a_tick(void **state)
{
    (void)state;
    struct process_reading r;
    for (int i = 0; i < 100; i++) {
        const uint64_t before = own_cpu();
        assert_true(process_read(getpid(), &r));
        assert_true(r.cpu >= before && r.cpu <= own_cpu());
    }
}

static void memory_that_is_used_is_seen_and_its_peak_stays(void **state)
{
    (void)state;
    struct process_reading before, with, after;
    uint64_t exact_before, exact_with;
    assert_true(process_read(getpid(), &before));
    assert_true(process_rss_exact(getpid(), &exact_before));
    char *memory = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 1, BIG);
    assert_true(process_read(getpid(), &with));
    assert_true(process_rss_exact(getpid(), &exact_with));
    munmap(memory, BIG);
    assert_true(process_read(getpid(), &after));
    assert_true(with.rss >= before.rss + BIG * 9 / 10);
    assert_true(exact_with >= exact_before + BIG * 9 / 10);
    assert_true(exact_with < exact_before + BIG * 2);
    assert_true(after.rss < with.rss - BIG / 2);
    assert_true(after.rss_peak >= BIG && after.rss_peak >= with.rss * 9 / 10);
}

static void another_process_can_be_read(void **state)
{
    (void)state;
    struct process_reading r;
    uint64_t exact;
    int hold[2];
    assert_int_equal(pipe(hold), 0);
    const pid_t child = fork();
    if (child == 0) {
        char c;
        close(hold[1]);
        _exit(read(hold[0], &c, 1) < 0);
    }
    close(hold[0]);
    assert_true(child > 0);
    assert_true(process_read(child, &r));
    assert_true(r.rss > 0 && r.rss_peak > 0);
    assert_true(process_rss_exact(child, &exact));
    close(hold[1]);
    waitpid(child, NULL, 0);
}

static void a_process_that_has_ended_is_said_to_be_none(void **state)
{
    (void)state;
    struct process_reading r;
    uint64_t exact;
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    errno = 0;
    assert_false(process_read(child, &r)); /* nobody has asked for its exit code yet */
    assert_int_equal(errno, ESRCH);
    waitpid(child, NULL, 0);
    errno = 0;
    assert_false(process_read(child, &r));
    assert_int_equal(errno, ESRCH);
    errno = 0;
    assert_false(process_rss_exact(child, &exact));
    assert_int_equal(errno, ESRCH);
}

static void no_pid_is_no_process(void **state)
{
    (void)state;
    struct process_reading r;
    errno = 0;
    assert_false(process_read(0, &r));
    assert_int_equal(errno, ESRCH);
    assert_false(process_read(-1, &r));
}

static void a_machine_is_not_busier_than_its_processors(void **state)
{
    (void)state;
    struct machine_reading first, second;
    assert_true(machine_read(&first));
    assert_true(machine_read(&second));
    assert_true(first.busy > 0 && first.busy <= first.all);
    assert_true(second.all >= first.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ones_own_time_is_read_to_less_than_a_tick),
        cmocka_unit_test(memory_that_is_used_is_seen_and_its_peak_stays),
        cmocka_unit_test(another_process_can_be_read),
        cmocka_unit_test(a_process_that_has_ended_is_said_to_be_none),
        cmocka_unit_test(no_pid_is_no_process),
        cmocka_unit_test(a_machine_is_not_busier_than_its_processors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
