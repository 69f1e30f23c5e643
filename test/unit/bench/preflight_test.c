#include "hermes-bench/preflight.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct preflight modest = {
    .connections = 1000, .connects_per_second = 500, .host = "127.0.0.1", .threads = 1};

static const struct preflight_facts plenty = {.files = 65536,
    .server_files = 65536,
    .server_open = 40,
    .ports = 28232,
    .time_wait = 100,
    .time_wait_reused = true,
    .somaxconn = 4096,
    .backlog = 4096,
    .processors = 4,
    .local = true};

static char said[4096];

static bool judge(const struct preflight *p, const struct preflight_facts *f)
{
    memset(said, 0, sizeof said);
    FILE *out = fmemopen(said, sizeof said - 1, "w");
    const bool possible = preflight_judge(p, f, out);
    fclose(out);
    return possible;
}

static void assert_said(const char *text)
{
    if (!strstr(said, text))
        fail_msg("not \"%s\" but: %s", text, said);
}

static void assert_lines(size_t lines)
{
    size_t count = 0;
    for (const char *c = said; *c; c++)
        count += *c == '\n';
    if (count != lines)
        fail_msg("not %zu lines: %s", lines, said);
}

static void where_nothing_limits_one_line_says_so(void **state)
{
    (void)state;
    assert_true(judge(&modest, &plenty));
    assert_lines(1);
    assert_said("no limit in the way");
}

static void what_is_not_known_limits_nothing(void **state)
{
    (void)state;
    const struct preflight_facts nothing = {.files = 0};
    assert_true(judge(&modest, &nothing));
    assert_lines(1);
}

static void too_few_descriptors_here_make_it_impossible(void **state)
{
    (void)state;
    struct preflight_facts f = plenty;
    f.files = 1063;
    assert_false(judge(&modest, &f));
    assert_lines(1);
    assert_said("cannot: 1,000 connections need 1,064 descriptors here, 1,063 are allowed");
    f.files = 1064;
    assert_true(judge(&modest, &f));
}

static void too_few_descriptors_of_the_server_make_it_impossible(void **state)
{
    (void)state;
    struct preflight_facts f = plenty;
    f.server_files = 1039;
    assert_false(judge(&modest, &f));
    assert_lines(1);
    assert_said("the server would need 1,040 descriptors (40 are open now), 1,039 are allowed");
    f.server_files = 1040;
    assert_true(judge(&modest, &f));
}

static void ports_count_by_source_address(void **state)
{
    (void)state;
    struct preflight p = modest;
    struct preflight_facts f = plenty;
    f.files = f.server_files = 1000000;
    p.connections = 28232;
    assert_true(judge(&p, &f));
    p.connections = 28233;
    assert_false(judge(&p, &f));
    assert_said("1 source address, 28,232 ports each");
    assert_said("name 2: --source 127.0.0.1,127.0.0.2");
    f.local = false;
    assert_false(judge(&p, &f));
    assert_said("more addresses of this machine");
    f.local = true;
    p.sources = 2;
    assert_true(judge(&p, &f));
    p.connections = 56465;
    assert_false(judge(&p, &f));
    assert_said("2 source addresses, 28,232 ports each: 56,464 connections");
    assert_said("name 3");
}

static void ports_in_time_wait_count_where_they_are_not_reused(void **state)
{
    (void)state;
    struct preflight_facts f = plenty;
    f.time_wait = 27500;
    assert_true(judge(&modest, &f));
    assert_lines(1);
    assert_said("no limit");
    f.time_wait_reused = false;
    assert_true(judge(&modest, &f));
    assert_said("limit: 27,500 ports are in TIME_WAIT");
}

static void connecting_for_long_runs_out_of_ports_where_they_are_not_reused(void **state)
{
    (void)state;
    struct preflight_facts f = plenty;
    f.time_wait_reused = false;
    assert_true(judge(&modest, &f));
    assert_said("28,232 ports allow 470 connects/s for long, not 500");
    f.time_wait_reused = true;
    assert_true(judge(&modest, &f));
    assert_said("no limit");
}

static void a_burst_is_held_against_the_backlog(void **state)
{
    (void)state;
    struct preflight p = modest;
    struct preflight_facts f = plenty;
    f.backlog = 128;
    assert_true(judge(&p, &f)); /* 500 a second are 50 in a tenth of one */
    assert_said("no limit");
    p.connects_per_second = 0;
    assert_true(judge(&p, &f));
    assert_said("1,000 connects at once meet the server's backlog of 128");
    assert_said("up to somaxconn, 4,096");
    p.at_once = 128;
    assert_true(judge(&p, &f));
    assert_said("no limit");
    p.at_once = 1001;
    f.backlog = f.somaxconn = 512;
    assert_true(judge(&p, &f));
    assert_said("backlog of 512 (somaxconn)");
    f.backlog = 0; /* could not be asked: somaxconn is its bound */
    assert_true(judge(&p, &f));
    assert_said("backlog of 512 (somaxconn)");
    f.local = false; /* another machine's is not known */
    assert_true(judge(&p, &f));
    assert_said("no limit");
}

static void the_firewall_and_the_processors_are_looked_at(void **state)
{
    (void)state;
    struct preflight p = modest;
    struct preflight_facts f = plenty;
    f.tracked = 999;
    assert_true(judge(&p, &f));
    assert_said("the firewall remembers 999 connections, 1,000 are wanted");
    f.tracked = 0;
    p.threads = 4;
    assert_true(judge(&p, &f));
    assert_said("the server runs here too: 4 threads of this tool and it share 4 processors");
    f.local = false;
    assert_true(judge(&p, &f));
    assert_said("no limit");
    p.threads = 5;
    assert_true(judge(&p, &f));
    assert_said("5 threads on 4 processors");
}

static void all_that_limits_is_said_at_once(void **state)
{
    (void)state;
    struct preflight p = modest;
    struct preflight_facts f = plenty;
    p.connections = 100000;
    p.connects_per_second = 0;
    p.threads = 9;
    assert_false(judge(&p, &f));
    assert_lines(5);
}

/* ---- reading ---- */

static void the_own_limit_is_raised_and_a_listening_socket_is_seen(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max / 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 37), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);

    struct preflight p = modest;
    struct preflight_facts f;
    p.port = ntohs(address.sin_port);
    p.pid = getpid();
    preflight_read(&p, &f);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limit.rlim_cur, limit.rlim_max);
    assert_int_equal(f.files, limit.rlim_max);
    assert_int_equal(f.server_files, limit.rlim_cur); /* the server is oneself */
    assert_true(f.server_open >= 3 && f.server_open < 100);
    assert_true(f.local);
    assert_true(f.ports > 0 && f.ports < 65536);
    assert_true(f.somaxconn > 0);
    assert_true(f.processors > 0);
    assert_true(f.backlog == 37 || f.backlog == 0); /* 0: a sandbox that lets nobody ask */
    close(fd);
}

static void an_address_of_others_is_not_local(void **state)
{
    (void)state;
    struct preflight p = modest;
    struct preflight_facts f;
    p.host = "192.0.2.1"; /* for documentation: nobody has it */
    preflight_read(&p, &f);
    assert_false(f.local);
    assert_int_equal(f.backlog, 0);
    assert_int_equal(f.server_files, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nothing_limits_one_line_says_so),
        cmocka_unit_test(what_is_not_known_limits_nothing),
        cmocka_unit_test(too_few_descriptors_here_make_it_impossible),
        cmocka_unit_test(too_few_descriptors_of_the_server_make_it_impossible),
        cmocka_unit_test(ports_count_by_source_address),
        cmocka_unit_test(ports_in_time_wait_count_where_they_are_not_reused),
        cmocka_unit_test(connecting_for_long_runs_out_of_ports_where_they_are_not_reused),
        cmocka_unit_test(a_burst_is_held_against_the_backlog),
        cmocka_unit_test(the_firewall_and_the_processors_are_looked_at),
        cmocka_unit_test(all_that_limits_is_said_at_once),
        cmocka_unit_test(the_own_limit_is_raised_and_a_listening_socket_is_seen),
        cmocka_unit_test(an_address_of_others_is_not_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
