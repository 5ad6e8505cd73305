/* SPDX-License-Identifier: MIT
 * _GNU_SOURCE: sched_getaffinity and CPU_COUNT are Linux's own. */
#define _GNU_SOURCE
#include "worker/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int awq_cores_online(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int awq_cores_allowed(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? awq_cores_online() : CPU_COUNT(&set);
}

uint64_t awq_cores_place(void)
{
    cpu_set_t set;
    uint64_t place = 14695981039346656037u; /* FNV-1a over the numbers of the cores */
    if (sched_getaffinity(0, sizeof set, &set)) return 0;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &set)) place = (place ^ (uint64_t)core) * 1099511628211u;
    return place;
}

/* A number in a file such as /sys/fs/cgroup/memory.max; 0 when there is none. */
static uint64_t read_number(const char *path, const char *format)
{
    unsigned long long value = 0;
    char line[256];
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, format, &value) == 1) break;
    fclose(file);
    return value;
}

uint64_t awq_memory_share(int workers_on_node)
{
    uint64_t bytes = 1024 * read_number("/proc/meminfo", "MemAvailable: %llu kB"), limit = 0;
    char line[1024], path[1200];
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "r"); /* of version 2 */
    while (file && !found && fgets(line, sizeof line, file)) found = !strncmp(line, "0::/", 4);
    if (file) fclose(file);
    if (found) {
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
        limit = read_number(path, "%llu");
    }
    if (limit && limit < bytes) bytes = limit;
    return bytes / (uint64_t)(workers_on_node > 0 ? workers_on_node : 1);
}
