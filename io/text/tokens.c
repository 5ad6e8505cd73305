/* SPDX-License-Identifier: MIT */
#include "io/text/tokens.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"
#include "io/files/h5.h"

#define IDS_NAME  "input_ids"
#define MASK_NAME "mask"
#define EXPECTED  "a token file with /input_ids int32 [sequences, length]"

/* Values converted at a time. */
enum { BLOCK_VALUES = 1 << 20 };

typedef struct reader {
    hid_t file;
    const char *path;
    int64_t file_sequences; /* of which tokens.sequences are read */
    awq_tokens tokens;
} reader;

/* Takes values [first, first + count) into the result; false: *bad does not fit. */
typedef bool (*store_values)(awq_tokens *tokens, int64_t first, int64_t count,
                             const int64_t *values, int64_t *bad);

static bool store_ids(awq_tokens *tokens, int64_t first, int64_t count, const int64_t *values,
                      int64_t *bad)
{
    for (int64_t i = 0; i < count; i++) {
        *bad = values[i];
        if (values[i] < INT32_MIN || values[i] > INT32_MAX) return false;
        tokens->ids[first + i] = (int32_t)values[i];
    }
    return true;
}

static bool store_mask(awq_tokens *tokens, int64_t first, int64_t count, const int64_t *values,
                       int64_t *bad)
{
    (void)bad;
    for (int64_t i = 0; i < count; i++) tokens->mask[first + i] = values[i] != 0;
    return true;
}

static awq_status no_memory(const char *path, awq_error *err)
{
    return awq_fail(err, AWQ_ERR_MEMORY, "cannot read '%s': no memory for its tokens", path);
}

/* Reads the wanted sequences of a dataset, some at a time. */
static awq_status read_values(reader *in, hid_t dataset, store_values store, awq_error *err)
{
    int64_t length = in->tokens.length, sequences = in->tokens.sequences;
    int64_t rows = BLOCK_VALUES > length ? BLOCK_VALUES / length : 1;
    if (rows > sequences) rows = sequences;
    int64_t *values = malloc((size_t)(rows * length) * sizeof *values);
    if (!values) return no_memory(in->path, err);
    awq_status status = AWQ_OK;
    for (int64_t row = 0; row < sequences && !status; row += rows) {
        int64_t bad, count = sequences - row < rows ? sequences - row : rows;
        hsize_t shape[2] = {(hsize_t)count, (hsize_t)length};
        if (!awq_h5_read_rows(dataset, H5T_NATIVE_INT64, 2, (hsize_t)row, shape, values))
            status = awq_h5_fail_read(err, in->path);
        else if (!store(&in->tokens, row * length, count * length, values, &bad))
            status = awq_fail(err, AWQ_ERR_INPUT, "'%s': token id %lld is not an int32", in->path,
                              (long long)bad);
    }
    free(values);
    return status;
}

/* Opens a dataset of whole numbers (h5py stores booleans as an enumeration) with two dimensions;
 * negative: it is something else. */
static hid_t open_integers(hid_t file, const char *name, hsize_t shape[2])
{
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    if (dataset < 0) return -1;
    hid_t type = H5Dget_type(dataset);
    H5T_class_t type_class = H5Tget_class(type);
    H5Tclose(type);
    if ((type_class == H5T_INTEGER || type_class == H5T_ENUM) && awq_h5_shape(dataset, 2, shape))
        return dataset;
    H5Dclose(dataset);
    return -1;
}

static awq_status check_shape(reader *in, const hsize_t shape[2], int64_t limit, awq_error *err)
{
    unsigned long long rows = shape[0], cols = shape[1];
    if (!rows || !cols)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': /input_ids [%llu, %llu] holds no tokens",
                        in->path, rows, cols);
    if (limit > 0 && (unsigned long long)limit > rows)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s' holds %llu sequences, %lld are asked for",
                        in->path, rows, (long long)limit);
    if (cols > INT32_MAX || rows > INT64_MAX / 8 / cols)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s': /input_ids [%llu, %llu] is too large", in->path,
                        rows, cols);
    in->file_sequences = (int64_t)rows;
    in->tokens.sequences = limit > 0 ? limit : (int64_t)rows;
    in->tokens.length = (int64_t)cols;
    return AWQ_OK;
}

static awq_status read_ids(reader *in, int64_t limit, awq_error *err)
{
    hsize_t shape[2];
    if (H5Lexists(in->file, IDS_NAME, H5P_DEFAULT) <= 0)
        return awq_fail(err, AWQ_ERR_INPUT, "'%s' has no dataset /input_ids; expected " EXPECTED,
                        in->path);
    hid_t dataset = open_integers(in->file, IDS_NAME, shape);
    if (dataset < 0)
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s': /input_ids is not a two-dimensional dataset of integers; "
                        "expected " EXPECTED,
                        in->path);
    awq_status status = check_shape(in, shape, limit, err);
    if (!status) {
        size_t count = (size_t)(in->tokens.sequences * in->tokens.length);
        in->tokens.ids = malloc(count * sizeof *in->tokens.ids);
        status =
            in->tokens.ids ? read_values(in, dataset, store_ids, err) : no_memory(in->path, err);
    }
    H5Dclose(dataset);
    return status;
}

static awq_status read_mask(reader *in, awq_error *err)
{
    hsize_t shape[2] = {0};
    if (H5Lexists(in->file, MASK_NAME, H5P_DEFAULT) <= 0) return AWQ_OK;
    hid_t dataset = open_integers(in->file, MASK_NAME, shape);
    bool fits = dataset >= 0 && shape[0] == (hsize_t)in->file_sequences &&
                shape[1] == (hsize_t)in->tokens.length;
    awq_status status;
    if (fits) {
        in->tokens.mask = malloc((size_t)(in->tokens.sequences * in->tokens.length));
        status =
            in->tokens.mask ? read_values(in, dataset, store_mask, err) : no_memory(in->path, err);
    } else {
        status = awq_fail(err, AWQ_ERR_INPUT,
                          "'%s': /mask does not fit /input_ids; expected uint8 [%lld, %lld]",
                          in->path, (long long)in->file_sequences, (long long)in->tokens.length);
    }
    if (dataset >= 0) H5Dclose(dataset);
    return status;
}

uint32_t awq_tokens_crc(const awq_tokens *tokens)
{
    size_t count = (size_t)(tokens->sequences * tokens->length);
    uint32_t crc = awq_crc32(0, tokens->ids, count * sizeof *tokens->ids);
    return tokens->mask ? awq_crc32(crc, tokens->mask, count) : crc;
}

awq_status awq_tokens_read(const char *path, int64_t limit, awq_tokens *out, awq_error *err)
{
    reader in = {.path = path};
    awq_h5_lock();
    awq_status status = awq_h5_open(path, EXPECTED, &in.file, err);
    if (!status) {
        status = read_ids(&in, limit, err);
        if (!status) status = read_mask(&in, err);
        H5Fclose(in.file);
    }
    awq_h5_unlock();
    if (status) {
        awq_tokens_release(&in.tokens);
        return status;
    }
    in.tokens.crc = awq_tokens_crc(&in.tokens);
    *out = in.tokens;
    return AWQ_OK;
}

void awq_tokens_release(awq_tokens *tokens)
{
    free(tokens->ids);
    free(tokens->mask);
    *tokens = (awq_tokens){0};
}

static bool write_one(hid_t file, const char *name, hid_t file_type, hid_t memory_type,
                      const awq_tokens *tokens, const void *data)
{
    hsize_t shape[2] = {(hsize_t)tokens->sequences, (hsize_t)tokens->length};
    hid_t dataset = awq_h5_create_dataset(file, name, file_type, 2, shape, NULL);
    if (dataset < 0) return false;
    bool ok = awq_h5_write_rows(dataset, memory_type, 2, 0, shape, data);
    return H5Dclose(dataset) >= 0 && ok;
}

awq_status awq_tokens_write(const char *path, const awq_tokens *tokens, awq_error *err)
{
    awq_h5_writer writer;
    uint64_t needed = (uint64_t)(tokens->sequences * tokens->length) * sizeof *tokens->ids;
    awq_h5_lock();
    awq_status status = awq_h5_writer_open(&writer, path, false, needed, err);
    if (!status) {
        bool ok =
            write_one(writer.file, IDS_NAME, H5T_STD_I32LE, H5T_NATIVE_INT32, tokens, tokens->ids);
        if (ok && tokens->mask)
            ok = write_one(writer.file, MASK_NAME, H5T_STD_U8LE, H5T_NATIVE_UINT8, tokens,
                           tokens->mask);
        status = awq_h5_writer_finish(&writer, ok, err);
    }
    awq_h5_unlock();
    return status;
}

void awq_tokens_check(const awq_tokens *tokens, const char *path, int64_t vocab,
                      int64_t max_positions, awq_problems *problems)
{
    int64_t count = tokens->sequences * tokens->length, bad = 0, first = 0;
    for (int64_t i = 0; i < count; i++) {
        if (tokens->ids[i] >= 0 && tokens->ids[i] < vocab) continue;
        if (!bad++) first = i;
    }
    if (bad)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s': %lld token ids are outside the vocabulary of %lld, the first is %d "
                         "(sequence %lld, position %lld); tokenize with this model's tokenizer",
                         path, (long long)bad, (long long)vocab, tokens->ids[first],
                         (long long)(first / tokens->length), (long long)(first % tokens->length));
    if (tokens->length > max_positions)
        awq_problems_add(problems, AWQ_ERR_INPUT,
                         "'%s': sequences of %lld tokens are longer than the model's %lld "
                         "positions; tokenize to shorter ones",
                         path, (long long)tokens->length, (long long)max_positions);
    if (tokens->mask && !memchr(tokens->mask, 1, (size_t)count))
        awq_problems_add(problems, AWQ_ERR_INPUT, "'%s': /mask leaves no token", path);
}
