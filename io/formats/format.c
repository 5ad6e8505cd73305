/* SPDX-License-Identifier: MIT
 * io/formats/format.c - the table of formats, and what is the same for all of them. */
#include "io/formats/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/layouts.h"

static const awq_format_layout *const layouts[AWQ_FORMATS] = {
    [AWQ_FORMAT_GEMM] = &awq_layout_gemm,
    [AWQ_FORMAT_GEMV] = &awq_layout_gemv,
    [AWQ_FORMAT_GEMV_FAST] = &awq_layout_gemv_fast,
    [AWQ_FORMAT_COMPRESSED] = &awq_layout_compressed,
};

const char *awq_format_name(awq_format format)
{
    static const char *const names[] = {
#define AWQ_FORMAT_NAME(name, text, title) text,
        AWQ_FORMAT_LIST(AWQ_FORMAT_NAME)
#undef AWQ_FORMAT_NAME
    };
    return names[format];
}

const char *awq_format_title(awq_format format)
{
    static const char *const titles[] = {
#define AWQ_FORMAT_TITLE(name, text, title) title,
        AWQ_FORMAT_LIST(AWQ_FORMAT_TITLE)
#undef AWQ_FORMAT_TITLE
    };
    return titles[format];
}

bool awq_format_holds(const awq_quantization *quantization, char reason[AWQ_REASON_BYTES])
{
    return layouts[quantization->format]->holds(quantization, reason);
}

bool awq_format_holds_linear(const awq_quantization *quantization, int64_t out, int64_t in,
                             char reason[AWQ_REASON_BYTES])
{
    return layouts[quantization->format]->holds_linear(quantization, out, in, reason);
}

awq_dtype awq_format_scale_dtype(awq_format format, awq_dtype model)
{
    return format == AWQ_FORMAT_COMPRESSED ? model : AWQ_F16;
}

awq_quantization awq_recipe_quantization(const awq_recipe *recipe, awq_dtype model)
{
    return (awq_quantization){.format = recipe->format,
                              .bits = (int)recipe->bits,
                              .group_size = recipe->group_size,
                              .symmetric = recipe->symmetric,
                              .scales = awq_format_scale_dtype(recipe->format, model)};
}

int awq_format_parts(const awq_quantization *quantization, int64_t out, int64_t in,
                     awq_part parts[AWQ_MAX_PARTS])
{
    return layouts[quantization->format]->parts(quantization, out, in, parts);
}

uint64_t awq_format_bytes_of(const awq_quantization *quantization, int64_t out, int64_t in)
{
    awq_part parts[AWQ_MAX_PARTS];
    uint64_t bytes = 0;
    int count = awq_format_parts(quantization, out, in, parts);
    for (int i = 0; i < count; i++)
        bytes += awq_dtype_bytes(parts[i].dtype) * (uint64_t)parts[i].shape[0] *
                 (uint64_t)(parts[i].dims > 1 ? parts[i].shape[1] : 1);
    return bytes;
}

awq_status awq_format_pack(const awq_quantization *quantization, const awq_linear_words *linear,
                           void *const to[AWQ_MAX_PARTS], awq_error *err)
{
    return layouts[quantization->format]->pack(quantization, linear, to, err);
}

awq_status awq_format_unpack(const awq_quantization *quantization,
                             const awq_tensor *const parts[AWQ_MAX_PARTS], awq_linear_codes *codes,
                             awq_error *err)
{
    return layouts[quantization->format]->unpack(quantization, parts, codes, err);
}

json_t *awq_format_config(const json_t *source, const awq_model *model, const json_t *beside,
                          const awq_quantization *quantization)
{
    json_t *config = json_deep_copy(source);
    /* how the source was stored may also be said here */
    json_object_del(config, "compression_config");
    json_object_del(json_object_get(config, "text_config"), "quantization_config");
    json_t *object = layouts[quantization->format]->config(model, beside, quantization);
    if (!json_object_set_new(config, "quantization_config", object)) return config;
    json_decref(config);
    return NULL;
}

awq_status awq_linear_codes_init(awq_linear_codes *codes, const awq_quantization *quantization,
                                 int64_t out, int64_t in, awq_error *err)
{
    int64_t groups = awq_quantization_groups(quantization, in);
    awq_linear_codes made = {.out = out, .in = in, .groups = groups};
    made.codes = malloc((size_t)(out * in) + 1);
    made.zeros = malloc((size_t)(out * groups) + 1);
    made.scales = malloc((size_t)(out * groups) * sizeof *made.scales + 1);
    if (!made.codes || !made.zeros || !made.scales) {
        awq_linear_codes_release(&made);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the codes of a linear [%lld, %lld]",
                        (long long)out, (long long)in);
    }
    *codes = made;
    return AWQ_OK;
}

void awq_linear_codes_release(awq_linear_codes *codes)
{
    free(codes->codes);
    free(codes->zeros);
    free(codes->scales);
    *codes = (awq_linear_codes){0};
}

uint32_t *awq_linear_codes_words(const awq_linear_codes *codes, int bits)
{
    int64_t width = awq_words_count(codes->in, bits);
    uint32_t *words = malloc((size_t)(codes->out * width) * sizeof *words + 1);
    for (int64_t row = 0; words && row < codes->out; row++)
        awq_words_pack(words + row * width, codes->codes + row * codes->in, codes->in, bits);
    return words;
}

/* ---- what the layouts share ---- */

bool awq_four_bits_hold(const awq_quantization *quantization, char reason[AWQ_REASON_BYTES])
{
    if (quantization->bits == 4) return true;
    snprintf(reason, AWQ_REASON_BYTES,
             "the %s format holds 4 bits, not %d; --format compressed-tensors holds 3, 4 and 8",
             awq_format_title(quantization->format), quantization->bits);
    return false;
}

void awq_words_pack(uint32_t *words, const uint8_t *values, int64_t count, int bits)
{
    memset(words, 0, (size_t)awq_words_count(count, bits) * sizeof *words);
    for (int64_t i = 0, bit = 0; i < count; i++, bit += bits) {
        int shift = (int)(bit & 31);
        words[bit >> 5] |= (uint32_t)values[i] << shift;
        if (shift + bits > 32) words[(bit >> 5) + 1] |= (uint32_t)values[i] >> (32 - shift);
    }
}

void awq_words_unpack(uint8_t *values, const uint32_t *words, int64_t count, int bits)
{
    uint32_t mask = (1u << bits) - 1;
    for (int64_t i = 0, bit = 0; i < count; i++, bit += bits) {
        int shift = (int)(bit & 31);
        uint32_t value = words[bit >> 5] >> shift;
        if (shift + bits > 32) value |= words[(bit >> 5) + 1] << (32 - shift);
        values[i] = (uint8_t)(value & mask);
    }
}

awq_status awq_scale_store(void *to, awq_dtype dtype, float scale, int64_t row, int64_t group,
                           awq_error *err)
{
    float stored;
    awq_narrow(to, &scale, dtype, 1);
    awq_widen(&stored, to, dtype, 1);
    if (stored == scale) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT,
                    "the scale %.9g of row %lld, group %lld is not exact in %s, which this format "
                    "stores it in",
                    (double)scale, (long long)row, (long long)group, awq_dtype_name(dtype));
}

json_t *awq_config_kept(const awq_model *model)
{
    json_t *list = json_array();
    for (int64_t layer = 0; layer < model->layers; layer++)
        for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++) {
            char name[AWQ_NAME_BYTES];
            if (!awq_model_keeps(model, layer, linear)) continue;
            json_t *text = json_string(awq_linear_full_name(name, model, layer, linear));
            if (!json_array_append_new(list, text)) continue;
            json_decref(list);
            return NULL;
        }
    return list;
}

/* Whether a linear's name holds `name`: readers would take all those for unquantized. */
static bool is_part_of_linears(const awq_model *model, const char *name)
{
    char full[AWQ_NAME_BYTES];
    int64_t seen = 0; /* kinds */
    for (int64_t layer = 0; layer < model->layers && seen < model->kinds; layer++) {
        if (model->kind_of[layer] != seen) continue;
        seen++;
        for (int linear = 0; linear < awq_model_layer(model, layer)->linears; linear++)
            if (strstr(awq_linear_full_name(full, model, layer, linear), name)) return true;
    }
    return false;
}

json_t *awq_config_of(const awq_model *model, const json_t *beside,
                      const awq_quantization *quantization, const char *version)
{
    json_t *kept = awq_config_kept(model), *name;
    size_t i;
    json_array_foreach(beside, i, name)
    {
        if (kept && !is_part_of_linears(model, json_string_value(name)))
            json_array_append(kept, name);
    }
    if (kept && !json_array_size(kept)) { /* null where there are none, as AutoAWQ writes it */
        json_decref(kept);
        kept = json_null();
    }
    return json_pack("{s:s, s:i, s:I, s:b, s:s, s:o}", "quant_method", "awq", "bits",
                     quantization->bits, "group_size", (json_int_t)quantization->group_size,
                     "zero_point", 1, "version", version, "modules_to_not_convert", kept);
}
