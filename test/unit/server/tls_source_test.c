#include "server/tls_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/certificates.h"

enum { WORKERS = 3 };

struct scene {
    struct certificates files;
    struct signer ca;
    struct certificate first;
    struct certificate second;
    char certificate_path[CERTIFICATES_PATH];
    char key_path[CERTIFICATES_PATH];
    struct logger logger;
    struct tls_box box;
    struct tls_source source;
    int null;
};

static void use(struct scene *s, const struct certificate *certificate, const char *key)
{
    certificates_write(&s->files, s->certificate_path, "server.pem", certificate->pem, NULL);
    certificates_write(&s->files, s->key_path, "server.key", key, NULL);
}

static void open_scene(struct scene *s)
{
    struct certificate_wish wish = {.name = "CN=first", .dns = "localhost"};
    struct tls_report report;
    certificates_open(&s->files);
    signer_make(&s->ca, "CN=Test authority", NULL);
    certificate_make(&s->first, &s->ca, &wish);
    wish.name = "CN=second";
    certificate_make(&s->second, &s->ca, &wish);
    s->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    logger_init(&s->logger, s->null, LOG_DEBUG, false);
    tls_box_init(&s->box);
    use(s, &s->first, s->first.key);
    assert_true(
        tls_source_init(&s->source, s->certificate_path, s->key_path, "", WORKERS, &s->logger));
    assert_true(tls_source_load(&s->source, &s->box, &report));
    assert_string_equal(report.warning, "");
}

static void close_scene(struct scene *s)
{
    tls_source_fini(&s->source);
    tls_box_fini(&s->box);
    logger_fini(&s->logger);
    close(s->null);
    signer_free(&s->ca);
    certificates_close(&s->files);
}

/* Each worker takes one of its own; NULL: there is none for it. */
static void assert_taken(struct scene *s, const char *subject)
{
    struct tls_config *taken[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        taken[i] = tls_box_take(&s->box, i);
        assert_int_equal(taken[i] != NULL, subject != NULL);
        for (unsigned k = 0; subject && k < i; k++)
            assert_ptr_not_equal(taken[i], taken[k]);
    }
    for (unsigned i = 0; subject && i < WORKERS; i++) {
        struct tls_about about;
        tls_config_about(taken[i], &about);
        assert_string_equal(about.subject, subject);
        tls_config_drop(taken[i]);
    }
}

static void every_worker_gets_one_of_its_own(void **state)
{
    static struct scene s;
    (void)state;
    open_scene(&s);
    assert_taken(&s, "CN=first");
    assert_taken(&s, NULL);
    close_scene(&s);
}

static void a_reload_brings_what_is_new_and_nothing_else(void **state)
{
    static struct scene s;
    struct tls_report report;
    (void)state;
    open_scene(&s);
    assert_taken(&s, "CN=first");
    assert_int_equal(tls_source_reload(&s.source, &report), TLS_SOURCE_SAME);
    assert_taken(&s, NULL);
    use(&s, &s.second, s.second.key);
    assert_int_equal(tls_source_reload(&s.source, &report), TLS_SOURCE_NEW);
    assert_taken(&s, "CN=second");
    close_scene(&s);
}

static void a_bad_pair_changes_nothing(void **state)
{
    static struct scene s;
    struct tls_report report;
    (void)state;
    open_scene(&s);
    assert_taken(&s, "CN=first");
    use(&s, &s.second, s.first.key);
    assert_int_equal(tls_source_reload(&s.source, &report), TLS_SOURCE_BAD);
    assert_non_null(strstr(report.error, s.key_path));
    assert_taken(&s, NULL);
    unlink(s.certificate_path);
    assert_int_equal(tls_source_reload(&s.source, &report), TLS_SOURCE_BAD);
    assert_non_null(strstr(report.error, s.certificate_path));
    assert_taken(&s, NULL);
    close_scene(&s);
}

/* Broken by loading at the first sight of a change: fails. */
static void files_are_read_once_they_have_changed_and_are_at_rest(void **state)
{
    static struct scene s;
    (void)state;
    open_scene(&s);
    assert_taken(&s, "CN=first");
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    certificates_write(&s.files, s.certificate_path, "server.pem", s.second.pem, NULL);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    certificates_write(&s.files, s.key_path, "server.key", s.second.key, NULL);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    assert_taken(&s, NULL);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_NEW);
    assert_taken(&s, "CN=second");
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    assert_taken(&s, NULL);
    close_scene(&s);
}

/* Broken by comparing with what was good last: it is read, and complained of, each second. */
static void a_bad_pair_is_read_once(void **state)
{
    static struct scene s;
    (void)state;
    open_scene(&s);
    use(&s, &s.second, s.first.key);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_BAD);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    use(&s, &s.second, s.second.key);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_SAME);
    assert_int_equal(tls_source_look(&s.source), TLS_SOURCE_NEW);
    close_scene(&s);
}

static void a_key_in_the_same_file_needs_no_name(void **state)
{
    static struct scene s;
    struct tls_source source;
    struct tls_report report;
    char path[CERTIFICATES_PATH];
    (void)state;
    open_scene(&s);
    certificates_write(&s.files, path, "both.pem", s.second.pem, s.second.key, NULL);
    assert_true(tls_source_init(&source, path, "", "", WORKERS, &s.logger));
    assert_true(tls_source_load(&source, &s.box, &report));
    assert_taken(&s, "CN=second");
    tls_source_fini(&source);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_worker_gets_one_of_its_own),
        cmocka_unit_test(a_reload_brings_what_is_new_and_nothing_else),
        cmocka_unit_test(a_bad_pair_changes_nothing),
        cmocka_unit_test(files_are_read_once_they_have_changed_and_are_at_rest),
        cmocka_unit_test(a_bad_pair_is_read_once),
        cmocka_unit_test(a_key_in_the_same_file_needs_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
