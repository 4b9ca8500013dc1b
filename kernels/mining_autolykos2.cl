// Autolykos 2: Ergo's proof of work. Sums of elements from a large table, and Blake2b around them.
//
// Source: "Autolykos: The Ergo Platform PoW Puzzle", version 2, and ergoplatform/ergo at c313356,
// AutolykosPowScheme.scala; RFC 7693 for Blake2b.

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Buffers that hold the table: 1, 2 or 4; element j lies in buffer j % PIECES.
#ifndef PIECES
#define PIECES 1
#endif

// Vectors that a work-item hashes, the reads of one on their way while the next is begun. On a GPU
// other work-items fill the time.
#ifndef VECTORS
#define VECTORS 1
#endif

#include "common.cl"
#include "nonces.cl"

// An element is a number of 31 bytes, in the table 32 bytes with the lowest first. It is read as
// eight 32-bit limbs, which are added up in 64 bits each: 32 elements need no carry in between.
//
// Blake2b reads its messages as little-endian words, and all numbers here are big-endian: words
// are reversed on their way in and out.

#define ELEMENTS 32
#define CONSTANT_WORDS 1024
#define BLOCK_WORDS 16
#define TABLE global uint8 *t0, global uint8 *t1, global uint8 *t2, global uint8 *t3
#define TABLE_PIECES t0, t1, t2, t3

// OpenCL's own prefetch() does nothing in PoCL.
#ifdef __clang__
#define READ_AHEAD(pointer) __builtin_prefetch(pointer)
#else
#define READ_AHEAD(pointer) prefetch(pointer, 1)
#endif

#define TURNED_RIGHT(x, bits) ((x) >> (bits) | (x) << (64 - (bits)))
#define REVERSED_STEP(x, bits, mask) ((((x) & (mask)) << (bits)) | (((x) >> (bits)) & (mask)))
#define REVERSED_32(x)                                                  \
    REVERSED_STEP(REVERSED_STEP(x, 8, 0x00ff00ff00ff00ffUL), 16, 0x0000ffff0000ffffUL)
#define REVERSED(x) REVERSED_STEP(REVERSED_32(x), 32, 0x00000000ffffffffUL)

constant ulong INITIAL[8] = {
    0x6a09e667f3bcc908UL, 0xbb67ae8584caa73bUL, 0x3c6ef372fe94f82bUL, 0xa54ff53a5f1d36f1UL,
    0x510e527fade682d1UL, 0x9b05688c2b3e6c1fUL, 0x1f83d9abfb41bd6bUL, 0x5be0cd19137e2179UL,
};

// 32 bytes of hash, no key, sequential.
#define PARAMETERS 0x01010020UL

#define MIX(a, b, c, d, x, y)                                           \
    v[a] += v[b] + (x); v[d] = TURNED_RIGHT(v[d] ^ v[a], 32);           \
    v[c] += v[d];       v[b] = TURNED_RIGHT(v[b] ^ v[c], 24);           \
    v[a] += v[b] + (y); v[d] = TURNED_RIGHT(v[d] ^ v[a], 16);           \
    v[c] += v[d];       v[b] = TURNED_RIGHT(v[b] ^ v[c], 63);

#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
    MIX(0, 4, 8, 12, m[s0], m[s1])                                      \
    MIX(1, 5, 9, 13, m[s2], m[s3])                                      \
    MIX(2, 6, 10, 14, m[s4], m[s5])                                     \
    MIX(3, 7, 11, 15, m[s6], m[s7])                                     \
    MIX(0, 5, 10, 15, m[s8], m[s9])                                     \
    MIX(1, 6, 11, 12, m[s10], m[s11])                                   \
    MIX(2, 7, 8, 13, m[s12], m[s13])                                    \
    MIX(3, 4, 9, 14, m[s14], m[s15])

#define ROUNDS                                                          \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)         \
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)         \
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)         \
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)         \
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)         \
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)         \
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)         \
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)         \
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)         \
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)         \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)         \
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)

// Compresses one block of a message into `state`; `bytes` are those hashed so far, with this block.
// For hashes with messages of their own, and for hashes that share a block.
#define DEFINE_COMPRESS(name, word)                                     \
    static void name(wide *state, const word *m, ulong bytes, bool last) \
    {                                                                   \
        wide v[16];                                                     \
        _Pragma("unroll") for (uint i = 0; i < 8; ++i) {                \
            v[i] = state[i];                                            \
            v[8 + i] = INITIAL[i];                                      \
        }                                                               \
        v[12] ^= bytes;                                                 \
        v[14] ^= last ? ~0UL : 0UL;                                     \
        ROUNDS                                                          \
        _Pragma("unroll") for (uint i = 0; i < 8; ++i)                  \
            state[i] ^= v[i] ^ v[8 + i];                                \
    }
DEFINE_COMPRESS(compress, wide)
DEFINE_COMPRESS(compress_shared, ulong)

static void begin(wide *state)
{
#pragma unroll
    for (uint i = 0; i < 8; ++i)
        state[i] = INITIAL[i];
    state[0] ^= PARAMETERS;
}

// The hash of the `bytes` in the first words of `message`; the others become 0.
static void hash_short(wide *state, wide *message, uint words, ulong bytes)
{
#pragma unroll
    for (uint i = words; i < BLOCK_WORDS; ++i)
        message[i] = 0;
    begin(state);
    compress(state, message, bytes, true);
}

static global uint8 *element_at(uint index, TABLE)
{
#if PIECES == 1
    return t0 + index;
#elif PIECES == 2
    return (index % 2 ? t1 : t0) + index / 2;
#else
    global uint8 *even = index % 4 == 2 ? t2 : t0;
    global uint8 *odd = index % 4 == 3 ? t3 : t1;
    return (index % 2 ? odd : even) + index / 4;
#endif
}

// Makes the elements first .. end - 1, element `origin` being the first of the table: all but the first byte of the hash of index, height and
// the numbers 0 to 1023, which is the same 8192 bytes for all.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void make_elements(uint first, uint end, uint origin, uint height, TABLE)
{
    const uint own = first + get_global_id(0) * WIDE;
    const wide indexes = own + WIDE_NUMBERS;
    wide state[8], message[BLOCK_WORDS];
    ulong shared[BLOCK_WORDS];

    begin(state);
    message[0] = REVERSED(indexes << 32 | height);
#pragma unroll
    for (uint i = 1; i < BLOCK_WORDS; ++i)
        message[i] = REVERSED((ulong)(i - 1));
    compress(state, message, BLOCK_WORDS * 8, false);
    for (uint word = BLOCK_WORDS; word < CONSTANT_WORDS; word += BLOCK_WORDS) {
#pragma unroll
        for (uint i = 0; i < BLOCK_WORDS; ++i)
            shared[i] = REVERSED((ulong)(word + i - 1));
        compress_shared(state, shared, (word + BLOCK_WORDS) * 8, false);
    }
    shared[0] = REVERSED((ulong)(CONSTANT_WORDS - 1));
#pragma unroll
    for (uint i = 1; i < BLOCK_WORDS; ++i)
        shared[i] = 0;
    compress_shared(state, shared, (1 + CONSTANT_WORDS) * 8, true);

    wide limbs[4];
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        limbs[i] = REVERSED(state[3 - i]);
    limbs[3] &= ~0UL >> 8;
    for (uint lane = 0; lane < WIDE && own + lane < end; ++lane) {
        ulong4 element;
        element.s0 = ((const ulong *)&limbs[0])[lane];
        element.s1 = ((const ulong *)&limbs[1])[lane];
        element.s2 = ((const ulong *)&limbs[2])[lane];
        element.s3 = ((const ulong *)&limbs[3])[lane];
        *element_at(own - origin + lane, TABLE_PIECES) = as_uint8(element);
    }
}

// n mod divisor for 32-bit numbers, with reciprocal = floor(2^64 / divisor) + 1.
// Source: Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019, theorem 1.
static uint remainder_of(uint n, uint divisor, ulong reciprocal)
{
    return (uint)mul_hi(reciprocal * n, (ulong)divisor);
}

// First hash: the element that goes into the second, its highest word first.
static void choose_one(const wide *header_and_nonce, wide *chosen, uint elements, TABLE)
{
    wide message[BLOCK_WORDS], state[8];

#pragma unroll
    for (uint i = 0; i < 5; ++i)
        message[i] = header_and_nonce[i];
    hash_short(state, message, 5, 40);
    const wide number = REVERSED(state[3]);
#pragma unroll
    for (uint lane = 0; lane < WIDE; ++lane) {
        const uint index = ((const ulong *)&number)[lane] % elements;
        const ulong4 element = as_ulong4(*element_at(index, TABLE_PIECES));
        ((ulong *)&chosen[0])[lane] = element.s3;
        ((ulong *)&chosen[1])[lane] = element.s2;
        ((ulong *)&chosen[2])[lane] = element.s1;
        ((ulong *)&chosen[3])[lane] = element.s0;
    }
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        chosen[i] = REVERSED(chosen[i]);
}

// Second hash, of element, header and nonce: each 4 bytes in a row, round the end, choose one.
static void choose_all(const wide *chosen, const wide *header_and_nonce, wide *choices)
{
    wide text[9], message[BLOCK_WORDS], state[8];

#pragma unroll
    for (uint i = 0; i < 4; ++i)
        text[i] = chosen[i];
#pragma unroll
    for (uint i = 0; i < 5; ++i)
        text[4 + i] = header_and_nonce[i];
    // All but the first byte: an element has 31.
#pragma unroll
    for (uint i = 0; i < 8; ++i)
        message[i] = text[i] >> 8 | text[i + 1] << 56;
    message[8] = text[8] >> 8;
    hash_short(state, message, 9, 71);
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        state[i] = REVERSED(state[i]);
#pragma unroll
    for (uint i = 0; i < ELEMENTS; ++i) {
        const uint bits = i % 8 * 8;
        const wide here = state[i / 8] << bits, next = state[(i / 8 + 1) % 4];
        choices[i] = (bits > 32 ? here | next >> (64 - bits) : here) >> 32;
    }
}

// The sum of the chosen elements, its highest word first.
static void add_up(const wide *choices, wide *sum, uint elements, ulong reciprocal, TABLE)
{
    const ulong low = 0xffffffffUL;

#pragma unroll
    for (uint lane = 0; lane < WIDE; ++lane) {
        ulong8 limbs = 0;
#pragma unroll
        for (uint i = 0; i < ELEMENTS; ++i) {
            const uint choice = ((const ulong *)&choices[i])[lane];
            const uint index = remainder_of(choice, elements, reciprocal);
            limbs += convert_ulong8(*element_at(index, TABLE_PIECES));
        }
        limbs.s1 += limbs.s0 >> 32;
        limbs.s2 += limbs.s1 >> 32;
        limbs.s3 += limbs.s2 >> 32;
        limbs.s4 += limbs.s3 >> 32;
        limbs.s5 += limbs.s4 >> 32;
        limbs.s6 += limbs.s5 >> 32;
        limbs.s7 += limbs.s6 >> 32;
        ((ulong *)&sum[0])[lane] = limbs.s7 << 32 | (limbs.s6 & low);
        ((ulong *)&sum[1])[lane] = limbs.s5 << 32 | (limbs.s4 & low);
        ((ulong *)&sum[2])[lane] = limbs.s3 << 32 | (limbs.s2 & low);
        ((ulong *)&sum[3])[lane] = limbs.s1 << 32 | (limbs.s0 & low);
    }
}

// The choices of WIDE nonces.
static void choose(ulong4 header, ulong nonce, wide *choices,
                   uint elements, ulong reciprocal, TABLE)
{
    wide header_and_nonce[5], chosen[4];

    header_and_nonce[0] = header.s0;
    header_and_nonce[1] = header.s1;
    header_and_nonce[2] = header.s2;
    header_and_nonce[3] = header.s3;
    header_and_nonce[4] = REVERSED(nonce + WIDE_NUMBERS);
    choose_one(header_and_nonce, chosen, elements, TABLE_PIECES);
    choose_all(chosen, header_and_nonce, choices);
#if VECTORS > 1
    for (uint i = 0; i < ELEMENTS; ++i)
        for (uint lane = 0; lane < WIDE; ++lane) {
            const uint choice = ((const ulong *)&choices[i])[lane];
            const uint index = remainder_of(choice, elements, reciprocal);
            READ_AHEAD(element_at(index, TABLE_PIECES));
        }
#endif
}

// Hashes the sums, keeps those below `target`, and returns the XOR of all first words.
static ulong finish(const wide *choices, ulong nonce, ulong target, global ulong *results,
                    uint elements, ulong reciprocal, TABLE)
{
    wide message[BLOCK_WORDS], state[8];

    add_up(choices, message, elements, reciprocal, TABLE_PIECES);
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        message[i] = REVERSED(message[i]);
    hash_short(state, message, 4, 32);
    const wide top = REVERSED(state[0]);
    ulong digest = 0;
    for (uint lane = 0; lane < WIDE; ++lane) {
        digest ^= ((const ulong *)&top)[lane];
        if (((const ulong *)&top)[lane] < target) {
            ulong hash[4];
#pragma unroll
            for (uint i = 0; i < 4; ++i)
                hash[i] = ((const ulong *)&state[i])[lane];
            keep(results, nonce + lane, hash);
        }
    }
    return digest;
}

// Hashes get_global_size(0) * VECTORS * WIDE nonces; keeps the hashes that begin with 64 bits,
// highest first, below `target`.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void search(ulong first_nonce, ulong target, global ulong *results, local ulong *exchange,
            ulong4 header, uint elements, ulong reciprocal, TABLE)
{
    ulong nonce = first_nonce + get_global_id(0) * (VECTORS * WIDE);
    ulong digest = 0;
    wide choices[ELEMENTS];

    choose(header, nonce, choices, elements, reciprocal, TABLE_PIECES);
    for (uint vector = 1; vector < VECTORS; ++vector, nonce += WIDE) {
        wide next[ELEMENTS];
        choose(header, nonce + WIDE, next, elements, reciprocal, TABLE_PIECES);
        digest ^= finish(choices, nonce, target, results, elements, reciprocal, TABLE_PIECES);
        for (uint i = 0; i < ELEMENTS; ++i)
            choices[i] = next[i];
    }
    digest ^= finish(choices, nonce, target, results, elements, reciprocal, TABLE_PIECES);
    add_to_digest(results, digest, exchange);
}
