/* STREAM's copy and triad, and the sum of an array: plain C, the arrays split between the threads. */

#include "peer.h"
#include <string.h>

#define WORDS ((size_t)1 << 25) /* 128 MiB, four times a cache of 32 MiB */

static uint32_t *from, *to;
static float *sum_of, *left, *right;
static int is_copy, is_triad;
volatile uint32_t total;

static void triad(size_t first, size_t count)
{
    float *restrict target = sum_of + first;
    const float *restrict b = left + first, *restrict c = right + first;
    for (size_t i = 0; i < count; ++i)
        target[i] = b[i] + 3.0f * c[i];
}

static void work(unsigned thread, unsigned threads, unsigned round)
{
    const size_t first = WORDS / threads * thread;
    uint32_t *restrict target = to + first;
    const uint32_t *restrict source = from + first;
    uint32_t sum = 0;
    (void)round;
    if (is_triad) {
        triad(first, WORDS / threads);
        return;
    }
    if (is_copy)
        for (size_t i = 0; i < WORDS / threads; ++i)
            target[i] = source[i];
    else
        for (size_t i = 0; i < WORDS / threads; ++i)
            sum += source[i];
    __atomic_fetch_add(&total, sum + target[0], __ATOMIC_RELAXED);
}

int main(int count, char **arguments)
{
    is_copy = count > 1 && strcmp(arguments[1], "copy") == 0;
    is_triad = count > 1 && strcmp(arguments[1], "triad") == 0;
    if (is_triad) {
        sum_of = aligned_alloc(4096, 4 * WORDS);
        left = aligned_alloc(4096, 4 * WORDS);
        right = aligned_alloc(4096, 4 * WORDS);
        for (size_t i = 0; i < WORDS; ++i)
            sum_of[i] = 0.0f, left[i] = (float)i, right[i] = 1.0f;
        serve(4.0 * WORDS * 3);
    }
    from = aligned_alloc(4096, 4 * WORDS);
    to = aligned_alloc(4096, 4 * WORDS);
    for (size_t i = 0; i < WORDS; ++i)
        from[i] = to[i] = (uint32_t)i;
    serve(4.0 * WORDS * (is_copy ? 2 : 1));
}
