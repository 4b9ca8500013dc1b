/* Part of ai_train.cl, which takes it in. */

/* --- Products: C = A * B, a tile per work-group; A may be read as it lies (a_row apart from row to
 *     row, a_step along the depth) or transposed. What becomes of a sum is the mode. --- */

#define PLAIN 0    /* c = sum */
#define ADD 1      /* c = other + sum */
#define ACTIVATE 2 /* other = sum; c = silu(sum) */
#define SLOPE 3    /* c = sum * silu'(other) */

#if LANES == 1
typedef float4 piece; /* of a row of C that is written at once */
#else
typedef floatv piece;
#endif

static inline void finish(__global piece *c, __global piece *other, const piece sum, const uint mode)
{
    if (mode == PLAIN) {
        *c = sum;
    } else if (mode == ADD) {
        *c = *other + sum;
    } else if (mode == ACTIVATE) {
        *other = sum;
        *c = sum / (1.0f + exp(-sum));
    } else {
        const piece input = *other;
        const piece gate = 1.0f / (1.0f + exp(-input));
        *c = sum * gate * (1.0f + input * (1.0f - gate));
    }
}

#if LANES == 1

#define SLICE 16      /* steps along the depth in local memory */
#define A_PITCH (TILE + 4) /* floats from step to step: writing it transposed hits other banks */
#define QUADS (TILE / 4)
#if QUADS * QUADS != 256 || SLICE != QUADS
#error "256 items carry a slice of 16 x TILE of A and of B in float4: TILE must be 64"
#endif

/* An item computes 4 x 4 elements. `slices` holds two slices of A and two of B. */
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void
product(source a, source b, __global float *c, __global float *other, const uint depth,
        const uint columns, const uint a_row, const uint a_step, const uint mode,
        __local float *slices)
{
    const uint tile = get_global_id(0) / 256; /* a launch may start at any tile */
    const uint tile_row = tile / (columns / TILE) * TILE;
    const uint tile_column = tile % (columns / TILE) * TILE;
    const uint item = get_local_id(0);
    const uint x = item % 16, y = item / 16;
    __local float *a_slices = slices, *b_slices = slices + 2 * SLICE * A_PITCH;

    /* Four floats of A lie beside each other along the depth, or along the rows. */
    const int along_depth = a_step == 1;
    const uint a_m = along_depth ? item / 4 : 4 * x, a_k = along_depth ? 4 * (item % 4) : y;
    source a_from = a + (size_t)(tile_row + a_m) * a_row + (size_t)a_k * a_step;
    source b_from = b + (size_t)y * columns + tile_column + 4 * x;
    float4 a_next = vload4(0, a_from);
    float4 b_next = vload4(0, b_from);

    float4 sum[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum[i] = (float4)(0.0f);

    for (uint k = 0; k < depth; k += SLICE) {
        const uint side = k / SLICE % 2;
        __local float *a_slice = a_slices + side * SLICE * A_PITCH;
        __local float *b_slice = b_slices + side * SLICE * TILE;
        __local float *a_to = a_slice + a_k * A_PITCH + a_m;
        if (along_depth) {
            a_to[0] = a_next.x;
            a_to[A_PITCH] = a_next.y;
            a_to[2 * A_PITCH] = a_next.z;
            a_to[3 * A_PITCH] = a_next.w;
        } else {
            vstore4(a_next, 0, a_to);
        }
        vstore4(b_next, 0, b_slice + y * TILE + 4 * x);
        /* One barrier per slice: whoever writes this side again has passed the next slice's
         * barrier, and nobody gets there before having read this side. */
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k + SLICE < depth) {
            a_next = vload4(0, a_from + (size_t)(k + SLICE) * a_step);
            b_next = vload4(0, b_from + (size_t)(k + SLICE) * columns);
        }
#pragma unroll
        for (int s = 0; s < SLICE; s++) {
            const float4 a_rows = vload4(y, a_slice + s * A_PITCH);
            const float4 b_row = vload4(x, b_slice + s * TILE);
            sum[0] = a_rows.x * b_row + sum[0];
            sum[1] = a_rows.y * b_row + sum[1];
            sum[2] = a_rows.z * b_row + sum[2];
            sum[3] = a_rows.w * b_row + sum[3];
        }
    }

#pragma unroll
    for (int i = 0; i < 4; i++) {
        const size_t at = ((size_t)(tile_row + 4 * y + i) * columns + tile_column) / 4 + x;
        finish((__global piece *)c + at, (__global piece *)other + at, sum[i], mode);
    }
}

#else

#define ROWS (LANES == 16 ? 8 : 4) /* of the part of C that stays in registers */
#define VECTORS 2                  /* and its columns, in vectors */

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
product(source a, source b, __global float *c, __global float *other, const uint depth,
        const uint columns, const uint a_row, const uint a_step, const uint mode,
        __local float *unused)
{
    const uint tile = get_global_id(0); /* a launch may start at any tile */
    const uint tile_row = tile / (columns / TILE) * TILE;
    const uint tile_column = tile % (columns / TILE) * TILE;

    for (uint column = tile_column; column < tile_column + TILE; column += VECTORS * LANES) {
        for (uint row = tile_row; row < tile_row + TILE; row += ROWS) {
            floatv sum[ROWS][VECTORS];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++)
                    sum[i][j] = (floatv)(0.0f);

            __global const float *a_at = a + (size_t)row * a_row;
            __global const floatv *b_at = (__global const floatv *)(b + column);
            for (uint k = 0; k < depth; k++) {
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int j = 0; j < VECTORS; j++)
                        sum[i][j] = a_at[i * a_row] * b_at[j] + sum[i][j];
                a_at += a_step;
                b_at += columns / LANES;
            }

#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < VECTORS; j++) {
                    const size_t at = ((size_t)(row + i) * columns + column) / LANES + j;
                    finish((__global piece *)c + at, (__global piece *)other + at, sum[i][j], mode);
                }
        }
    }
}

#endif
