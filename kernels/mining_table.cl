// What loads with a large table share: its pieces, and what a search returns.

// Buffers that hold the table: 1, 2 or 4; page p lies in buffer p % PIECES. 0 is for tests: the
// first buffer holds some pages only, and word p of the second says where page p is.
#ifndef PIECES
#define PIECES 1
#endif

// 32-bit words of a page: what a hash reads at one place.
#ifndef PAGE_WORDS
#define PAGE_WORDS 32
#endif

// Results that one launch can return; those beyond are counted only.
#ifndef FOUND_MAX
#define FOUND_MAX 64
#endif

// Parts of a launch with a digest of their own, so that one part can be run again.
#ifndef STRIPES
#define STRIPES 8
#endif

// Results of a launch, 64-bit words: [0] count; [1 .. STRIPES] digests; then FOUND_MAX times
// nonce, mix (4), result (4).

#define TABLE global uint *t0, global uint *t1, global uint *t2, global uint *t3
#define TABLE_PIECES t0, t1, t2, t3

#define FNV_PRIME 0x01000193u

// n mod divisor for 32-bit numbers, with reciprocal = floor(2^64 / divisor) + 1.
// Source: Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019, theorem 1.
static uint remainder_of(uint n, uint divisor, ulong reciprocal)
{
    return (uint)mul_hi(reciprocal * n, (ulong)divisor);
}

static global uint *page_of(uint page, TABLE)
{
#if PIECES == 0
    return t0 + (size_t)t1[page] * PAGE_WORDS;
#elif PIECES == 1
    return t0 + (size_t)page * PAGE_WORDS;
#elif PIECES == 2
    return (page % 2 ? t1 : t0) + (size_t)(page / 2) * PAGE_WORDS;
#else
    global uint *even = page % 4 == 2 ? t2 : t0;
    global uint *odd = page % 4 == 3 ? t3 : t1;
    return (page % 2 ? odd : even) + (size_t)(page / 4) * PAGE_WORDS;
#endif
}

// Asks a processor for a line of 64 bytes that will soon be read. OpenCL's prefetch() does nothing
// in PoCL; a GPU has other hashes to go on with.
#if LANES > 1 && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#define FETCH_LINE(address) __builtin_prefetch((const void *)(size_t)(address))
#endif
#endif
#ifndef FETCH_LINE
#define FETCH_LINE(address)
#endif

// Whether the result, read as a big-endian number, begins with 64 bits below `target`.
static bool is_below(ulong first_of_result, ulong target)
{
    return as_ulong(as_uchar8(first_of_result).s76543210) < target;
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

// `digest` of a group's results into the sum of its stripe of the launch.
static void add_to_stripe(global ulong *results, ulong digest)
{
    const uint stripe = get_group_id(0) * STRIPES / get_num_groups(0);
    global uint *sum = (global uint *)(results + 1 + stripe);
    atomic_xor(sum, (uint)digest);
    atomic_xor(sum + 1, (uint)(digest >> 32));
}
