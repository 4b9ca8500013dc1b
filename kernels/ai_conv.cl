/* ai.conv: convolution 3 x 3, same size and channels out as in, NHWC, fp32, times alpha: a product
 * of all patches of the picture with the weights, whose patches are never stored (implicit GEMM).
 */

#ifndef LANES
#define LANES 1 /* 1: a tile is the work of groups of 256 items (GPU); 8, 16: of one item (CPU) */
#endif
#ifndef CHANNELS
#define CHANNELS 64 /* in and out; a multiple of 64 */
#endif
#ifndef ROWS
#define ROWS 8 /* with LANES > 1: pixels of the register tile; 4 or 8 */
#endif
#ifndef COLUMNS
#define COLUMNS 64 /* channels out per panel of the weights; on a GPU 64 */
#endif
#define TILE 64 /* pixels */

/*  x[picture][row][column][channel] has a border of zeros one pixel wide;
 *  y[picture][row][column][channel] has none. Pictures are `size` x `size`, a multiple of 8.
 *  weights: [channel out / COLUMNS][tap][channel in][channel out % COLUMNS], taps row by row:
 *
 *      +---+---+---+
 *      | 0 | 1 | 2 |        y(row, column) = sum over taps and channels in of
 *      | 3 | 4 | 5 |            x(row + tap / 3 - 1, column + tap % 3 - 1) * weight(tap)
 *      | 6 | 7 | 8 |
 *      +---+---+---+
 *
 *  Pixels of all pictures are counted one after the other; a tile is TILE of them with all their
 *  channels out; a launch is any run of tiles.
 */

#include "ai_common.cl"

/* Where in x the pixel up and left of pixel `number` of y starts. */
static inline size_t corner_of(const uint number, const uint size)
{
    const uint picture = number / (size * size);
    const uint row = number / size % size, column = number % size;
    const size_t width = size + 2;
    return ((picture * width + row) * width + column) * CHANNELS;
}

/* From that pixel to the one under a tap. */
static inline size_t tap_offset(const uint tap, const uint size)
{
    return (size_t)(tap / 3 * (size + 2) + tap % 3) * CHANNELS;
}

#if LANES == 1

#define ITEMS 256
#define SLICE 16 /* channels in local memory; a quad of x, of the weights per item */
#define GROUPS_PER_TILE (CHANNELS / COLUMNS)
#define PITCH (TILE / 4 + 1) /* float4 per channel in, one more for the banks */
#if COLUMNS != 64
#error "256 items carry one slice of the tile: COLUMNS must be 64"
#endif

/* An item computes 4 pixels x 4 channels. Local memory, in float4: pixels 2 * SLICE * PITCH,
 * taps 2 * ITEMS. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
convolve(__global const float *restrict x, __global const float4 *restrict weights,
         __global float *restrict y, const uint size, const uint first_tile, const float alpha,
         __local float4 *restrict pixels, __local float4 *restrict taps)
{
    const uint tile = first_tile + get_group_id(0) / GROUPS_PER_TILE;
    const uint panel = get_group_id(0) % GROUPS_PER_TILE;
    const uint item = get_local_id(0);
    const uint column = item % 16, row = item / 16;
    /* Four items fetch 16 channels of a pixel. */
    const size_t corner = corner_of(tile * TILE + item / 4, size) + item % 4 * 4;
    __global const float4 *panel_weights = weights + (size_t)panel * 9 * CHANNELS * (COLUMNS / 4);

    float4 sum[4] = {(float4)(0.0f), (float4)(0.0f), (float4)(0.0f), (float4)(0.0f)};
    for (uint step = 0; step < 9 * CHANNELS / SLICE; step++) {
        const uint tap = step / (CHANNELS / SLICE), first = step % (CHANNELS / SLICE) * SLICE;
        const float4 some = vload4(0, x + corner + tap_offset(tap, size) + first);
        const uint side = step % 2;
        __local float *to = (__local float *)(pixels + side * SLICE * PITCH);
        to[(item % 4 * 4 + 0) * PITCH * 4 + item / 4] = some.s0;
        to[(item % 4 * 4 + 1) * PITCH * 4 + item / 4] = some.s1;
        to[(item % 4 * 4 + 2) * PITCH * 4 + item / 4] = some.s2;
        to[(item % 4 * 4 + 3) * PITCH * 4 + item / 4] = some.s3;
        taps[side * ITEMS + item] = panel_weights[(size_t)step * ITEMS + item];
        /* One barrier per slice, as in ai_gemm.cl. */
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int s = 0; s < SLICE; s++) {
            const float4 four = pixels[(side * SLICE + s) * PITCH + row];
            const float4 weight = taps[side * ITEMS + s * 16 + column];
            sum[0] = four.s0 * weight + sum[0];
            sum[1] = four.s1 * weight + sum[1];
            sum[2] = four.s2 * weight + sum[2];
            sum[3] = four.s3 * weight + sum[3];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const size_t pixel = tile * TILE + 4 * row + i;
        vstore4(alpha * sum[i], 0, y + pixel * CHANNELS + panel * COLUMNS + 4 * column);
    }
}

#else

#define VECTORS (COLUMNS / LANES)

/* ROWS pixels side by side. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
convolve(__global const float *restrict x, __global const float *restrict weights,
         __global float *restrict y, const uint size, const uint first_tile, const float alpha)
{
    const uint first_pixel = (first_tile + get_group_id(0)) * TILE;
    for (uint channel = 0; channel < CHANNELS; channel += COLUMNS)
        for (uint pixel = first_pixel; pixel < first_pixel + TILE; pixel += ROWS) {
            wide sum[ROWS][VECTORS];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++)
                    sum[i][j] = (wide)(0.0f);

            __global const float *corner = x + corner_of(pixel, size);
            __global const wide *panel =
                (__global const wide *)(weights + (size_t)channel * 9 * CHANNELS);
            for (uint tap = 0; tap < 9; tap++) {
                ADD_PRODUCTS(sum, corner + tap_offset(tap, size), 1, CHANNELS,
                             panel + tap * CHANNELS * VECTORS, CHANNELS)
            }
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                __global wide *to =
                    (__global wide *)(y + (size_t)(pixel + i) * CHANNELS + channel);
#pragma unroll
                for (int j = 0; j < VECTORS; j++)
                    to[j] = alpha * sum[i][j];
            }
        }
}

#endif
