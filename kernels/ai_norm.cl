/* ai.layernorm, ai.rmsnorm, ai.softmax: every row of x normalised, times alpha.
 *
 *     layernorm:  y = (x - mean) / sqrt(variance + EPSILON) * gain + bias
 *     rmsnorm:    y = x / sqrt(mean of x * x + EPSILON) * gain
 *     softmax:    y = exp(x - largest) / sum of exp(x - largest)
 */

#ifndef LANES
#define LANES 1 /* 1: a row is the work of ITEMS items (GPU); 8, 16: of one item (CPU) */
#endif
#ifndef KIND
#define KIND 0 /* 0: layernorm, 1: rmsnorm, 2: softmax */
#endif
#ifndef ITEMS
#define ITEMS 256 /* on a GPU: per work-group, a power of two */
#endif
#ifndef TILE
#define TILE 16 /* rows of a tile; on a GPU each is a work-group */
#endif
#define EPSILON 1e-5f

#include "ai_common.cl"

/*  x and y: row after row of `width` floats, a multiple of 4 * WIDTH * ITEMS (ITEMS on a GPU; 1 on
 *  a processor). Item i of a row's takes the vectors i, i + ITEMS, i + 2 * ITEMS, ...
 *
 *  A processor walks over a row two or three times: it comes from memory once, then from cache.
 */

#if LANES > 1
#undef ITEMS
#define ITEMS 1
#endif
ACROSS_ITEMS(sum_across, PLUS)
ACROSS_ITEMS(largest_across, LARGER)

/* Sums in several registers, so that an addition need not wait for the one before. */
#define CHAINS 4
#define SUM_OVER_ROW(total, term)                                                        \
    do {                                                                                 \
        wide chain[CHAINS] = {(wide)(0.0f), (wide)(0.0f), (wide)(0.0f), (wide)(0.0f)};   \
        uint v = item;                                                                   \
        for (; v + (CHAINS - 1) * ITEMS < vectors; v += CHAINS * ITEMS)                  \
            _Pragma("unroll") for (uint c = 0; c < CHAINS; c++)                          \
            {                                                                            \
                const wide value = from[v + c * ITEMS];                                  \
                chain[c] += term;                                                        \
            }                                                                            \
        for (; v < vectors; v += ITEMS) {                                                \
            const wide value = from[v];                                                  \
            chain[0] += term;                                                            \
        }                                                                                \
        total = sum_across(                                                              \
            sum_of((chain[0] + chain[1]) + (chain[2] + chain[3])), scratch);             \
    } while (0)

static inline void
normalise_row(__global const wide *restrict from, __global const wide *restrict gain,
              __global const wide *restrict bias, __global wide *restrict to, const uint vectors,
              const float alpha, __local float *scratch)
{
    const uint item = LANES == 1 ? get_local_id(0) : 0;
    const float width = vectors * WIDTH;
#if KIND == 0
    float sum, squares;
    SUM_OVER_ROW(sum, value);
    const float mean = sum / width;
    SUM_OVER_ROW(squares, (value - mean) * (value - mean));
    const float scale = alpha / sqrt(squares / width + EPSILON);
    for (uint v = item; v < vectors; v += ITEMS) {
        FETCH_AHEAD(&from[v + vectors]); /* the next row */
        STREAM(&to[v], (from[v] - mean) * scale * gain[v] + alpha * bias[v]);
    }
#elif KIND == 1
    float squares;
    SUM_OVER_ROW(squares, value * value);
    const float scale = alpha / sqrt(squares / width + EPSILON);
    for (uint v = item; v < vectors; v += ITEMS) {
        FETCH_AHEAD(&from[v + vectors]); /* the next row */
        STREAM(&to[v], from[v] * scale * gain[v]);
    }
#else
    wide most = from[item];
    for (uint v = item; v < vectors; v += ITEMS)
        most = LARGER(from[v], most);
    const float largest = largest_across(largest_of(most), scratch);
    float sum;
    SUM_OVER_ROW(sum, power_of_two((value - largest) * M_LOG2E_F));
    const float scale = alpha / sum;
    for (uint v = item; v < vectors; v += ITEMS) {
        FETCH_AHEAD(&from[v + vectors]); /* the next row */
        STREAM(&to[v], power_of_two((from[v] - largest) * M_LOG2E_F) * scale);
    }
#endif
}

/* scratch: ITEMS floats on a GPU; not used on a processor. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
normalise(__global const wide *restrict x, __global const wide *restrict gain,
          __global const wide *restrict bias, __global wide *restrict y, const uint vectors,
          const uint first_row, const float alpha, __local float *scratch)
{
#if LANES == 1
    const uint rows = 1;
#else
    const uint rows = TILE;
#endif
    for (uint r = 0; r < rows; r++) {
        const size_t start = (size_t)(first_row + get_group_id(0) * rows + r) * vectors;
        normalise_row(x + start, gain, bias, y + start, vectors, alpha, scratch);
    }
}
