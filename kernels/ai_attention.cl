/* ai.attention: causal attention of a prompt, O = alpha * softmax(Q K^T / sqrt(HEAD_DIM)) V, where
 * position i attends to positions 0 to i. Scores never reach memory: a block of queries walks over
 * the keys and keeps the largest score, the sum of powers and the output so far (FlashAttention:
 * Dao et al., 2022; the running maximum: Milakov and Gimelshein, 2018). */

#ifndef LANES
#define LANES 1 /* 1: a block of queries is the work of 128 items (GPU); 8, 16: of one (CPU) */
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64 /* numbers per head and position: 64 or 128 */
#endif
#ifndef QUERIES
#define QUERIES 32 /* per block; with LANES > 1 they are the lanes of VECTORS vectors */
#endif
#ifndef KEYS
#define KEYS 32 /* that a block looks at together; on a GPU 16 or 32 */
#endif
#ifndef ROWS
#define ROWS 8 /* with LANES > 1: of a register tile, keys of K and numbers of V */
#endif

/*  A tile is QUERIES positions of a head, `blocks` tiles a head; a launch is any run of them.
 *  Positions are padded to a multiple of QUERIES and of KEYS; heads follow each other.
 *
 *  GPU: q, k, v, o are [position][HEAD_DIM] for each head.
 *
 *  Processor: queries are lanes, so that no step ever adds or compares across a vector, and both
 *  products are register tiles as in ai_gemm.cl:
 *
 *      scores[key][query] = sum over d   of k[key][d]     * q[d][query]
 *      o[d][query]        = sum over key of v[key][d]     * powers[key][query]
 *
 *      q, o: [position / QUERIES][d][position % QUERIES]
 *      k:    [position / ROWS][d][position % ROWS]
 *      v:    [d / ROWS][position][d % ROWS]
 */

#include "ai_common.cl"

#define NEVER -1e30f /* a score of a key that lies ahead: its power of two is 0 */

#if LANES == 1

#define ITEMS 128 /* 8 rows of 16 */
#define QUERIES_PER_ITEM (QUERIES / 8)
#define KEYS_PER_ITEM (KEYS / 16)
#define QUADS_PER_ITEM (HEAD_DIM / 64)
#define PITCH (HEAD_DIM / 4 + 1) /* float4 per key in local memory; odd, for its banks */

/* Local memory, in float4: q_tile QUERIES * PITCH, kv_tile KEYS * PITCH, and scores, in floats,
 * QUERIES * KEYS. An item has QUERIES_PER_ITEM queries with the same KEYS_PER_ITEM keys, then with
 * QUADS_PER_ITEM quads of the output. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attend(__global const float4 *restrict q, __global const float4 *restrict k,
       __global const float4 *restrict v, __global float4 *restrict o, const uint positions,
       const uint blocks, const uint first_tile, const float scale, const float alpha, __local float4 *q_tile,
       __local float4 *kv_tile, __local float *scores)
{
    const uint tile = first_tile + get_group_id(0);
    const uint first_query = tile % blocks * QUERIES;
    const size_t head = (size_t)(tile / blocks) * positions * (HEAD_DIM / 4);
    const uint item = get_local_id(0);
    const uint x = item % 16, y = item / 16;

    for (uint i = item; i < QUERIES * (HEAD_DIM / 4); i += ITEMS)
        q_tile[i / (HEAD_DIM / 4) * PITCH + i % (HEAD_DIM / 4)] =
            q[head + (size_t)first_query * (HEAD_DIM / 4) + i];

    float most[QUERIES_PER_ITEM], total[QUERIES_PER_ITEM];
    float4 sum[QUERIES_PER_ITEM][QUADS_PER_ITEM];
#pragma unroll
    for (int i = 0; i < QUERIES_PER_ITEM; i++) {
        most[i] = NEVER;
        total[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < QUADS_PER_ITEM; j++)
            sum[i][j] = (float4)(0.0f);
    }

    for (uint first_key = 0; first_key < first_query + QUERIES; first_key += KEYS) {
        const size_t start = head + (size_t)first_key * (HEAD_DIM / 4);
        for (uint i = item; i < KEYS * (HEAD_DIM / 4); i += ITEMS)
            kv_tile[i / (HEAD_DIM / 4) * PITCH + i % (HEAD_DIM / 4)] = k[start + i];
        barrier(CLK_LOCAL_MEM_FENCE);

        float score[QUERIES_PER_ITEM][KEYS_PER_ITEM];
#pragma unroll
        for (int i = 0; i < QUERIES_PER_ITEM; i++)
#pragma unroll
            for (int j = 0; j < KEYS_PER_ITEM; j++) {
                const uint query = y * QUERIES_PER_ITEM + i, key = x + 16 * j;
                float4 product = (float4)(0.0f);
                for (int d = 0; d < HEAD_DIM / 4; d++)
                    product = q_tile[query * PITCH + d] * kv_tile[key * PITCH + d] + product;
                score[i][j] =
                    first_key + key > first_query + query ? NEVER : sum_of(product) * scale;
                scores[query * KEYS + key] = score[i][j];
            }
        barrier(CLK_LOCAL_MEM_FENCE);

        float shrink[QUERIES_PER_ITEM];
#pragma unroll
        for (int i = 0; i < QUERIES_PER_ITEM; i++) {
            float now = most[i];
            for (uint key = 0; key < KEYS; key++)
                now = LARGER(now, scores[(y * QUERIES_PER_ITEM + i) * KEYS + key]);
            shrink[i] = exp2(most[i] - now);
            most[i] = now;
        }
        for (uint i = item; i < KEYS * (HEAD_DIM / 4); i += ITEMS)
            kv_tile[i / (HEAD_DIM / 4) * PITCH + i % (HEAD_DIM / 4)] = v[start + i];
        barrier(CLK_LOCAL_MEM_FENCE); /* all have seen the scores, before powers replace them */
#pragma unroll
        for (int i = 0; i < QUERIES_PER_ITEM; i++)
#pragma unroll
            for (int j = 0; j < KEYS_PER_ITEM; j++)
                scores[(y * QUERIES_PER_ITEM + i) * KEYS + x + 16 * j] =
                    exp2(score[i][j] - most[i]);
        barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll
        for (int i = 0; i < QUERIES_PER_ITEM; i++) {
            total[i] *= shrink[i];
#pragma unroll
            for (int j = 0; j < QUADS_PER_ITEM; j++)
                sum[i][j] *= shrink[i];
            for (uint key = 0; key < KEYS; key++) {
                const float power = scores[(y * QUERIES_PER_ITEM + i) * KEYS + key];
                total[i] += power;
#pragma unroll
                for (int j = 0; j < QUADS_PER_ITEM; j++)
                    sum[i][j] = power * kv_tile[key * PITCH + x + 16 * j] + sum[i][j];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE); /* before the next keys replace these values */
    }

#pragma unroll
    for (int i = 0; i < QUERIES_PER_ITEM; i++)
#pragma unroll
        for (int j = 0; j < QUADS_PER_ITEM; j++) {
            const size_t query = first_query + y * QUERIES_PER_ITEM + i;
            o[head + query * (HEAD_DIM / 4) + x + 16 * j] = sum[i][j] * (alpha / total[i]);
        }
}

#else

#define VECTORS (QUERIES / LANES)

/* Numbers 0 to WIDTH - 1, and so the queries of a vector. */
static inline WIDE(uint) lane_numbers(void)
{
    const uint16 numbers = (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#if WIDTH == 16
    return numbers;
#else
    return numbers.lo;
#endif
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attend(__global const float *restrict q, __global const float *restrict k,
       __global const float *restrict v, __global float *restrict o, const uint positions,
       const uint blocks, const uint first_tile, const float scale, const float alpha)
{
    const uint tile = first_tile + get_group_id(0);
    const uint first_query = tile % blocks * QUERIES;
    const size_t head = (size_t)(tile / blocks) * positions * HEAD_DIM;
    __global const wide *queries =
        (__global const wide *)(q + head + (size_t)first_query * HEAD_DIM);
    __global wide *output = (__global wide *)(o + head + (size_t)first_query * HEAD_DIM);

    wide most[VECTORS], total[VECTORS], shrink[VECTORS];
    wide result[HEAD_DIM * VECTORS], powers[KEYS * VECTORS];
    for (int j = 0; j < VECTORS; j++) {
        most[j] = (wide)(NEVER);
        total[j] = (wide)(0.0f);
    }
    for (int i = 0; i < HEAD_DIM * VECTORS; i++)
        result[i] = (wide)(0.0f);

    for (uint first_key = 0; first_key < first_query + QUERIES; first_key += KEYS) {
        wide now[VECTORS];
        for (int j = 0; j < VECTORS; j++)
            now[j] = most[j];
        for (uint key = 0; key < KEYS; key += ROWS) {
            wide sum[ROWS][VECTORS];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++)
                    sum[i][j] = (wide)(0.0f);
            __global const float *panel = k + head + (size_t)(first_key + key) * HEAD_DIM;
            ADD_PRODUCTS(sum, panel, ROWS, 1, queries, HEAD_DIM)
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++) {
                    const WIDE(uint) query = first_query + j * LANES + lane_numbers();
                    const wide score =
                        first_key + key + i > query ? (wide)(NEVER) : sum[i][j] * scale;
                    now[j] = LARGER(now[j], score);
                    powers[(key + i) * VECTORS + j] = score;
                }
        }
        for (int j = 0; j < VECTORS; j++) {
            shrink[j] = power_of_two(most[j] - now[j]);
            most[j] = now[j];
            total[j] *= shrink[j];
        }
        for (uint key = 0; key < KEYS; key++)
#pragma unroll
            for (int j = 0; j < VECTORS; j++) {
                const wide power = power_of_two(powers[key * VECTORS + j] - most[j]);
                powers[key * VECTORS + j] = power;
                total[j] += power;
            }
        for (uint d = 0; d < HEAD_DIM; d += ROWS) {
            wide sum[ROWS][VECTORS];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++)
                    sum[i][j] = result[(d + i) * VECTORS + j] * shrink[j];
            __global const float *panel = v + head + (size_t)d * positions + first_key * ROWS;
            ADD_PRODUCTS(sum, panel, ROWS, 1, powers, KEYS)
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++)
                    result[(d + i) * VECTORS + j] = sum[i][j];
        }
    }
    for (int d = 0; d < HEAD_DIM; d++)
        for (int j = 0; j < VECTORS; j++)
            output[d * VECTORS + j] = result[d * VECTORS + j] * (alpha / total[j]);
}

#endif
