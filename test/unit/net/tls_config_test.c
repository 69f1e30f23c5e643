/* Certificates and keys: what is refused, and how that is told. */
#include "net/tls_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "unit/net/tls_scene.h"

static struct scenery all;
static char path[CERTIFICATES_PATH];

/* Loads, and has to fail with an error of one line that begins with the file's name and has those
 * words in it, and never a line of a key. */
static void refused(struct tls_paths paths, const char *file, const char *words)
{
    struct tls_config *configs[2];
    struct tls_report report;
    assert_false(tls_config_load(&paths, configs, 2, &report));
    if (strncmp(report.error, file, strlen(file)) != 0 || !strstr(report.error, words))
        fail_msg("\"%s\" is not \"%s: ...%s\"", report.error, file, words);
    assert_null(strchr(report.error, '\n'));
}

static void a_pair_makes_one_for_each_worker(void **state)
{
    (void)state;
    struct tls_config *configs[3];
    struct tls_report report;
    assert_true(tls_config_load(&all.paths, configs, 3, &report));
    assert_string_equal(report.error, "");
    assert_string_equal(report.warning, "");
    assert_true(tls_config_same(configs[0], configs[2]));
    for (int i = 0; i < 3; i++)
        tls_config_drop(configs[i]);
    tls_config_drop(NULL);
}

static void both_may_be_in_one_file(void **state)
{
    (void)state;
    certificates_write(&all.files, path, "both.pem", all.server.key, all.server.pem, NULL);
    tls_config_drop(config_load(&(struct tls_paths){path, path, NULL}));
}

static void what_is_not_there_is_told(void **state)
{
    (void)state;
    refused(
        (struct tls_paths){"/nowhere/a.pem", all.key_path, NULL}, "/nowhere/a.pem", "No such file");
    refused((struct tls_paths){all.server_path, "/nowhere/a.key", NULL}, "/nowhere/a.key",
        "No such file");
    refused((struct tls_paths){all.server_path, all.key_path, "/nowhere/ca.pem"}, "/nowhere/ca.pem",
        "No such file");
    refused((struct tls_paths){"/", all.key_path, NULL}, "/", "is not a file");
    refused((struct tls_paths){"/dev/null", all.key_path, NULL}, "/dev/null", "is not a file");
}

static void what_is_no_pem_is_told(void **state)
{
    (void)state;
    certificates_write(&all.files, path, "odd.pem", "hello\n", NULL);
    refused((struct tls_paths){path, all.key_path, NULL}, path, "is no PEM");
    certificates_write(&all.files, path, "odd.pem", NULL);
    refused((struct tls_paths){path, all.key_path, NULL}, path, "is no PEM");
    refused((struct tls_paths){all.key_path, all.key_path, NULL}, all.key_path,
        "there is no certificate in it");
    refused((struct tls_paths){all.server_path, all.server_path, NULL}, all.server_path,
        "there is no private key in it");
    certificates_write(&all.files, path, "odd.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NULL);
    refused((struct tls_paths){path, all.key_path, NULL}, path, "cannot be understood");
    refused((struct tls_paths){all.server_path, all.key_path, path}, path, "cannot be understood");
    certificates_write(&all.files, path, "odd.pem",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", NULL);
    refused((struct tls_paths){all.server_path, path, NULL}, path, "cannot be understood");
    certificates_write(&all.files, path, "odd.pem", all.server.pem,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NULL);
    refused((struct tls_paths){path, all.key_path, NULL}, path, "1 of its certificates");
}

static void a_huge_file_is_not_read(void **state)
{
    (void)state;
    certificates_write(&all.files, path, "huge.pem", all.server.pem, NULL);
    assert_int_equal(truncate(path, 5 << 20), 0);
    refused((struct tls_paths){path, all.key_path, NULL}, path, "larger than 4 MiB");
}

static void another_certificate_s_key_is_told(void **state)
{
    (void)state;
    struct certificate other;
    certificate_make(&other, &all.ca, &(struct certificate_wish){.name = "CN=other"});
    certificates_write(&all.files, path, "other.key", other.key, NULL);
    refused((struct tls_paths){all.server_path, path, NULL}, path,
        "is not the key of the certificate in");
}

static void an_encrypted_key_is_told(void **state)
{
    (void)state;
    certificates_write(&all.files, path, "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n", NULL);
    refused((struct tls_paths){all.server_path, path, NULL}, path, "is encrypted");
    certificates_write(&all.files, path, "encrypted.key",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
        "-----END EC PRIVATE KEY-----\n",
        NULL);
    refused((struct tls_paths){all.server_path, path, NULL}, path, "is encrypted");
}

static void a_chain_is_in_order(void **state)
{
    (void)state;
    struct signer middle;
    struct certificate leaf;
    char key[CERTIFICATES_PATH];
    signer_make(&middle, "CN=Middle", &all.ca);
    certificate_make(&leaf, &middle, &(struct certificate_wish){.name = "CN=leaf"});
    certificates_write(&all.files, key, "leaf.key", leaf.key, NULL);
    certificates_write(&all.files, path, "chain.pem", leaf.pem, middle.pem, all.ca.pem, NULL);
    tls_config_drop(config_load(&(struct tls_paths){path, key, NULL}));
    certificates_write(&all.files, path, "chain.pem", middle.pem, leaf.pem, NULL);
    refused((struct tls_paths){path, key, NULL}, path, "is not the first");
    certificates_write(&all.files, path, "chain.pem", leaf.pem, all.ca.pem, middle.pem, NULL);
    refused((struct tls_paths){path, key, NULL}, path, "out of order");
    signer_free(&middle);
}

/* It is served nevertheless: a broker that does not start helps nobody. */
static void a_wrong_time_is_a_warning(void **state)
{
    (void)state;
    static const struct {
        int from;
        int to;
        const char *words;
    } rows[] = {{-10, -3, "the certificate has expired on"}, {3, 10, "is valid only from"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct certificate odd;
        struct tls_config *config;
        struct tls_report report;
        char key[CERTIFICATES_PATH];
        certificate_make(&odd, &all.ca,
            &(struct certificate_wish){
                .name = "CN=odd", .from_days = rows[i].from, .to_days = rows[i].to});
        certificates_write(&all.files, path, "odd.pem", odd.pem, NULL);
        certificates_write(&all.files, key, "odd.key", odd.key, NULL);
        assert_true(tls_config_load(&(struct tls_paths){path, key, NULL}, &config, 1, &report));
        assert_string_equal(report.error, "");
        assert_memory_equal(report.warning, path, strlen(path));
        assert_non_null(strstr(report.warning, rows[i].words));
        struct tls_about about;
        tls_config_about(config, &about);
        assert_string_equal(about.subject, "CN=odd");
        int64_t expected = (int64_t)time(NULL) + rows[i].to * INT64_C(86400);
        assert_true(llabs(about.expires - expected) < 60);
        tls_config_drop(config);
    }
}

/* By what the files say, not by their names. */
static void a_change_of_any_file_makes_another(void **state)
{
    (void)state;
    struct tls_config *first = config_load(&all.paths);
    struct tls_config *asking = config_load(&all.asking);
    assert_false(tls_config_same(first, asking));
    certificates_write(&all.files, path, "copy.pem", all.server.pem, NULL);
    struct tls_config *copy = config_load(&(struct tls_paths){path, all.key_path, NULL});
    assert_true(tls_config_same(first, copy));
    tls_config_drop(copy);
    certificates_write(&all.files, path, "copy.pem", all.server.pem, all.ca.pem, NULL);
    copy = config_load(&(struct tls_paths){path, all.key_path, NULL});
    assert_false(tls_config_same(first, copy));
    tls_config_drop(copy);
    tls_config_drop(first);
    tls_config_drop(asking);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_makes_one_for_each_worker),
        cmocka_unit_test(both_may_be_in_one_file),
        cmocka_unit_test(what_is_not_there_is_told),
        cmocka_unit_test(what_is_no_pem_is_told),
        cmocka_unit_test(a_huge_file_is_not_read),
        cmocka_unit_test(another_certificate_s_key_is_told),
        cmocka_unit_test(an_encrypted_key_is_told),
        cmocka_unit_test(a_chain_is_in_order),
        cmocka_unit_test(a_wrong_time_is_a_warning),
        cmocka_unit_test(a_change_of_any_file_makes_another),
    };
    scenery_open(&all);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scenery_close(&all);
    return failed;
}
