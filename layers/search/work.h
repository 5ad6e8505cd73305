/* SPDX-License-Identifier: MIT
 * layers/search/work.h - how much of a group's rows its search measures: what plans and progress
 * count by. */
#ifndef AWQ_LAYERS_SEARCH_WORK_H
#define AWQ_LAYERS_SEARCH_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "io/model/model.h"
#include "io/model/recipe.h"

/* Whether linears that read a group's input are measured by several Gram matrices: experts'. */
bool awq_search_is_mixed(const awq_layer_spec *layer, int group);

/* The share of its rows that each candidate but the identity is measured on: of a mixed group; of
 * others what a race is expected to take. */
double awq_search_share(const awq_recipe *recipe, const awq_layer_spec *layer, int group);

/* Candidates that are listed and refined. */
double awq_search_candidates(const awq_recipe *recipe);

/* Host memory of a layer's search: losses of rows, and scales, of all candidates. */
uint64_t awq_search_host_bytes(const awq_recipe *recipe, const awq_model *model);

/* Floating-point operations of the search for what one linear has of it, but for those of the
 * module objective; none of one that is always kept in full precision. */
double awq_search_flops(const awq_recipe *recipe, const awq_layer_spec *layer, int linear);

#endif
