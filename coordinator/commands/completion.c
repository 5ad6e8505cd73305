/* SPDX-License-Identifier: MIT
 * awqrun completion --shell bash|zsh: completion scripts, made of the tables of commands and
 * options, so that they cannot lag behind. */
#include <stdio.h>
#include <string.h>

#include "coordinator/commands/commands.h"

static bool takes(const awq_option *option, const awq_command_row *command)
{
    return (option->commands & (int)command->bit) != 0;
}

static bool is_directory(const awq_option *option)
{
    return option->type == AWQ_OPTION_PATH && !strcmp(option->argument, "DIR");
}

/* Commands whose argument is an output directory. */
static bool takes_directory(const awq_command_row *command)
{
    return !strncmp(command->arguments, "OUT", 3);
}

/* "a|b" as "a b". */
static void print_words(const char *choices)
{
    for (; *choices; choices++) putchar(*choices == '|' ? ' ' : *choices);
}

/* ---- bash ---- */

static const char bash_head[] =
    "# bash completion for awqrun, made by 'awqrun completion --shell bash'\n"
    "_awqrun()\n"
    "{\n"
    "    local current=$2 previous=$3 command=${COMP_WORDS[1]} options word\n"
    "    COMPREPLY=()\n"
    "    for word in \"${COMP_WORDS[@]:2:COMP_CWORD-2}\"; do\n"
    "        [[ $word != -- ]] || command=quantize # what follows is for the job\n"
    "    done\n";

static const char bash_tail[] =
    "    if [[ $options == OUT* && $current != -* ]]; then\n"
    "        compopt -o filenames\n"
    "        mapfile -t COMPREPLY < <(compgen -d -- \"$current\")\n"
    "    else\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"${options#OUT}\" -- \"$current\")\n"
    "    fi\n"
    "}\n"
    "complete -F _awqrun awqrun\n";

/* What follows an option: an entry of a case on the option before. */
static void print_bash_value(const awq_option *option)
{
    if (option->type == AWQ_OPTION_FLAG) return;
    printf("    --%s)\n", option->name);
    if (option->type == AWQ_OPTION_CHOICE) {
        printf("        mapfile -t COMPREPLY < <(compgen -W \"");
        print_words(option->argument);
        printf("\" -- \"$current\")\n");
    } else if (option->type == AWQ_OPTION_PATH) {
        printf("        compopt -o filenames\n"
               "        mapfile -t COMPREPLY < <(compgen -%c -- \"$current\")\n",
               is_directory(option) ? 'd' : 'f');
    }
    printf("        return\n        ;;\n");
}

static void print_bash(const awq_command_row *commands)
{
    fputs(bash_head, stdout);
    printf("    if ((COMP_CWORD == 1)); then\n        mapfile -t COMPREPLY < <(compgen -W \"");
    for (const awq_command_row *c = commands; c->name; c++)
        printf("%s%s", c == commands ? "" : " ", c->name);
    printf("\" -- \"$current\")\n        return\n    fi\n    case $previous in\n");
    for (int i = 0; i < awq_option_count; i++) print_bash_value(&awq_option_table[i]);
    printf("    esac\n    case $command in\n");
    for (const awq_command_row *c = commands; c->name; c++) {
        printf("    %s)\n        options=\"%s", c->name, takes_directory(c) ? "OUT" : "");
        for (int i = 0; i < awq_option_count; i++)
            if (takes(&awq_option_table[i], c)) printf("--%s ", awq_option_table[i].name);
        printf("%s--help\"\n        ;;\n", c->bit == AWQ_COMMAND_SUBMIT ? "-- " : "");
    }
    printf("    esac\n");
    fputs(bash_tail, stdout);
}

/* ---- zsh ---- */

/* Text within single quotes, where _arguments and _describe give ':', '[' and ']' a meaning. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr(":[]\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void print_zsh_option(const awq_option *option)
{
    printf("            '--%s[", option->name);
    print_zsh_text(option->help);
    putchar(']');
    if (option->type != AWQ_OPTION_FLAG) {
        putchar(':');
        print_zsh_text(option->argument);
        putchar(':');
    }
    if (option->type == AWQ_OPTION_CHOICE) {
        putchar('(');
        print_words(option->argument);
        putchar(')');
    } else if (option->type == AWQ_OPTION_PATH) {
        fputs(is_directory(option) ? "_files -/" : "_files", stdout);
    }
    printf("' \\\n");
}

static void print_zsh(const awq_command_row *commands)
{
    printf("#compdef awqrun\n"
           "# zsh completion for awqrun, made by 'awqrun completion --shell zsh'\n"
           "_awqrun() {\n    local -a commands\n    commands=(\n");
    for (const awq_command_row *c = commands; c->name; c++) {
        printf("        '%s:", c->name);
        print_zsh_text(c->summary);
        printf("'\n");
    }
    printf("    )\n"
           "    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n"
           "    fi\n"
           "    local command=$words[2] separator=$words[(I)--]\n"
           "    if ((separator > 2 && CURRENT > separator)); then # what follows is for the job\n"
           "        command=quantize\n"
           "        shift $((separator - 2)) words\n"
           "        ((CURRENT -= separator - 2))\n"
           "    fi\n"
           "    shift words\n    ((CURRENT--))\n    case $command in\n");
    for (const awq_command_row *c = commands; c->name; c++) {
        printf("    %s)\n        _arguments \\\n", c->name);
        for (int i = 0; i < awq_option_count; i++)
            if (takes(&awq_option_table[i], c)) print_zsh_option(&awq_option_table[i]);
        if (takes_directory(c)) printf("            '1:OUT:_files -/' \\\n");
        printf("            '--help[print the options]'\n        ;;\n");
    }
    printf("    esac\n}\n_awqrun \"$@\"\n");
}

int awq_command_completion(const awq_call *call)
{
    if (call->options->shell == AWQ_SHELL_ZSH)
        print_zsh(call->commands);
    else
        print_bash(call->commands);
    return AWQ_EXIT_DONE;
}
