/* SPDX-License-Identifier: MIT
 * io/families/config_experts.c - config.json's keys of a mixture of experts: how many, how wide,
 * which layers have them, and how a token's are chosen. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

/* ---- counts and widths ---- */

/* A number from `least` to `max`, or a list of one for each layer that are all the same. */
static int64_t read_count(const awq_config_reader *reader, const char *key, int64_t fallback,
                          int64_t least, int64_t max)
{
    const json_t *value = json_object_get(reader->object, key), *item;
    size_t i;
    json_int_t count = fallback;
    bool said = value && !json_is_null(value);
    if (json_is_array(value)) {
        const json_t *first = json_array_get(value, 0);
        json_array_foreach(value, i, item) if (!json_equal(item, first))
        {
            awq_config_complain(reader, "its layers differ, which is not supported, in ", key);
            return 0;
        }
        value = first;
    }
    if (said && !json_is_integer(value)) {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key '%s' is not a whole number",
                         reader->name, key);
        return 0;
    }
    if (said) count = json_integer_value(value);
    if (!said && fallback < least)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key '%s' is missing", reader->name,
                         key);
    else if (count < least || count > max)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key '%s' is %lld, expected %lld to %lld", reader->name, key,
                         (long long)count, (long long)least, (long long)max);
    return count < least || count > max ? 0 : count;
}

/* Each family has a key of its own for how many there are; transformers 5 writes the first for all.
 */
static const char *find_count_key(const awq_config_reader *reader, const char *key)
{
    static const char *const others[] = {"num_local_experts", "num_experts"};
    const json_t *own = json_object_get(reader->object, key);
    for (int i = 0; i < 2; i++) {
        const json_t *other = json_object_get(reader->object, others[i]);
        if (!json_is_integer(other)) continue;
        if (!own || json_is_null(own)) return others[i];
        if (json_is_integer(own) && json_integer_value(own) != json_integer_value(other))
            awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                             "'%s': %s is %lld, and %s is %lld; which is right is not known",
                             reader->name, key, (long long)json_integer_value(own), others[i],
                             (long long)json_integer_value(other));
    }
    return key;
}

static const char *find_active_key(const awq_config_reader *reader, const awq_mixture *mixture)
{
    static const char usual[] = "num_experts_per_tok";
    const json_t *one = json_object_get(reader->object, mixture->active_key);
    const json_t *other = json_object_get(reader->object, usual);
    if (mixture->active_key && json_is_integer(one) && json_is_integer(other) &&
        !json_equal(one, other))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %s and %s say different things; which is right is not known",
                         reader->name, mixture->active_key, usual);
    bool own = mixture->active_key &&
               (awq_config_says(reader, mixture->active_key) || !awq_config_says(reader, usual));
    return own ? mixture->active_key : usual;
}

/* Of each layer, where a list says it. */
static void read_active(const awq_config_reader *reader, const char *key, awq_config *config)
{
    const json_t *list = json_object_get(reader->object, key);
    bool listed = json_is_array(list) && json_array_size(list) >= (size_t)config->layers;
    int64_t most = 0, one = listed ? 0
                                   : read_count(reader, key, config->family->mixture->active, 1,
                                                AWQ_MAX_EXPERTS);
    for (int64_t i = 0; i < config->layers; i++) {
        json_int_t own = json_integer_value(json_array_get(list, (size_t)i));
        if (listed && (own < 1 || own > AWQ_MAX_EXPERTS)) {
            awq_config_complain(reader, "what is no number of experts stands in ", key);
            return;
        }
        config->active[i] = (int16_t)(listed ? own : one);
        most = config->active[i] > most ? config->active[i] : most;
    }
    config->routing.active = most;
}

static void read_counts(const awq_config_reader *reader, awq_config *config)
{
    const awq_mixture *mixture = config->family->mixture;
    awq_routing_rule *rule = &config->routing;
    const char *key = find_count_key(reader, mixture->count_key);
    const char *active = find_active_key(reader, mixture);
    rule->experts = read_count(reader, key, 0, 1, AWQ_MAX_EXPERTS);
    read_active(reader, active, config);
    if (rule->experts && rule->active > rule->experts)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': %s %lld is above %s %lld",
                         reader->name, active, (long long)rule->active, key,
                         (long long)rule->experts);
    if (rule->score == AWQ_SCORE_SPARSEMIXER && rule->active != 2)
        awq_config_complain(reader, "its router chooses two experts; it is not so in ", active);
}

static void read_widths(const awq_config_reader *reader, awq_config *config)
{
    const awq_mixture *mixture = config->family->mixture;
    int64_t expert = config->intermediate;
    if (mixture->width_key) expert = read_count(reader, mixture->width_key, 0, 1, AWQ_MAX_WIDTH);
    config->expert_width = expert;
    if (mixture->dense_width_key)
        config->intermediate =
            awq_config_read_size(reader, mixture->dense_width_key, expert, AWQ_MAX_WIDTH);
    if (!mixture->shared) return;
    config->shared_width = expert;
    if (mixture->shared_width_key)
        config->shared_width =
            read_count(reader, mixture->shared_width_key, mixture->shared_optional ? 0 : -1,
                       !mixture->shared_optional, AWQ_MAX_WIDTH);
    if (mixture->shared_count_key)
        config->shared_width *=
            read_count(reader, mixture->shared_count_key, -1, 0, AWQ_MAX_WIDTH / (expert + 1) + 1);
}

/* ---- which layers ---- */

/* Takes the layers of mlp_only_layers out, or puts those of moe_layers in. */
static void read_layer_list(const awq_config_reader *reader, const char *key, bool sparse,
                            awq_config *config)
{
    const json_t *list = json_object_get(reader->object, key), *item;
    size_t i;
    if (list && !json_is_null(list) && !json_is_array(list))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key '%s' is not an array",
                         reader->name, key);
    json_array_foreach(list, i, item)
    {
        json_int_t layer = json_integer_value(item);
        if (json_is_integer(item) && layer >= 0 && layer < config->layers) {
            config->sparse[layer] = sparse;
            continue;
        }
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %s holds what is not the number of a layer", reader->name, key);
        return;
    }
}

/* Each step-th of those from `first` to `last`, counted from the model's first. */
static void set_sparse(awq_config *config, int64_t step, int64_t first, int64_t last)
{
    for (int64_t i = 0; step && i < config->layers; i++)
        config->sparse[i] = (i + 1) % step == 0 && i >= first && i <= last;
}

static const char *first_dense_key(const awq_mixture *mixture)
{
    return mixture->first_dense_key ? mixture->first_dense_key : "first_k_dense_replace";
}

static int64_t read_index(const awq_config_reader *reader, const char *key, int64_t fallback)
{
    return awq_json_integer(reader->object, key, fallback, reader->name, reader->problems);
}

static void read_types(const awq_config_reader *reader, awq_config *config)
{
    const json_t *types = json_object_get(reader->object, "mlp_layer_types");
    bool said = awq_config_says(reader, "mlp_layer_types");
    int64_t silent = config->family->mixture->first_dense;
    set_sparse(config, 1, read_index(reader, "first_k_dense_replace", silent), config->layers);
    if (said && json_array_size(types) != (size_t)config->layers)
        awq_config_complain(reader, "mlp_layer_types does not name a type for each layer", "");
    for (size_t i = 0; i < json_array_size(types) && i < (size_t)config->layers; i++) {
        const char *text = json_string_value(json_array_get(types, i));
        config->sparse[i] = text && !strcmp(text, "sparse");
        if (!text || (!config->sparse[i] && strcmp(text, "dense") != 0))
            awq_config_complain(
                reader, "mlp_layer_types holds a type that is not supported: ", text ? text : "?");
    }
}

static void read_layers(const awq_config_reader *reader, awq_config *config)
{
    const awq_mixture *mixture = config->family->mixture;
    int64_t all = config->layers, last;
    switch (mixture->layers) {
    case AWQ_SPARSE_ALL:
        set_sparse(config, 1, 0, all);
        break;
    case AWQ_SPARSE_STEP:
        set_sparse(config, awq_config_read_size(reader, "decoder_sparse_step", 1, AWQ_MAX_LAYERS),
                   0, all);
        read_layer_list(reader, "mlp_only_layers", false, config);
        break;
    case AWQ_SPARSE_FIRST_DENSE:
        set_sparse(config, 1, read_index(reader, first_dense_key(mixture), mixture->first_dense),
                   all);
        break;
    case AWQ_SPARSE_TYPES:
        read_types(reader, config);
        break;
    case AWQ_SPARSE_RANGE:
        last = read_index(reader, "moe_layer_end_index", -1);
        set_sparse(config, awq_config_read_size(reader, "moe_layer_interval", 1, AWQ_MAX_LAYERS),
                   read_index(reader, "moe_layer_start_index", 1), last < 0 ? all : last);
        break;
    case AWQ_SPARSE_LISTED:
        if (!awq_config_says(reader, "moe_layers"))
            set_sparse(config,
                       awq_config_read_size(reader, "interleave_moe_layer_step", 1, AWQ_MAX_LAYERS),
                       0, all);
        read_layer_list(reader, "moe_layers", true, config);
        break;
    }
}

/* ---- the choice ---- */

static void read_groups(const awq_config_reader *reader, const awq_routing_keys *keys,
                        awq_routing_rule *rule)
{
    const char *method =
        awq_json_string(reader->object, "topk_method", "greedy", reader->name, reader->problems);
    bool greedy = keys->group_method && !strcmp(method, "greedy");
    int64_t silent = keys->group_method ? 0 : 1; /* it must be said */
    rule->groups = rule->active_groups = rule->group_best = 1;
    if (keys->group_method) awq_config_refuse_null(reader, "topk_method");
    if (greedy) return;
    if (!keys->group_method) { /* or null is as good as silence: it is missing */
        awq_config_refuse_null(reader, "n_group");
        awq_config_refuse_null(reader, "topk_group");
    }
    rule->groups = awq_config_read_size(reader, "n_group", keys->groups ? keys->groups : silent,
                                        AWQ_MAX_EXPERTS);
    rule->active_groups = awq_config_read_size(
        reader, "topk_group", keys->active_groups ? keys->active_groups : silent, AWQ_MAX_EXPERTS);
    rule->group_best = keys->group_best ? keys->group_best : 2;
    if (rule->groups <= 1 || !rule->experts) return;
    int64_t size = rule->experts / rule->groups;
    if (rule->experts % rule->groups || rule->active_groups > rule->groups ||
        size < rule->group_best)
        awq_config_complain(reader, "n_group and topk_group do not fit the number of experts", "");
    else if (size * rule->active_groups < rule->active)
        awq_config_complain(reader, "num_experts_per_tok is above the experts of topk_group groups",
                            "");
}

/* Words that say what the family's router does anyway; any other is refused. */
static void check_words(const awq_config_reader *reader, const awq_mixture *mixture)
{
    enum { CORRECTED, SOFTMAX, METHOD, ROUTERS };
    static const struct {
        const char *key, *word[ROUTERS][2];
    } known[] = {{"scoring_func", {{"sigmoid", "noaux_tc"}, {"softmax"}, {"softmax"}}},
                 {"score_func", {{"sigmoid"}, {"softmax"}, {"softmax"}}},
                 {"topk_method", {{"noaux_tc"}, {NULL}, {"greedy", "group_limited_greedy"}}}};
    const awq_routing_keys *keys = &mixture->routing;
    bool corrected = keys->score == AWQ_SCORE_SIGMOID && mixture->correction;
    int router = corrected                          ? CORRECTED
                 : keys->group_method               ? METHOD
                 : keys->score == AWQ_SCORE_SOFTMAX ? SOFTMAX
                                                    : ROUTERS;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *word =
            awq_json_string(reader->object, known[i].key, "", reader->name, reader->problems);
        bool fits = !*word;
        for (int j = 0; j < 2 && router < ROUTERS && !fits; j++)
            fits = known[i].word[router][j] && !strcmp(word, known[i].word[router][j]);
        if (!fits)
            awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': %s '%.60s' is not supported",
                             reader->name, known[i].key, word);
    }
    if (keys->normalized_fixed && awq_config_says(reader, "norm_topk_prob") &&
        awq_config_read_bool(reader, "norm_topk_prob", true) != keys->normalized)
        awq_config_complain(reader, "a norm_topk_prob that is not the family's is not supported",
                            "");
    if (awq_config_says(reader, "route_norm") &&
        awq_config_read_bool(reader, "route_norm", true) != mixture->routing.normalized)
        awq_config_complain(reader, "a route_norm that is not the family's is not supported", "");
    if (corrected && !awq_config_read_bool(reader, "use_routing_bias", true))
        awq_config_complain(reader, "a router without correction is not supported", "");
}

static void read_routing(const awq_config_reader *reader, awq_config *config)
{
    const awq_mixture *mixture = config->family->mixture;
    const awq_routing_keys *keys = &mixture->routing;
    awq_routing_rule *rule = &config->routing;
    *rule =
        (awq_routing_rule){.score = keys->score, .groups = 1, .active_groups = 1, .group_best = 1};
    read_counts(reader, config);
    rule->normalized = keys->normalized;
    if (keys->normalized_key && keys->normalized)
        awq_config_refuse_null(reader, keys->normalized_key);
    if (keys->normalized_key)
        rule->normalized = awq_config_read_bool(reader, keys->normalized_key, keys->normalized);
    rule->factor = keys->factor > 0 ? (float)keys->factor : 1;
    if (keys->factor_key)
        rule->factor = (float)awq_config_read_positive(reader, reader->object, keys->factor_key,
                                                       (double)rule->factor);
    if (keys->margin_key)
        rule->margin =
            (float)awq_config_read_positive(reader, reader->object, keys->margin_key, 0.01);
    if (keys->grouped) read_groups(reader, keys, rule);
    check_words(reader, mixture);
}

bool awq_mixture_reads(const awq_mixture *mixture, const char *key)
{
    if (!mixture) return false;
    bool first = mixture->layers == AWQ_SPARSE_FIRST_DENSE || mixture->layers == AWQ_SPARSE_TYPES;
    bool grouped = mixture->routing.grouped;
    const char *const read[] = {mixture->enabled_key,
                                mixture->routing.factor_key,
                                mixture->shared_count_key,
                                mixture->shared_width_key,
                                first ? first_dense_key(mixture) : NULL,
                                grouped ? "n_group" : NULL,
                                grouped ? "topk_group" : NULL,
                                "scoring_func",
                                "score_func",
                                "topk_method",
                                "route_norm"};
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (read[i] && !strcmp(key, read[i])) return true;
    return false;
}

void awq_config_read_experts(const awq_config_reader *reader, awq_config *config)
{
    const awq_mixture *mixture = config->family->mixture;
    if (!mixture ||
        (mixture->enabled_key && !awq_config_read_bool(reader, mixture->enabled_key, false)))
        return;
    read_routing(reader, config);
    read_widths(reader, config);
    read_layers(reader, config);
}
