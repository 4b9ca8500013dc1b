/* What the AI kernels share: vectors, half as storage, and the register tile of every product. */

#ifndef LANES
#define LANES 1 /* 1: a GPU, lanes are work-items; 8, 16: a processor, lanes are a vector's */
#endif

/* A `wide` is what one item handles at a time: 16 bytes on a GPU, a register on a processor. */
#if LANES == 1
#define WIDTH 4
#else
#define WIDTH LANES
#endif
#define JOIN(a, b) a##b
#define OF_WIDTH(name, width) JOIN(name, width)
#define WIDE(name) OF_WIDTH(name, WIDTH)
typedef WIDE(float) wide;

#define LARGER(a, b) ((a) > (b) ? (a) : (b))

static inline float sum_of(const wide x)
{
#if WIDTH == 16
    const float8 eight = x.lo + x.hi;
    const float4 four = eight.lo + eight.hi;
#elif WIDTH == 8
    const float4 four = x.lo + x.hi;
#else
    const float4 four = x;
#endif
    return (four.s0 + four.s2) + (four.s1 + four.s3);
}

static inline float largest_of(const wide x)
{
#if WIDTH == 16
    const float8 eight = LARGER(x.lo, x.hi);
    const float4 four = LARGER(eight.lo, eight.hi);
#elif WIDTH == 8
    const float4 four = LARGER(x.lo, x.hi);
#else
    const float4 four = x;
#endif
    const float2 two = LARGER(four.lo, four.hi);
    return LARGER(two.s0, two.s1);
}

/* Numbers `index` * WIDTH and following of an array of halves. A processor, whose drivers convert
 * one by one, moves the bits of a finite half to where a float has them, sign first, and makes up
 * for the other bias of the exponent by an exact multiplication. */
static inline wide wide_from_halves(const size_t index, __global const ushort *halves)
{
#if LANES == 1
    return vload_half4(index, (__global const half *)halves);
#else
    const WIDE(int) bits = WIDE(convert_int)(WIDE(vload)(index, (__global const short *)halves));
    return WIDE(as_float)(bits << 13 & (int)0x8fffe000) * 0x1p112f;
#endif
}

/* 2 to the power of x <= 0, within 3 * 2**-24 of it; what is below 2**-126 is about 0. */
static inline wide power_of_two(const wide x)
{
#if LANES == 1
    return exp2(x);
#else
    const wide bounded = LARGER(x, (wide)(-126.0f));
    const wide shifted = bounded + 0x1.8p23f; /* the integer next to it, in the lowest bits */
    const wide y = bounded - (shifted - 0x1.8p23f);
    /* Taylor's series, ln(2)**k / k!, for |y| <= 1/2: the first term left out is below 2**-22.9. */
    wide sum = (wide)(1.5403530e-4f);
    sum = sum * y + 1.3333558e-3f;
    sum = sum * y + 9.6181291e-3f;
    sum = sum * y + 5.5504109e-2f;
    sum = sum * y + 2.4022651e-1f;
    sum = sum * y + 6.9314718e-1f;
    sum = sum * y + 1.0f;
    return WIDE(as_float)(WIDE(as_int)(sum) + (WIDE(as_int)(shifted) << 23));
#endif
}

/* On a processor: STREAM past the caches, where what is written is not read again soon;
 * FETCH_AHEAD what is read soon, where hardware, which looks ahead within a page, does not. */
#if LANES > 1 && defined(__has_builtin)
#if __has_builtin(__builtin_nontemporal_store)
#define STREAM(at, value) __builtin_nontemporal_store(value, at)
#endif
#if __has_builtin(__builtin_prefetch)
#define FETCH_AHEAD(at) __builtin_prefetch((const void *)(uintptr_t)(at))
#endif
#endif
#ifndef STREAM
#define STREAM(at, value) (*(at) = (value))
#endif
#ifndef FETCH_AHEAD
#define FETCH_AHEAD(at)
#endif

/* Defines `float function(float mine, local float *scratch)`: all ITEMS of a work-group combined,
 * the same for each; ITEMS is a power of two, and scratch has room for as many floats. On a
 * processor one item is all. */
#if LANES > 1
#define ACROSS_ITEMS(function, combine)                                                \
    static inline float function(const float mine, __local float *scratch)             \
    {                                                                                  \
        return mine;                                                                   \
    }
#else
#define ACROSS_ITEMS(function, combine)                                                \
    static inline float function(const float mine, __local float *scratch)             \
    {                                                                                  \
        const uint item = get_local_id(0);                                             \
        scratch[item] = mine;                                                          \
        barrier(CLK_LOCAL_MEM_FENCE);                                                  \
        for (uint half_way = ITEMS / 2; half_way > 0; half_way /= 2) {                 \
            if (item < half_way)                                                       \
                scratch[item] = combine(scratch[item], scratch[item + half_way]);      \
            barrier(CLK_LOCAL_MEM_FENCE);                                              \
        }                                                                              \
        const float all = scratch[0];                                                  \
        barrier(CLK_LOCAL_MEM_FENCE); /* nobody writes scratch before all have read */ \
        return all;                                                                    \
    }
#endif
#define PLUS(a, b) ((a) + (b))

/* With LANES > 1, the innermost loop of every product, whose sums stay in registers:
 *
 *     sum[i][j] += a(k, i) * b[k][j]    for `steps` of k, i < ROWS, j < VECTORS
 *
 * where a(k, i) is a[k * a_step + i * a_row] and b[k][j] the vector b[k * VECTORS + j]. */
#define ADD_PRODUCTS(sum, a, a_step, a_row, b, steps)                                        \
    for (uint k = 0; k < (steps); k++)                                                       \
        _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                     \
            _Pragma("unroll") for (int j = 0; j < VECTORS; j++)                              \
                sum[i][j] = (a)[k * (a_step) + i * (a_row)] * (b)[k * VECTORS + j] + sum[i][j];
