/* SPDX-License-Identifier: MIT */
#include "coordinator/slurm/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/core/clock.h"

enum { OUTPUT_BYTES = 1 << 20 };

extern char **environ;

/* Starts it with its output going to `output`; the error number, 0 if it runs. */
static int start(const char *const argv[], bool silent, int output, pid_t *process)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (silent) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int code = posix_spawnp(process, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
                            environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code;
}

/* Reads to the end, or as much as there is room for; NULL when time or memory is up. */
static char *read_output(int fd, double deadline)
{
    char *text = malloc(OUTPUT_BYTES);
    size_t used = 0;
    while (text && used < OUTPUT_BYTES - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        double left = deadline - awq_clock_seconds();
        if (left <= 0) {
            free(text);
            return NULL;
        }
        if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0) continue;
        ssize_t bytes = read(fd, text + used, OUTPUT_BYTES - 1 - used);
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes <= 0) break;
        used += (size_t)bytes;
    }
    if (text) text[used] = '\0';
    return text;
}

static int reap(pid_t process)
{
    int state;
    while (waitpid(process, &state, 0) < 0)
        if (errno != EINTR) return 255;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

awq_status awq_subprocess(const char *const argv[], bool silent, double seconds, char **output,
                          int *code, awq_error *err)
{
    int ends[2];
    pid_t process;
    if (pipe(ends))
        return awq_fail(err, AWQ_ERR_IO, "cannot run '%s': %s", argv[0], strerror(errno));
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    int code_of_start = start(argv, silent, ends[1], &process);
    close(ends[1]);
    if (code_of_start) {
        close(ends[0]);
        return awq_fail(err, AWQ_ERR_IO, "cannot run '%s': %s", argv[0], strerror(code_of_start));
    }
    char *text = read_output(ends[0], awq_clock_seconds() + seconds);
    if (!text) kill(process, SIGKILL);
    close(ends[0]);
    *code = reap(process);
    if (!text) return awq_fail(err, AWQ_ERR_IO, "'%s' gave no answer for %.0f s", argv[0], seconds);
    *output = text;
    return AWQ_OK;
}
