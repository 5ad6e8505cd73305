/* SPDX-License-Identifier: MIT */
#include "io/tokenizer/word.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "io/tokenizer/unicode.h"

/* The start of the character that ends at `at` (> 0). */
static size_t character_before(const char *text, size_t at)
{
    do at--;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

/* Compiled for each question: next to no tokenizer has a single_word token. */
static bool is_word(const char *text)
{
    static const char class[] = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]";
    char known[4];
    uint32_t c;
    int code;
    awq_utf8_next(text, &c);
    const awq_unicode_range *newer =
        awq_unicode_find(awq_unicode_newer, awq_unicode_newer_count, c);
    PCRE2_SIZE offset, bytes = awq_utf8_encode(known, newer ? newer->value : c);
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR) class, sizeof class - 1, PCRE2_UTF, &code, &offset, NULL);
    pcre2_match_data *match =
        compiled ? pcre2_match_data_create_from_pattern(compiled, NULL) : NULL;
    bool found = match && pcre2_match(compiled, (PCRE2_SPTR)known, bytes, 0,
                                      PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, match, NULL) >= 0;
    pcre2_match_data_free(match);
    pcre2_code_free(compiled);
    return found;
}

bool awq_word_before(const char *text, size_t at)
{
    return at > 0 && is_word(text + character_before(text, at));
}

bool awq_word_behind(const char *text, size_t bytes, size_t at)
{
    return at < bytes && is_word(text + at);
}

/* Unicode's White_Space. */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

size_t awq_space_before(const char *text, size_t at)
{
    size_t begin = at;
    while (begin > 0) {
        uint32_t c;
        size_t before = character_before(text, begin);
        awq_utf8_next(text + before, &c);
        if (!is_space(c)) break;
        begin = before;
    }
    return at - begin;
}

size_t awq_space_behind(const char *text, size_t bytes, size_t at)
{
    size_t end = at;
    while (end < bytes) {
        uint32_t c;
        size_t length = awq_utf8_next(text + end, &c);
        if (!is_space(c)) break;
        end += length;
    }
    return end - at;
}
