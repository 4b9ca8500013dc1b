/* ai.gemm: tiles of C = alpha * A * B. One work-group computes one TILE x TILE tile.
 *
 * fp32; fp16 as storage with sums in fp32; int8 with sums in int32. */

#ifndef LANES
#define LANES 1 /* 1: a tile is the work of 256 items (GPU); 8, 16: of one item (CPU) */
#endif
#ifndef BITS
#define BITS 32 /* of an operand's element: 32 and 16 are floats, 8 are integers */
#endif
#ifndef TILE
#define TILE 128 /* rows and columns of C per work-group; on a GPU 64 or 128 */
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
#ifndef DP4A
#define DP4A 0 /* int8 on NVIDIA: four products by one instruction */
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
 *  On a GPU, int8 goes by fours: k counts words of four steps along the depth.
 *
 *  Rows and columns are padded with zeros to whole tiles, the depth to whole slices. Tiles of C
 *  are counted row by row; a launch is any run of them, from first_tile on.
 */

#include "ai_common.cl"

#if BITS == 8
typedef int number;
typedef WIDE(int) numbers;
#define TO_NUMBERS WIDE(convert_int)
#else
typedef float number;
typedef wide numbers;
#define TO_NUMBERS
#endif

#if LANES == 1

#define ITEMS 256
#define QUADS (TILE / 4)
#define SLICE (ITEMS / QUADS) /* steps along the depth in local memory: a quad of A, of B per item */
#define REACH (TILE / 64)     /* quads of rows, and of columns, that one item computes */
#if ROWS != TILE || COLUMNS != TILE || REACH * 64 != TILE
#error "a GPU's panels are as wide as its tiles, 64 or 128"
#endif

#if BITS == 32
typedef float element;
typedef float4 quad;
#define QUAD(panel, index) vload4(index, panel)
#define ADD_PRODUCT(sum, a, b) sum = (a) * (b) + sum
#elif BITS == 16
typedef ushort element;
typedef float4 quad;
#define QUAD(panel, index) wide_from_halves(index, panel)
#define ADD_PRODUCT(sum, a, b) sum = (a) * (b) + sum
#else
typedef uint element;
typedef uint4 quad;
#define QUAD(panel, index) vload4(index, panel)
#define ADD_PRODUCT(sum, a, b)               \
    sum.s0 = plus_four(sum.s0, (a), (b).s0), \
    sum.s1 = plus_four(sum.s1, (a), (b).s1), \
    sum.s2 = plus_four(sum.s2, (a), (b).s2), \
    sum.s3 = plus_four(sum.s3, (a), (b).s3)

/* Four steps along the depth at once. */
static inline int plus_four(const int sum, const uint a, const uint b)
{
#if DP4A
    int more;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(more) : "r"(a), "r"(b), "r"(sum));
    return more;
#else
    const char4 x = as_char4(a), y = as_char4(b);
    return sum + (int)x.s0 * y.s0 + (int)x.s1 * y.s1 + (int)x.s2 * y.s2 + (int)x.s3 * y.s3;
#endif
}
#endif

/* An item computes 4 x 4 elements in each of REACH x REACH parts of the tile, so that neighbours
 * read neighbouring quads from local memory and write neighbouring quads of C.
 * a_slices and b_slices have room for two slices of ITEMS quads each. */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
product(__global const element *restrict a, __global const element *restrict b,
        __global number *restrict c, const uint depth, const uint width, const uint first_tile,
        const uint alpha, __local quad *restrict a_slices, __local quad *restrict b_slices)
{
    const uint tile = first_tile + get_group_id(0);
    const uint tile_row = tile / (width / TILE) * TILE;
    const uint tile_column = tile % (width / TILE) * TILE;
    const uint item = get_local_id(0);
    const uint x = item % 16, y = item / 16;

    __global const element *a_panel = a + (size_t)tile_row * depth;
    __global const element *b_panel = b + (size_t)tile_column * depth;
    quad a_next = QUAD(a_panel, item);
    quad b_next = QUAD(b_panel, item);

    numbers sum[4 * REACH][REACH];
#pragma unroll
    for (int i = 0; i < 4 * REACH; i++)
#pragma unroll
        for (int j = 0; j < REACH; j++)
            sum[i][j] = (numbers)(0);

    for (uint k = 0; k < depth; k += SLICE) {
        const uint side = k / SLICE % 2 * ITEMS;
        a_slices[side + item] = a_next;
        b_slices[side + item] = b_next;
        /* One barrier per slice: whoever writes this side again has passed the next slice's
         * barrier, and nobody gets there before having read this side. */
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k + SLICE < depth) {
            /* On its way from global memory while this slice is computed. */
            a_next = QUAD(a_panel, (size_t)(k + SLICE) * QUADS + item);
            b_next = QUAD(b_panel, (size_t)(k + SLICE) * QUADS + item);
        }
#pragma unroll
        for (int s = 0; s < SLICE; s++) {
            quad columns[REACH];
#pragma unroll
            for (int j = 0; j < REACH; j++)
                columns[j] = b_slices[side + s * QUADS + j * 16 + x];
#pragma unroll
            for (int i = 0; i < REACH; i++) {
                const quad rows = a_slices[side + s * QUADS + i * 16 + y];
#pragma unroll
                for (int j = 0; j < REACH; j++) {
                    ADD_PRODUCT(sum[4 * i + 0][j], rows.s0, columns[j]);
                    ADD_PRODUCT(sum[4 * i + 1][j], rows.s1, columns[j]);
                    ADD_PRODUCT(sum[4 * i + 2][j], rows.s2, columns[j]);
                    ADD_PRODUCT(sum[4 * i + 3][j], rows.s3, columns[j]);
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < 4 * REACH; i++) {
        const uint row = tile_row + i / 4 * 64 + 4 * y + i % 4;
        __global numbers *at = (__global numbers *)(c + (size_t)row * width + tile_column);
#pragma unroll
        for (int j = 0; j < REACH; j++)
            at[j * 16 + x] = (number)alpha * sum[i][j];
    }
}

#else

#define VECTORS (COLUMNS / LANES)

/* What ADD_PRODUCTS multiplies are floats: a block of a panel itself, or spread out once for all
 * that it meets. Sums of int8 over DEPTH_BLOCK stay below 2**24, up to where floats are exact. */
#if BITS == 32
typedef float element;
#define OPERAND __global const
#define AS_FLOATS(room, block, count) (block)
#else
#if BITS == 16
typedef ushort element;
#define WIDE_FROM(index, block) wide_from_halves(index, block)
#else
typedef char element;
#define WIDE_FROM(index, block) WIDE(convert_float)(WIDE(vload)(index, block))
#endif
#define OPERAND const
#define AS_FLOATS(room, block, count) spread_out(room, block, count)

static inline const float *
spread_out(wide *restrict room, __global const element *restrict block, const uint count)
{
    for (uint i = 0; i < count / WIDTH; i++)
        room[i] = WIDE_FROM(i, block);
    return (const float *)room;
}
#endif

/* ROWS x COLUMNS elements of C over `steps` of the depth; the sums stay in registers. */
static inline void
register_tile(OPERAND float *restrict a, OPERAND wide *restrict b, __global number *restrict c,
              const uint steps, const uint width, const int is_first, const uint alpha)
{
    wide sum[ROWS][VECTORS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < VECTORS; j++)
            sum[i][j] = (wide)(0.0f);

    ADD_PRODUCTS(sum, a, ROWS, 1, b, steps)

#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        __global numbers *row = (__global numbers *)(c + (size_t)i * width);
#pragma unroll
        for (int j = 0; j < VECTORS; j++) {
            const numbers part = (number)alpha * TO_NUMBERS(sum[i][j]);
            row[j] = is_first ? part : part + row[j];
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
product(__global const element *restrict a, __global const element *restrict b,
        __global number *restrict c, const uint depth, const uint width, const uint first_tile,
        const uint alpha)
{
    const uint tile = first_tile + get_group_id(0);
    const uint tile_row = tile / (width / TILE) * TILE;
    const uint tile_column = tile % (width / TILE) * TILE;
#if BITS != 32
    wide a_room[DEPTH_BLOCK * ROWS / WIDTH], b_room[DEPTH_BLOCK * VECTORS];
#endif

    for (uint k = 0; k < depth; k += DEPTH_BLOCK) {
        const uint steps = min((uint)DEPTH_BLOCK, depth - k);
        for (uint column = tile_column; column < tile_column + TILE; column += COLUMNS) {
            __global const element *b_block = b + (size_t)column * depth + (size_t)k * COLUMNS;
            OPERAND wide *b_floats = (OPERAND wide *)AS_FLOATS(b_room, b_block, steps * COLUMNS);
            for (uint row = tile_row; row < tile_row + TILE; row += ROWS) {
                __global const element *a_block = a + (size_t)row * depth + (size_t)k * ROWS;
                register_tile(AS_FLOATS(a_room, a_block, steps * ROWS), b_floats,
                              c + (size_t)row * width + column, steps, width, k == 0, alpha);
            }
        }
    }
}

#endif
