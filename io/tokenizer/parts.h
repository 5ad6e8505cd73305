/* SPDX-License-Identifier: MIT
 * io/tokenizer/parts.h - the steps of a tokenizer, one file each. Inside io only.
 *
 *   text -> added tokens (added.c)            cuts out <|eot_id|> and its like
 *        -> normalizers (normalize.c)         NFC, Prepend, Replace
 *        -> added tokens that match normalized text
 *        -> pre-tokenizers (split.c, by pattern.c)
 *        -> BPE (bpe.c, over vocabulary.c)
 *        -> what the post-processor adds (tokenizer.c)
 *
 * read.c and read_steps.c read tokenizer.json into these. */
#ifndef AWQ_IO_TOKENIZER_PARTS_H
#define AWQ_IO_TOKENIZER_PARTS_H

#include <jansson.h>

#include "io/core/buffer.h"
#include "io/tokenizer/ids.h"

/* ---- text under way ---- */

/* A stretch of text. `shadow` is the same with code points that are newer than our PCRE2 replaced
 * by older ones of their kind (often it is `text` itself); marks may be NULL. All borrowed. */
typedef struct awq_piece {
    const char *text;
    const char *shadow;
    const uint8_t *marks;
    size_t bytes;
    bool first; /* begins where the document begins */
} awq_piece;

awq_piece awq_piece_part(const awq_piece *piece, size_t begin, size_t end);

/* ---- vocabulary and merges ---- */

typedef struct awq_vocabulary awq_vocabulary;

typedef struct awq_merge {
    uint32_t rank;
    int32_t id; /* of the product */
} awq_merge;

/* model.vocab, and model.merges in both spellings. byte_level: tokens are spelled in the 256
 * characters that stand for bytes. */
awq_status awq_vocabulary_read(const json_t *vocab, const json_t *merges, bool byte_level,
                               const char *name, awq_vocabulary **out, awq_error *err);
void awq_vocabulary_free(awq_vocabulary *vocabulary);
/* The id of a token, spelled as in the file, or -1. */
int32_t awq_vocabulary_find(const awq_vocabulary *vocabulary, const char *token, size_t bytes);
/* The id of a token by the bytes that it stands for, or -1. */
int32_t awq_vocabulary_find_text(const awq_vocabulary *vocabulary, const char *text, size_t bytes);
/* NULL: the two are not merged. */
const awq_merge *awq_vocabulary_merge(const awq_vocabulary *vocabulary, int32_t left,
                                      int32_t right);
size_t awq_vocabulary_count(const awq_vocabulary *vocabulary);
/* Whether some token has AWQ_SPACE_MARK inside, behind the code point c. */
#define AWQ_SPACE_MARK "\xe2\x96\x81" /* U+2581, SentencePiece's space */
bool awq_vocabulary_joins(const awq_vocabulary *vocabulary, uint32_t c);

/* The character that stands for a byte in a byte-level vocabulary (GPT-2's bytes_to_unicode). */
uint32_t awq_byte_level_char(unsigned char byte);

/* ---- BPE ---- */

typedef struct awq_bpe awq_bpe;

typedef struct awq_bpe_options {
    bool byte_level;
    bool ignore_merges;
    bool byte_fallback;
    bool fuse_unk;
    int32_t unk; /* -1: none */
} awq_bpe_options;

/* Owns the vocabulary from then on, on failure too. */
awq_status awq_bpe_create(awq_vocabulary *vocabulary, const awq_bpe_options *options, awq_bpe **out,
                          awq_error *err);
void awq_bpe_free(awq_bpe *bpe);
awq_vocabulary *awq_bpe_vocabulary(const awq_bpe *bpe);
/* Appends the ids of one word. */
awq_status awq_bpe_encode(awq_bpe *bpe, const awq_piece *word, awq_ids *out, awq_error *err);

/* ---- patterns ---- */

typedef struct awq_pattern awq_pattern;

/* Exactly one of regex and literal. A regex outside the syntax that PCRE2 and Oniguruma read alike
 * is refused. `name` is what an error calls it. */
awq_status awq_pattern_create(const char *regex, const char *literal, const char *name,
                              awq_pattern **out, awq_error *err);
void awq_pattern_free(awq_pattern *pattern);
/* The first match at or behind `from`. Returns 1, 0 for none, or -1 with *err set. */
int awq_pattern_next(const awq_pattern *pattern, const char *text, size_t bytes, size_t from,
                     size_t *begin, size_t *end, awq_error *err);

/* ---- normalizers and pre-tokenizers ---- */

typedef enum awq_step_type {
    /* normalizers */
    AWQ_STEP_NFC,
    AWQ_STEP_PREPEND, /* text */
    AWQ_STEP_REPLACE, /* pattern by text */
    /* pre-tokenizers */
    AWQ_STEP_SPLIT,
    AWQ_STEP_PREFIX_SPACE,
    AWQ_STEP_METASPACE /* text instead of a space, and in front */
} awq_step_type;

typedef enum awq_split_behavior {
    AWQ_SPLIT_REMOVED,
    AWQ_SPLIT_ISOLATED,
    AWQ_SPLIT_MERGED_WITH_PREVIOUS,
    AWQ_SPLIT_MERGED_WITH_NEXT,
    AWQ_SPLIT_CONTIGUOUS
} awq_split_behavior;

typedef enum awq_prepend { AWQ_PREPEND_ALWAYS, AWQ_PREPEND_FIRST, AWQ_PREPEND_NEVER } awq_prepend;

typedef struct awq_step {
    awq_step_type type;
    awq_pattern *pattern; /* owned */
    char *text;           /* owned */
    awq_split_behavior behavior;
    bool invert;
    awq_prepend prepend;
} awq_step;

enum { AWQ_TOKENIZER_STEPS = 16 };

typedef struct awq_steps {
    awq_step items[AWQ_TOKENIZER_STEPS];
    int count;
    bool byte_level; /* pre-tokenizers: the last of them */
} awq_steps;

void awq_steps_release(awq_steps *steps);
awq_status awq_steps_read_normalizer(const json_t *json, const char *name, awq_steps *out,
                                     awq_error *err);
awq_status awq_steps_read_pre_tokenizer(const json_t *json, const char *name, awq_steps *out,
                                        awq_error *err);

/* Appends a normalized piece to `text`, and its marks to `marks` if it has any. */
awq_status awq_normalize(const awq_steps *steps, const awq_piece *piece, awq_buffer *text,
                         awq_buffer *marks, awq_error *err);

/* Cuts a piece into words; each goes to `take`, whose failure ends it. */
typedef awq_status (*awq_take_word)(void *context, const awq_piece *word, awq_error *err);
awq_status awq_split(const awq_steps *steps, const awq_piece *piece, awq_take_word take,
                     void *context, awq_error *err);

/* ---- added tokens ---- */

typedef struct awq_added_token {
    char *content; /* owned */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} awq_added_token;

/* Those with or those without `normalized`, ready to be looked for. */
typedef struct awq_added {
    const awq_added_token **tokens; /* [count], by first byte, the longest first */
    char **patterns;                /* [count], owned: what is looked for */
    size_t *bytes;                  /* [count] */
    size_t count;
    size_t first[257]; /* first[b]..first[b+1]: the tokens that begin with byte b */
} awq_added;

awq_status awq_added_create(const awq_added_token *tokens, size_t count, bool normalized,
                            const awq_steps *normalizer, awq_added *out, awq_error *err);
void awq_added_release(awq_added *added);

/* The next added token at or behind `from`, or token NULL and begin = end = bytes. */
typedef struct awq_added_match {
    const awq_added_token *token;
    size_t begin, end;
} awq_added_match;

/* Where to look on: `search` behind the last match, `taken` behind what it took. */
typedef struct awq_added_cursor {
    size_t search, taken;
} awq_added_cursor;

awq_added_match awq_added_next(const awq_added *added, const awq_piece *piece,
                               awq_added_cursor *cursor);

/* ---- the whole ---- */

typedef struct awq_tokenizer {
    awq_steps normalizer;
    awq_steps pre_tokenizer;
    awq_bpe *bpe;
    awq_added_token *tokens; /* [token_count], owned */
    size_t token_count;
    awq_added added;            /* looked for in the text */
    awq_added added_normalized; /* looked for in the normalized text */
    int32_t *before;            /* [before_count], owned: what the post-processor adds */
    size_t before_count;
    int32_t *after; /* [after_count], owned */
    size_t after_count;
    awq_buffer normalized, normalized_marks, shadow; /* of the stretch under way */
} awq_tokenizer;

/* Fills in all but the buffers. */
awq_status awq_tokenizer_read(const json_t *json, const char *name, awq_tokenizer *out,
                              awq_error *err);

/* Refuses keys other than those of a NULL-terminated list: what is not known may matter. */
awq_status awq_tokenizer_check_keys(const json_t *object, const char *const *keys, const char *what,
                                    const char *name, awq_error *err);
/* The "type" of an object, or "" where there is none. */
const char *awq_tokenizer_type(const json_t *object);
/* A boolean; the fallback where it is absent or null. */
awq_status awq_tokenizer_flag(const json_t *object, const char *key, bool fallback,
                              const char *what, const char *name, bool *out, awq_error *err);

#endif
