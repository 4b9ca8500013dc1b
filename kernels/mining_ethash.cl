// Ethash: the search for nonces; the table ("DAG") is made in ethash_items.cl.
//
// Source: the Ethash specification (ethereum/wiki, "Ethash"), with the original Keccak padding.

#include "ethash_items.cl"

#define ACCESSES 64

// FNV over the four 32-bit words of two pairs, in the low half of the result.
static wide folded(wide first, wide second)
{
    const ulong low = 0xffffffffUL;
    wide word = (first & low) * FNV_PRIME & low ^ first >> 32;
    word = word * FNV_PRIME & low ^ second & low;
    return word * FNV_PRIME & low ^ second >> 32;
}

static void compress(const part *nodes, wide *pairs, SPACE ulong *scratch)
{
    wide whole[NODE_PAIRS];
    collect(nodes, whole, scratch);
    pairs[0] = folded(whole[0], whole[1]) | folded(whole[2], whole[3]) << 32;
    pairs[1] = folded(whole[4], whole[5]) | folded(whole[6], whole[7]) << 32;
}

// Half of a mix chooses 16 pages, one after the other.
static void access_pages(uint round, const part *chooser, part *low, part *high,
                         const uint *seeds, SPACE uint *words,
                         uint pages, ulong pages_reciprocal, TABLE)
{
    for (uint i = 0; i < NODE_WORDS; ++i) {
        SPACE const uint *chosen = announce(chooser, i, words);
        global const part *page[HASHES];
#pragma unroll
        for (uint hash = 0; hash < HASHES; ++hash) {
            const uint choice = FNV((round * NODE_WORDS + i) ^ seeds[hash], chosen[hash]);
            page[hash] = part_of(remainder_of(choice, pages, pages_reciprocal), 0, TABLE_PIECES);
            FETCH_LINE(page[hash]);
            FETCH_LINE(page[hash] + TEAM);
        }
#pragma unroll
        for (uint hash = 0; hash < HASHES; ++hash) {
            low[hash] = FNV(low[hash], page[hash][0]);
            high[hash] = FNV(high[hash], page[hash][TEAM]);
        }
    }
}

// Hashes get_global_size(0) * WIDE nonces; keeps those whose result, read as a big-endian
// number, begins with 64 bits below `target`.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void search(ulong first_nonce, ulong target, global ulong *results, ulong4 header,
            uint pages, ulong pages_reciprocal, local ulong *exchange, TABLE)
{
    EXCHANGE_SPACE
    const ulong own = first_nonce + get_global_id(0) * WIDE;
    part mix[2][HASHES];
    uint seeds[HASHES];
    wide seed[NODE_PAIRS];
    wide state[25];

    state[0] = header.s0;
    state[1] = header.s1;
    state[2] = header.s2;
    state[3] = header.s3;
    state[4] = own + WIDE_NUMBERS;
    state[5] = 1;
    state[6] = state[7] = 0;
    state[8] = 0x8000000000000000UL;
#pragma unroll
    for (uint i = 9; i < 25; ++i)
        state[i] = 0;
    keccak_f1600(state);
#pragma unroll
    for (uint i = 0; i < NODE_PAIRS; ++i)
        seed[i] = state[i];

    spread(seed, mix[0], scratch);
#pragma unroll
    for (uint hash = 0; hash < HASHES; ++hash) {
        mix[1][hash] = mix[0][hash];
        seeds[hash] = (uint)scratch[MY_TEAM * HASHES + hash];
    }
    for (uint round = 0; round < ACCESSES / NODE_WORDS; round += 2) {
        access_pages(round, mix[0], mix[0], mix[1], seeds, words,
                     pages, pages_reciprocal, TABLE_PIECES);
        access_pages(round + 1, mix[1], mix[0], mix[1], seeds, words,
                     pages, pages_reciprocal, TABLE_PIECES);
    }

    wide packed[4];
    compress(mix[0], packed, scratch);
    compress(mix[1], packed + 2, scratch);
#pragma unroll
    for (uint i = 0; i < 8; ++i)
        state[i] = seed[i];
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        state[8 + i] = packed[i];
    state[12] = 1;
#pragma unroll
    for (uint i = 13; i < 25; ++i)
        state[i] = 0;
    state[16] = 0x8000000000000000UL;
    keccak_f1600(state);

    ulong digest = 0;
    for (uint lane = 0; lane < WIDE; ++lane) {
        ulong mixed[4], result[4];
#pragma unroll
        for (uint i = 0; i < 4; ++i) {
            mixed[i] = ((const ulong *)&packed[i])[lane];
            result[i] = ((const ulong *)&state[i])[lane];
        }
        digest ^= result[0];
        if (is_below(result[0], target))
            keep(results, own + lane, mixed, result);
    }
    // One sum per group first: the stripes are few, and all groups want the same.
    scratch[MY_COLUMN] = digest;
    TEAM_BARRIER;
    if (MY_COLUMN == 0) {
        for (uint i = 1; i < COLUMNS / WIDE; ++i)
            digest ^= scratch[i];
        add_to_stripe(results, digest);
    }
}
