// Ethash: the table ("DAG") and the search for nonces.
//
// Source: the Ethash specification (ethereum/wiki, "Ethash"), with the original Keccak padding.

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Work-items of a group.
#ifndef GROUP
#define GROUP 64
#endif

// Buffers that hold the table: 1, 2 or 4; page p lies in buffer p % PIECES.
#ifndef PIECES
#define PIECES 1
#endif

// Results that one launch can return; those beyond are counted only.
#ifndef FOUND_MAX
#define FOUND_MAX 64
#endif

// Parts of a launch with a digest of their own, so that one part can be run again.
#ifndef STRIPES
#define STRIPES 8
#endif

#include "common.cl"

// Layout. A node is 64 bytes: an item of the table, a line of the light cache, half a mix.
// A team of TEAM work-items holds the nodes of 8 hashes, each work-item one part of every node:
//
//              GPU: TEAM 8, part = uint2           processor: TEAM 1, part = uint16
//   item         0     1   ...   7                   0
//   hash 0     [0 1] [2 3] ... [14 15]             [0 1 2 ... 15]
//   ...                                            ...
//   hash 7     [0 1] [2 3] ... [14 15]             [0 1 2 ... 15]
//
// so a GPU reads a node as 64 consecutive bytes. Keccak runs across: work-item i hashes nonce i
// (GPU), or all 8 of its nonces as the lanes of a `wide` (processor). spread() and collect() turn
// one form into the other through the scratch space, which has one column per hash.
//
// `exchange` is local memory of 72 bytes per work-item; a processor does not use it.
//
// Results of a launch, 64-bit words: [0] count; [1 .. STRIPES] digests; then FOUND_MAX times
// nonce, mix (4), result (4).
//
// Loops over arrays that must live in registers are unrolled; a GPU keeps no others there.

#define HASHES 8
#define TEAM (HASHES / WIDE)
#define NODE_WORDS 16
#define NODE_PAIRS 8
#define PART_PAIRS (NODE_PAIRS / TEAM)
#define PART_WORDS (NODE_WORDS / TEAM)

#if TEAM == 1
#define SPACE private
#define COLUMNS HASHES
#define TEAM_BARRIER
#define MY_COLUMN 0
#define MY_TEAM 0
#define MY_LANE 0
typedef uint16 part;
#define WORD_OF(node, index) (((const uint *)&(node))[index])
#define EXCHANGE_SPACE                                                  \
    ulong scratch[NODE_PAIRS * COLUMNS] __attribute__((aligned(64)));   \
    uint words[2 * COLUMNS];
#else
#define SPACE local
#define COLUMNS GROUP
#define TEAM_BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define MY_COLUMN get_local_id(0)
#define MY_TEAM (get_local_id(0) / TEAM)
#define MY_LANE (get_local_id(0) % TEAM)
typedef uint2 part;
#define WORD_OF(node, index) ((index) % 2 ? (node).y : (node).x)
// An argument and not an array of the kernel: PoCL 3.1 puts such an array in static memory when
// its address folds to a constant, and then all its threads share it.
#define EXCHANGE_SPACE                                                   \
    local ulong *scratch = exchange;                                     \
    local uint *words = (local uint *)(exchange + NODE_PAIRS * COLUMNS);
#endif

typedef union {
    part words;
    ulong pairs[PART_PAIRS];
} portion;

#define ACCESSES 64
#define PARENTS 256
#define FNV_PRIME 0x01000193u
#define FNV(a, b) ((a) * FNV_PRIME ^ (b))

#define TABLE global part *t0, global part *t1, global part *t2, global part *t3
#define TABLE_PIECES t0, t1, t2, t3

// n mod divisor for 32-bit numbers, with reciprocal = floor(2^64 / divisor) + 1.
// Source: Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019, theorem 1.
static uint remainder_of(uint n, uint divisor, ulong reciprocal)
{
    return (uint)mul_hi(reciprocal * n, (ulong)divisor);
}

// First part of a page of the table: two nodes, one after the other.
static global part *page_of(uint page, TABLE)
{
#if PIECES == 1
    return t0 + (size_t)page * (2 * TEAM);
#elif PIECES == 2
    return (page % 2 ? t1 : t0) + (size_t)(page / 2) * (2 * TEAM);
#else
    global part *even = page % 4 == 2 ? t2 : t0;
    global part *odd = page % 4 == 3 ? t3 : t1;
    return (page % 2 ? odd : even) + (size_t)(page / 4) * (2 * TEAM);
#endif
}

// Each work-item's hashes -> the team's nodes.
static void spread(const wide *state, part *nodes, SPACE ulong *scratch)
{
    TEAM_BARRIER;
#pragma unroll
    for (uint pair = 0; pair < NODE_PAIRS; ++pair)
        ((SPACE wide *)(scratch + pair * COLUMNS))[MY_COLUMN] = state[pair];
    TEAM_BARRIER;
#pragma unroll
    for (uint hash = 0; hash < HASHES; ++hash) {
        portion mine;
#pragma unroll
        for (uint i = 0; i < PART_PAIRS; ++i)
            mine.pairs[i] = scratch[(MY_LANE * PART_PAIRS + i) * COLUMNS + MY_TEAM * HASHES + hash];
        nodes[hash] = mine.words;
    }
}

// The team's nodes -> each work-item's hashes.
static void collect(const part *nodes, wide *state, SPACE ulong *scratch)
{
    TEAM_BARRIER;
#pragma unroll
    for (uint hash = 0; hash < HASHES; ++hash) {
        portion mine;
        mine.words = nodes[hash];
#pragma unroll
        for (uint i = 0; i < PART_PAIRS; ++i)
            scratch[(MY_LANE * PART_PAIRS + i) * COLUMNS + MY_TEAM * HASHES + hash] = mine.pairs[i];
    }
    TEAM_BARRIER;
#pragma unroll
    for (uint pair = 0; pair < NODE_PAIRS; ++pair)
        state[pair] = ((SPACE wide *)(scratch + pair * COLUMNS))[MY_COLUMN];
}

// Word `index` of each hash's node, to the whole team. Consecutive calls must differ in the
// lowest bit of `index`: the two halves of `words` take turns, which saves a second barrier.
static SPACE const uint *announce(const part *nodes, uint index, SPACE uint *words)
{
    SPACE uint *turn = words + index % 2 * COLUMNS + MY_TEAM * HASHES;
    if (index / PART_WORDS == MY_LANE)
#pragma unroll
        for (uint hash = 0; hash < HASHES; ++hash)
            turn[hash] = WORD_OF(nodes[hash], index % PART_WORDS);
    TEAM_BARRIER;
    return turn;
}

// Keccak-512 of a node.
static void keccak512_node(wide *state)
{
    state[8] = 0x8000000000000001UL;
#pragma unroll
    for (uint i = 9; i < 25; ++i)
        state[i] = 0;
    keccak_f1600(state);
}

// Makes the items first .. end - 1, one per hash; item `origin` is the first of the table.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void make_items(global const part *cache, uint lines, ulong lines_reciprocal,
                uint first, uint end, uint origin, local ulong *exchange, TABLE)
{
    EXCHANGE_SPACE
    const uint own = first + get_global_id(0) * WIDE;
    const uint team_first = own - MY_LANE;
    part nodes[HASHES];
    wide state[25];

#pragma unroll
    for (uint hash = 0; hash < HASHES; ++hash) {
        const uint line = remainder_of(team_first + hash, lines, lines_reciprocal);
        nodes[hash] = cache[(size_t)line * TEAM + MY_LANE];
    }
    collect(nodes, state, scratch);
    state[0] ^= own + WIDE_NUMBERS;
    keccak512_node(state);
    spread(state, nodes, scratch);

    for (uint i = 0; i < PARENTS; ++i) {
        SPACE const uint *chosen = announce(nodes, i % NODE_WORDS, words);
#pragma unroll
        for (uint hash = 0; hash < HASHES; ++hash) {
            const uint choice = FNV((team_first + hash) ^ i, chosen[hash]);
            const uint parent = remainder_of(choice, lines, lines_reciprocal);
            nodes[hash] = FNV(nodes[hash], cache[(size_t)parent * TEAM + MY_LANE]);
        }
    }

    collect(nodes, state, scratch);
    keccak512_node(state);
    spread(state, nodes, scratch);
#pragma unroll
    for (uint hash = 0; hash < HASHES; ++hash) {
        const uint item = team_first + hash;
        if (item < end)
            page_of((item - origin) / 2, TABLE_PIECES)[item % 2 * TEAM + MY_LANE] = nodes[hash];
    }
}

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
#pragma unroll
        for (uint hash = 0; hash < HASHES; ++hash) {
            const uint choice = FNV((round * NODE_WORDS + i) ^ seeds[hash], chosen[hash]);
            global const part *page =
                page_of(remainder_of(choice, pages, pages_reciprocal), TABLE_PIECES) + MY_LANE;
            low[hash] = FNV(low[hash], page[0]);
            high[hash] = FNV(high[hash], page[TEAM]);
        }
    }
}

static void keep(global ulong *results, ulong nonce, const ulong *mix, const ulong *result)
{
    const uint slot = atomic_inc((global uint *)results);
    if (slot >= FOUND_MAX)
        return;
    global ulong *entry = results + 1 + STRIPES + slot * 9;
    entry[0] = nonce;
#pragma unroll
    for (uint i = 0; i < 4; ++i) {
        entry[1 + i] = mix[i];
        entry[5 + i] = result[i];
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
        if (as_ulong(as_uchar8(result[0]).s76543210) < target)
            keep(results, own + lane, mixed, result);
    }
    // One sum per group first: the stripes are few, and all groups want the same.
    scratch[MY_COLUMN] = digest;
    TEAM_BARRIER;
    if (MY_COLUMN == 0) {
        for (uint i = 1; i < COLUMNS / WIDE; ++i)
            digest ^= scratch[i];
        const uint stripe = get_group_id(0) * STRIPES / get_num_groups(0);
        global uint *sum = (global uint *)(results + 1 + stripe);
        atomic_xor(sum, (uint)digest);
        atomic_xor(sum + 1, (uint)(digest >> 32));
    }
}
