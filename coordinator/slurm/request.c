/* SPDX-License-Identifier: MIT
 * How many nodes, and for how long: from the plan's arithmetic and a rate that is assumed. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "coordinator/slurm/slurm.h"
#include "coordinator/slurm/submit.h"

static const double fewest_nodes_within = 4 * 3600; /* seconds */
static const double most_seconds = 24 * 3600, least_seconds = 1800, spare_seconds = 600;
static const double signal_early = 60; /* SLURM may be so much late with it */
enum { CPUS_BESIDE_GPU = 8 };

static int64_t cores_of_worker(const awq_request *request, const awq_slurm_partition *partition)
{
    if (request->cpus_per_worker) return request->cpus_per_worker;
    int64_t cores = partition->cpus ? partition->cpus : (int64_t)sysconf(_SC_NPROCESSORS_ONLN);
    cores /= request->workers_per_node;
    return cores > 0 ? cores : 1;
}

static awq_status estimate(const awq_options *options, const awq_inputs *inputs,
                           const awq_hello *needs, const awq_request *request, awq_estimate *out,
                           awq_error *err)
{
    int64_t workers = request->nodes * request->workers_per_node;
    awq_plan plan;
    if (awq_estimate_plan(options, inputs, needs, workers, &plan, err)) return err->status;
    awq_status status =
        awq_estimate_make(options, inputs, needs, &plan, workers, request->cores, out, err);
    awq_plan_release(&plan);
    return status;
}

/* Nodes are added while they are needed, there, and have layers to work on. */
static awq_status propose_nodes(const awq_options *options, const awq_inputs *inputs,
                                const awq_hello *needs, const awq_slurm_partition *partition,
                                awq_request *request, awq_error *err)
{
    int64_t layers = awq_checkpoint_model(inputs->model)->layers;
    int64_t most = (layers + request->workers_per_node - 1) / request->workers_per_node;
    if (partition->nodes && most > partition->nodes) most = partition->nodes;
    for (request->nodes = 1; request->nodes < most; request->nodes++) {
        awq_estimate e;
        if (estimate(options, inputs, needs, request, &e, err)) return err->status;
        if (e.compute <= fewest_nodes_within) break;
    }
    return AWQ_OK;
}

static double propose_seconds(const awq_request *request, const awq_estimate *e)
{
    double seconds = 2 * (e->compute + e->storage) + spare_seconds;
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

awq_status awq_request_make(const awq_options *options, const awq_inputs *inputs,
                            const awq_hello *needs, awq_request *out, awq_problems *problems,
                            awq_error *err)
{
    awq_slurm_partition partition;
    awq_estimate e;
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
    if (!r.nodes && propose_nodes(options, inputs, needs, &partition, &r, err)) return err->status;
    if (estimate(options, inputs, needs, &r, &e, err)) return err->status;
    r.seconds = propose_seconds(&r, &e);
    if (options->time) given_time(options, &r, problems);
    r.signal_seconds = fmin(options->grace + signal_early, r.seconds / 2);
    *out = r;
    return AWQ_OK;
}

void awq_request_print(FILE *file, const awq_options *options, const awq_request *r)
{
    char limit[32], most[32];
    awq_slurm_format_time(limit, r->seconds);
    awq_slurm_format_time(most, r->most);
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
