/* A sum over a buffer that any change of one word changes: word i counts 2 * i + 1 times, modulo
 * 2**32, where odd factors have an inverse. Each item writes the sum over its share. */

#ifndef LANES
#define LANES 1 /* 1: neighbouring items read neighbouring vectors (GPU); 8, 16: each its span */
#endif

#if LANES == 1
#define WIDTH 4
typedef uint4 words;
#define NUMBERS ((uint4)(0, 1, 2, 3))
#define LOAD vload4
#elif LANES == 8
#define WIDTH 8
typedef uint8 words;
#define NUMBERS ((uint8)(0, 1, 2, 3, 4, 5, 6, 7))
#define LOAD vload8
#else
#define WIDTH 16
typedef uint16 words;
#define NUMBERS ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define LOAD vload16
#endif

/*  buffer:  | WIDTH words | WIDTH words | ... | rest |      item 0 takes the rest */

__kernel void digest(__global const uint *restrict buffer, const ulong count,
                     __global uint *restrict sums)
{
    const size_t item = get_global_id(0), items = get_global_size(0);
    const size_t vectors = count / WIDTH;
#if LANES == 1
    const size_t first = item, end = vectors, stride = items;
#else
    const size_t span = (vectors + items - 1) / items;
    const size_t first = item * span, end = min(first + span, vectors), stride = 1;
#endif
    words sum = (words)(0);
    for (size_t i = first; i < end; i += stride)
        sum += LOAD(i, buffer) * (2 * ((uint)(i * WIDTH) + NUMBERS) + 1);

    uint parts[WIDTH];
    uint total = 0;
#if WIDTH == 4
    vstore4(sum, 0, parts);
#elif WIDTH == 8
    vstore8(sum, 0, parts);
#else
    vstore16(sum, 0, parts);
#endif
    for (uint i = 0; i < WIDTH; i++)
        total += parts[i];
    if (item == 0)
        for (size_t i = vectors * WIDTH; i < count; i++)
            total += buffer[i] * (2 * (uint)i + 1);
    sums[item] = total;
}
