/* ai.decode: one token through the layers of a transformer, batch 1. Every weight is read once per
 * token and used once: the load of a chat with a language model, bound by memory.
 *
 *     h -> normalise -> multiply (q, k, v) -> attend -> multiply, + h = h2
 *     h2 -> normalise -> multiply (gate, up) -> gate -> multiply, + h2 = h of the next layer
 */

#ifndef LANES
#define LANES 1 /* 1: rows are the work of ITEMS items (GPU); 8, 16: of one item (CPU) */
#endif
#ifndef BITS
#define BITS 16 /* of a weight: 32, 16 floats; 8, 4 integers in blocks of 32 with a scale */
#endif
#ifndef ROWS
#define ROWS 4 /* of a matrix, which an item multiplies together */
#endif
#ifndef GROUP_ROWS
#define GROUP_ROWS ROWS /* of a matrix per work-group; a multiple of ROWS, on a GPU ROWS */
#endif
#define HEAD_DIM 128
#define EPSILON 1e-5f

/*  Matrices are row after row. 32, 16 bits: the numbers. 8, 4 bits: for each 32 columns a block in
 *  `weights` and its scale, a half, in `scales`:
 *
 *      8 bits:  byte c is column c, signed
 *      4 bits:  16 bytes; the low half of byte c is column c, the high half column c + 16,
 *               both plus 8
 *
 *  keys, values: [head][slot][HEAD_DIM]; a token takes the slot after that of the one before,
 *  cyclically: a context of fixed length.
 */

#if LANES == 1
#define ITEMS 128
#else
#define ITEMS 1
#endif
#include "ai_common.cl"
ACROSS_ITEMS(sum_across, PLUS)
ACROSS_ITEMS(largest_across, LARGER)

#define NEVER -1e30f /* score of an empty slot: its power of two is 0 */
#define ITEM (LANES == 1 ? get_local_id(0) : 0)

#if BITS >= 16
#define BLOCK WIDTH
#else
#define BLOCK 32
#endif
#define VECTORS (BLOCK / WIDTH) /* of a block */

#if BITS == 32
typedef float element;
#elif BITS == 16
typedef ushort element;
#elif BITS == 8
typedef char element;
#else
typedef uchar element;
#endif

/* The weights of block number `block` of a matrix, without their scale. */
static inline void
load_block(wide *restrict weight, __global const element *restrict weights, const size_t block)
{
#if BITS == 32
    weight[0] = WIDE(vload)(block, weights);
#elif BITS == 16
    weight[0] = wide_from_halves(block, weights);
#elif BITS == 8
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        weight[v] = WIDE(convert_float)(WIDE(vload)(block * VECTORS + v, weights));
#else
#pragma unroll
    for (int v = 0; v < VECTORS / 2; v++) {
        const WIDE(uint) two = WIDE(convert_uint)(WIDE(vload)(block * (VECTORS / 2) + v, weights));
        weight[v] = WIDE(convert_float)(WIDE(as_int)(two & 15)) - 8.0f;
        weight[VECTORS / 2 + v] = WIDE(convert_float)(WIDE(as_int)(two >> 4)) - 8.0f;
    }
#endif
}

/* y = matrix x, or that plus `base`. scratch: ITEMS floats on a GPU. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
multiply(__global const element *restrict weights, __global const ushort *restrict scales,
         __global const float *restrict x, __global const float *restrict base,
         __global float *restrict y, const uint columns, const uint with_base,
         __local float *scratch)
{
    const uint item = ITEM;
    const size_t blocks = columns / BLOCK;
    const uint first_row = get_group_id(0) * GROUP_ROWS;
    for (uint row = first_row; row < first_row + GROUP_ROWS; row += ROWS) {
        const size_t start = row * blocks;
        wide sum[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sum[r] = (wide)(0.0f);
        for (size_t block = item; block < blocks; block += ITEMS) {
            wide part[VECTORS];
#pragma unroll
            for (int v = 0; v < VECTORS; v++)
                part[v] = WIDE(vload)(block * VECTORS + v, x);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                wide weight[VECTORS];
                const size_t at = start + r * blocks + block;
                load_block(weight, weights, at);
                FETCH_AHEAD(weights + (at + ROWS * blocks) * (BLOCK * BITS / 8 / sizeof(element)));
#if BITS >= 16
                sum[r] = weight[0] * part[0] + sum[r];
#else
                wide in_block = weight[0] * part[0];
#pragma unroll
                for (int v = 1; v < VECTORS; v++)
                    in_block = weight[v] * part[v] + in_block;
                sum[r] = in_block * vload_half(at, (__global const half *)scales) + sum[r];
#endif
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float total = sum_across(sum_of(sum[r]), scratch);
            if (item == 0)
                y[row + r] = with_base ? total + base[row + r] : total;
        }
    }
}

/* y = x / sqrt(mean of x * x + EPSILON) * gain, plus row `embedding` of shifts; one work-group. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
normalise(__global const wide *restrict x, __global const wide *restrict gain,
          __global const wide *restrict shifts, __global wide *restrict y, const uint vectors,
          const uint embedding, __local float *scratch)
{
    const uint item = ITEM;
    wide squares = (wide)(0.0f);
    for (uint v = item; v < vectors; v += ITEMS)
        squares += x[v] * x[v];
    const float mean = sum_across(sum_of(squares), scratch) / (vectors * WIDTH);
    const float scale = 1.0f / sqrt(mean + EPSILON);
    for (uint v = item; v < vectors; v += ITEMS)
        y[v] = x[v] * scale * gain[v] + shifts[embedding * vectors + v];
}

/* The newest token's key and value go into `slot`; then its query attends to `count` slots, of
 * which there is a multiple of WIDTH. A work-group per head. scores: a float per slot. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attend(__global const float *restrict qkv, __global float *keys, __global float *values,
       __global float *restrict y, const uint slots, const float scale, const uint slot,
       const uint count, __local float *scores, __local float *scratch)
{
    const uint item = ITEM;
    const uint head = get_group_id(0), heads = get_num_groups(0);
    __global const wide *query = (__global const wide *)(qkv + head * HEAD_DIM);
    __global const wide *key = (__global const wide *)(qkv + (heads + head) * HEAD_DIM);
    __global const wide *value = (__global const wide *)(qkv + (2 * heads + head) * HEAD_DIM);
    __global wide *cached_keys = (__global wide *)(keys + (size_t)head * slots * HEAD_DIM);
    __global wide *cached_values = (__global wide *)(values + (size_t)head * slots * HEAD_DIM);
    const uint vectors = HEAD_DIM / WIDTH;

    for (uint v = item; v < vectors; v += ITEMS) {
        cached_keys[slot * vectors + v] = key[v];
        cached_values[slot * vectors + v] = value[v];
    }
    barrier(CLK_GLOBAL_MEM_FENCE);

    float most = NEVER;
    const uint groups = (count + WIDTH - 1) / WIDTH;
    for (uint s = item; s < groups * WIDTH; s += ITEMS) {
        wide product = (wide)(0.0f);
        for (uint v = 0; v < vectors; v++)
            product = query[v] * cached_keys[s * vectors + v] + product;
        const float score = s < count ? sum_of(product) * scale : NEVER;
        scores[s] = score;
        most = LARGER(score, most);
    }
    most = largest_across(most, scratch);
    barrier(CLK_LOCAL_MEM_FENCE);

    wide powers = (wide)(0.0f);
    for (uint g = item; g < groups; g += ITEMS) {
        const wide power = power_of_two(WIDE(vload)(g, scores) - most);
        WIDE(vstore)(power, g, scores);
        powers += power;
    }
    const float total = sum_across(sum_of(powers), scratch);
    barrier(CLK_LOCAL_MEM_FENCE);

    for (uint v = item; v < vectors; v += ITEMS) {
        wide sum = (wide)(0.0f);
        for (uint s = 0; s < count; s++)
            sum = scores[s] * cached_values[s * vectors + v] + sum;
        ((__global wide *)(y + head * HEAD_DIM))[v] = sum * (1.0f / total);
    }
}

/* y = gate * sigmoid(gate) * up, where x is gate, then up; an item per vector. */
__kernel void gate(__global const wide *restrict x, __global wide *restrict y)
{
    const size_t v = get_global_id(0);
    const wide gated = x[v];
    const wide power = power_of_two((gated > 0.0f ? -gated : gated) * M_LOG2E_F);
    const wide sigmoid = (gated > 0.0f ? (wide)(1.0f) : power) / (1.0f + power);
    y[v] = gated * sigmoid * x[get_global_size(0) + v];
}
