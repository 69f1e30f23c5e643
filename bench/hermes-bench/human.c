#include "human.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Three digits, whatever the size; nothing behind the point of a whole number that is exact. */
static struct human three(double value, const char *unit)
{
    struct human h;
    const double size = fabs(value);
    const int behind = size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : 2;
    snprintf(h.text, sizeof h.text, "%.*f%s%s", behind, value, unit[0] ? " " : "", unit);
    return h;
}

/* `unit` has `count` names, each `step` times the one before. */
static struct human scaled(double value, double step, const char *const *unit, int count)
{
    int i = 0;
    if (!isfinite(value))
        return (struct human){"–"};
    /* 999.6 would be printed as 1000. */
    while (i < count - 1 && fabs(value) >= (step == 1000 ? 999.5 : 1023.5)) {
        value /= step;
        i++;
    }
    return three(value, unit[i]);
}

struct human human_duration(double us)
{
    static const char *const unit[] = {"ns", "µs", "ms", "s"};
    if (us == 0)
        return (struct human){"0"};
    if (us >= 1e9 && us < 1e15) {
        struct human h;
        snprintf(h.text, sizeof h.text, "%.1f min", us / 60e6);
        return h;
    }
    return scaled(us * 1000, 1000, unit, 4);
}

struct human human_seconds(double seconds)
{
    struct human h = {"–"};
    if (isfinite(seconds))
        snprintf(h.text, sizeof h.text, seconds < 100 ? "%.3g s" : "%.0f s", seconds);
    return h;
}

struct human human_bytes(double bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    struct human h = scaled(bytes, 1024, unit, 5);
    if (fabs(bytes) < 1023.5)
        snprintf(h.text, sizeof h.text, "%.0f B", bytes);
    return h;
}

struct human human_number(double number)
{
    static const char *const unit[] = {"", "k", "M", "G", "T"};
    struct human h = scaled(number, 1000, unit, 5);
    if (fabs(number) < 999.5 && number == floor(number))
        snprintf(h.text, sizeof h.text, "%.0f", number);
    return h;
}

struct human human_rate(double number)
{
    struct human h;
    snprintf(
        h.text, sizeof h.text, "%.40s%s", human_number(number).text, isfinite(number) ? "/s" : "");
    return h;
}

struct human human_count(double count)
{
    struct human h = {""};
    char digits[32];
    if (!isfinite(count) || fabs(count) >= 1e18)
        return human_number(count);
    const int length = snprintf(digits, sizeof digits, "%" PRIu64, (uint64_t)fabs(count));
    char *to = h.text;
    if (count <= -1)
        *to++ = '-';
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return h;
}

struct human human_share(double share)
{
    struct human h;
    if (!isfinite(share))
        return (struct human){"–"};
    snprintf(h.text, sizeof h.text, "%.*f %%", share > 0 && share < 0.0995 ? 1 : 0, share * 100);
    return h;
}

struct human human_setting(const json_t *of)
{
    struct human h = {"–"};
    if (json_is_string(of)) {
        const char *text = json_string_value(of);
        size_t length = strlen(text);
        const bool cut = length >= sizeof h.text - 4;
        if (cut)
            length = sizeof h.text - 4;
        while (cut && length && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--; /* not within a character */
        snprintf(h.text, sizeof h.text, "%.*s%s", (int)length, text, cut ? "…" : "");
    } else if (json_is_integer(of)) {
        return human_count((double)json_integer_value(of));
    } else if (json_is_real(of)) {
        snprintf(h.text, sizeof h.text, "%g", json_real_value(of));
    } else if (json_is_boolean(of)) {
        snprintf(h.text, sizeof h.text, "%s", json_is_true(of) ? "yes" : "no");
    }
    return h;
}

struct human human_key(const char *key)
{
    struct human h;
    snprintf(h.text, sizeof h.text, "%s", key);
    for (char *c = h.text; *c; c++)
        *c = (char)(*c == '_' || *c == '-' ? ' ' : *c);
    return h;
}

int human_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void human_pad(FILE *out, const char *text, int width)
{
    const int missing = (width < 0 ? -width : width) - human_width(text);
    if (width > 0 && missing > 0)
        fprintf(out, "%*s", missing, "");
    for (const char *c = text; *c; c++)
        putc((unsigned char)*c < ' ' || *c == 127 ? '?' : *c, out);
    if (width < 0 && missing > 0)
        fprintf(out, "%*s", missing, "");
}
