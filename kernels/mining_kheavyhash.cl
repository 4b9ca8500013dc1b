// kHeavyHash: Kaspa's proof of work. Keccak, a product with a matrix of 4-bit numbers, Keccak.
//
// Source: kaspanet/rusty-kaspa at 593399eb, consensus/pow/src/matrix.rs and
// crypto/hashes/src/pow_hashers.rs; cSHAKE256 from NIST SP 800-185, section 3.

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Quadruples of rows of the matrix whose sums grow at once: 1, 2 or 4.
#ifndef QUADS
#define QUADS 2
#endif

#include "common.cl"
#include "nonces.cl"

// A hash is 64 nibbles, and so is each row of the matrix: nibble 2i is the upper half of byte i,
// nibble 2i + 1 the lower one. With w a word of the hash, n a nibble of each half of that word,
// and x all words w of a `wide`:
//
//   x >> 4n & 0x0000000f0000000f   one nibble in the lower and one in the upper half of each word
//   times two 16-bit numbers in each half: those two columns of two rows of the matrix
//   added up over w and n          four sums of half a row each, all below 2^14
//
// Four rows make a quad, two pairs of such sums: the rows 16w + s, + 4, + 8, + 12, whose results
// are the nibbles of word w that a mask of one nibble in each 16 bits cuts out.
//
//   matrix[quad][column][pair]: a ulong of four 16-bit numbers; quad = 4w + nibble of 16 bits,
//   column = 8w + n as above

#define COLUMNS 32
#define LOWER 0x00000000ffffffffUL
#define NIBBLE_PER_HALF 0x0000000f0000000fUL
#define NIBBLE_PER_QUARTER 0x000f000f000f000fUL

#if WIDE == 1
typedef uint2 halves;
#define AS_HALVES as_uint2
#define AS_WIDE as_ulong
#else
typedef uint16 halves;
#define AS_HALVES as_uint16
#define AS_WIDE as_ulong8
#endif

// product = hash ^ (matrix * hash >> 10), nibble by nibble.
static void heavy(const wide *hash, wide *product, constant ulong *matrix)
{
    halves nibbles[COLUMNS];

#pragma unroll
    for (uint i = 0; i < COLUMNS; ++i)
        nibbles[i] = AS_HALVES(hash[i / 8] >> 4 * (i % 8) & NIBBLE_PER_HALF);
    for (uint word = 0; word < 4; ++word) {
        wide nibbles_of_word = 0;
        for (uint first = 0; first < 4; first += QUADS) {
            constant ulong *rows = matrix + (4 * word + first) * COLUMNS * 2;
            halves sums[2 * QUADS];
#pragma unroll
            for (uint i = 0; i < 2 * QUADS; ++i)
                sums[i] = 0;
#pragma unroll
            for (uint i = 0; i < COLUMNS; ++i)
#pragma unroll
                for (uint pair = 0; pair < 2 * QUADS; ++pair) {
                    const wide weights = rows[(pair / 2 * COLUMNS + i) * 2 + pair % 2];
                    sums[pair] += nibbles[i] * AS_HALVES(weights);
                }
#pragma unroll
            for (uint quad = 0; quad < QUADS; ++quad) {
                const wide low = AS_WIDE(sums[2 * quad]), high = AS_WIDE(sums[2 * quad + 1]);
                const wide whole = (low + (low >> 32) & LOWER) | (high + (high << 32) & ~LOWER);
                nibbles_of_word |= (whole >> 10 & NIBBLE_PER_QUARTER) << 4 * (first + quad);
            }
        }
        product[word] = nibbles_of_word;
    }
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        product[i] ^= hash[i];
}

// cSHAKE256("HeavyHash") of the product; `padded` is its state before the message.
static void heavy_hash(wide *state, constant ulong *matrix, constant ulong *padded)
{
    wide product[4];

    heavy(state, product, matrix);
#pragma unroll
    for (uint i = 0; i < 25; ++i)
        state[i] = padded[i];
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        state[i] ^= product[i];
    keccak_f1600(state);
}

// The second half of the algorithm alone, for known answers: hashes of 4 words are replaced.
kernel void heavy_hashes(global ulong *hashes, constant ulong *matrix, constant ulong *padded)
{
    global wide *own = (global wide *)hashes + get_global_id(0) * 4;
    wide state[25];

    for (uint i = 0; i < 4; ++i)
        state[i] = own[i];
    heavy_hash(state, matrix, padded);
    for (uint i = 0; i < 4; ++i)
        own[i] = state[i];
}

// Hashes get_global_size(0) * WIDE nonces; keeps the hashes whose last 8 bytes, the most
// significant, are a number below `target`. `header` is the state of cSHAKE256("ProofOfWorkHash")
// with the header in it and room for the nonce in word 9.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void search(ulong first_nonce, ulong target, global ulong *results, local ulong *exchange,
            constant ulong *header, constant ulong *padded, constant ulong *matrix)
{
    const ulong own = first_nonce + get_global_id(0) * WIDE;
    wide state[25];

#pragma unroll
    for (uint i = 0; i < 25; ++i)
        state[i] = header[i];
    state[9] ^= own + WIDE_NUMBERS;
    keccak_f1600(state);
    heavy_hash(state, matrix, padded);

    ulong digest = 0;
    for (uint lane = 0; lane < WIDE; ++lane) {
        const ulong top = ((const ulong *)&state[3])[lane];
        digest ^= top;
        if (top < target) {
            ulong hash[4];
#pragma unroll
            for (uint i = 0; i < 4; ++i)
                hash[i] = ((const ulong *)&state[i])[lane];
            keep(results, own + lane, hash);
        }
    }
    add_to_digest(results, digest, exchange);
}
