/* ai.gemm: tiles of C = alpha * A * B in fp32. One work-group computes one TILE x TILE tile. */

#ifndef LANES
#define LANES 1 /* 1: a tile is the work of 256 items (GPU); 8, 16: of one item (CPU) */
#endif
#ifndef TILE
#define TILE 128 /* rows and columns of C per work-group */
#endif
#ifndef ROWS
#define ROWS TILE /* rows of A per panel; with LANES > 1, of the register tile too */
#endif
#ifndef COLUMNS
#define COLUMNS TILE /* columns of B per panel; with LANES > 1, of the register tile too */
#endif
#ifndef DEPTH_BLOCK
#define DEPTH_BLOCK 256 /* with LANES > 1: steps along the depth for which B stays in cache */
#endif

/*  A and B are cut into panels in which every step along the depth finds its numbers in a row:
 *
 *      A:  k = 0      k = 1                B:  k = 0         k = 1
 *         +----------+----------+--           +-------------+-------------+--
 *         | ROWS of A| ROWS of A|  panel 0    | COLUMNS of B| COLUMNS of B|  panel 0
 *         +----------+----------+--           +-------------+-------------+--
 *         |          |          |  panel 1    |             |             |  panel 1
 *
 *  A[row][k]    is a[(row / ROWS * depth + k) * ROWS + row % ROWS]
 *  B[k][column] is b[(column / COLUMNS * depth + k) * COLUMNS + column % COLUMNS]
 *  C[row][column] is c[row * width + column]
 *
 *  Rows and columns are padded with zeros to whole tiles, the depth to a multiple of SLICE. Tiles
 *  of C are counted row by row; a launch is any run of them, from first_tile on.
 */

#if LANES == 1

#define SLICE 8 /* steps along the depth in local memory; one float4 of A and of B per item */
#define QUADS (TILE / 4)
#if SLICE * QUADS != 256 || ROWS != TILE || COLUMNS != TILE
#error "256 items carry one slice of the tile's panels: TILE, ROWS and COLUMNS must be 128"
#endif

/* An item computes 8 x 8 elements: 4 x 4 in each quarter of the tile, so that neighbours read
 * neighbouring float4 from local memory and write neighbouring float4 of C. */
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void
product(__global const float *restrict a, __global const float *restrict b,
        __global float *restrict c, const uint depth, const uint width, const uint first_tile,
        const float alpha)
{
    __local float4 a_slice[2][SLICE * QUADS];
    __local float4 b_slice[2][SLICE * QUADS];

    const uint tile = first_tile + get_group_id(0);
    const uint tile_row = tile / (width / TILE) * TILE;
    const uint tile_column = tile % (width / TILE) * TILE;
    const uint item = get_local_id(0);
    const uint x = item % 16, y = item / 16;

    __global const float4 *a_panel = (__global const float4 *)(a + (size_t)tile_row * depth);
    __global const float4 *b_panel = (__global const float4 *)(b + (size_t)tile_column * depth);
    float4 a_next = a_panel[item];
    float4 b_next = b_panel[item];

    float4 sum[8][2];
#pragma unroll
    for (int i = 0; i < 8; i++)
        sum[i][0] = sum[i][1] = (float4)(0.0f);

    for (uint k = 0; k < depth; k += SLICE) {
        const uint side = k / SLICE % 2;
        a_slice[side][item] = a_next;
        b_slice[side][item] = b_next;
        /* One barrier per slice: whoever writes this side again has passed the next slice's
         * barrier, and nobody gets there before having read this side. */
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k + SLICE < depth) {
            /* On its way from global memory while this slice is computed. */
            a_next = a_panel[(size_t)(k + SLICE) * QUADS + item];
            b_next = b_panel[(size_t)(k + SLICE) * QUADS + item];
        }
#pragma unroll
        for (int s = 0; s < SLICE; s++) {
            const float4 a0 = a_slice[side][s * QUADS + y];
            const float4 a1 = a_slice[side][s * QUADS + y + QUADS / 2];
            const float4 b0 = b_slice[side][s * QUADS + x];
            const float4 b1 = b_slice[side][s * QUADS + x + QUADS / 2];
            const float a_rows[8] = {a0.s0, a0.s1, a0.s2, a0.s3, a1.s0, a1.s1, a1.s2, a1.s3};
#pragma unroll
            for (int i = 0; i < 8; i++) {
                sum[i][0] = a_rows[i] * b0 + sum[i][0];
                sum[i][1] = a_rows[i] * b1 + sum[i][1];
            }
        }
    }

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const uint row = tile_row + i / 4 * (TILE / 2) + 4 * y + i % 4;
        __global float4 *at = (__global float4 *)(c + (size_t)row * width + tile_column) + x;
        at[0] = alpha * sum[i][0];
        at[QUADS / 2] = alpha * sum[i][1];
    }
}

#else

#if LANES == 16
typedef float16 floatv;
#else
typedef float8 floatv;
#endif
#define VECTORS (COLUMNS / LANES)

/* ROWS x COLUMNS elements of C over `steps` of the depth; the sums stay in registers. */
static inline void
register_tile(__global const float *restrict a, __global const floatv *restrict b,
              __global float *restrict c, const uint steps, const uint width,
              const int is_first, const float alpha)
{
    floatv sum[ROWS][VECTORS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < VECTORS; j++)
            sum[i][j] = (floatv)(0.0f);

    for (uint k = 0; k < steps; k++)
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int j = 0; j < VECTORS; j++)
                sum[i][j] = a[k * ROWS + i] * b[k * VECTORS + j] + sum[i][j];

#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        __global floatv *row = (__global floatv *)(c + (size_t)i * width);
#pragma unroll
        for (int j = 0; j < VECTORS; j++)
            row[j] = is_first ? alpha * sum[i][j] : alpha * sum[i][j] + row[j];
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
product(__global const float *restrict a, __global const float *restrict b,
        __global float *restrict c, const uint depth, const uint width, const uint first_tile,
        const float alpha)
{
    const uint tile = first_tile + get_group_id(0);
    const uint tile_row = tile / (width / TILE) * TILE;
    const uint tile_column = tile % (width / TILE) * TILE;

    for (uint k = 0; k < depth; k += DEPTH_BLOCK) {
        const uint steps = min((uint)DEPTH_BLOCK, depth - k);
        for (uint column = tile_column; column < tile_column + TILE; column += COLUMNS) {
            __global const floatv *b_panel =
                (__global const floatv *)(b + (size_t)column * depth + (size_t)k * COLUMNS);
            for (uint row = tile_row; row < tile_row + TILE; row += ROWS)
                register_tile(a + (size_t)row * depth + (size_t)k * ROWS, b_panel,
                              c + (size_t)row * width + column, steps, width, k == 0, alpha);
        }
    }
}

#endif
