/* What one thread reads and copies: the yardstick of loads that memory bounds. */

#include <stddef.h>
#include <string.h>

float read_sum(const float *x, size_t count)
{
    float sums[64] = {0};
    for (size_t i = 0; i + 64 <= count; i += 64)
        for (int j = 0; j < 64; j++)
            sums[j] += x[i + j];
    float sum = 0;
    for (int j = 0; j < 64; j++)
        sum += sums[j];
    return sum;
}

/* Through the caches, as loops in C do; gcc would make memcpy() of it otherwise. */
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void
copy_plain(float *restrict to, const float *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* Past the caches, where libc thinks it pays. */
void copy_libc(float *restrict to, const float *restrict from, size_t count)
{
    memcpy(to, from, count * sizeof *to);
}
