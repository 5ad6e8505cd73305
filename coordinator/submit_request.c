/* SPDX-License-Identifier: MIT
 * How many nodes, and for how long: from the plan's arithmetic and a rate that is assumed. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/slurm.h"
#include "coordinator/submit.h"
#include "jobs/format.h"
#include "jobs/work.h"

/* What is assumed: low enough for old hardware, so that a proposal is rarely too short. */
static const double core_rate = 30e9, gpu_rate = 100e12; /* FLOP/s */
static const double storage_rate = 1e9;                  /* bytes/s, all nodes together */
static const double fewest_nodes_within = 4 * 3600;      /* seconds */
static const double most_seconds = 24 * 3600, least_seconds = 1800, spare_seconds = 600;
static const double signal_early = 60; /* SLURM may be so much late with it */
enum { CPUS_BESIDE_GPU = 8 };

static bool on_gpus(const awq_options *options, const awq_hello *needs)
{
    return options->gpus_per_node > 0 && strcmp(needs->backend, "cpu");
}

static int64_t cores_of_worker(const awq_request *request, const awq_slurm_partition *partition)
{
    if (request->cpus_per_worker) return request->cpus_per_worker;
    int64_t cores = partition->cpus ? partition->cpus : (int64_t)sysconf(_SC_NPROCESSORS_ONLN);
    cores /= request->workers_per_node;
    return cores > 0 ? cores : 1;
}

static double flops(const awq_options *options, const awq_inputs *inputs)
{
    const awq_model *model = awq_checkpoint_model(inputs->model);
    int64_t length = inputs->tokens.length, tokens = inputs->tokens.sequences * length;
    return (double)model->layers *
           (awq_work_forward(model, tokens, length) + awq_work_gram(model, tokens) +
            awq_work_search(model, options, &inputs->tokens));
}

static int64_t propose_nodes(const awq_inputs *inputs, const awq_request *request,
                             const awq_slurm_partition *partition, double seconds_on_one)
{
    int64_t layers = awq_checkpoint_model(inputs->model)->layers;
    int64_t nodes = (int64_t)ceil(seconds_on_one / fewest_nodes_within);
    int64_t useful = (layers + request->workers_per_node - 1) / request->workers_per_node;
    if (nodes > useful) nodes = useful;
    if (partition->nodes && nodes > partition->nodes) nodes = partition->nodes;
    return nodes > 1 ? nodes : 1;
}

static double propose_seconds(const awq_request *request)
{
    double seconds = 2 * (request->compute + request->storage) + spare_seconds;
    seconds = 600 * ceil(fmax(seconds, least_seconds) / 600);
    return fmin(seconds, request->most);
}

static void given_time(const awq_options *options, awq_request *request, awq_problems *problems)
{
    if (awq_slurm_parse_time(options->time, &request->seconds) && request->seconds > 0) return;
    awq_problems_add(problems, AWQ_ERR_USAGE,
                     "--time takes a time as sbatch does, such as 90 (minutes), 04:00:00 or "
                     "1-00:00:00, not '%s'",
                     options->time);
}

void awq_request_make(const awq_options *options, const awq_inputs *inputs, const awq_hello *needs,
                      awq_request *out, awq_problems *problems)
{
    awq_slurm_partition partition;
    awq_slurm_find_partition(options->partition, &partition);
    awq_request r = {.nodes = options->nodes,
                     .workers_per_node = options->workers_per_node ? options->workers_per_node
                                         : options->gpus_per_node  ? options->gpus_per_node
                                                                   : 1,
                     .cpus_per_worker = options->cpus_per_worker ? options->cpus_per_worker
                                        : options->gpus_per_node ? CPUS_BESIDE_GPU
                                                                 : 0,
                     .most = most_seconds};
    if (partition.limit_seconds > 0) r.most = fmin(r.most, partition.limit_seconds);
    r.cores = cores_of_worker(&r, &partition);
    r.rate = on_gpus(options, needs) ? gpu_rate : core_rate * (double)r.cores;
    double on_one = flops(options, inputs) / (r.rate * (double)r.workers_per_node);
    if (!r.nodes) r.nodes = propose_nodes(inputs, &r, &partition, on_one);
    r.compute = on_one / (double)r.nodes;
    r.storage =
        (double)(awq_checkpoint_bytes(inputs->model) +
                 2 * awq_output_bytes(options, inputs->model) + awq_run_bytes(options, inputs, 2)) /
        storage_rate;
    r.seconds = propose_seconds(&r);
    if (options->time) given_time(options, &r, problems);
    r.signal_seconds = fmin(options->grace + signal_early, r.seconds / 2);
    *out = r;
}

void awq_request_print(FILE *file, const awq_options *options, const awq_hello *needs,
                       const awq_request *r)
{
    char compute[32], storage[32], limit[32], most[32];
    awq_format_seconds(compute, r->compute);
    awq_format_seconds(storage, r->storage);
    awq_slurm_format_time(limit, r->seconds);
    awq_slurm_format_time(most, r->most);
    fprintf(file,
            "estimate   %s of arithmetic, at %.3g TFLOP/s for each of %lld workers (assumed: ",
            compute, 1e-12 * r->rate, (long long)(r->nodes * r->workers_per_node));
    if (on_gpus(options, needs))
        fprintf(file, "%.0f TFLOP/s for a GPU", 1e-12 * gpu_rate);
    else
        fprintf(file, "%lld core%s at %.0f GFLOP/s", (long long)r->cores, r->cores == 1 ? "" : "s",
                1e-9 * core_rate);
    fprintf(file, ");\n           %s of files, at %.0f GB/s (assumed)\n", storage,
            1e-9 * storage_rate);
    fprintf(file, "nodes      %lld, %s\n", (long long)r->nodes,
            options->nodes ? "as given" : "proposed: the fewest that need no more than 4 hours");
    fprintf(file, "time limit %s, ", limit);
    if (options->time)
        fprintf(file, "as given\n");
    else
        fprintf(file,
                "proposed: twice the estimate and ten minutes, at most %s; a job that\n"
                "           reaches it goes back into the queue and goes on\n",
                most);
}
