// What the search kernels share: the nonces that they return, and digests over all results.
//
// Results of a launch, 64-bit words: [0] count; [1 .. STRIPES] digests; then FOUND_MAX times the
// nonce and the 4 words of its hash. `exchange` is local memory of 8 bytes per work-item.

// Work-items of a group.
#ifndef GROUP
#define GROUP 64
#endif

// Results that one launch can return; those beyond are counted only.
#ifndef FOUND_MAX
#define FOUND_MAX 64
#endif

// Parts of a launch with a digest of their own, so that one part can be run again.
#ifndef STRIPES
#define STRIPES 8
#endif

#define ENTRY_WORDS 5

static void keep(global ulong *results, ulong nonce, const ulong *hash)
{
    const uint slot = atomic_inc((global uint *)results);
    if (slot >= FOUND_MAX)
        return;
    global ulong *entry = results + 1 + STRIPES + slot * ENTRY_WORDS;
    entry[0] = nonce;
#pragma unroll
    for (uint i = 0; i < 4; ++i)
        entry[1 + i] = hash[i];
}

// To be called by all work-items of a group.
static void add_to_digest(global ulong *results, ulong digest, local ulong *exchange)
{
    // One sum per group first: the stripes are few, and all groups want the same.
    exchange[get_local_id(0)] = digest;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) == 0) {
        for (uint i = 1; i < GROUP; ++i)
            digest ^= exchange[i];
        const uint stripe = get_group_id(0) * STRIPES / get_num_groups(0);
        global uint *sum = (global uint *)(results + 1 + stripe);
        atomic_xor(sum, (uint)digest);
        atomic_xor(sum + 1, (uint)(digest >> 32));
    }
}
