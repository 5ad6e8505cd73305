/* SPDX-License-Identifier: MIT
 * The batch script: slurm/job.sbatch.in with each @WORD@ replaced. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/slurm/slurm.h"
#include "coordinator/slurm/submit.h"
#include "jobs/options/job_file.h"

extern const char awq_job_template[]; /* made by CMake from slurm/job.sbatch.in */

typedef struct script {
    const awq_options *options;
    const awq_options *defaults;
    const awq_request *request;
} script;

/* ---- words ---- */

/* A word as the shell reads it back. */
static void put_quoted(FILE *file, const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-+=./:,@%";
    if (*word && !word[strspn(word, safe)]) {
        fputs(word, file);
        return;
    }
    fputc('\'', file);
    for (; *word; word++)
        if (*word == '\'')
            fputs("'\\''", file);
        else
            fputc(*word, file);
    fputc('\'', file);
}

/* The last part of a path, fit for a job's name. */
static void put_name(FILE *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    for (const char *c = slash ? slash + 1 : path; *c; c++)
        fputc(isalnum((unsigned char)*c) || strchr("._-", *c) ? *c : '_', file);
}

static void put_program(FILE *file, const script *s)
{
    char self[AWQ_PATH_BYTES];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (s->options->submit.program) {
        fputs(s->options->submit.program, file);
    } else if (length > 0) {
        self[length] = '\0';
        put_quoted(file, self);
    } else {
        fputs("awqrun", file);
    }
}

/* ---- directives ---- */

static void put_text(FILE *file, const char *option, const char *value)
{
    if (value) fprintf(file, "#SBATCH --%s=%s\n", option, value);
}

static void put_number(FILE *file, const char *option, int64_t value)
{
    fprintf(file, "#SBATCH --%s=%lld\n", option, (long long)value);
}

/* The coordinator takes no task of its own: it sleeps, and would cost as many CPUs as a worker. */
static void put_directives(FILE *file, const script *s)
{
    const awq_submit_options *o = &s->options->submit;
    const awq_request *r = s->request;
    char limit[32];
    awq_slurm_format_time(limit, r->seconds);
    fputs("#SBATCH --job-name=awqrun-", file);
    put_name(file, s->options->model);
    fputc('\n', file);
    put_number(file, "nodes", r->nodes);
    put_number(file, "ntasks-per-node", r->workers_per_node);
    if (o->gpus_per_node) put_number(file, "gpus-per-node", o->gpus_per_node);
    if (r->cpus_per_worker)
        put_number(file, "cpus-per-task", r->cpus_per_worker);
    else
        fputs("#SBATCH --exclusive\n#SBATCH --mem=0\n", file);
    put_text(file, "time", limit);
    fprintf(file, "#SBATCH --signal=B:USR1@%.0f\n", r->signal_seconds);
    fputs("#SBATCH --requeue\n#SBATCH --open-mode=append\n", file);
    put_text(file, "partition", o->partition);
    put_text(file, "account", o->account);
    put_text(file, "qos", o->qos);
    put_text(file, "constraint", o->constraint);
    put_text(file, "mail-user", o->mail_user);
    if (o->mail_user) put_text(file, "mail-type", "END,FAIL,REQUEUE");
    if (o->sbatch) fprintf(file, "#SBATCH %s\n", o->sbatch);
}

void awq_script_check(const awq_submit_options *options, awq_problems *problems)
{
    const char *const words[][2] = {{"partition", options->partition},
                                    {"account", options->account},
                                    {"qos", options->qos},
                                    {"constraint", options->constraint},
                                    {"mail-user", options->mail_user}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i][1] && words[i][1][strcspn(words[i][1], " \t\r\n\"'\\#")])
            awq_problems_add(problems, AWQ_ERR_USAGE, "--%s takes one word, not '%s'", words[i][0],
                             words[i][1]);
    const char *const lines[][2] = {{"sbatch", options->sbatch}, {"program", options->program}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (lines[i][1] && strpbrk(lines[i][1], "\r\n"))
            awq_problems_add(problems, AWQ_ERR_USAGE, "--%s takes one line", lines[i][0]);
    if (options->sbatch && options->sbatch[0] != '-')
        awq_problems_add(problems, AWQ_ERR_USAGE,
                         "--sbatch takes options of sbatch, such as '--mem=200G', not '%s'",
                         options->sbatch);
}

/* ---- options of quantize ---- */

/* Each of a list on its own. */
static void put_option(FILE *file, const awq_option *option, const char *text, const char *between)
{
    for (const char *end; text; text = *end ? end + 1 : NULL) {
        bool list = option->type == AWQ_OPTION_PATHS;
        end = list ? text + strcspn(text, "\n") : text + strlen(text);
        char *value = strndup(text, (size_t)(end - text));
        fprintf(file, "%s    --%s", between, option->name);
        if (option->type != AWQ_OPTION_FLAG) {
            fputc('=', file);
            put_quoted(file, value ? value : "");
        }
        free(value);
        between = "\n";
    }
}

/* Those that differ from the defaults. */
static void put_options(FILE *file, const script *s)
{
    const char *between = "";
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (!(option->commands & AWQ_COMMAND_QUANTIZE) || !awq_job_file_holds(option) ||
            option->offset == offsetof(awq_options, restart))
            continue;
        char *text = awq_option_text(s->options, option);
        char *fallback = awq_option_text(s->defaults, option);
        if (text && fallback && strcmp(text, fallback) != 0) {
            put_option(file, option, text, between);
            between = "\n";
        }
        free(text);
        free(fallback);
    }
}

/* ---- the whole ---- */

static void put_value(FILE *file, const char *name, const script *s)
{
    static const char *const launchers[] = {"auto", "srun", "mpirun"};
    if (!strcmp(name, "VERSION"))
        fputs(AWQ_VERSION, file);
    else if (!strcmp(name, "MODEL"))
        put_name(file, s->options->model);
    else if (!strcmp(name, "DIRECTIVES"))
        put_directives(file, s);
    else if (!strcmp(name, "PROGRAM"))
        put_program(file, s);
    else if (!strcmp(name, "OUT"))
        put_quoted(file, s->options->out);
    else if (!strcmp(name, "OPTIONS"))
        put_options(file, s);
    else if (!strcmp(name, "RESTART"))
        fputs(s->options->restart ? "yes" : "no", file);
    else if (!strcmp(name, "WORKERS_PER_NODE"))
        fprintf(file, "%lld", (long long)s->request->workers_per_node);
    else if (!strcmp(name, "LAUNCHER"))
        fputs(launchers[s->options->submit.launcher], file);
    else if (!strcmp(name, "MAX_REQUEUES"))
        fprintf(file, "%lld", (long long)s->options->submit.max_requeues);
}

/* A name is capital letters between two @; any other @ stands for itself. */
static void fill_in(FILE *file, const script *s)
{
    const char *at = awq_job_template;
    while (*at) {
        char name[32];
        size_t letters = *at == '@' ? strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;
        if (letters && letters < sizeof name && at[1 + letters] == '@') {
            snprintf(name, sizeof name, "%.*s", (int)letters, at + 1);
            put_value(file, name, s);
            at += letters + 2;
        } else {
            fputc(*at++, file);
        }
    }
}

char *awq_script_make(const awq_options *options, const awq_request *request)
{
    awq_options defaults;
    awq_error ignored;
    char *text = NULL;
    size_t bytes;
    FILE *file = awq_options_init(&defaults, &ignored) ? NULL : open_memstream(&text, &bytes);
    if (file) fill_in(file, &(script){options, &defaults, request});
    awq_options_release(&defaults);
    if (!file) return NULL;
    bool failed = ferror(file);
    if (fclose(file) || failed) {
        free(text);
        return NULL;
    }
    return text;
}
