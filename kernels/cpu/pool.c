/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct cpu_worker {
    cpu_pool *pool;
    int thread;
    pthread_t id;
} cpu_worker;

struct cpu_pool {
    pthread_mutex_t caller; /* held by the one who runs blocks */
    pthread_mutex_t mutex;  /* guards round, busy, stop */
    pthread_cond_t start;
    pthread_cond_t done;
    uint64_t round; /* counts calls of cpu_pool_run */
    int busy;       /* workers that have not finished this round */
    bool stop;

    atomic_int_fast64_t next; /* first block that nobody has taken */
    int64_t blocks;
    cpu_block *run;
    void *context;

    int started;
    cpu_worker workers[];
};

static void take_blocks(cpu_pool *pool, int thread)
{
    for (;;) {
        int64_t block = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (block >= pool->blocks) return;
        pool->run(pool->context, block, thread);
    }
}

static void *work(void *argument)
{
    cpu_worker *self = argument;
    cpu_pool *pool = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->round == seen && !pool->stop) pthread_cond_wait(&pool->start, &pool->mutex);
        if (pool->stop) break;
        seen = pool->round;
        pthread_mutex_unlock(&pool->mutex);
        take_blocks(pool, self->thread);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void run_together(cpu_pool *pool, int64_t blocks, cpu_block *run, void *context)
{
    pthread_mutex_lock(&pool->mutex);
    pool->blocks = blocks;
    pool->run = run;
    pool->context = context;
    atomic_store(&pool->next, 0);
    pool->busy = pool->started;
    pool->round++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);

    take_blocks(pool, 0);

    pthread_mutex_lock(&pool->mutex);
    while (pool->busy) pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void cpu_pool_run(cpu_pool *pool, int64_t blocks, cpu_block *run, void *context)
{
    pthread_mutex_lock(&pool->caller);
    if (blocks > 1 && pool->started)
        run_together(pool, blocks, run, context);
    else
        for (int64_t block = 0; block < blocks; block++) run(context, block, 0);
    pthread_mutex_unlock(&pool->caller);
}

awq_status cpu_pool_create(int threads, cpu_pool **out, awq_error *err)
{
    cpu_pool *pool = calloc(1, sizeof *pool + (size_t)(threads - 1) * sizeof *pool->workers);
    if (!pool) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %d threads", threads);
    pthread_mutex_init(&pool->caller, NULL);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (int i = 0; i < threads - 1; i++) {
        cpu_worker *worker = &pool->workers[i];
        *worker = (cpu_worker){.pool = pool, .thread = i + 1};
        int code = pthread_create(&worker->id, NULL, work, worker);
        if (code) {
            cpu_pool_free(pool);
            return awq_fail(err, AWQ_ERR_DEVICE, "cannot start CPU thread %d of %d: %s", i + 2,
                            threads, strerror(code));
        }
        pool->started++;
    }
    *out = pool;
    return AWQ_OK;
}

void cpu_pool_free(cpu_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->workers[i].id, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->mutex);
    pthread_mutex_destroy(&pool->caller);
    free(pool);
}
