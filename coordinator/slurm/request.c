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

/* On so many nodes of `workers_per_node`. */
static awq_status estimate(awq_sizing *job, const awq_request *request, awq_estimate *out,
                           awq_error *err)
{
    awq_plan plan;
    job->workers = request->nodes * request->workers_per_node;
    if (awq_estimate_plan(job, &plan, err)) return err->status;
    awq_status status = awq_estimate_make(job, &plan, out, err);
    awq_plan_release(&plan);
    return status;
}

/* Nodes are added while they are needed, there, and have layers to work on. */
static awq_status propose_nodes(awq_sizing *job, const awq_slurm_partition *partition,
                                awq_request *request, awq_error *err)
{
    int64_t layers = awq_checkpoint_model(job->inputs->model)->layers;
    int64_t most = (layers + request->workers_per_node - 1) / request->workers_per_node;
    if (partition->nodes && most > partition->nodes) most = partition->nodes;
    for (request->nodes = 1; request->nodes < most; request->nodes++) {
        awq_estimate e;
        if (estimate(job, request, &e, err)) return err->status;
        if (e.compute <= fewest_nodes_within) break;
    }
    return AWQ_OK;
}

static void given_time(const char *time, awq_request *request, awq_problems *problems)
{
    if (awq_slurm_parse_time(time, &request->seconds) && request->seconds > 0) return;
    awq_problems_add(problems, AWQ_ERR_USAGE,
                     "--time takes a time as sbatch does, such as 90 (minutes), 04:00:00 or "
                     "1-00:00:00, not '%s'",
                     time);
}

awq_status awq_request_make(const awq_options *options, const awq_inputs *inputs,
                            const awq_hello *needs, awq_request *out, awq_problems *problems,
                            awq_error *err)
{
    const awq_submit_options *asked = &options->submit;
    awq_slurm_partition partition;
    awq_estimate e;
    awq_slurm_find_partition(asked->partition, &partition);
    awq_request r = {.nodes = asked->nodes,
                     .workers_per_node = asked->workers_per_node ? asked->workers_per_node
                                         : asked->gpus_per_node  ? asked->gpus_per_node
                                                                 : 1,
                     .cpus_per_worker = asked->cpus_per_worker ? asked->cpus_per_worker
                                        : asked->gpus_per_node ? CPUS_BESIDE_GPU
                                                               : 0,
                     .most = most_seconds};
    if (partition.limit_seconds > 0) r.most = fmin(r.most, partition.limit_seconds);
    r.cores = cores_of_worker(&r, &partition);
    awq_sizing job = {.options = options, .inputs = inputs, .needs = needs, .cores = r.cores};
    if (!r.nodes && propose_nodes(&job, &partition, &r, err)) return err->status;
    if (estimate(&job, &r, &e, err)) return err->status;
    double proposed = fmax(2 * (e.compute + e.storage) + spare_seconds, least_seconds);
    r.seconds = fmin(600 * ceil(proposed / 600), r.most);
    if (asked->time) given_time(asked->time, &r, problems);
    r.signal_seconds = fmin(options->grace + signal_early, r.seconds / 2);
    *out = r;
    return AWQ_OK;
}

void awq_request_print(FILE *file, const awq_submit_options *asked, const awq_request *r)
{
    char limit[32], most[32];
    awq_slurm_format_time(limit, r->seconds);
    awq_slurm_format_time(most, r->most);
    fprintf(file, "nodes      %lld, %s\n", (long long)r->nodes,
            asked->nodes ? "as given" : "proposed: the fewest that need no more than 4 hours");
    fprintf(file, "time limit %s, ", limit);
    if (asked->time)
        fprintf(file, "as given\n");
    else
        fprintf(file,
                "proposed: twice the estimate and ten minutes, at most %s; a job that\n"
                "           reaches it goes back into the queue and resumes\n",
                most);
}
