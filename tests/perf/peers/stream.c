/* STREAM's copy, and the sum of an array: plain C, the array split between the threads. */

#include "peer.h"
#include <string.h>

#define WORDS ((size_t)1 << 25) /* 128 MiB, four times a cache of 32 MiB */

static uint32_t *from, *to;
static int is_copy;
volatile uint32_t total;

static void work(unsigned thread, unsigned threads, unsigned round)
{
    const size_t first = WORDS / threads * thread;
    uint32_t *restrict target = to + first;
    const uint32_t *restrict source = from + first;
    uint32_t sum = 0;
    (void)round;
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
    from = aligned_alloc(4096, 4 * WORDS);
    to = aligned_alloc(4096, 4 * WORDS);
    for (size_t i = 0; i < WORDS; ++i)
        from[i] = to[i] = (uint32_t)i;
    serve(4.0 * WORDS * (is_copy ? 2 : 1));
}
