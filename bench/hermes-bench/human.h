/* Figures as people read them: three digits and a unit. */
#ifndef HERMES_BENCH_HUMAN_H
#define HERMES_BENCH_HUMAN_H

#include <jansson.h>
#include <stdio.h>

/* By value, so that one can stand right among the arguments of a printf:
 * printf("%s", human_bytes(n).text). What is not a number is "–". */
struct human {
    char text[48];
};

struct human human_duration(double us);       /* 850 ns, 12.3 µs, 4.56 ms, 7.89 s */
struct human human_seconds(double seconds);   /* 30 s, 2.5 s: a time that was set */
struct human human_bytes(double bytes);       /* 512 B, 1.50 KiB, 20.0 MiB */
struct human human_number(double number);     /* 12.3, 456, 7.89 k, 1.00 M */
struct human human_rate(double number);       /* 456/s, 7.89 k/s */
struct human human_count(double count);       /* 10,000,000 */
struct human human_share(double share);       /* 0 to 1: 45 % */
struct human human_setting(const json_t *of); /* any scalar */
struct human human_key(const char *key);      /* cpu_per_delivery: cpu per delivery */

/* Columns that a text takes on a terminal; the tables here hold nothing wider than one each. */
int human_width(const char *text);

/* Fills up to `width` columns: with spaces before when it is positive, else behind. printf counts
 * bytes, and a µ is two. Control characters become question marks: a URL or a file of someone
 * else's must not steer the terminal. */
void human_pad(FILE *out, const char *text, int width);

#endif
