// Items of an Ethash table ("DAG"), and how a team of work-items holds them.
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

// Lines of the light cache that go into an item: 256; 512 for KawPoW.
#ifndef PARENTS
#define PARENTS 256
#endif

#include "common.cl"
#include "mining_table.cl"

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

#define PAGE_NODES (PAGE_WORDS / NODE_WORDS)
#define FNV(a, b) ((a) * FNV_PRIME ^ (b))

// This work-item's part of a node of a page.
static global part *part_of(uint page, uint node, TABLE)
{
    return (global part *)page_of(page, TABLE_PIECES) + node * TEAM + MY_LANE;
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

// Line of the light cache that goes into an item as its parent `i`.
static uint parent_of(uint item, uint i, uint word, uint lines, ulong lines_reciprocal)
{
    return remainder_of(FNV(item ^ i, word), lines, lines_reciprocal);
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
            const uint item = team_first + hash;
            const uint parent = parent_of(item, i, chosen[hash], lines, lines_reciprocal);
            nodes[hash] = FNV(nodes[hash], cache[(size_t)parent * TEAM + MY_LANE]);
            // A processor, which has the whole node, asks for the next parent at once.
            FETCH_LINE(cache + parent_of(item, i + 1, WORD_OF(nodes[hash], (i + 1) % NODE_WORDS),
                                         lines, lines_reciprocal));
        }
    }

    collect(nodes, state, scratch);
    keccak512_node(state);
    spread(state, nodes, scratch);
#pragma unroll
    for (uint hash = 0; hash < HASHES; ++hash) {
        const uint item = team_first + hash;
        if (item < end)
            *part_of((item - origin) / PAGE_NODES, item % PAGE_NODES, TABLE_PIECES) = nodes[hash];
    }
}
