// What the mining kernels share: words side by side, and the Keccak permutation.
//
// Source: Bertoni, Daemen, Peeters, Van Assche, "The Keccak reference" 3.0, sections 1.2 and 1.3.

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Bits of a Keccak word: 64 is Keccak-f[1600], 32 is Keccak-f[800].
#ifndef KECCAK_BITS
#define KECCAK_BITS 64
#endif

// A `wide` is the same word of WIDE independent hashes. Eight of 64 bits are eight memory reads
// under way at once, whichever width the processor's registers have.
#if KECCAK_BITS == 64
#define KECCAK_F keccak_f1600
#define KECCAK_ROUNDS 24
typedef ulong keccak_word;
#if LANES == 1
#define WIDE 1
typedef ulong wide;
#define WIDE_NUMBERS ((ulong)0)
#else
#define WIDE 8
typedef ulong8 wide;
#define WIDE_NUMBERS ((ulong8)(0, 1, 2, 3, 4, 5, 6, 7))
#endif
#else
#define KECCAK_F keccak_f800
#define KECCAK_ROUNDS 22
typedef uint keccak_word;
#define WIDE LANES
#if LANES == 1
typedef uint wide;
#define WIDE_NUMBERS 0u
#elif LANES == 8
typedef uint8 wide;
#define WIDE_NUMBERS ((uint8)(0, 1, 2, 3, 4, 5, 6, 7))
#else
typedef uint16 wide;
#define WIDE_NUMBERS ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#endif
#endif

#define ROTATED(x, bits) \
    ((x) << (bits) % KECCAK_BITS | (x) >> (KECCAK_BITS - (bits) % KECCAK_BITS))

constant ulong KECCAK_ROUND[24] = {
    0x0000000000000001UL, 0x0000000000008082UL, 0x800000000000808aUL, 0x8000000080008000UL,
    0x000000000000808bUL, 0x0000000080000001UL, 0x8000000080008081UL, 0x8000000000008009UL,
    0x000000000000008aUL, 0x0000000000000088UL, 0x0000000080008009UL, 0x000000008000000aUL,
    0x000000008000808bUL, 0x800000000000008bUL, 0x8000000000008089UL, 0x8000000000008003UL,
    0x8000000000008002UL, 0x8000000000000080UL, 0x000000000000800aUL, 0x800000008000000aUL,
    0x8000000080008081UL, 0x8000000000008080UL, 0x0000000080000001UL, 0x8000000080008008UL,
};

// One row of the chi step: state row `y` from the five rotated words.
#define CHI(y, a, b, c, d, e)         \
    s[5 * (y) + 0] = (a) ^ (~(b) & (c)); \
    s[5 * (y) + 1] = (b) ^ (~(c) & (d)); \
    s[5 * (y) + 2] = (c) ^ (~(d) & (e)); \
    s[5 * (y) + 3] = (d) ^ (~(e) & (a)); \
    s[5 * (y) + 4] = (e) ^ (~(a) & (b));

// The permutation, in place; s[x + 5 * y] is word (x, y).
static void KECCAK_F(wide *s)
{
    for (uint round = 0; round < KECCAK_ROUNDS; ++round) {
        // theta: the parity of each column goes into its neighbours.
        const wide c0 = s[0] ^ s[5] ^ s[10] ^ s[15] ^ s[20];
        const wide c1 = s[1] ^ s[6] ^ s[11] ^ s[16] ^ s[21];
        const wide c2 = s[2] ^ s[7] ^ s[12] ^ s[17] ^ s[22];
        const wide c3 = s[3] ^ s[8] ^ s[13] ^ s[18] ^ s[23];
        const wide c4 = s[4] ^ s[9] ^ s[14] ^ s[19] ^ s[24];
        const wide d0 = c4 ^ ROTATED(c1, 1);
        const wide d1 = c0 ^ ROTATED(c2, 1);
        const wide d2 = c1 ^ ROTATED(c3, 1);
        const wide d3 = c2 ^ ROTATED(c4, 1);
        const wide d4 = c3 ^ ROTATED(c0, 1);

        // rho and pi: word (x, y) turns by its offset and moves to (y, 2x + 3y).
        const wide b00 = s[0] ^ d0;
        const wide b10 = ROTATED(s[1] ^ d1, 1);
        const wide b20 = ROTATED(s[2] ^ d2, 62);
        const wide b05 = ROTATED(s[3] ^ d3, 28);
        const wide b15 = ROTATED(s[4] ^ d4, 27);
        const wide b16 = ROTATED(s[5] ^ d0, 36);
        const wide b01 = ROTATED(s[6] ^ d1, 44);
        const wide b11 = ROTATED(s[7] ^ d2, 6);
        const wide b21 = ROTATED(s[8] ^ d3, 55);
        const wide b06 = ROTATED(s[9] ^ d4, 20);
        const wide b07 = ROTATED(s[10] ^ d0, 3);
        const wide b17 = ROTATED(s[11] ^ d1, 10);
        const wide b02 = ROTATED(s[12] ^ d2, 43);
        const wide b12 = ROTATED(s[13] ^ d3, 25);
        const wide b22 = ROTATED(s[14] ^ d4, 39);
        const wide b23 = ROTATED(s[15] ^ d0, 41);
        const wide b08 = ROTATED(s[16] ^ d1, 45);
        const wide b18 = ROTATED(s[17] ^ d2, 15);
        const wide b03 = ROTATED(s[18] ^ d3, 21);
        const wide b13 = ROTATED(s[19] ^ d4, 8);
        const wide b14 = ROTATED(s[20] ^ d0, 18);
        const wide b24 = ROTATED(s[21] ^ d1, 2);
        const wide b09 = ROTATED(s[22] ^ d2, 61);
        const wide b19 = ROTATED(s[23] ^ d3, 56);
        const wide b04 = ROTATED(s[24] ^ d4, 14);

        CHI(0, b00, b01, b02, b03, b04)
        CHI(1, b05, b06, b07, b08, b09)
        CHI(2, b10, b11, b12, b13, b14)
        CHI(3, b15, b16, b17, b18, b19)
        CHI(4, b20, b21, b22, b23, b24)
        s[0] ^= (keccak_word)KECCAK_ROUND[round];
    }
}
