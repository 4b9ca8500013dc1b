/* Part of ai_train.cl, which takes it in. */

/* --- Attention, causal: LANES queries (or keys) per item; their numbers lie in lanes, so that no
 *     sum goes across lanes. --- */

#define KEYS 8 /* keys (or queries) that an item looks at in one go */
#define QUERY_SCALE (HEAD == 16 ? 0.25f : HEAD == 32 ? 0.17677669529663687f : 0.125f)

/* HEAD floats of LANES rows that are `pitch` apart, turned. */
static inline void gather(floatv *to, source from, const uint pitch)
{
    for (uint lane = 0; lane < LANES; lane++)
        for (uint i = 0; i < HEAD; i++)
            ((float *)to)[i * LANES + lane] = from[lane * pitch + i];
}

static inline void scatter(target to, const floatv *from, const uint pitch)
{
    for (uint lane = 0; lane < LANES; lane++)
        for (uint i = 0; i < HEAD; i++)
            to[lane * pitch + i] = ((const float *)from)[i * LANES + lane];
}

/* products[j] = the LANES vectors times row j of KEYS rows that are `pitch` apart. */
static inline void products_with(floatv *products, const floatv *vectors, source rows,
                                 const uint pitch)
{
#pragma unroll
    for (int j = 0; j < KEYS; j++)
        products[j] = (floatv)(0.0f);
    for (uint i = 0; i < HEAD; i++)
#pragma unroll
        for (int j = 0; j < KEYS; j++)
            products[j] = rows[j * pitch + i] * vectors[i] + products[j];
}

/* sums = sums * factor + weights[j] * row j of KEYS rows. */
static inline void add_rows(floatv *sums, const floatv factor, const floatv *weights, source rows,
                            const uint pitch)
{
    for (uint i = 0; i < HEAD; i++) {
        floatv sum = sums[i] * factor;
#pragma unroll
        for (int j = 0; j < KEYS; j++)
            sum = rows[j * pitch + i] * weights[j] + sum;
        sums[i] = sum;
    }
}

/* mixed = softmax(q k / sqrt(HEAD)) v, and the logarithm of each softmax's sum. */
__kernel void attend(source qkv, target mixed, target log_sums, const uint sequence,
                     const uint heads)
{
    const uint blocks = sequence / LANES, item = get_global_id(0);
    const uint first = item % blocks * LANES, head = item / blocks % heads;
    const uint width = heads * HEAD, pitch = 3 * width;
    const uint start = item / blocks / heads * sequence;
    source queries = qkv + start * pitch + head * HEAD;
    source keys = queries + width, values = keys + width;

    floatv q[HEAD], sums[HEAD];
    gather(q, queries + first * pitch, pitch);
    for (uint i = 0; i < HEAD; i++) {
        q[i] *= QUERY_SCALE;
        sums[i] = (floatv)(0.0f);
    }
    floatv top = (floatv)(-INFINITY), total = (floatv)(0.0f);
    for (uint key = 0; key < first + LANES; key += KEYS) {
        floatv scores[KEYS];
        products_with(scores, q, keys + key * pitch, pitch);
        floatv new_top = top;
#pragma unroll
        for (int j = 0; j < KEYS; j++) {
            const intv is_later = (intv)(key + j) > LANE_NUMBERS + (intv)(first);
            scores[j] = is_later ? (floatv)(-INFINITY) : scores[j];
            new_top = fmax(new_top, scores[j]);
        }
        const floatv shrink = exp(top - new_top);
        total *= shrink;
#pragma unroll
        for (int j = 0; j < KEYS; j++) {
            scores[j] = exp(scores[j] - new_top);
            total += scores[j];
        }
        add_rows(sums, shrink, scores, values + key * pitch, pitch);
        top = new_top;
    }
    for (uint i = 0; i < HEAD; i++)
        sums[i] /= total;
    scatter(mixed + (start + first) * width + head * HEAD, sums, width);
    AT(log_sums, item) = top + log(total);
}

/* Gradients of the queries; `inner` becomes mixed * dmixed of each. */
__kernel void attend_back_queries(source qkv, source mixed, source dmixed, source log_sums,
                                  target inner, target dqkv, const uint sequence, const uint heads)
{
    const uint blocks = sequence / LANES, item = get_global_id(0);
    const uint first = item % blocks * LANES, head = item / blocks % heads;
    const uint width = heads * HEAD, pitch = 3 * width;
    const uint start = item / blocks / heads * sequence;
    source queries = qkv + start * pitch + head * HEAD;
    source keys = queries + width, values = keys + width;
    const size_t at = (start + first) * width + head * HEAD;

    floatv q[HEAD], dm[HEAD], dq[HEAD];
    gather(dm, dmixed + at, width);
    gather(q, mixed + at, width);
    floatv product = (floatv)(0.0f);
    for (uint i = 0; i < HEAD; i++)
        product = q[i] * dm[i] + product;
    AT(inner, item) = product;

    gather(q, queries + first * pitch, pitch);
    for (uint i = 0; i < HEAD; i++) {
        q[i] *= QUERY_SCALE;
        dq[i] = (floatv)(0.0f);
    }
    const floatv log_sum = FROM(log_sums, item);
    for (uint key = 0; key < first + LANES; key += KEYS) {
        floatv scores[KEYS], dweights[KEYS];
        products_with(scores, q, keys + key * pitch, pitch);
        products_with(dweights, dm, values + key * pitch, pitch);
#pragma unroll
        for (int j = 0; j < KEYS; j++) {
            const intv is_later = (intv)(key + j) > LANE_NUMBERS + (intv)(first);
            const floatv weight = is_later ? (floatv)(0.0f) : exp(scores[j] - log_sum);
            scores[j] = weight * (dweights[j] - product);
        }
        add_rows(dq, (floatv)(1.0f), scores, keys + key * pitch, pitch);
    }
    for (uint i = 0; i < HEAD; i++)
        dq[i] *= QUERY_SCALE;
    scatter(dqkv + (start + first) * pitch + head * HEAD, dq, pitch);
}

/* Gradients of the keys and values, which lie in lanes here. */
__kernel void attend_back_keys(source qkv, source dmixed, source log_sums, source inner,
                               target dqkv, const uint sequence, const uint heads)
{
    const uint blocks = sequence / LANES, item = get_global_id(0);
    const uint first = item % blocks * LANES, head = item / blocks % heads;
    const uint width = heads * HEAD, pitch = 3 * width;
    const uint start = item / blocks / heads * sequence;
    source queries = qkv + start * pitch + head * HEAD;
    source dmixed_rows = dmixed + start * width + head * HEAD;
    source log_sum = log_sums + item / blocks * sequence, product = inner + item / blocks * sequence;

    floatv k[HEAD], v[HEAD], dk[HEAD], dv[HEAD];
    gather(k, queries + first * pitch + width, pitch);
    gather(v, queries + first * pitch + 2 * width, pitch);
    for (uint i = 0; i < HEAD; i++) {
        k[i] *= QUERY_SCALE;
        dk[i] = dv[i] = (floatv)(0.0f);
    }
    for (uint query = first / KEYS * KEYS; query < sequence; query += KEYS) {
        floatv weights[KEYS], dscores[KEYS];
        products_with(weights, k, queries + query * pitch, pitch);
        products_with(dscores, v, dmixed_rows + query * width, width);
#pragma unroll
        for (int j = 0; j < KEYS; j++) {
            const intv is_later = LANE_NUMBERS + (intv)(first) > (intv)(query + j);
            weights[j] = is_later ? (floatv)(0.0f) : exp(weights[j] - log_sum[query + j]);
            dscores[j] = weights[j] * (dscores[j] - product[query + j]);
        }
        add_rows(dv, (floatv)(1.0f), weights, dmixed_rows + query * width, width);
        add_rows(dk, (floatv)(1.0f), dscores, queries + query * pitch, pitch);
    }
    for (uint i = 0; i < HEAD; i++)
        dk[i] *= QUERY_SCALE;
    target dkeys = dqkv + (start + first) * pitch + width + head * HEAD;
    scatter(dkeys, dk, pitch);
    scatter(dkeys + width, dv, pitch);
}
