#include "server/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hermes/hermes.h"

/* The table once more. */
enum kind { NUMBER, SIZE, TIME, PORT, AUTO_PORT, STRING, SECRET, CHOICE };

static const struct row {
    const char *variable;
    const char *flag;
    enum kind kind;
    const char *value;
    bool zero;
    uint64_t least;
    uint64_t most;
} rows[] = {
#define SETTING(field, variable, flag, kind, value, zero, least, most, help)                       \
    {variable, flag, kind, value, zero, least, most},
#include "server/settings.def"
#undef SETTING
};

static char error[256];

static int set(struct settings *s, const char *name, const char *value)
{
    error[0] = '\0';
    return settings_set(s, name, value, error, sizeof error);
}

static void init(struct settings *s)
{
    assert_true(settings_init(s));
}

static void what_is_not_set_has_its_default(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    assert_true(s.numbers[SETTING_port] == 443);
    assert_string_equal(s.texts[SETTING_host], "");
    assert_string_equal(s.texts[SETTING_config], "");
    assert_true(s.numbers[SETTING_history_bytes] == 64 << 20);
    assert_true(s.numbers[SETTING_workers] == 0);
    assert_true(s.numbers[SETTING_max_message_bytes] == 1 << 20);
    assert_true(s.numbers[SETTING_max_topic_bytes] == 1024);
    assert_true(s.numbers[SETTING_max_subscriptions] == 10000);
    assert_true(s.numbers[SETTING_max_backlog_bytes] == 64 << 20);
    assert_true(s.numbers[SETTING_handshake_ms] == 10000);
    assert_true(s.numbers[SETTING_ping_ms] == 25000);
    assert_true(s.numbers[SETTING_pong_ms] == 10000);
    assert_true(s.numbers[SETTING_drain_delay_ms] == 0);
    assert_true(s.numbers[SETTING_drain_ms] == 10000);
    assert_true(s.numbers[SETTING_log_level] == 1);
    assert_true(s.numbers[SETTING_log_format] == 0);
    settings_fini(&s);
    assert_null(s.texts[SETTING_host]);
}

static void variable_and_flag_are_the_same_setting(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    assert_int_equal(set(&s, "WS_MAX_MESSAGE_BYTES", "2k"), HERMES_OK);
    assert_true(s.numbers[SETTING_max_message_bytes] == 2048);
    assert_int_equal(set(&s, "max-message-bytes", "3K"), HERMES_OK);
    assert_true(s.numbers[SETTING_max_message_bytes] == 3072);
    assert_int_equal(set(&s, "WS_PING_SECONDS", "1.5m"), HERMES_OK);
    assert_true(s.numbers[SETTING_ping_ms] == 90000);
    assert_int_equal(set(&s, "log-level", "off"), HERMES_OK);
    assert_true(s.numbers[SETTING_log_level] == 4);
    assert_int_equal(set(&s, "host", "::1"), HERMES_OK);
    assert_int_equal(set(&s, "host", "127.0.0.1"), HERMES_OK);
    assert_string_equal(s.texts[SETTING_host], "127.0.0.1");
    settings_fini(&s);
}

/* Broken by a place in memory that they share: fails. */
static void each_text_is_its_own(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    assert_int_equal(set(&s, "WS_CONFIG", "rules of mine.json"), HERMES_OK);
    assert_int_equal(set(&s, "host", "localhost"), HERMES_OK);
    assert_string_equal(s.texts[SETTING_config], "rules of mine.json");
    assert_string_equal(s.texts[SETTING_host], "localhost");
    assert_int_equal(set(&s, "config", ""), HERMES_OK);
    assert_string_equal(s.texts[SETTING_config], "");
    for (size_t i = 0; i < SETTING_COUNT; i++)
        assert_int_equal(s.texts[i] != NULL, rows[i].kind == STRING || rows[i].kind == SECRET);
    settings_fini(&s);
}

static void only_a_secret_is_wiped(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    assert_int_equal(set(&s, "WS_JWT_SECRET", "of mine"), HERMES_OK);
    assert_int_equal(set(&s, "host", "localhost"), HERMES_OK);
    settings_wipe(&s, SETTING_jwt_secret);
    settings_wipe(&s, SETTING_host);
    settings_wipe(&s, SETTING_port);
    for (size_t i = 0; i < sizeof "of mine"; i++)
        assert_int_equal(s.texts[SETTING_jwt_secret][i], 0);
    assert_string_equal(s.texts[SETTING_host], "localhost");
    settings_fini(&s);
}

static void there_are_no_other_settings(void **state)
{
    (void)state;
    static const char *const names[] = {
        "", "WS_", "PORT", "ws_port", "--port", "port ", "WS_PORTS", "max_message_bytes"};
    struct settings s;
    init(&s);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(set(&s, names[i], "1"), HERMES_UNKNOWN);
        assert_non_null(strstr(error, names[i]));
    }
    settings_fini(&s);
}

static void write_number(char *text, size_t size, const struct row *row, uint64_t number)
{
    snprintf(text, size, "%" PRIu64 "%s", number, row->kind == TIME ? "ms" : "");
}

static void assert_set(struct settings *s, size_t i, uint64_t number, bool allowed)
{
    char text[40];
    uint64_t before = s->numbers[i];
    write_number(text, sizeof text, &rows[i], number);
    int code = set(s, rows[i].flag, text);
    if (code != (allowed ? HERMES_OK : HERMES_INVALID))
        fail_msg("%s=%s: %d %s", rows[i].variable, text, code, error);
    assert_true(s->numbers[i] == (allowed ? number : before));
    if (allowed)
        return;
    assert_non_null(strstr(error, rows[i].variable)); /* names what is wrong, and the value */
    assert_non_null(strstr(error, text));
    assert_null(strchr(error, '\n'));
}

/* Broken by a bound that is off by one, and by a zero that is refused or let in where it must not
 * be: fails. */
static void every_number_has_its_bounds(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct row *row = &rows[i];
        if (row->kind == STRING || row->kind == SECRET || row->kind == CHOICE)
            continue;
        assert_set(&s, i, row->least, true);
        assert_set(&s, i, row->most, true);
        assert_set(&s, i, row->most + 1, false);
        if (row->least > 1)
            assert_set(&s, i, row->least - 1, false);
        if (row->least > 0)
            assert_set(&s, i, 0, row->zero);
    }
    settings_fini(&s);
}

static void what_cannot_be_read_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", " ", "x", "-1", "1e3", "0x10", "1 ", " 1", "1,5",
        "99999999999999999999", "text, json", "info,", "debug info", "off "};
    struct settings s;
    init(&s);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (rows[i].kind == STRING || rows[i].kind == SECRET)
            continue;
        for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
            uint64_t before = s.numbers[i];
            if (!*wrong[k] && (rows[i].kind == PORT || rows[i].kind == AUTO_PORT))
                continue; /* which is off */
            if (set(&s, rows[i].variable, wrong[k]) != HERMES_INVALID)
                fail_msg("%s=%s is let in", rows[i].variable, wrong[k]);
            assert_true(s.numbers[i] == before);
            assert_non_null(strstr(error, rows[i].variable));
        }
    }
    settings_fini(&s);
}

static void a_port_may_be_off_and_a_number_not(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    assert_true(s.numbers[SETTING_tls_port] == PORT_OFF);
    assert_int_equal(set(&s, "WS_TLS_PORT", "8443"), HERMES_OK);
    assert_true(s.numbers[SETTING_tls_port] == 8443);
    assert_int_equal(set(&s, "WS_TLS_PORT", "off"), HERMES_OK);
    assert_true(s.numbers[SETTING_tls_port] == PORT_OFF);
    assert_int_equal(set(&s, "WS_TLS_PORT", "8443"), HERMES_OK);
    assert_int_equal(set(&s, "WS_TLS_PORT", ""), HERMES_OK);
    assert_true(s.numbers[SETTING_tls_port] == PORT_OFF);
    assert_int_equal(set(&s, "WS_ADMIN_PORT", "auto"), HERMES_OK);
    assert_int_equal(set(&s, "WS_ADMIN_PORT", ""), HERMES_OK);
    assert_true(s.numbers[SETTING_admin_port] == PORT_OFF);
    assert_int_equal(set(&s, "WS_TLS_PORT", "on"), HERMES_INVALID);
    assert_non_null(strstr(error, "off or 0 to 65535"));
    assert_int_equal(set(&s, "WS_PORT", "off"), HERMES_INVALID);
    settings_fini(&s);
}

static void the_port_of_the_admin_listener_may_be_automatic_too(void **state)
{
    (void)state;
    struct settings s;
    init(&s);
    assert_true(s.numbers[SETTING_admin_port] == PORT_OFF);
    assert_int_equal(set(&s, "WS_ADMIN_PORT", "auto"), HERMES_OK);
    assert_true(s.numbers[SETTING_admin_port] == PORT_AUTO);
    assert_int_equal(set(&s, "WS_ADMIN_PORT", "0"), HERMES_OK);
    assert_true(s.numbers[SETTING_admin_port] == 0);
    assert_int_equal(set(&s, "WS_ADMIN_PORT", "off"), HERMES_OK);
    assert_true(s.numbers[SETTING_admin_port] == PORT_OFF);
    assert_int_equal(set(&s, "WS_ADMIN_PORT", "any"), HERMES_INVALID);
    assert_non_null(strstr(error, "off, auto or 0 to 65535"));
    assert_int_equal(set(&s, "WS_TLS_PORT", "auto"), HERMES_INVALID);
    settings_fini(&s);
}

static void choices_are_the_words_of_their_help(void **state)
{
    (void)state;
    static const char *const levels[] = {"debug", "info", "warn", "error", "off"};
    static const char *const formats[] = {"text", "json"};
    struct settings s;
    init(&s);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(set(&s, "WS_LOG_LEVEL", levels[i]), HERMES_OK);
        assert_true(s.numbers[SETTING_log_level] == i);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(set(&s, "WS_LOG_FORMAT", formats[i]), HERMES_OK);
        assert_true(s.numbers[SETTING_log_format] == i);
    }
    assert_int_equal(set(&s, "WS_LOG_LEVEL", "json"), HERMES_INVALID);
    assert_non_null(strstr(error, "debug, info, warn, error, off"));
    assert_int_equal(set(&s, "WS_LOG_LEVEL", "inf"), HERMES_INVALID);
    assert_int_equal(set(&s, "WS_LOG_LEVEL", "INFO"), HERMES_INVALID);
    settings_fini(&s);
}

static void a_long_value_does_not_overflow_the_error(void **state)
{
    (void)state;
    struct settings s;
    char value[2000];
    char small[20];
    init(&s);
    memset(value, '9', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    assert_int_equal(settings_set(&s, "WS_PORT", value, small, sizeof small), HERMES_INVALID);
    assert_int_equal(strlen(small), sizeof small - 1);
    assert_int_equal(settings_set(&s, value, value, small, sizeof small), HERMES_UNKNOWN);
    settings_fini(&s);
}

/* As the programs around it show and match them: WS_MAX_TOPIC_BYTES is --max-topic-bytes. */
static void the_list_for_help_texts_is_the_table(void **state)
{
    (void)state;
    size_t count = 0;
    const struct hermes_setting *list = hermes_settings(&count);
    assert_int_equal(count, SETTING_COUNT);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list[i].variable, rows[i].variable);
        assert_string_equal(list[i].flag, rows[i].flag);
        assert_string_equal(list[i].value, rows[i].value);
        assert_true(strlen(list[i].help) > 0);
        assert_int_equal(list[i].secret, rows[i].kind == SECRET);
        assert_memory_equal(list[i].variable, "WS_", 3);
        assert_int_equal(strlen(list[i].flag), strlen(list[i].variable) - 3);
        for (size_t at = 0; list[i].flag[at]; at++) {
            int upper = toupper((unsigned char)list[i].flag[at]);
            assert_int_equal(upper == '-' ? '_' : upper, list[i].variable[at + 3]);
        }
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(list[i].flag, list[k].flag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_set_has_its_default),
        cmocka_unit_test(variable_and_flag_are_the_same_setting),
        cmocka_unit_test(each_text_is_its_own),
        cmocka_unit_test(only_a_secret_is_wiped),
        cmocka_unit_test(there_are_no_other_settings),
        cmocka_unit_test(every_number_has_its_bounds),
        cmocka_unit_test(what_cannot_be_read_is_refused_and_changes_nothing),
        cmocka_unit_test(a_port_may_be_off_and_a_number_not),
        cmocka_unit_test(the_port_of_the_admin_listener_may_be_automatic_too),
        cmocka_unit_test(choices_are_the_words_of_their_help),
        cmocka_unit_test(a_long_value_does_not_overflow_the_error),
        cmocka_unit_test(the_list_for_help_texts_is_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
