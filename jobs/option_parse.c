/* SPDX-License-Identifier: MIT
 * The command line: getopt_long over the option table. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/options.h"

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
static const char *nearest(const char *word, int commands)
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

static void unknown_option(const char *argument, awq_command command, awq_problems *problems)
{
    char word[64];
    const char *name = argument + strspn(argument, "-");
    size_t length = strcspn(name, "=");
    if (length >= sizeof word) length = sizeof word - 1;
    memcpy(word, name, length);
    word[length] = '\0';
    const char *guess = nearest(word, command);
    if (guess)
        awq_problems_add(problems, AWQ_ERR_USAGE, "unknown option '%s', did you mean '--%s'?",
                         argument, guess);
    else
        awq_problems_add(problems, AWQ_ERR_USAGE, "unknown option '%s'; --help lists all",
                         argument);
}

/* After a '?' of getopt_long, which tells by optopt what it did not like. */
static void refuse(int argc, char **argv, awq_command command, awq_problems *problems)
{
    char letter[] = {'-', (char)optopt, '\0'};
    const char *last = argv[optind <= argc ? optind - 1 : argc - 1];
    if (optopt >= HELP)
        awq_problems_add(problems, AWQ_ERR_USAGE, "'%.*s' takes no value", (int)strcspn(last, "="),
                         last);
    else
        unknown_option(optopt ? letter : last, command, problems);
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

/* What follows a list, up to the next option, belongs to it: a shell's *.txt. */
static void set_more(awq_options *options, int index, int argc, char **argv, awq_problems *problems)
{
    if (awq_option_table[index].type != AWQ_OPTION_PATHS) return;
    while (optind < argc && argv[optind][0] != '-') set(options, index, argv[optind++], problems);
}

/* Text takes the place of tokens. */
static void require_input(const awq_options *options, awq_command command, awq_problems *problems)
{
    bool takes_text = command & (AWQ_COMMAND_QUANTIZE | AWQ_COMMAND_PLAN);
    if (options->tokens && options->text)
        awq_problems_add(problems, AWQ_ERR_USAGE, "--tokens and --text exclude each other");
    else if (takes_text && !options->tokens && !options->text)
        awq_problems_add(problems, AWQ_ERR_USAGE, "--tokens FILE or --text FILE is missing");
    else if (command == AWQ_COMMAND_TOKENIZE && !options->text)
        awq_problems_add(problems, AWQ_ERR_USAGE, "--text FILE is missing");
}

static void require(const awq_options *options, awq_command command, awq_problems *problems)
{
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (!option->required || !(option->commands & command)) continue;
        if (command == AWQ_COMMAND_PLAN && option->offset == offsetof(awq_options, out)) continue;
        if (option->offset == offsetof(awq_options, tokens) && command != AWQ_COMMAND_EVAL)
            continue;
        char *text = awq_option_text(options, option);
        if (text && !*text)
            awq_problems_add(problems, AWQ_ERR_USAGE, "--%s %s is missing", option->name,
                             option->argument);
        free(text);
    }
    require_input(options, command, problems);
}

static void positional(awq_options *options, awq_command command, int argc, char **argv,
                       awq_problems *problems)
{
    int first = optind;
    if (command == AWQ_COMMAND_STATUS) {
        if (first >= argc)
            awq_problems_add(problems, AWQ_ERR_USAGE, "which job? give its output directory");
        else
            options->out = strdup(argv[first++]);
    }
    for (; first < argc; first++)
        awq_problems_add(problems, AWQ_ERR_USAGE, "unexpected argument '%s'", argv[first]);
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
    opterr = 0;
    optind = 0; /* start anew, whatever was parsed before */
    for (;;) {
        int code = getopt_long(argc, argv, ":hvq", list, NULL);
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
        else {
            set(options, code - FIRST_LONG, optarg, problems);
            set_more(options, code - FIRST_LONG, argc, argv, problems);
        }
    }
    free(list);
    if (help) return true;
    if (!refused) /* else they may be the values of what was refused */
        positional(options, command, argc, argv, problems);
    if (!problems->count) require(options, command, problems);
    return false;
}

enum { HELP_INDENT = 28, HELP_COLUMNS = 80 };

/* Prints words from column HELP_INDENT on, wrapped. `column` is where the line is now. */
static void print_wrapped(FILE *file, const char *text, int column)
{
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > HELP_INDENT && column + 1 + word > HELP_COLUMNS) {
            fputc('\n', file);
            column = 0;
        }
        if (column < HELP_INDENT)
            fprintf(file, "%*s", HELP_INDENT - column, "");
        else if (column > HELP_INDENT)
            fputc(' ', file);
        column = (column < HELP_INDENT ? HELP_INDENT : column + (column > HELP_INDENT)) + word;
        fprintf(file, "%.*s", word, text);
        text += word + strspn(text + word, " ");
    }
    fputc('\n', file);
}

static void print_option(FILE *file, const char *left, const char *help)
{
    int column = fprintf(file, "  %s", left);
    if (column >= HELP_INDENT) {
        fputc('\n', file);
        column = 0;
    }
    print_wrapped(file, help, column);
}

void awq_options_print_help(FILE *file, awq_command command)
{
    for (int i = 0; i < awq_option_count; i++) {
        const awq_option *option = &awq_option_table[i];
        if (!(option->commands & command)) continue;
        char left[64], help[512];
        snprintf(left, sizeof left, "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        snprintf(help, sizeof help, option->fallback ? "%s (default %s)" : "%s", option->help,
                 option->fallback);
        print_option(file, left, help);
    }
    print_option(file, "-h, --help", "print this");
}
