/* SPDX-License-Identifier: MIT
 * awqrun: the one file that sees both halves. Finds the subcommand, starts MPI where it computes,
 * makes rank 0 the coordinator and the others workers, and ends the job. */
#include <errno.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/commands/commands.h"
#include "coordinator/crew/interrupt.h"
#include "io/core/log.h"
#include "worker/worker.h"

typedef awq_command_row command;

static const command commands[] = {
    {"quantize", "--model DIR (--tokens FILE | --text FILE...) --out DIR [options]",
     "quantize a checkpoint, or resume", AWQ_COMMAND_QUANTIZE, true, true, awq_command_quantize},
    {"plan", "--model DIR (--tokens FILE | --text FILE...) [options]",
     "check a job and say what it would do", AWQ_COMMAND_PLAN, false, true, awq_command_plan},
    {"status", "OUT [options]", "say how a job is doing", AWQ_COMMAND_STATUS, false, false,
     awq_command_status},
    {"report", "OUT [options]", "a page about a quantization: errors, alphas, times",
     AWQ_COMMAND_REPORT, false, false, awq_command_report},
    {"eval", "--model DIR --tokens FILE [options]",
     "perplexity of a checkpoint, how far it is from another", AWQ_COMMAND_EVAL, true, true,
     awq_command_eval},
    {"verify", "OUT [options]", "say whether a checkpoint is what it should be", AWQ_COMMAND_VERIFY,
     true, true, awq_command_verify},
    {"submit", "[options] -- --model DIR --tokens FILE --out DIR [options of quantize]",
     "quantize as a SLURM job", AWQ_COMMAND_SUBMIT, false, true, awq_command_submit},
    {"tokenize", "--model DIR --text FILE... --out FILE [options]",
     "turn text into calibration tokens", AWQ_COMMAND_TOKENIZE, false, false, awq_command_tokenize},
    {"convert", "CHECKPOINT --out DIR [options]", "put a quantized checkpoint into another format",
     AWQ_COMMAND_CONVERT, false, true, awq_command_convert},
    {"version", "[--models] [--json]", "print versions, or which models are supported",
     AWQ_COMMAND_VERSION, false, false, awq_command_version},
    {"completion", "--shell bash|zsh", "print a script that completes command lines",
     AWQ_COMMAND_COMPLETION, false, false, awq_command_completion},
    {NULL, NULL, NULL, 0, false, false, NULL},
};

/* Workers have so long to say goodbye; what is durable does not depend on it. */
static const double goodbye_seconds = 4;

/* How a rank ended. */
typedef struct ending {
    int code;
    bool silent;      /* a rank did not say goodbye: the job must be ended by force */
    bool left_behind; /* a thread still computes: the process must end by _exit */
} ending;

static void print_usage(FILE *file)
{
    fprintf(file, "awqrun %s - AWQ quantization of large models over MPI\n\n", AWQ_VERSION);
    for (const command *c = commands; c->name; c++)
        fprintf(file, "  awqrun %-10s %s\n", c->name, c->summary);
    fprintf(file, "\n'awqrun COMMAND --help' lists a command's options. To use several workers:\n"
                  "  mpirun -n 9 awqrun quantize ...    one coordinator and eight workers\n");
}

/* A result that could not be printed is no result. */
static int flush_result(int code)
{
    awq_error err;
    bool failed = fflush(stdout) != 0;
    if (!failed && !ferror(stdout)) return code;
    awq_fail(&err, AWQ_ERR_IO, "cannot write the result to standard output: %s", strerror(errno));
    awq_report_error(&err);
    return code ? code : AWQ_EXIT_FAILED;
}

/* submit has options of its own, then "--", then those of quantize. Returns whether --help was
 * asked for. */
static bool parse(const command *c, awq_options *options, int argc, char **argv,
                  awq_problems *problems)
{
    int own = 1;
    if (c->bit != AWQ_COMMAND_SUBMIT)
        return awq_options_parse(options, c->bit, argc, argv, problems);
    while (own < argc && strcmp(argv[own], "--")) own++;
    if (awq_options_parse(options, c->bit, own, argv, problems)) return true;
    if (own < argc)
        return awq_options_parse(options, AWQ_COMMAND_QUANTIZE, argc - own, argv + own, problems);
    awq_problems_add(problems, AWQ_ERR_USAGE,
                     "the options of quantize are missing; give them after '--'");
    return false;
}

/* Parses and runs a command; `crew` is NULL where it does not compute. */
static int run_command(const command *c, int argc, char **argv, awq_crew *crew)
{
    awq_options options;
    awq_problems problems;
    awq_error err;
    int code = AWQ_EXIT_DONE;
    awq_problems_init(&problems);
    if (awq_options_init(&options, &err)) {
        awq_options_release(&options);
        return awq_exit_failed(&err);
    }
    bool help = parse(c, &options, argc, argv, &problems);
    if (c->resolves && !help && !problems.count) awq_options_resolve(&options, &problems);
    awq_log_init(crew ? awq_mail_rank(crew->mail) : -1, options.quiet     ? AWQ_LOG_QUIET
                                                        : options.verbose ? AWQ_LOG_VERBOSE
                                                                          : AWQ_LOG_INFO);
    awq_log_set_json(options.log_json);
    awq_call call = {&options, crew, commands};
    if (help) {
        printf("usage: awqrun %s %s\n\n%s\n\n", c->name, c->arguments, c->summary);
        awq_options_print_help(stdout, c->bit);
    } else if (problems.count)
        code = awq_exit_problems(&problems);
    else
        code = c->run(&call);
    awq_problems_release(&problems);
    awq_options_release(&options);
    return flush_result(code);
}

static ending coordinate(const command *c, int argc, char **argv, awq_mail *mail)
{
    awq_crew crew;
    awq_error err;
    ending end = {.silent = true};
    if (awq_crew_open(mail, &crew, &err)) {
        end.code = awq_exit_failed(&err);
        return end;
    }
    end.code = run_command(c, argc, argv, &crew);
    end.silent = !awq_crew_dismiss(&crew, end.code, goodbye_seconds);
    end.left_behind = !awq_crew_close(&crew);
    return end;
}

static ending work(awq_mail *mail)
{
    awq_error err;
    ending end = {.code = AWQ_EXIT_FAILED};
    awq_log_init(awq_mail_rank(mail), AWQ_LOG_INFO);
    if (!awq_worker_run(mail, &end.code, &end.left_behind, &err)) return end;
    end.silent = true;
    end.code = awq_exit_failed(&err);
    return end;
}

/* A batch script says in AWQ_RANKS how many ranks it starts. When the launcher and the MPI library
 * do not know each other, each rank believes that it is alone. */
static awq_status check_ranks(const awq_mail *mail, awq_error *err)
{
    const char *wanted = getenv("AWQ_RANKS");
    if (!wanted || strtol(wanted, NULL, 10) == awq_mail_size(mail)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MPI,
                    "%s ranks were started, and MPI knows of %d; 'srun --mpi=pmix' and this MPI "
                    "library do not fit each other: use mpirun ('awqrun submit --launcher mpirun')",
                    wanted, awq_mail_size(mail));
}

/* Of all threads the main one alone calls MPI. */
static awq_status start_mpi(awq_error *err)
{
    int provided = MPI_THREAD_SINGLE;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided))
        return awq_fail(err, AWQ_ERR_MPI, "MPI_Init_thread failed: MPI cannot be used here");
    if (provided >= MPI_THREAD_FUNNELED) return AWQ_OK;
    MPI_Finalize();
    return awq_fail(err, AWQ_ERR_MPI,
                    "this MPI library does not let a process have threads "
                    "(MPI_THREAD_FUNNELED); take one that does");
}

static int run_distributed(const command *c, int argc, char **argv)
{
    awq_mail *mail;
    awq_error err;
    awq_interrupt_install(0); /* before MPI takes its time: a signal then is not lost */
    if (start_mpi(&err)) return awq_exit_failed(&err);
    if (awq_mail_open(MPI_COMM_WORLD, awq_worker_cores(), awq_worker_processor(), &mail, &err) ||
        check_ranks(mail, &err)) {
        awq_report_error(&err);
        MPI_Abort(MPI_COMM_WORLD, AWQ_EXIT_FAILED);
    }
    awq_interrupt_install(awq_mail_rank(mail));
    ending end = awq_mail_rank(mail) == 0 ? coordinate(c, argc, argv, mail) : work(mail);
    if (end.silent) MPI_Abort(MPI_COMM_WORLD, end.code ? end.code : AWQ_EXIT_FAILED);
    awq_mail_close(mail, false);
    MPI_Finalize();
    if (end.left_behind) _exit(end.code);
    return end.code;
}

/* A command that does not compute, started by mpirun or srun on many ranks, speaks once. */
static bool is_silent_rank(void)
{
    static const char *const names[] = {"PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
                                        "SLURM_PROCID", NULL};
    for (int i = 0; names[i]; i++) {
        const char *rank = getenv(names[i]);
        if (rank) return strcmp(rank, "0") != 0;
    }
    return false;
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a write error, with a message */
    signal(SIGPIPE, SIG_IGN);
    const char *name = argc > 1 ? argv[1] : "--help";
    if (!strcmp(name, "--version")) name = "version";
    const command *c = commands;
    while (c->name && strcmp(c->name, name)) c++;
    if (!c->name) {
        bool help = !strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help");
        if (is_silent_rank()) return help ? AWQ_EXIT_DONE : AWQ_EXIT_USAGE;
        if (help && argc > 1) {
            print_usage(stdout);
            return AWQ_EXIT_DONE;
        }
        if (argc > 1) fprintf(stderr, "awqrun: error: unknown command '%s'\n\n", name);
        print_usage(stderr);
        return AWQ_EXIT_USAGE;
    }
    if (c->computes) return run_distributed(c, argc - 1, argv + 1);
    return is_silent_rank() ? AWQ_EXIT_DONE : run_command(c, argc - 1, argv + 1, NULL);
}
