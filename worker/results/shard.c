/* SPDX-License-Identifier: MIT */
#include "worker/results/shard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "io/files/path.h"
#include "jobs/run/output.h"

enum { MOST_THREADS = 8 }; /* beside the compute thread */

/* A shard, whose tensors are put to their places by whichever thread comes to them. */
typedef struct writing {
    awq_worker *worker;
    awq_safetensors_writer *writer;
    const awq_tensor *tensors; /* [count] */
    const uint64_t *offset;    /* [count], in the shard's data */
    size_t count;
    uint32_t *crc;         /* [count], of each as it was read and written */
    atomic_size_t next;    /* tensor that no thread has come to */
    pthread_mutex_t mutex; /* guards the next two */
    bool failed;
    awq_error error; /* the first */
} writing;

static awq_status put_tensor(const writing *job, size_t i, awq_error *err)
{
    const awq_tensor *tensor = &job->tensors[i];
    if (awq_worker_check(job->worker, err) ||
        awq_safetensors_put(job->writer, job->offset[i], tensor->data, tensor->bytes, &job->crc[i],
                            err))
        return err->status;
    awq_safetensors_dont_need(tensor);
    return AWQ_OK;
}

/* One of the threads. */
static void *put_tensors(void *context)
{
    writing *job = context;
    awq_error err;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->count;) {
        if (!put_tensor(job, i, &err)) continue;
        pthread_mutex_lock(&job->mutex);
        if (!job->failed) job->error = err;
        job->failed = true;
        pthread_mutex_unlock(&job->mutex);
        atomic_store(&job->next, job->count);
    }
    return NULL;
}

/* A thread that cannot be started is done without. */
static awq_status put_all(writing *job, awq_error *err)
{
    pthread_t thread[MOST_THREADS];
    int count = 0, threads = job->worker->has.device_options.threads;
    pthread_mutex_init(&job->mutex, NULL);
    while (count < threads - 1 && count < MOST_THREADS &&
           !pthread_create(&thread[count], NULL, put_tensors, job))
        count++;
    put_tensors(job);
    while (count) pthread_join(thread[--count], NULL);
    pthread_mutex_destroy(&job->mutex);
    if (job->failed) *err = job->error;
    return job->failed ? err->status : AWQ_OK;
}

/* crc [shard->count]: the coordinator compares it with what the records vouch for. offset
 * [shard->count]: is filled. */
static awq_status write_shard(awq_worker *worker, const awq_output *output, const awq_shard *shard,
                              uint64_t *offset, uint32_t *crc, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    const awq_tensor *tensors = output->tensors + shard->first;
    writing job = {
        .worker = worker, .tensors = tensors, .offset = offset, .count = shard->count, .crc = crc};
    uint64_t end = 0;
    for (size_t i = 0; i < shard->count; end += tensors[i++].bytes) offset[i] = end;
    if (awq_path_join(path, worker->told.job.options.out, shard->name, err) ||
        awq_safetensors_create(path, tensors, shard->count, &job.writer, err))
        return err->status;
    awq_status status = put_all(&job, err);
    if (!status) status = awq_safetensors_commit(job.writer, NULL, NULL, err);
    awq_safetensors_writer_free(job.writer);
    return status;
}

/* The records, opened with the first shard. */
static awq_status open_output(awq_worker *worker, awq_error *err)
{
    if (worker->has.output.count) return AWQ_OK;
    return awq_output_open(worker->told.job.run_directory, worker->has.checkpoint[0],
                           (uint64_t)worker->told.job.options.max_shard_size, &worker->has.output,
                           err);
}

awq_status awq_worker_assemble(awq_worker *worker, int64_t shard, awq_error *err)
{
    const awq_output *output = &worker->has.output;
    awq_worker_progress(worker, -1, -1, -1, AWQ_PHASE_WRITE, 0);
    if (open_output(worker, err)) return err->status;
    const awq_shard *item = &output->shards.items[shard];
    awq_letter *done =
        awq_letter_create(AWQ_LETTER_SHARD_DONE, shard, 0, item->count * sizeof(uint32_t));
    uint64_t *offset = malloc(item->count * sizeof *offset);
    awq_status status =
        done && offset
            ? write_shard(worker, output, item, offset, (uint32_t *)(void *)done->payload, err)
            : awq_fail(err, AWQ_ERR_MEMORY, "no memory to write '%s'", item->name);
    free(offset);
    if (status)
        awq_letter_free(done);
    else
        awq_worker_tell(worker, done);
    return status;
}
