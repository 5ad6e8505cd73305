/* SPDX-License-Identifier: MIT */
#include "coordinator/crew/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t count, ends, last;

/* A second SIGTERM or SIGINT ends the process here and now: what is durable stays so. SIGUSR1 may
 * come any number of times: a batch script and SLURM itself may both send one. */
static void on_signal(int number)
{
    count++;
    last = number;
    if (number != SIGUSR1 && ++ends > 1) _exit(75);
}

void awq_interrupt_install(int rank)
{
    static const int signals[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = rank == 0 ? on_signal : SIG_IGN};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

int awq_interrupt_count(void)
{
    return count;
}

bool awq_interrupt_by_launcher(void)
{
    return last == SIGTERM;
}
