#include "loader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { SLOTS = 3, MAX_THREADS = 64 }; /* a batch that is used, and two that are filled */

struct loader {
    const pictures *d;
    shuffle *order;
    const picture_options *options;
    size_t size, pixels, threads;
    pthread_t thread[MAX_THREADS];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t next, end; /* the image that is decoded next; one past the last */
    uint64_t batch;     /* the batch that is used, or would be next */
    bool used, stop;    /* batch has been handed out; the threads are to end */
    size_t done[SLOTS]; /* images of the batch in a slot */
    float *image[SLOTS];
    int32_t *label[SLOTS];
    char error[600]; /* of the first image that failed; "" */
};

/* Image number `i` of the run, into its place. */
static bool decode(loader *l, uint64_t i, size_t row, char *error, size_t error_size)
{
    const size_t slot = i / l->size % SLOTS, at = i % l->size;

    l->label[slot][at] = l->d->label ? l->d->label[row] : -1;
    return pictures_pixels(l->d, row, l->options, l->order ? (int64_t)i : -1, l->image[slot] + at * l->pixels, error,
                           error_size);
}

static void *work(void *argument)
{
    loader *l = argument;
    char error[sizeof l->error];

    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->stop && (l->next == l->end || l->next / l->size >= l->batch + SLOTS))
            pthread_cond_wait(&l->changed, &l->lock);
        if (l->stop) break;
        const uint64_t i = l->next++;
        const size_t row = l->order ? shuffle_row(l->order, i) : (size_t)i;
        pthread_mutex_unlock(&l->lock);
        const bool done = decode(l, i, row, error, sizeof error);
        pthread_mutex_lock(&l->lock);
        if (!done && !l->error[0]) memcpy(l->error, error, sizeof error);
        l->done[i / l->size % SLOTS]++;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

loader *loader_open(const pictures *d, shuffle *order, const picture_options *options, size_t size, uint64_t first,
                    uint64_t end, size_t threads)
{
    loader *l = allocate(1, sizeof *l);

    *l = (loader){
        .d = d, .order = order, .options = options, .size = size, .next = first * size, .end = end, .batch = first
    };
    l->pixels = 3 * options->size * options->size;
    l->threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    for (size_t i = 0; i < SLOTS; i++) {
        l->image[i] = allocate(size * l->pixels, sizeof(float));
        l->label[i] = allocate(size, sizeof(int32_t));
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    for (size_t i = 0; i < l->threads; i++)
        if (pthread_create(&l->thread[i], NULL, work, l) != 0) die("no thread for decoding images");
    return l;
}

void loader_close(loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < l->threads; i++) pthread_join(l->thread[i], NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        free(l->image[i]);
        free(l->label[i]);
    }
    free(l);
}

clpeft_batch loader_next(loader *l)
{
    pthread_mutex_lock(&l->lock);
    if (l->used) {
        l->done[l->batch++ % SLOTS] = 0;
        pthread_cond_broadcast(&l->changed);
    }
    const uint64_t from = l->batch * l->size;
    const size_t slot = l->batch % SLOTS, left = from < l->end ? (size_t)(l->end - from) : 0,
                 n = left < l->size ? left : l->size;
    l->used = true;
    while (l->done[slot] < n) pthread_cond_wait(&l->changed, &l->lock);
    if (l->error[0]) die("%s", l->error);
    pthread_mutex_unlock(&l->lock);
    return (clpeft_batch){ .S = n, .labels = l->d->label ? l->label[slot] : NULL, .pixels = l->image[slot] };
}
