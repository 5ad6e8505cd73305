/* SPDX-License-Identifier: MIT */
#include "jobs/options/amounts.h"

#include <stdio.h>

void awq_format_seconds(char out[32], double seconds)
{
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(out, 32, "?");
        return;
    }
    long s = (long)(seconds + 0.5);
    if (s < 60)
        snprintf(out, 32, "%lds", s);
    else if (s < 3600)
        snprintf(out, 32, "%ldm%02lds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, 32, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else
        snprintf(out, 32, "%ldd%02ldh", s / 86400, s / 3600 % 24);
}

static void scaled(char out[32], double value, const char *const *units)
{
    int unit = 0;
    while (value >= 999.5 && units[unit + 1]) {
        value /= 1000;
        unit++;
    }
    const char *format = unit == 0 ? "%.0f%s%s" : value < 10 ? "%.2f%s%s" : "%.1f%s%s";
    snprintf(out, 32, format, value, *units[unit] ? " " : "", units[unit]);
}

void awq_format_bytes(char out[32], double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", NULL};
    scaled(out, bytes, units);
}

void awq_format_count(char out[32], double count)
{
    static const char *const units[] = {"", "k", "M", "B", "T", NULL};
    scaled(out, count, units);
}
