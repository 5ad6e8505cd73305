/* SPDX-License-Identifier: MIT */
#include "io/tokenizer/unicode.h"

const awq_unicode_range *awq_unicode_find(const awq_unicode_range *ranges, int count, uint32_t c)
{
    int low = 0, high = count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ranges[low].first <= c ? &ranges[low] : NULL;
}

/* What may follow a first byte: the second byte's range excludes overlong forms, surrogates and
 * what is beyond U+10FFFF (Unicode, table 3-7). */
typedef struct form {
    size_t length;
    unsigned char low, high;
} form;

static form form_of(unsigned char first)
{
    if (first < 0x80) return (form){1, 0, 0};
    if (first < 0xc2 || first > 0xf4) return (form){0, 0, 0};
    if (first < 0xe0) return (form){2, 0x80, 0xbf};
    if (first < 0xf0) return (form){3, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf};
    return (form){4, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf};
}

size_t awq_utf8_decode(const char *text, size_t bytes, uint32_t *c, size_t *bad)
{
    const unsigned char *s = (const unsigned char *)text;
    form f = form_of(s[0]);
    size_t ignored;
    if (!bad) bad = &ignored;
    *bad = 1;
    if (!f.length) return 0;
    uint32_t value = f.length == 1 ? s[0] : s[0] & (0x7fu >> f.length);
    for (size_t i = 1; i < f.length; i++) {
        unsigned char low = i == 1 ? f.low : 0x80, high = i == 1 ? f.high : 0xbf;
        if (i >= bytes || s[i] < low || s[i] > high) return 0;
        *bad = i + 1;
        value = value << 6 | (s[i] & 0x3fu);
    }
    *c = value;
    return f.length;
}

size_t awq_utf8_next(const char *text, uint32_t *c)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    size_t length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t value = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) value = value << 6 | (s[i] & 0x3fu);
    *c = value;
    return length;
}

size_t awq_utf8_encode(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00u >> length & 0xf0u) | c);
    return length;
}

size_t awq_utf8_check(const char *text, size_t bytes)
{
    for (size_t at = 0, length; at < bytes; at += length) {
        uint32_t c;
        if (!(length = awq_utf8_decode(text + at, bytes - at, &c, NULL))) return at;
    }
    return bytes;
}

awq_status awq_utf8_replace(const char *text, size_t bytes, awq_buffer *out, awq_error *err)
{
    size_t at = 0;
    while (at < bytes) {
        size_t good = awq_utf8_check(text + at, bytes - at), bad = 0;
        uint32_t c;
        if (awq_buffer_append(out, text + at, good, err)) return err->status;
        at += good;
        if (at == bytes) break;
        awq_utf8_decode(text + at, bytes - at, &c, &bad);
        at += bad;
        if (awq_buffer_append_text(out, "\xef\xbf\xbd", err)) return err->status;
    }
    return AWQ_OK;
}
