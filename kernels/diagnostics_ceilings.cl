// The ceilings of a device: how fast it copies, reads, adds and multiplies at best.
//
// Sources: McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers"
// (STREAM), 1995; the generator of random blocks is the LCG of Numerical Recipes, chapter 7.1.

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Blocks of random reads that a work-item has on their way at least; no address waits for a read.
#ifndef STREAMS
#define STREAMS 4
#endif

// Independent sums of a work-item: enough to hide how long one operation takes.
#ifndef CHAINS
#define CHAINS 16
#endif

// Operations of a chain per turn of the loop, which costs a little itself.
#ifndef UNROLLED
#define UNROLLED 8
#endif

// Memory is words of 32 bits, word i holding the number i: any sum of what was read is known
// beforehand, and a compiler cannot know it.
//
//   read:   group 0                            group 1
//           item 0, 1, ..., 0, 1, ...          ...       each item `run` vectors; neighbours take
//          [ v  | v  | ... | v | v  | ... ]   [ ...      turns, a group of one reads on and on
//
//   random: a team of work-items reads one block, 16 bytes each (GPU), or one item all of it.

#if LANES == 1
typedef uint4 vector; // 16 bytes, the most that one work-item loads at once
typedef float floats;
typedef uint uints;
#define VECTOR_NUMBERS ((uint4)(0, 1, 2, 3))
#define NUMBERS 0
#define SUM(v) ((v).x + (v).y + (v).z + (v).w)
#define TEAM(bytes) ((bytes) / 16)
#define FLOATS (float)
#define UINTS (uint)
#else
#define SUM4(v) ((v).x + (v).y + (v).z + (v).w)
#define SUM8(v) SUM4((v).lo + (v).hi)
#define SUM16(v) SUM8((v).lo + (v).hi)
#if LANES == 16
typedef uint16 vector;
typedef float16 floats;
#define VECTOR_NUMBERS ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define SUM SUM16
#define FLOATS convert_float16
#define UINTS convert_uint16
#else
typedef uint8 vector;
typedef float8 floats;
#define VECTOR_NUMBERS ((uint8)(0, 1, 2, 3, 4, 5, 6, 7))
#define SUM SUM8
#define FLOATS convert_float8
#define UINTS convert_uint8
#endif
typedef vector uints;
#define NUMBERS VECTOR_NUMBERS
#define TEAM(bytes) 1
#endif

#define WORDS (sizeof(vector) / 4)

// Word i becomes i. `first` is the first vector of a launch, here and below.
kernel void number(global vector *words, const uint first, const uint run)
{
    const uint step = get_local_size(0);
    size_t at = first + get_group_id(0) * run * step + get_local_id(0);
    for (uint k = 0; k < run; ++k, at += step)
        words[at] = (uint)at * (uint)WORDS + VECTOR_NUMBERS;
}

kernel void copy(global const vector *restrict from, global vector *restrict to, const uint first)
{
    const size_t at = first + get_global_id(0);
    to[at] = from[at];
}

kernel void read(global const vector *restrict words, const uint first, const uint run,
                 global uint *restrict sums)
{
    const uint step = get_local_size(0);
    size_t at = first + get_group_id(0) * run * step + get_local_id(0);
    vector sum = 0;
    for (uint k = 0; k < run; ++k, at += step)
        sum += words[at];
    sums[get_global_id(0)] = SUM(sum);
}

// Stream s of team t starts at (t * STREAMS + s) * 2654435761 + seed and takes a block per step.
#define RANDOM_READS(name, bytes, part, SUM_OF_PART)                                         \
    kernel void name(global const part *restrict words, const uint blocks, const uint steps, \
                     const uint seed, global uint *restrict sums)                            \
    {                                                                                        \
        const uint team = get_global_id(0) / TEAM(bytes);                                    \
        const uint lane = get_global_id(0) % TEAM(bytes);                                    \
        const uint parts = (bytes) / sizeof(part);                                           \
        uint x[STREAMS];                                                                     \
        _Pragma("unroll") for (uint s = 0; s < STREAMS; ++s)                                 \
            x[s] = (team * STREAMS + s) * 2654435761u + seed;                                \
        part sum = 0;                                                                        \
        for (uint k = 0; k < steps; ++k) {                                                   \
            _Pragma("unroll") for (uint s = 0; s < STREAMS; ++s) {                           \
                x[s] = x[s] * 1664525u + 1013904223u;                                        \
                const size_t block = (ulong)x[s] * blocks >> 32;                             \
                _Pragma("unroll") for (uint p = 0; p < parts / TEAM(bytes); ++p)             \
                    sum += words[block * parts + lane + p];                                  \
            }                                                                                \
        }                                                                                    \
        sums[get_global_id(0)] = SUM_OF_PART(sum);                                           \
    }

#if LANES == 1
RANDOM_READS(random_128b, 128, vector, SUM)
RANDOM_READS(random_32b, 32, vector, SUM)
#else
RANDOM_READS(random_128b, 128, vector, SUM)
RANDOM_READS(random_32b, 32, uint8, SUM8)
#endif

// `factor` and `term` are 1: chains count, exactly up to 2^24, fused or not.
kernel void fp32(const uint steps, const float factor, const float term, global uints *sums)
{
    floats x[CHAINS];
#pragma unroll
    for (uint c = 0; c < CHAINS; ++c)
        x[c] = FLOATS(NUMBERS + c);
    for (uint k = 0; k < steps; ++k) {
#pragma unroll
        for (uint i = 0; i < UNROLLED; ++i) {
#pragma unroll
            for (uint c = 0; c < CHAINS; ++c)
                x[c] = x[c] * factor + term;
        }
    }
    uints sum = 0;
#pragma unroll
    for (uint c = 0; c < CHAINS; ++c)
        sum += UINTS(x[c]);
    sums[get_global_id(0)] = sum;
}

// A shift, an exclusive or and an addition, none of which can be merged with its neighbour.
kernel void int32(const uint steps, const uint term, global uints *sums)
{
    uints x[CHAINS];
#pragma unroll
    for (uint c = 0; c < CHAINS; ++c)
        x[c] = NUMBERS + c;
    for (uint k = 0; k < steps; ++k) {
#pragma unroll
        for (uint i = 0; i < UNROLLED; ++i) {
#pragma unroll
            for (uint c = 0; c < CHAINS; ++c) {
                x[c] ^= x[c] << 13;
                x[c] += term;
            }
        }
    }
    uints sum = 0;
#pragma unroll
    for (uint c = 0; c < CHAINS; ++c)
        sum += x[c];
    sums[get_global_id(0)] = sum;
}
