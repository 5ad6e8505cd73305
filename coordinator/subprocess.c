/* SPDX-License-Identifier: MIT */
#include "coordinator/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"

enum { OUTPUT_BYTES = 1 << 20 };

static void become(const char *const argv[], bool silent, int output)
{
    int nothing = open("/dev/null", O_RDWR);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    if (silent) dup2(nothing, STDERR_FILENO);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(AWQ_NOT_FOUND);
}

/* Reads to the end, or as much as there is room for; false when time is up. */
static bool read_output(int fd, double deadline, char *text)
{
    size_t used = 0;
    while (used < OUTPUT_BYTES - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        double left = deadline - awq_clock_seconds();
        if (left <= 0) return false;
        if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0) continue;
        ssize_t bytes = read(fd, text + used, OUTPUT_BYTES - 1 - used);
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes <= 0) break;
        used += (size_t)bytes;
    }
    text[used] = '\0';
    return true;
}

static int reap(pid_t process)
{
    int state;
    while (waitpid(process, &state, 0) < 0)
        if (errno != EINTR) return AWQ_NOT_FOUND;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

awq_status awq_subprocess(const char *const argv[], bool silent, double seconds, char **output,
                          int *code, awq_error *err)
{
    int ends[2];
    char *text = malloc(OUTPUT_BYTES);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to run '%s'", argv[0]);
    pid_t process = pipe(ends) ? -1 : fork();
    if (process < 0) {
        free(text);
        return awq_fail(err, AWQ_ERR_IO, "cannot run '%s': %s", argv[0], strerror(errno));
    }
    if (process == 0) become(argv, silent, ends[1]);
    close(ends[1]);
    bool ended = read_output(ends[0], awq_clock_seconds() + seconds, text);
    if (!ended) kill(process, SIGKILL);
    close(ends[0]);
    int exit_code = reap(process);
    if (ended) {
        *output = text;
        *code = exit_code;
        return AWQ_OK;
    }
    free(text);
    return awq_fail(err, AWQ_ERR_IO, "'%s' gave no answer for %.0f s", argv[0], seconds);
}
