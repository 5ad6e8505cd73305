/* SPDX-License-Identifier: MIT
 * Split patterns. tokenizers runs them by Oniguruma (Ruby's syntax), awqrun by PCRE2: only what
 * both read alike is let through. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/parts.h"

struct awq_pattern {
    char *literal; /* NULL: a regex */
    size_t bytes;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    char *name;
};

/* ---- what both read alike ---- */

typedef struct reader {
    const char *at;
    const char *why; /* what is not understood; NULL: nothing */
} reader;

static bool is_one_of(const char *word, size_t bytes, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == bytes && !strncmp(*words, word, bytes)) return true;
    return false;
}

/* \p{L}: the general categories in which awq_unicode_newer leaves no difference. */
static void read_property(reader *in)
{
    static const char *const known[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "N",  "Nd", "Nl", "No",
                                        "M",  "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",
                                        "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", NULL};
    const char *name = in->at + 2, *end = in->at[1] == '{' ? strchr(name, '}') : NULL;
    if (end && is_one_of(name, (size_t)(end - name), known))
        in->at = end + 1;
    else
        in->why = "a Unicode property other than a general category";
}

/* Behind a backslash. */
static void read_escape(reader *in, bool in_class)
{
    char c = *in->at;
    if (c == 'p' || c == 'P')
        read_property(in);
    else if (c && strchr("rntsd", c))
        in->at++;
    else if (c == 'S' && !in_class)
        in->at++;
    else if (c && strchr("!\"#$%&()*+,-./:;=?@[\\]^_{|}~ ", c))
        in->at++;
    else
        in->why = "an escape";
}

/* Behind '['. Ruby has intersections and nested classes; PCRE2 has named ones. */
static void read_class(reader *in)
{
    if (*in->at == '^') in->at++;
    if (*in->at == ']') in->why = "']' at the start of a class";
    while (!in->why && *in->at && *in->at != ']') {
        if (*in->at == '[' || (in->at[0] == '&' && in->at[1] == '&')) in->why = "a nested class";
        if (*in->at++ == '\\') read_escape(in, true);
    }
    if (!in->why && !*in->at) in->why = "a class without an end";
    if (!in->why) in->at++;
}

/* Under (?i: only ASCII words, without what folds to several letters at once: Oniguruma takes the
 * ligature U+FB05 for "st". */
static void read_caseless(reader *in)
{
    static const char *const ligatures[] = {"ff", "fi", "fl", "ss", "st", NULL};
    const char *begin = in->at;
    while (*in->at && (strchr("'|", *in->at) || (*in->at >= 'a' && *in->at <= 'z'))) in->at++;
    for (int i = 0; ligatures[i]; i++) {
        const char *found = strstr(begin, ligatures[i]);
        if (found && found < in->at) in->why = "letters under (?i: that Unicode has a ligature of";
    }
    if (*in->at != ')' && !in->why) in->why = "something else than words under (?i:";
}

/* Behind '('; its ')' is read by read_regex. */
static void read_group(reader *in)
{
    if (*in->at == '*') in->why = "a group (*";
    if (*in->at != '?') return;
    if (!strncmp(in->at, "?:", 2) || !strncmp(in->at, "?=", 2) || !strncmp(in->at, "?!", 2)) {
        in->at += 2;
    } else if (!strncmp(in->at, "?i:", 3)) {
        in->at += 3;
        read_caseless(in);
    } else {
        in->why = "a group other than (?: (?i: (?= (?!";
    }
}

/* {m}, {m,}, {m,n}: behind one of them Ruby reads '+' as a repetition, PCRE2 as possessive. */
static void read_repeat(reader *in)
{
    size_t digits = strspn(in->at, "0123456789");
    in->at += digits;
    if (*in->at == ',') in->at += 1 + strspn(in->at + 1, "0123456789");
    if (!digits || *in->at != '}')
        in->why = "a '{' that is no repeat";
    else if (in->at[1] == '+' || in->at[1] == '?')
        in->why = "a repeat {} with a sign behind it";
    else
        in->at++;
}

static const char *why_not(const char *regex)
{
    reader in = {.at = regex};
    for (const char *c = regex; *c; c++)
        if ((unsigned char)*c >= 0x80) return "characters other than ASCII";
    while (*in.at && !in.why) {
        char c = *in.at++;
        if (c == '\\')
            read_escape(&in, false);
        else if (c == '[')
            read_class(&in);
        else if (c == '(')
            read_group(&in);
        else if (c == '{')
            read_repeat(&in);
        else if (strchr(".^$", c))
            in.why = "one of . ^ $";
    }
    return in.why;
}

/* ---- compiling ---- */

static awq_status refuse(const awq_pattern *pattern, const char *regex, const char *why,
                         awq_error *err)
{
    return awq_fail(err, AWQ_ERR_INPUT,
                    "%s: the pattern '%.200s' has %s, which is not supported; a tokens file of "
                    "another tokenizer can be given by --tokens",
                    pattern->name, regex, why);
}

static awq_status compile(awq_pattern *pattern, const char *regex, awq_error *err)
{
    const char *why = why_not(regex);
    int code;
    uint32_t matches_empty = 0;
    PCRE2_SIZE offset;
    if (why) return refuse(pattern, regex, why, err);
    pattern->code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                                  &code, &offset, NULL);
    if (!pattern->code) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        return awq_fail(err, AWQ_ERR_INPUT, "%s: the pattern '%.200s' is wrong at %zu: %s",
                        pattern->name, regex, (size_t)offset, (const char *)text);
    }
    pcre2_pattern_info(pattern->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty) return refuse(pattern, regex, "a way to match nothing", err);
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without it, slower */
    pattern->match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    pattern->context = pcre2_match_context_create(NULL);
    pattern->stack = pcre2_jit_stack_create(32 << 10, 64 << 20, NULL);
    if (!pattern->match || !pattern->context)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the pattern of %s", pattern->name);
    if (pattern->stack) pcre2_jit_stack_assign(pattern->context, NULL, pattern->stack);
    return AWQ_OK;
}

awq_status awq_pattern_create(const char *regex, const char *literal, const char *name,
                              awq_pattern **out, awq_error *err)
{
    awq_pattern *pattern = calloc(1, sizeof *pattern);
    awq_status status = AWQ_OK;
    if (!pattern) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the pattern of %s", name);
    pattern->name = strdup(name);
    if (literal) pattern->literal = strdup(literal);
    if (!pattern->name || (literal && !pattern->literal))
        status = awq_fail(err, AWQ_ERR_MEMORY, "no memory for the pattern of %s", name);
    else if (literal && !*literal)
        status = awq_fail(err, AWQ_ERR_INPUT, "%s: the pattern is empty", name);
    else if (literal)
        pattern->bytes = strlen(literal);
    else
        status = compile(pattern, regex, err);
    if (status)
        awq_pattern_free(pattern);
    else
        *out = pattern;
    return status;
}

void awq_pattern_free(awq_pattern *pattern)
{
    if (!pattern) return;
    pcre2_jit_stack_free(pattern->stack);
    pcre2_match_context_free(pattern->context);
    pcre2_match_data_free(pattern->match);
    pcre2_code_free(pattern->code);
    free(pattern->literal);
    free(pattern->name);
    free(pattern);
}

/* ---- matching ---- */

static int next_literal(const awq_pattern *pattern, const char *text, size_t bytes, size_t from,
                        size_t *begin, size_t *end)
{
    while (bytes - from >= pattern->bytes) {
        const char *found = memchr(text + from, *pattern->literal, bytes - from);
        if (!found || bytes - (size_t)(found - text) < pattern->bytes) return 0;
        from = (size_t)(found - text);
        if (!memcmp(found, pattern->literal, pattern->bytes)) {
            *begin = from;
            *end = from + pattern->bytes;
            return 1;
        }
        from++;
    }
    return 0;
}

int awq_pattern_next(const awq_pattern *pattern, const char *text, size_t bytes, size_t from,
                     size_t *begin, size_t *end, awq_error *err)
{
    if (pattern->literal) return next_literal(pattern, text, bytes, from, begin, end);
    int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK,
                            pattern->match, pattern->context);
    if (found == PCRE2_ERROR_NOMATCH) return 0;
    if (found < 0) {
        PCRE2_UCHAR what[128];
        pcre2_get_error_message(found, what, sizeof what);
        awq_fail(err, AWQ_ERR_INPUT, "%s: the pattern cannot be matched to this text: %s",
                 pattern->name, (const char *)what);
        return -1;
    }
    const PCRE2_SIZE *where = pcre2_get_ovector_pointer(pattern->match);
    *begin = where[0];
    *end = where[1];
    return 1;
}
