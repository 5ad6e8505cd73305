/* SPDX-License-Identifier: MIT
 * io/core/clock.h - monotonic seconds, for time-outs, rates and ETAs; and the wall clock's, for
 * people.
 */
#ifndef AWQ_IO_CORE_CLOCK_H
#define AWQ_IO_CORE_CLOCK_H

#include <time.h>

static inline double awq_clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds since 1970. May jump: for what is shown, never for time-outs. */
static inline double awq_clock_wall_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Adds the time since *mark to *seconds and moves the mark. */
static inline void awq_clock_lap(double *mark, double *seconds)
{
    double now = awq_clock_seconds();
    *seconds += now - *mark;
    *mark = now;
}

#endif
