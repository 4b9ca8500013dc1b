/* ai.train: a transformer's training step in fp32, forward, backward and Adam.
 *
 * Every sum has a fixed order and there are no float atomics: the same step from the same state
 * gives the same bits.
 */

#ifndef LANES
#define LANES 1 /* floats side by side in an item's inner loop: 1 (GPU), 8 or 16 (CPU) */
#endif
#ifndef HEAD
#define HEAD 32 /* width of a head of attention; a query of it stays in registers */
#endif
#ifndef VOCABULARY
#define VOCABULARY 64 /* different tokens, a power of two */
#endif
#ifndef TILE
#define TILE 64 /* rows and columns of a product per work-group */
#endif
#ifndef BLOCK
#define BLOCK 4096 /* parameters per work-group of adam(), and per digest */
#endif

/*  A batch is (sequences, tokens); its tokens are the rows of all matrices, M of them:
 *
 *      stream      M x width        the residual stream; one before each half of each layer
 *      qkv         M x 3 width      queries | keys | values, each heads x HEAD
 *      log_sums    sequences x heads x tokens: log(sum(exp(scores))) of each query
 *      logits      M x VOCABULARY
 *
 *  Parameters, their gradients and Adam's two moments are one array each, tensor after tensor;
 *  a weight is (inputs, outputs). `transposed` holds the weights as (outputs, inputs) at the same
 *  offsets: every product then reads whole rows of its right side.
 */

#if LANES == 16
typedef float16 floatv;
typedef int16 intv;
typedef uint16 uintv;
#define AS_UINTV as_uint16
#define LANE_NUMBERS ((intv)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#elif LANES == 8
typedef float8 floatv;
typedef int8 intv;
typedef uint8 uintv;
#define AS_UINTV as_uint8
#define LANE_NUMBERS ((intv)(0, 1, 2, 3, 4, 5, 6, 7))
#else
typedef float floatv;
typedef int intv;
typedef uint uintv;
#define AS_UINTV as_uint
#define LANE_NUMBERS 0
#endif

#if LANES == 1
#define ROW_ITEMS 64   /* work-items that share a row */
#define BLOCK_ITEMS 256 /* work-items that share a block of parameters */
#else
#define ROW_ITEMS 1
#define BLOCK_ITEMS 1
#endif

#define NOTHING_CHANGED 0xffffffffu

typedef __global const float *restrict source;
typedef __global float *restrict target;

#define AT(array, index) (((__global floatv *)(array))[index])
#define FROM(array, index) (((__global const floatv *)(array))[index])

static inline float sum_of_lanes(const floatv x)
{
#if LANES == 16
    const float8 eight = x.lo + x.hi;
#elif LANES == 8
    const float8 eight = x;
#endif
#if LANES == 1
    return x;
#else
    const float4 four = eight.lo + eight.hi;
    const float2 two = four.lo + four.hi;
    return two.x + two.y;
#endif
}

static inline float max_of_lanes(const floatv x)
{
#if LANES == 16
    const float8 eight = fmax(x.lo, x.hi);
#elif LANES == 8
    const float8 eight = x;
#endif
#if LANES == 1
    return x;
#else
    const float4 four = fmax(eight.lo, eight.hi);
    const float2 two = fmax(four.lo, four.hi);
    return fmax(two.x, two.y);
#endif
}

/* The sum of all lanes' words, wrapping around. */
static inline uint sum_of_words(const uintv words)
{
    uint sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += ((const uint *)&words)[lane];
    return sum;
}

/* The sum of x over the `items` of a work-group, a power of two, for all of them. */
static inline float sum_of_items(const float x, const uint items, __local float *scratch)
{
    if (items == 1)
        return x;
    const uint item = get_local_id(0);
    scratch[item] = x;
    for (uint others = items / 2; others > 0; others /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < others)
            scratch[item] += scratch[item + others];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const float sum = scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

/* --- Random numbers: Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
 *     (SC11), the counter's last word telling what they are for. --- */

#define FOR_WEIGHTS 0
#define FOR_TOKENS 1

static inline uint4 philox(uint4 counter, uint2 key)
{
    for (int round = 0; round < 10; round++) {
        const uint high0 = mul_hi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        const uint high1 = mul_hi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = (uint4)(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

/* Fresh parameters of one tensor from `first` on, four per item: uniform between -range and range,
 * or 1 where range is 0; and moments of 0. */
__kernel void fresh(target parameters, target moment1, target moment2, const uint first,
                    const float range, const uint2 key)
{
    const uint quad = first / 4 + get_global_id(0);
    const uint4 bits = philox((uint4)(quad, 0, 0, FOR_WEIGHTS), key);
    const float4 uniform = convert_float4(as_int4(bits)) * (range * 0x1p-31f);
    vstore4(range == 0.0f ? (float4)(1.0f) : uniform, quad, parameters);
    vstore4((float4)(0.0f), quad, moment1);
    vstore4((float4)(0.0f), quad, moment2);
}

/* --- Rows: ROW_ITEMS items per row --- */

/* Draw the batch, and put the sum of its tokens' and positions' embeddings on the stream. A
 * sequence is a random phrase and its repetition. */
__kernel void embed(source embedding, source position, __global uint *restrict tokens,
                    target stream, const uint width, const uint sequence, const uint step,
                    const uint2 key)
{
    const uint row = get_group_id(0), item = get_local_id(0);
    const uint place = row % sequence, phrase = sequence / 2;
    const uint word = row / sequence * phrase + place % phrase;
    const uint4 bits = philox((uint4)(word / 4, step, 0, FOR_TOKENS), key);
    const uint half_of_bits = word % 4 / 2;
    const uint2 pair = half_of_bits ? bits.zw : bits.xy;
    const uint token = (word % 2 ? pair.y : pair.x) % VOCABULARY;
    if (item == 0)
        tokens[row] = token;
    for (uint i = item; i < width / LANES; i += ROW_ITEMS)
        AT(stream + row * width, i) =
            FROM(embedding + token * width, i) + FROM(position + place * width, i);
}

/* y = x * gain / rms(x), and scale = 1 / rms(x). */
__kernel void norm(source x, source gain, target y, target scale, const uint width,
                   __local float *scratch)
{
    const uint row = get_group_id(0), item = get_local_id(0);
    floatv squares = (floatv)(0.0f);
    for (uint i = item; i < width / LANES; i += ROW_ITEMS) {
        const floatv value = FROM(x + row * width, i);
        squares = value * value + squares;
    }
    const float square = sum_of_items(sum_of_lanes(squares), ROW_ITEMS, scratch);
    const float factor = 1.0f / sqrt(square / width + 1e-5f);
    for (uint i = item; i < width / LANES; i += ROW_ITEMS)
        AT(y + row * width, i) = FROM(x + row * width, i) * FROM(gain, i) * factor;
    if (item == 0)
        scale[row] = factor;
}

/* dx = rest + what dy is for the norm's input; `rest` comes along the residual stream. */
__kernel void norm_back(source x, source gain, source scale, source dy, source rest, target dx,
                        const uint width, const uint has_rest, __local float *scratch)
{
    const uint row = get_group_id(0), item = get_local_id(0);
    const float factor = scale[row];
    floatv products = (floatv)(0.0f);
    for (uint i = item; i < width / LANES; i += ROW_ITEMS)
        products = FROM(x + row * width, i) * FROM(dy + row * width, i) * FROM(gain, i) + products;
    const float product = sum_of_items(sum_of_lanes(products), ROW_ITEMS, scratch);
    const float along = product * factor * factor / width;
    for (uint i = item; i < width / LANES; i += ROW_ITEMS) {
        const floatv across = FROM(dy + row * width, i) * FROM(gain, i)
                              - FROM(x + row * width, i) * along;
        const floatv passed_by = has_rest ? FROM(rest + row * width, i) : (floatv)(0.0f);
        AT(dx + row * width, i) = across * factor + passed_by;
    }
}

/* Cross entropy of one row of logits against the next token, and its gradient in their place. What
 * follows the phrase's last token, and all after it, can be known; the rest does not count. */
__kernel void loss(target logits, __global const uint *restrict tokens, target losses,
                   const uint sequence, const float weight)
{
    const uint row = get_global_id(0);
    const uint place = row % sequence, phrase = sequence / 2;
    const uint next = tokens[row - place + (place + 1) % phrase];
    const int counts = place + 1 >= phrase;
    target scores = logits + row * VOCABULARY;

    floatv tops = FROM(scores, 0);
    for (uint i = 1; i < VOCABULARY / LANES; i++)
        tops = fmax(tops, FROM(scores, i));
    const float top = max_of_lanes(tops);
    floatv sums = (floatv)(0.0f);
    for (uint i = 0; i < VOCABULARY / LANES; i++)
        sums += exp(FROM(scores, i) - top);
    const float sum = sum_of_lanes(sums);

    losses[row] = counts ? (log(sum) + top - scores[next]) * weight : 0.0f;
    const float share = counts ? weight / sum : 0.0f;
    for (uint i = 0; i < VOCABULARY / LANES; i++)
        AT(scores, i) = exp(FROM(scores, i) - top) * share;
    if (counts)
        scores[next] -= weight;
}

/* --- Columns: an item sums LANES columns over rows --- */

/* dgain = sum over rows of dy * x / rms(x); items beside each other share a column's rows. */
__kernel void gain_back(source x, source scale, source dy, target dgain, const uint rows,
                        const uint width, __local floatv *scratch)
{
    const uint column = get_global_id(0), y = get_local_id(1), sharing = get_local_size(1);
    floatv sum = (floatv)(0.0f);
    for (uint row = y; row < rows; row += sharing)
        sum = FROM(x + row * width, column) * FROM(dy + row * width, column) * scale[row] + sum;
    scratch[y * get_local_size(0) + get_local_id(0)] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (y == 0) {
        for (uint other = 1; other < sharing; other++)
            sum += scratch[other * get_local_size(0) + get_local_id(0)];
        AT(dgain, column) = sum;
    }
}

/* Gradient of a token's embedding: the sum of dx over the rows that hold it. */
__kernel void embedding_back(source dx, __global const uint *restrict tokens, target dembedding,
                             const uint rows, const uint width)
{
    const uint column = get_global_id(0), token = get_global_id(1);
    floatv sum = (floatv)(0.0f);
    for (uint row = 0; row < rows; row++)
        if (tokens[row] == token)
            sum += FROM(dx + row * width, column);
    AT(dembedding + token * width, column) = sum;
}

/* Gradient of a position's embedding: the sum of dx over the batch. */
__kernel void position_back(source dx, target dposition, const uint rows, const uint width,
                            const uint sequence)
{
    const uint column = get_global_id(0), place = get_global_id(1);
    floatv sum = (floatv)(0.0f);
    for (uint row = place; row < rows; row += sequence)
        sum += FROM(dx + row * width, column);
    AT(dposition + place * width, column) = sum;
}

#include "ai_train_product.cl"

/* Every weight as (outputs, inputs). `matrices` tells (offset, rows, columns, first tile) of each,
 * and ends with one whose first tile is beyond the last; an item carries a 16 x 16 tile. */
#define SQUARE 16

__kernel void transpose(source parameters, target transposed, __global const uint4 *restrict matrices)
{
    const uint tile = get_global_id(0);
    uint which = 0;
    while (matrices[which + 1].w <= tile)
        which++;
    const uint4 matrix = matrices[which];
    const uint inside = tile - matrix.w, across = matrix.z / SQUARE;
    const uint row = inside / across * SQUARE, column = inside % across * SQUARE;
    source from = parameters + matrix.x + row * matrix.z + column;
    target to = transposed + matrix.x + column * matrix.y + row;
    for (uint i = 0; i < SQUARE; i++)
        for (uint j = 0; j < SQUARE; j++)
            to[i * matrix.y + j] = from[j * matrix.z + i];
}

#include "ai_train_attention.cl"

/* --- The update: squares of the gradients, their norm, and Adam --- */

/* Sum of the squares of one BLOCK of gradients per work-group. */
__kernel void square(source gradients, target squares, const uint count, __local float *scratch)
{
    const uint block = get_group_id(0), item = get_local_id(0);
    const uint end = min(count, (block + 1) * (uint)BLOCK) / LANES;
    floatv sum = (floatv)(0.0f);
    for (uint i = block * (BLOCK / LANES) + item; i < end; i += BLOCK_ITEMS)
        sum = FROM(gradients, i) * FROM(gradients, i) + sum;
    const float total = sum_of_items(sum_of_lanes(sum), BLOCK_ITEMS, scratch);
    if (item == 0)
        squares[block] = total;
}

/* One line in the journal of steps: loss, gradient norm, changed block, step. One work-group. The
 * third word is adam()'s, which follows. */
__kernel void record(source losses, source squares, __global uint4 *restrict journal, target norm,
                     const uint rows, const uint blocks, const uint step, const uint line,
                     __local float *scratch)
{
    const uint item = get_local_id(0);
    float loss = 0.0f, total = 0.0f;
    for (uint i = item; i < rows; i += BLOCK_ITEMS)
        loss += losses[i];
    for (uint i = item; i < blocks; i += BLOCK_ITEMS)
        total += squares[i];
    loss = sum_of_items(loss, BLOCK_ITEMS, scratch);
    total = sum_of_items(total, BLOCK_ITEMS, scratch);
    if (item == 0) {
        *norm = sqrt(total);
        journal[line] = (uint4)(as_uint(loss), as_uint(sqrt(total)), NOTHING_CHANGED, step);
    }
}

/* Adam (Kingma and Ba, 2015) on one BLOCK of parameters per work-group; gradients whose norm is
 * above 1 are scaled down to it.
 *
 * Each item leaves a digest of all that it wrote and compares it with what it reads a step later:
 * when memory lost a bit in between, the journal tells the first such block. The digest is the sum
 * of all words, each times an odd number of its own: no single wrong word leaves it as it was.
 *
 * rate is the learning rate over 1 - decay1^step, correction is 1 / sqrt(1 - decay2^step). */
__kernel void adam(target parameters, target moment1, target moment2, source gradients,
                   __global uint *restrict digests, __global uint *restrict journal, source norm,
                   const uint count, const float rate, const float correction, const uint line,
                   const uint is_first)
{
    const uint block = get_group_id(0), item = get_local_id(0);
    const uint end = min(count, (block + 1) * (uint)BLOCK) / LANES;
    const float clip = 1.0f / fmax(1.0f, *norm);
    uintv before = (uintv)(0), after = (uintv)(0);
    for (uint i = block * (BLOCK / LANES) + item; i < end; i += BLOCK_ITEMS) {
        const uintv odd = AS_UINTV(LANE_NUMBERS) * 2 + (2 * LANES * i + 1);
        const floatv gradient = FROM(gradients, i) * clip;
        floatv parameter = AT(parameters, i), m = AT(moment1, i), v = AT(moment2, i);
        before += odd * (AS_UINTV(parameter) + 3 * AS_UINTV(m) + 5 * AS_UINTV(v));
        m = 0.9f * m + 0.1f * gradient;
        v = 0.95f * v + 0.05f * (gradient * gradient);
        parameter -= rate * m / (sqrt(v) * correction + 1e-8f);
        after += odd * (AS_UINTV(parameter) + 3 * AS_UINTV(m) + 5 * AS_UINTV(v));
        AT(parameters, i) = parameter;
        AT(moment1, i) = m;
        AT(moment2, i) = v;
    }
    if (!is_first && sum_of_words(before) != digests[get_global_id(0)])
        atomic_min(journal + 4 * line + 2, block);
    digests[get_global_id(0)] = sum_of_words(after);
}
