/* Aligned blocks at random places of 1 GiB; no address waits for what was read. */

#include "peer.h"

#define TABLE_BYTES ((size_t)1 << 30)
#define STREAMS 8
#define STEPS 16384

typedef uint32_t half_line __attribute__((vector_size(32)));
typedef uint32_t line __attribute__((vector_size(64)));

static void *table;
static size_t block_bytes;
volatile uint32_t total;

#define START(s) ((thread * STREAMS + (s)) * 2654435761u + round * 0x9E3779B9u)
#define NEXT_BLOCK(x, blocks) ((x) = (x) * 1664525u + 1013904223u, (uint64_t)(x) * (blocks) >> 32)

static void lines(unsigned thread, unsigned round)
{
    const line *restrict words = table;
    const uint64_t blocks = TABLE_BYTES / 128;
    uint32_t x[STREAMS];
    line sums[2] = {{0}};
    for (unsigned s = 0; s < STREAMS; ++s)
        x[s] = START(s);
    for (unsigned k = 0; k < STEPS; ++k) {
#pragma GCC unroll 8
        for (unsigned s = 0; s < STREAMS; ++s) {
            const uint64_t block = NEXT_BLOCK(x[s], blocks);
            sums[0] += words[2 * block];
            sums[1] += words[2 * block + 1];
        }
    }
    total += sums[0][0] + sums[1][0];
}

static void half_lines(unsigned thread, unsigned round)
{
    const half_line *restrict words = table;
    const uint64_t blocks = TABLE_BYTES / 32;
    uint32_t x[STREAMS];
    half_line sum = {0};
    for (unsigned s = 0; s < STREAMS; ++s)
        x[s] = START(s);
    for (unsigned k = 0; k < STEPS; ++k) {
#pragma GCC unroll 8
        for (unsigned s = 0; s < STREAMS; ++s)
            sum += words[NEXT_BLOCK(x[s], blocks)];
    }
    total += sum[0];
}

static void work(unsigned thread, unsigned threads, unsigned round)
{
    (void)threads;
    if (block_bytes == 128)
        lines(thread, round);
    else
        half_lines(thread, round);
}

int main(int count, char **arguments)
{
    block_bytes = count > 1 ? (size_t)atoi(arguments[1]) : 128;
    table = aligned_alloc(4096, TABLE_BYTES);
    for (size_t i = 0; i < TABLE_BYTES / 4; ++i)
        ((uint32_t *)table)[i] = (uint32_t)i;
    serve((double)sysconf(_SC_NPROCESSORS_ONLN) * STREAMS * STEPS * (double)block_bytes);
}
