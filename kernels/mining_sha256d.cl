// SHA-256 of SHA-256 of block headers of 80 bytes: Bitcoin's proof of work.
//
// Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5.3.3 and 6.2.2.

// Nonces side by side in a vector: 1, 2 or 4 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Vectors that a work-item hashes one after the other.
#ifndef VECTORS
#define VECTORS 16
#endif

#include "nonces.cl"

// A header is two blocks of 16 words, of which the host has compressed the first:
//
//   words of block 0  | version | previous block | merkle root ..          -> midstate
//   words of block 1  | .. merkle root: tail.x | time: .y | bits: .z | nonce | padding
//
// The hash is compared as a number whose last byte is the most significant: its top word is word 7
// of the state with its bytes reversed. That word stands three rounds before the end, and nothing
// after it is computed. The few hashes that are kept are computed once more, as a whole.
//
// Everything is unrolled: then what a nonce does not change leaves the loop (three rounds and
// parts of the message schedule), and what the top word does not need is never computed.

#if LANES == 1
typedef uint lanes;
#define NUMBERS 0u
#define ANY(condition) (condition)
#elif LANES == 2
typedef uint2 lanes;
#define NUMBERS ((uint2)(0, 1))
#elif LANES == 4
typedef uint4 lanes;
#define NUMBERS ((uint4)(0, 1, 2, 3))
#elif LANES == 8
typedef uint8 lanes;
#define NUMBERS ((uint8)(0, 1, 2, 3, 4, 5, 6, 7))
#elif LANES == 16
typedef uint16 lanes;
#define NUMBERS ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#else
#error "LANES is 1, 2, 4, 8 or 16"
#endif
#ifndef ANY
#define ANY(condition) any(condition)
#endif
#define WORD_OF(x, lane) (((const uint *)&(x))[lane])

#define ROTATED(x, bits) ((x) >> (bits) | (x) << (32 - (bits)))
#define BIG_SIGMA0(x) (ROTATED(x, 2) ^ ROTATED(x, 13) ^ ROTATED(x, 22))
#define BIG_SIGMA1(x) (ROTATED(x, 6) ^ ROTATED(x, 11) ^ ROTATED(x, 25))
#define SIGMA0(x) (ROTATED(x, 7) ^ ROTATED(x, 18) ^ (x) >> 3)
#define SIGMA1(x) (ROTATED(x, 17) ^ ROTATED(x, 19) ^ (x) >> 10)
#define CHOICE(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MAJORITY(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))

constant uint INITIAL[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
    0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

constant uint K[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

#define END_OF_MESSAGE 0x80000000u
#define HEADER_BITS 640u
#define HASH_BITS 256u

// One round. Instead of all words moving on by one, the next round names them one further on.
#define ROUND(a, b, c, d, e, f, g, h, i)                            \
    h += BIG_SIGMA1(e) + CHOICE(e, f, g) + (K[i] + w[(i) % 16]);    \
    d += h;                                                         \
    h += BIG_SIGMA0(a) + MAJORITY(a, b, c);

// Word i of the message schedule, in the place of word i - 16, which no round needs any more.
#define EXPAND(i)                                                   \
    w[(i) % 16] += SIGMA1(w[((i) - 2) % 16]) + w[((i) - 7) % 16]    \
                 + SIGMA0(w[((i) - 15) % 16]);

#define ROUNDS_8(i)                                                 \
    ROUND(a, b, c, d, e, f, g, h, (i) + 0)                          \
    ROUND(h, a, b, c, d, e, f, g, (i) + 1)                          \
    ROUND(g, h, a, b, c, d, e, f, (i) + 2)                          \
    ROUND(f, g, h, a, b, c, d, e, (i) + 3)                          \
    ROUND(e, f, g, h, a, b, c, d, (i) + 4)                          \
    ROUND(d, e, f, g, h, a, b, c, (i) + 5)                          \
    ROUND(c, d, e, f, g, h, a, b, (i) + 6)                          \
    ROUND(b, c, d, e, f, g, h, a, (i) + 7)

#define EXPAND_8(i)                                                 \
    EXPAND((i) + 0) EXPAND((i) + 1) EXPAND((i) + 2) EXPAND((i) + 3) \
    EXPAND((i) + 4) EXPAND((i) + 5) EXPAND((i) + 6) EXPAND((i) + 7)

#define ALL_ROUNDS                                                  \
    ROUNDS_8(0)                                                     \
    ROUNDS_8(8)                                                     \
    EXPAND_8(16) ROUNDS_8(16)                                       \
    EXPAND_8(24) ROUNDS_8(24)                                       \
    EXPAND_8(32) ROUNDS_8(32)                                       \
    EXPAND_8(40) ROUNDS_8(40)                                       \
    EXPAND_8(48) ROUNDS_8(48)                                       \
    EXPAND_8(56) ROUNDS_8(56)

#define REVERSED(x) ((x) << 24 | ((x) & 0xff00u) << 8 | ((x) >> 8 & 0xff00u) | (x) >> 24)

// Word 7 of the hash of headers; `nonces` as they stand in the block.
static lanes word7_of(uint8 midstate, uint4 tail, lanes nonces)
{
    lanes a = midstate.s0, b = midstate.s1, c = midstate.s2, d = midstate.s3;
    lanes e = midstate.s4, f = midstate.s5, g = midstate.s6, h = midstate.s7;
    lanes w[16];

    w[0] = tail.x;
    w[1] = tail.y;
    w[2] = tail.z;
    w[3] = nonces;
    w[4] = END_OF_MESSAGE;
    w[5] = w[6] = w[7] = w[8] = w[9] = w[10] = w[11] = w[12] = w[13] = w[14] = 0;
    w[15] = HEADER_BITS;
    ALL_ROUNDS

    w[0] = a + midstate.s0;
    w[1] = b + midstate.s1;
    w[2] = c + midstate.s2;
    w[3] = d + midstate.s3;
    w[4] = e + midstate.s4;
    w[5] = f + midstate.s5;
    w[6] = g + midstate.s6;
    w[7] = h + midstate.s7;
    w[8] = END_OF_MESSAGE;
    w[9] = w[10] = w[11] = w[12] = w[13] = w[14] = 0;
    w[15] = HASH_BITS;
    a = INITIAL[0];
    b = INITIAL[1];
    c = INITIAL[2];
    d = INITIAL[3];
    e = INITIAL[4];
    f = INITIAL[5];
    g = INITIAL[6];
    h = INITIAL[7];
    ALL_ROUNDS
    return h + INITIAL[7];
}

// The compression function as a whole, small instead of fast.
static void compress(uint *state, const uint *block)
{
    uint a = state[0], b = state[1], c = state[2], d = state[3];
    uint e = state[4], f = state[5], g = state[6], h = state[7];
    uint w[16];

    for (uint i = 0; i < 16; ++i)
        w[i] = block[i];
    for (uint i = 0; i < 64; ++i) {
        if (i >= 16) {
            EXPAND(i)
        }
        ROUND(a, b, c, d, e, f, g, h, i)
        const uint newest = h;
        h = g, g = f, f = e, e = d, d = c, c = b, b = a, a = newest;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

// Zeros and the end of a message of so many words that stands at the start of the block.
static void pad(uint *block, uint words, uint bits)
{
    block[words] = END_OF_MESSAGE;
    for (uint i = words + 1; i < 15; ++i)
        block[i] = 0;
    block[15] = bits;
}

// A hash for `keep`, whose word 7 is the one that it was chosen by.
static void hash_again(uint8 midstate, uint4 tail, uint nonce, uint word7, ulong *hash)
{
    uint inner[8] = {midstate.s0, midstate.s1, midstate.s2, midstate.s3,
                     midstate.s4, midstate.s5, midstate.s6, midstate.s7};
    uint outer[8], block[16];

    block[0] = tail.x;
    block[1] = tail.y;
    block[2] = tail.z;
    block[3] = REVERSED(nonce);
    pad(block, 4, HEADER_BITS);
    compress(inner, block);
    for (uint i = 0; i < 8; ++i) {
        block[i] = inner[i];
        outer[i] = INITIAL[i];
    }
    pad(block, 8, HASH_BITS);
    compress(outer, block);
    outer[7] = word7;
    for (uint i = 0; i < 4; ++i)
        hash[i] = REVERSED(outer[2 * i]) | (ulong)REVERSED(outer[2 * i + 1]) << 32;
}

// Compresses one block into a state, for the known answers of other messages than headers.
kernel void compress_block(global uint *state, global const uint *block)
{
    uint own_state[8], own_block[16];

    for (uint i = 0; i < 8; ++i)
        own_state[i] = state[i];
    for (uint i = 0; i < 16; ++i)
        own_block[i] = block[i];
    compress(own_state, own_block);
    for (uint i = 0; i < 8; ++i)
        state[i] = own_state[i];
}

// Hashes get_global_size(0) * VECTORS * LANES headers, whose nonces are the low half of
// `first_nonce` and those after it; they wrap around. Keeps the hashes whose top word is below
// the high half of `target`.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void search(ulong first_nonce, ulong target, global ulong *results, local ulong *exchange,
            uint8 midstate, uint4 tail)
{
    const uint limit = (uint)(target >> 32);
    const uint own = (uint)first_nonce + (uint)get_global_id(0) * (VECTORS * LANES);
    lanes digests = 0;

    for (uint vector = 0; vector < VECTORS; ++vector) {
        const lanes nonces = own + vector * LANES + NUMBERS;
        const lanes word7 = word7_of(midstate, tail, REVERSED(nonces));
        const lanes top = REVERSED(word7);
        digests ^= top;
        if (!ANY(top < limit))
            continue;
        for (uint lane = 0; lane < LANES; ++lane)
            if (WORD_OF(top, lane) < limit) {
                const uint nonce = WORD_OF(nonces, lane);
                ulong hash[4];
                hash_again(midstate, tail, nonce, WORD_OF(word7, lane), hash);
                keep(results, (first_nonce >> 32 << 32) | nonce, hash);
            }
    }

    uint digest = 0;
    for (uint lane = 0; lane < LANES; ++lane)
        digest ^= WORD_OF(digests, lane);
    add_to_digest(results, digest, exchange);
}
