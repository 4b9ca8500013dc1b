// KawPoW: a random program for every three blocks, between random reads of 256 bytes.
//
// Source: the ProgPoW specification 0.9.4 (ifdefelse/ProgPOW, README.md), with the parameters of
// Ravencoin. The table is that of ethash_items.cl with 512 parents.

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Work-items of a group: a multiple of 16 on a GPU.
#ifndef GROUP
#define GROUP 128
#endif

// Hashes that a processor's work-item has under way at once: 1, 2, 4, 8 or 16.
#ifndef SIDE_BY_SIDE
#define SIDE_BY_SIDE 16
#endif

#define KECCAK_BITS 32
#define PAGE_WORDS 64
#include "common.cl"
#include "mining_table.cl"

// Layout. A hash has 16 lanes of 32 registers. A team of TEAM work-items takes 16 hashes, and a
// work-item holds PARTS parts of LANES lanes of each register:
//
//                GPU: TEAM 16, PARTS 1     processor: TEAM 1, PARTS 16 / LANES
//   item           0   1   ...  15           0
//   register 0    [0] [1]  ... [15]         [0 1 ... 7] [8 9 ... 15]
//   ...
//   register 31   [0] [1]  ... [15]         [0 1 ... 7] [8 9 ... 15]
//
// Keccak runs across: work-item i absorbs nonce i (GPU), or all its 16 nonces as the lanes of a
// `wide` (processor). A GPU's team then goes through its hashes one after the other; a processor
// takes SIDE_BY_SIDE of them through each round, so that their pages are on their way together.
//
// `exchange` is local memory that a processor does not use: the cache of CACHE_WORDS words, then
// for each team the seeds of its hashes (2 words each), and a word from each of its lanes.

#define TEAM_LANES 16
#define TEAM_WORDS (3 * TEAM_LANES)
#define REGISTERS 32
#define ROUNDS 64
#define CACHE_WORDS 4096
#define PAGE_WORDS_PER_LANE 4
#define FNV_BASIS 0x811c9dc5u
#define FNV1A(hash, word) (((hash) ^ (word)) * FNV_PRIME)
#define LEFT(x, bits) ((x) << (bits) | (x) >> (32 - (bits)))
#define RIGHT(x, bits) ((x) >> (bits) | (x) << (32 - (bits)))

typedef wide part;

#if LANES == 1
#define PARTS 1
#define NONCES 1
#define UNDER_WAY 1
#define CACHE_SPACE local
#define SPACE local
#define TEAM_BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define MY_LANE (get_local_id(0) % TEAM_LANES)
#define EXCHANGE_SPACE                                                                     \
    local uint *cache = (local uint *)exchange;                                            \
    local uint *words = cache + CACHE_WORDS + get_local_id(0) / TEAM_LANES * TEAM_WORDS;
#else
#define PARTS (TEAM_LANES / LANES)
#define NONCES TEAM_LANES
#define UNDER_WAY SIDE_BY_SIDE
#define CACHE_SPACE global
#define SPACE private
#define TEAM_BARRIER
#define MY_LANE 0
#define EXCHANGE_SPACE                      \
    global const uint *cache = first_words; \
    uint words[TEAM_WORDS] __attribute__((aligned(64)));
#endif

// Word `lane` of what a work-item has of a register.
#define WORD_OF(parts, lane) (((const uint *)(parts))[lane])

static part rotated_left(part x, part bits)
{
    return x << (bits & 31) | x >> (-bits & 31);
}

static part rotated_right(part x, part bits)
{
    return x >> (bits & 31) | x << (-bits & 31);
}

static part high_product(part a, part b)
{
    return mul_hi(a, b);
}

#if LANES == 1
static part zeros_before(part x)
{
    return clz(x);
}

static part ones_in(part x)
{
    return popcount(x);
}

static part cached(CACHE_SPACE const uint *cache, part index)
{
    return cache[index % CACHE_WORDS];
}
#else
// What OpenCL has no vector operation for, or PoCL a slow one: loops over eight lanes, which the
// compiler makes one instruction of; over sixteen it would make two, with a detour by memory.
static uint8 zeros_before_eight(uint8 x)
{
    uint8 zeros;
    for (uint lane = 0; lane < 8; ++lane)
        ((uint *)&zeros)[lane] = clz(((const uint *)&x)[lane]);
    return zeros;
}

static uint8 cached_eight(CACHE_SPACE const uint *cache, uint8 index)
{
    uint8 words;
    for (uint lane = 0; lane < 8; ++lane)
        ((uint *)&words)[lane] = cache[((const uint *)&index)[lane] % CACHE_WORDS];
    return words;
}

#if LANES == 8
#define zeros_before(x) zeros_before_eight(x)
#define cached(cache, index) cached_eight(cache, index)
#else
static part zeros_before(part x)
{
    return (part)(zeros_before_eight(x.lo), zeros_before_eight(x.hi));
}

static part cached(CACHE_SPACE const uint *cache, part index)
{
    return (part)(cached_eight(cache, index.lo), cached_eight(cache, index.hi));
}
#endif

// Sums of ever more neighbouring bits: PoCL's popcount() takes one lane at a time.
static part ones_in(part x)
{
    x -= x >> 1 & 0x55555555;
    x = (x & 0x33333333) + (x >> 2 & 0x33333333);
    x = x + (x >> 4) & 0x0f0f0f0f;
    return x * 0x01010101 >> 24;
}
#endif

// run_program(mix, cache, page): one round of one part.
#include "kawpow_program.cl"

// What each lane of part `number` has of a page: lane l takes words 4 * (l ^ round % 16) to + 3.
static void load_page(global const uint *page, uint round, uint number, part *words)
{
#if LANES == 1
    const uint4 mine = ((global const uint4 *)page)[(MY_LANE ^ round) % TEAM_LANES];
    words[0] = mine.x;
    words[1] = mine.y;
    words[2] = mine.z;
    words[3] = mine.w;
#elif LANES == 8
    part raw[4];
    for (uint i = 0; i < 4; ++i) {
        raw[i] = ((global const part *)page)[(number * 4 + i) ^ round / 2 % 8];
        raw[i] = round % 2 ? raw[i].s45670123 : raw[i];
    }
    words[0] = (part)(raw[0].s04, raw[1].s04, raw[2].s04, raw[3].s04);
    words[1] = (part)(raw[0].s15, raw[1].s15, raw[2].s15, raw[3].s15);
    words[2] = (part)(raw[0].s26, raw[1].s26, raw[2].s26, raw[3].s26);
    words[3] = (part)(raw[0].s37, raw[1].s37, raw[2].s37, raw[3].s37);
#else
    part raw[4];
    for (uint i = 0; i < 4; ++i) {
        raw[i] = ((global const part *)page)[i ^ round / 4 % 4];
        raw[i] = round % 2 ? raw[i].s45670123cdef89ab : raw[i];
        raw[i] = round / 2 % 2 ? raw[i].s89abcdef01234567 : raw[i];
    }
    words[0] = (part)(raw[0].s048c, raw[1].s048c, raw[2].s048c, raw[3].s048c);
    words[1] = (part)(raw[0].s159d, raw[1].s159d, raw[2].s159d, raw[3].s159d);
    words[2] = (part)(raw[0].s26ae, raw[1].s26ae, raw[2].s26ae, raw[3].s26ae);
    words[3] = (part)(raw[0].s37bf, raw[1].s37bf, raw[2].s37bf, raw[3].s37bf);
#endif
}

// The page of a round: one lane's register 0 chooses it.
static global const uint *next_page(const part (*mix)[REGISTERS], uint round, SPACE uint *words,
                                    uint pages, ulong pages_reciprocal, TABLE)
{
    const uint lane = round % TEAM_LANES;
#if LANES == 1
    // The two rounds' places take turns, which saves a second barrier.
    SPACE uint *choice = words + 2 * TEAM_LANES + round % 2;
    if (MY_LANE == lane)
        *choice = mix[0][0];
    TEAM_BARRIER;
#else
    const uint *choice = (const uint *)&mix[lane / LANES][0] + lane % LANES;
#endif
    global const uint *page =
        page_of(remainder_of(*choice, pages, pages_reciprocal), TABLE_PIECES);
#pragma unroll
    for (uint i = 0; i < PAGE_WORDS; i += 16)
        FETCH_LINE(page + i);
    return page;
}

// The rest of a state from word `first` on.
static void pad(part *state, uint first)
{
    const uchar text[] = {'r', 'A', 'V', 'E', 'N', 'C', 'O', 'I', 'N', 'K', 'A', 'W', 'P', 'O', 'W'};
#pragma unroll
    for (uint i = first; i < 25; ++i)
        state[i] = text[i - first];
}

// Registers before the first round, from KISS99 started with the seed and the lane's number.
static void fill_registers(uint seed_low, uint seed_high, uint number, part *mix)
{
    const part lanes = number * LANES + MY_LANE + WIDE_NUMBERS;
    uint z = FNV1A(FNV_BASIS, seed_low);
    uint w = FNV1A(z, seed_high);
    part jsr = FNV1A(w, lanes);
    part jcong = FNV1A(jsr, lanes);
#pragma unroll
    for (uint i = 0; i < REGISTERS; ++i) {
        z = 36969 * (z & 0xffff) + (z >> 16);
        w = 18000 * (w & 0xffff) + (w >> 16);
        jsr ^= jsr << 17;
        jsr ^= jsr >> 13;
        jsr ^= jsr << 5;
        jcong = 69069 * jcong + 1234567;
        mix[i] = ((z << 16) + w ^ jcong) + jsr;
    }
}

// FNV-1a over the registers of each lane.
static part folded(const part *mix)
{
    part hash = FNV_BASIS;
#pragma unroll
    for (uint i = 0; i < REGISTERS; ++i)
        hash = FNV1A(hash, mix[i]);
    return hash;
}

// Word `index` of a hash's digest, from the hashes of its lanes.
static uint digest_word(SPACE const uint *lanes, uint index)
{
    return FNV1A(FNV1A(FNV_BASIS, lanes[index]), lanes[index + 8]);
}

// Keccak of the header and LANES nonces from `first` on, a multiple of LANES.
static void absorb(ulong4 header, ulong first, part *state)
{
    const ulong words[4] = {header.s0, header.s1, header.s2, header.s3};
#pragma unroll
    for (uint i = 0; i < 4; ++i) {
        state[2 * i] = (uint)words[i];
        state[2 * i + 1] = (uint)(words[i] >> 32);
    }
    state[8] = (uint)first + WIDE_NUMBERS;
    state[9] = (uint)(first >> 32);
    pad(state, 10);
    KECCAK_F(state);
}

// All rounds of UNDER_WAY hashes of the team.
static void run_rounds(part (*mix)[PARTS][REGISTERS], CACHE_SPACE const uint *cache,
                       SPACE uint *words, uint pages, ulong pages_reciprocal, TABLE)
{
    global const uint *page[UNDER_WAY];
    for (uint round = 0; round < ROUNDS; ++round) {
        for (uint i = 0; i < UNDER_WAY; ++i)
            page[i] = next_page(mix[i], round, words, pages, pages_reciprocal, TABLE_PIECES);
        for (uint i = 0; i < UNDER_WAY; ++i)
            for (uint number = 0; number < PARTS; ++number) {
                part loaded[PAGE_WORDS_PER_LANE];
                load_page(page[i], round, number, loaded);
                run_program(mix[i][number], cache, loaded);
            }
    }
}

// Keeps those of a part's results that are below `target`; XOR of all of them.
static ulong judge(global ulong *results, ulong first_nonce, ulong target,
                   const part *mixed, const part *state)
{
    ulong digest = 0;
    for (uint lane = 0; lane < LANES; ++lane) {
        ulong mix[4], result[4];
#pragma unroll
        for (uint i = 0; i < 4; ++i) {
            mix[i] = WORD_OF(&mixed[2 * i], lane) | (ulong)WORD_OF(&mixed[2 * i + 1], lane) << 32;
            result[i] = WORD_OF(&state[2 * i], lane) | (ulong)WORD_OF(&state[2 * i + 1], lane) << 32;
        }
        digest ^= result[0];
        if (is_below(result[0], target))
            keep(results, first_nonce + lane, mix, result);
    }
    return digest;
}

// Hashes NONCES nonces per work-item from `first_nonce` on, a multiple of 16; keeps those whose
// result, read as a big-endian number, begins with 64 bits below `target`. `first_words` are the
// first CACHE_WORDS of the table.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void search(ulong first_nonce, ulong target, global ulong *results, ulong4 header,
            uint pages, ulong pages_reciprocal, local ulong *exchange, TABLE,
            global const uint *first_words)
{
    EXCHANGE_SPACE
    const ulong own = first_nonce + get_global_id(0) * NONCES;
    part absorbed[PARTS][8];
    part mix[UNDER_WAY][PARTS][REGISTERS];
    part mixed[PARTS][8];
    part state[25];

#if LANES == 1
    for (uint i = get_local_id(0); i < CACHE_WORDS; i += GROUP)
        cache[i] = first_words[i];
#endif
    for (uint number = 0; number < PARTS; ++number) {
        absorb(header, own + number * LANES, state);
#pragma unroll
        for (uint i = 0; i < 8; ++i)
            absorbed[number][i] = state[i];
        ((SPACE part *)words)[number + MY_LANE] = state[0];
        ((SPACE part *)(words + TEAM_LANES))[number + MY_LANE] = state[1];
    }
    TEAM_BARRIER;

    for (uint first = 0; first < TEAM_LANES; first += UNDER_WAY) {
        for (uint i = 0; i < UNDER_WAY; ++i)
            for (uint number = 0; number < PARTS; ++number)
                fill_registers(words[first + i], words[TEAM_LANES + first + i], number,
                               mix[i][number]);
        run_rounds(mix, cache, words, pages, pages_reciprocal, TABLE_PIECES);
        for (uint i = 0; i < UNDER_WAY; ++i) {
            const uint hash = first + i;
            SPACE uint *lanes = words + 2 * TEAM_LANES;
            TEAM_BARRIER;
            for (uint number = 0; number < PARTS; ++number)
                ((SPACE part *)lanes)[number + MY_LANE] = folded(mix[i][number]);
            TEAM_BARRIER;
            if (hash / NONCES == MY_LANE)
#pragma unroll
                for (uint word = 0; word < 8; ++word)
                    ((uint *)&mixed[hash % NONCES / LANES][word])[hash % LANES] =
                        digest_word(lanes, word);
            TEAM_BARRIER;
        }
    }

    ulong digest = 0;
    for (uint number = 0; number < PARTS; ++number) {
#pragma unroll
        for (uint i = 0; i < 8; ++i) {
            state[i] = absorbed[number][i];
            state[8 + i] = mixed[number][i];
        }
        pad(state, 16);
        KECCAK_F(state);
        digest ^= judge(results, own + number * LANES, target, mixed[number], state);
    }
#if LANES == 1
    // One sum per group first: the stripes are few, and all groups want the same.
    barrier(CLK_LOCAL_MEM_FENCE);
    exchange[get_local_id(0)] = digest;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) != 0)
        return;
    for (uint i = 1; i < GROUP; ++i)
        digest ^= exchange[i];
#endif
    add_to_stripe(results, digest);
}
