// The memory test: patterns are written all over the device's memory, and must be found again.
//
// Sources: the tests of Memtest86 (memtest86.com, "Technical information") and, on GPUs, Shi et al.,
// "Testing for Soft Errors on GPUs", SAAHPC 2009; the mixer is MurmurHash3's finaliser (Appleby).

// Vector lanes of 32 bits: 1 on a GPU, 8 or 16 on a processor.
#ifndef LANES
#define LANES 1
#endif

// Words of a granule, the unit in which memory is worked on; a power of two.
#ifndef GRANULE_WORDS
#define GRANULE_WORDS (1 << 18)
#endif

// Faulty words that one launch names one by one; the others are counted.
#ifndef RECORDS
#define RECORDS 8
#endif

// Words per work-item whose bits are looked at; a memory that is all wrong must not take for ever.
#ifndef CLOSE_LOOKS
#define CLOSE_LOOKS 4
#endif

// Memory lies in several buffers. Word i of a buffer holds what the kind of pattern says:
//
//   CONSTANT  value                      RANDOM  i and value, mixed
//   ADDRESS   i + value                  MODULO  ones where i % 20 == value, else zeros
//   WALKING   one bit, (i + value) % 32  MOVED   RANDOM, after both moves of the block move
//
// or its complement. The block move copies the lower half of each granule over the upper one, and
// that back over the lower one, turned by 64 bytes.
//
//   group 0:  item 0, 1, ..., 0, 1, ...     each item `run` vectors; neighbours take turns, a group
//            [ v  | v  | ... | v | v  |     of one goes on and on
//
// What each segment of a launch found, FOUND_WORDS: [0] faulty words; [1] complement of the lowest index; [2] highest;
// [3] records; then bits that went from 0 to 1 (32); from 1 to 0 (32); records of index, expected,
// found.

#define FOUND_WORDS (4 + 64 + 3 * RECORDS)

#define CONSTANT 0
#define ADDRESS 1
#define WALKING 2
#define RANDOM 3
#define MODULO 4
#define MOVED 5

#if LANES == 16
typedef uint16 words;
#define NUMBERS ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#elif LANES == 8
typedef uint8 words;
#define NUMBERS ((uint8)(0, 1, 2, 3, 4, 5, 6, 7))
#else
typedef uint4 words; // the most that one work-item of a GPU loads at once
#define NUMBERS ((uint4)(0, 1, 2, 3))
#endif

#define WIDTH ((uint)(sizeof(words) / 4))
#define GRANULE (GRANULE_WORDS / WIDTH)
#define TURNED (16 / WIDTH)

static words mixed(words x)
{
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    return x ^ (x >> 16);
}

// Where the word that ends up at i came from.
static words before_moves(const words i)
{
    const words within = i & (GRANULE_WORDS - 1);
    const words is_upper = within / (GRANULE_WORDS / 2);
    const words turned = (within - 16 * (1 - is_upper)) & (GRANULE_WORDS / 2 - 1);
    return i - within + turned;
}

static words pattern(const uint kind, const words i, const uint value, const uint complement)
{
    switch (kind) {
    case ADDRESS:
        return (i + value) ^ complement;
    case WALKING:
        return ((words)1 << ((i + value) & 31)) ^ complement;
    case RANDOM:
        return mixed(i ^ value) ^ complement;
    case MODULO:
        return (i % 20 == value ? (words)0xffffffffu : (words)0) ^ complement;
    case MOVED:
        return mixed(before_moves(i) ^ value) ^ complement;
    default:
        return (words)(value ^ complement);
    }
}

#define FIRST_OF_ITEM (first + get_group_id(0) * run * get_local_size(0) + get_local_id(0))

// `first` is a vector of the buffer, here and below.
kernel void write(global words *memory, const uint first, const uint run, const uint kind,
                  const uint value, const uint complement)
{
    size_t at = FIRST_OF_ITEM;
    for (uint k = 0; k < run; ++k, at += get_local_size(0))
        memory[at] = pattern(kind, (uint)at * WIDTH + NUMBERS, value, complement);
}

// Only the words with i % 20 == value, or only the others; one by one, so that none of the rest is
// touched.
kernel void write_modulo(global uint *memory, const uint first, const uint run, const uint others,
                         const uint value, const uint complement)
{
    const size_t step = get_local_size(0);
    size_t at = first * (size_t)WIDTH + get_group_id(0) * run * WIDTH * step + get_local_id(0);
    for (uint k = 0; k < run * WIDTH; ++k, at += step)
        if (((uint)at % 20 != value) == others)
            memory[at] = others ? complement : ~complement;
}

kernel void move(global words *memory, const uint first, const uint run, const uint is_back)
{
    const uint half_granule = GRANULE / 2;
    uint at = get_group_id(0) * run * get_local_size(0) + get_local_id(0);
    for (uint k = 0; k < run; ++k, at += get_local_size(0)) {
        const size_t lower = first + (size_t)(at / half_granule) * GRANULE;
        const size_t upper = lower + half_granule;
        const uint in_half = at % half_granule;
        if (is_back)
            memory[lower + (in_half + TURNED) % half_granule] = memory[upper + in_half];
        else
            memory[upper + in_half] = memory[lower + in_half];
    }
}

// One faulty word: a record while there is room, and its bits.
static void look_closely(global uint *found, const uint i, const uint expected, const uint actual)
{
    const uint record = atomic_inc(&found[3]);
    if (record < RECORDS) {
        global uint *entry = found + 68 + 3 * record;
        entry[0] = i;
        entry[1] = expected;
        entry[2] = actual;
    }
    for (uint bit = 0; bit < 32; ++bit)
        if (((expected ^ actual) >> bit) & 1)
            atomic_inc(&found[((expected >> bit) & 1 ? 36 : 4) + bit]);
}

// Compares, and then writes the complement if `turns`.
kernel void check(global words *memory, const uint first, const uint run, const uint kind,
                  const uint value, const uint complement, const uint turns, global uint *results,
                  const uint number)
{
    global uint *found = results + number * FOUND_WORDS;
    size_t at = FIRST_OF_ITEM;
    uint faulty = 0, lowest = 0xffffffffu, highest = 0;
    for (uint k = 0; k < run; ++k, at += get_local_size(0)) {
        const words expected = pattern(kind, (uint)at * WIDTH + NUMBERS, value, complement);
        const words actual = memory[at];
        if (turns)
            memory[at] = ~expected;
        if (any(expected != actual)) {
            for (uint lane = 0; lane < WIDTH; ++lane) {
                const uint should = ((const uint *)&expected)[lane];
                const uint is = ((const uint *)&actual)[lane];
                if (should == is)
                    continue;
                const uint i = (uint)at * WIDTH + lane;
                if (faulty++ < CLOSE_LOOKS)
                    look_closely(found, i, should, is);
                lowest = min(lowest, i);
                highest = max(highest, i);
            }
        }
    }
    if (faulty) {
        atomic_add(&found[0], faulty);
        atomic_max(&found[1], ~lowest);
        atomic_max(&found[2], highest);
    }
}
