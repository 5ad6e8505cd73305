/* SPDX-License-Identifier: MIT */
#include "worker/queue.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct node {
    awq_letter *letter;
    struct node *next;
} node;

struct awq_queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    node *first, **end;
    bool closed;
};

awq_queue *awq_queue_create(void)
{
    awq_queue *queue = calloc(1, sizeof *queue);
    if (!queue) return NULL;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->changed, NULL);
    queue->end = &queue->first;
    return queue;
}

void awq_queue_free(awq_queue *queue)
{
    if (!queue) return;
    while (queue->first) {
        node *next = queue->first->next;
        awq_letter_free(queue->first->letter);
        free(queue->first);
        queue->first = next;
    }
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

bool awq_queue_put(awq_queue *queue, awq_letter *letter)
{
    node *added = malloc(sizeof *added);
    if (!added) {
        awq_letter_free(letter);
        return false;
    }
    *added = (node){.letter = letter};
    pthread_mutex_lock(&queue->mutex);
    *queue->end = added;
    queue->end = &added->next;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
    return true;
}

/* Takes the node that `link` points to out of the list. Mutex held. */
static awq_letter *unlink_node(awq_queue *queue, node **link)
{
    node *taken = *link;
    awq_letter *letter = taken->letter;
    *link = taken->next;
    if (!*link) queue->end = link;
    free(taken);
    return letter;
}

static awq_letter *take(awq_queue *queue, bool any, int64_t a, int64_t b)
{
    awq_letter *letter = NULL;
    pthread_mutex_lock(&queue->mutex);
    while (!letter && !queue->closed) {
        node **link = &queue->first;
        while (*link && !any && ((*link)->letter->a != a || (*link)->letter->b != b))
            link = &(*link)->next;
        if (*link)
            letter = unlink_node(queue, link);
        else
            pthread_cond_wait(&queue->changed, &queue->mutex);
    }
    pthread_mutex_unlock(&queue->mutex);
    return letter;
}

awq_letter *awq_queue_take(awq_queue *queue)
{
    return take(queue, true, 0, 0);
}

awq_letter *awq_queue_take_numbered(awq_queue *queue, int64_t a, int64_t b)
{
    return take(queue, false, a, b);
}

void awq_queue_close(awq_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}
