/* SPDX-License-Identifier: MIT
 * The command line: getopt_long over the option table. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/options/job_file.h"

/* What getopt_long returns for long options: above every letter. */
enum { HELP = 256, FIRST_LONG };

/* Levenshtein distance of two short words, at most 63 letters of the second. */
static int distance(const char *a, const char *b)
{
    int row[64], length = (int)strlen(b);
    if (length > 63) length = 63;
    for (int j = 0; j <= length; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= length; j++) {
            int above = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[length];
}

/* The more letters a word has, the more of them may be wrong. */
const char *awq_option_nearest(const char *word, int commands)
{
    const char *best = NULL;
    int letters = (int)strlen(word), best_distance = letters < 8 ? 1 + (letters + 1) / 3 : 4;
    for (int i = 0; i < awq_option_count; i++) {
        int d = distance(word, awq_option_table[i].name);
        if (!(awq_option_table[i].commands & commands) || d >= best_distance) continue;
        best = awq_option_table[i].name;
        best_distance = d;
    }
    return best;
}

/* After a '?' of getopt_long, which tells by optopt what it did not like. */
static void refuse(int argc, char **argv, awq_command command, awq_problems *problems)
{
    const char *last = argv[optind <= argc ? optind - 1 : argc - 1];
    if (optopt >= HELP) {
        awq_problems_add(problems, AWQ_ERR_USAGE, "'%.*s' takes no value", (int)strcspn(last, "="),
                         last);
        return;
    }
    char letter[] = {'-', (char)optopt, '\0'}, word[64];
    const char *argument = optopt ? letter : last, *name = argument + strspn(argument, "-");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, "="), name);
    const char *guess = awq_option_nearest(word, command);
    if (guess)
        awq_problems_add(problems, AWQ_ERR_USAGE, "unknown option '%s', did you mean '--%s'?",
                         argument, guess);
    else
        awq_problems_add(problems, AWQ_ERR_USAGE, "unknown option '%s'; --help lists all",
                         argument);
}

static struct option *long_options(awq_command command)
{
    struct option *list = calloc((size_t)awq_option_count + 2, sizeof *list);
    int count = 0;
    for (int i = 0; list && i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (!(option->commands & command)) continue;
        list[count++] = (struct option){
            option->name, option->type == AWQ_OPTION_FLAG ? no_argument : required_argument, NULL,
            FIRST_LONG + i};
    }
    if (list) list[count] = (struct option){"help", no_argument, NULL, HELP};
    return list;
}

static void set(awq_options *options, int index, const char *text, awq_problems *problems)
{
    awq_error err;
    if (awq_option_set(options, &awq_option_table[index], text ? text : "true", &err))
        awq_problems_add_error(problems, &err);
}

/* The next word that still belongs to a list: a shell's *.txt, up to the next option. NULL: none.
 */
static const char *next_of_list(int index, int argc, char **argv)
{
    bool list = awq_option_table[index].type == AWQ_OPTION_PATHS;
    return list && optind < argc && argv[optind][0] != '-' ? argv[optind++] : NULL;
}

/* What the command line has given of two that exclude each other. */
typedef struct given {
    bool tokens, text;
} given;

static void drop(char **value)
{
    free(*value);
    *value = NULL;
}

/* Over a job file the command line wins: its list begins anew, and what it gives of tokens and text
 * takes the place of the other. */
static void set_given(awq_options *options, int index, const char *value, int argc, char **argv,
                      given *so_far, awq_problems *problems)
{
    size_t offset = awq_option_table[index].offset;
    bool tokens = offset == offsetof(awq_options, tokens);
    bool text = offset == offsetof(awq_options, text.files);
    if (text && !so_far->text) drop(&options->text.files);
    if (text && !so_far->tokens) drop(&options->tokens);
    if (tokens && !so_far->text) drop(&options->text.files);
    so_far->tokens = so_far->tokens || tokens;
    so_far->text = so_far->text || text;
    set(options, index, value, problems);
    while ((value = next_of_list(index, argc, argv))) set(options, index, value, problems);
}

static void require(const awq_options *options, awq_command command, awq_problems *problems)
{
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (!option->required || !(option->commands & command)) continue;
        if (command == AWQ_COMMAND_PLAN && option->offset == offsetof(awq_options, out)) continue;
        if (command == AWQ_COMMAND_VERIFY) continue; /* says itself what goes with what */
        if (option->offset == offsetof(awq_options, tokens) && command != AWQ_COMMAND_EVAL)
            continue; /* text takes their place */
        char *text = awq_option_text(options, option);
        if (text && !*text)
            awq_problems_add(problems, AWQ_ERR_USAGE, "--%s %s is missing", option->name,
                             option->argument);
        free(text);
    }
    bool takes_text = command & (AWQ_COMMAND_QUANTIZE | AWQ_COMMAND_PLAN);
    if (options->tokens && options->text.files)
        awq_problems_add(problems, AWQ_ERR_USAGE, "--tokens and --text exclude each other");
    else if (takes_text && !options->tokens && !options->text.files)
        awq_problems_add(problems, AWQ_ERR_USAGE, "--tokens FILE or --text FILE is missing");
    else if (command == AWQ_COMMAND_TOKENIZE && !options->text.files)
        awq_problems_add(problems, AWQ_ERR_USAGE, "--text FILE is missing");
}

/* Where a command's one positional argument goes, and what to ask when it is missing. */
static const struct {
    int commands;
    size_t offset;
    const char *question;
} positionals[] = {
    {AWQ_COMMAND_STATUS | AWQ_COMMAND_REPORT, offsetof(awq_options, out),
     "which job? give its output directory"},
    {AWQ_COMMAND_VERIFY, offsetof(awq_options, out), "which checkpoint? give its directory"},
    {AWQ_COMMAND_CONVERT, offsetof(awq_options, model),
     "which checkpoint? give its directory, and another one as --out"},
};

static void positional(awq_options *options, awq_command command, int argc, char **argv,
                       awq_problems *problems)
{
    int next = optind;
    for (size_t i = 0; i < sizeof positionals / sizeof *positionals; i++) {
        if (!(positionals[i].commands & command)) continue;
        if (next < argc)
            *(char **)((char *)options + positionals[i].offset) = strdup(argv[next++]);
        else
            awq_problems_add(problems, AWQ_ERR_USAGE, "%s", positionals[i].question);
    }
    for (; next < argc; next++)
        awq_problems_add(problems, AWQ_ERR_USAGE, "unexpected argument '%s'", argv[next]);
}

/* -v and -q stand for --verbose and --quiet, where these are. */
static const char *letters(awq_command command)
{
    return awq_option_find("verbose")->commands & command ? ":hvq" : ":h";
}

/* The options of --job, which all others win over, wherever it stands. */
static void read_job_file(awq_options *options, awq_command command, const struct option *list,
                          int argc, char **argv, awq_problems *problems)
{
    const awq_option *job = awq_option_find("job");
    opterr = 0;
    optind = 0; /* start anew, whatever was parsed before */
    for (int code; (code = getopt_long(argc, argv, letters(command), list, NULL)) != -1;) {
        if (code == FIRST_LONG + (int)(job - awq_option_table))
            awq_job_file_read(optarg, options, problems);
        while (code >= FIRST_LONG && next_of_list(code - FIRST_LONG, argc, argv)) continue;
    }
    optind = 0;
}

bool awq_options_parse(awq_options *options, awq_command command, int argc, char **argv,
                       awq_problems *problems)
{
    struct option *list = long_options(command);
    if (!list) {
        awq_problems_add(problems, AWQ_ERR_MEMORY, "no memory for the command line");
        return false;
    }
    bool help = false, refused = false;
    given so_far = {false, false};
    read_job_file(options, command, list, argc, argv, problems);
    for (;;) {
        int code = getopt_long(argc, argv, letters(command), list, NULL);
        if (code == -1) break;
        refused = refused || code == '?';
        if (code == HELP || code == 'h')
            help = true;
        else if (code == 'v')
            options->verbose = true;
        else if (code == 'q')
            options->quiet = true;
        else if (code == ':')
            awq_problems_add(problems, AWQ_ERR_USAGE, "'%s' needs a value", argv[optind - 1]);
        else if (code == '?')
            refuse(argc, argv, command, problems);
        else
            set_given(options, code - FIRST_LONG, optarg, argc, argv, &so_far, problems);
    }
    free(list);
    if (help) return true;
    if (!refused) /* else they may be the values of what was refused */
        positional(options, command, argc, argv, problems);
    if (!problems->count) require(options, command, problems);
    return false;
}

enum { HELP_INDENT = 28, HELP_COLUMNS = 80 };

/* What is to be typed, and from column HELP_INDENT on what it does, wrapped. */
static void print_option(FILE *file, const char *left, const char *help)
{
    int column = fprintf(file, "  %s", left);
    if (column >= HELP_INDENT) {
        fputc('\n', file);
        column = 0;
    }
    while (*help) {
        int word = (int)strcspn(help, " ");
        if (column > HELP_INDENT && column + 1 + word > HELP_COLUMNS) {
            fputc('\n', file);
            column = 0;
        }
        if (column < HELP_INDENT)
            fprintf(file, "%*s", HELP_INDENT - column, "");
        else if (column > HELP_INDENT)
            fputc(' ', file);
        column = (column < HELP_INDENT ? HELP_INDENT : column + (column > HELP_INDENT)) + word;
        fprintf(file, "%.*s", word, help);
        help += word + strspn(help + word, " ");
    }
    fputc('\n', file);
}

/* The manual page's headings, and the rows of the table that each begins at. */
static const struct {
    const char *title, *from;
} sections[] = {{"Input and output", "model"},      {"Text in place of tokens", "text"},
                {"Input and output", "against"},    {"What decides the result", "bits"},
                {"How it is run", "backend"},       {"What is said", "json"},
                {"What is asked of SLURM", "nodes"}};
enum { SECTIONS = sizeof sections / sizeof *sections };

/* The options of a command below one title; the title is printed if there are any. */
static void print_section(FILE *file, awq_command command, const char *title)
{
    const char *now = "";
    bool printed = false;
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        for (int j = 0; j < SECTIONS; j++)
            if (!strcmp(sections[j].from, option->name)) now = sections[j].title;
        if (strcmp(now, title) != 0 || !(option->commands & command)) continue;
        if (!printed) fprintf(file, "%s:\n", title);
        printed = true;
        char left[64], help[512];
        snprintf(left, sizeof left, "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        snprintf(help, sizeof help, option->fallback ? "%s (default %s)" : "%s", option->help,
                 option->fallback);
        print_option(file, left, help);
    }
    if (printed) fputc('\n', file);
}

void awq_options_print_help(FILE *file, awq_command command)
{
    for (int i = 0; i < SECTIONS; i++) {
        bool first = true;
        for (int j = 0; j < i; j++) first = first && strcmp(sections[i].title, sections[j].title);
        if (first) print_section(file, command, sections[i].title);
    }
    print_option(file, "-h, --help", "print this");
}
