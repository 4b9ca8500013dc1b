/* The processor's fused multiply-adds: enough independent vectors to keep every unit busy. */

#include "peer.h"
#include <immintrin.h>

#define STEPS 1000000
#ifdef __AVX512F__
#define VECTORS 16
#define LANES 16
typedef __m512 floats;
#define SPLAT _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#else
#define VECTORS 12
#define LANES 8
typedef __m256 floats;
#define SPLAT _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#endif

volatile float total;

static void work(unsigned thread, unsigned threads, unsigned round)
{
    floats x[VECTORS];
    const floats factor = SPLAT(1.0f - 0.0f * (float)round), term = SPLAT((float)(thread + 1));
    (void)threads;
    for (unsigned v = 0; v < VECTORS; ++v)
        x[v] = SPLAT((float)v);
    for (unsigned k = 0; k < STEPS; ++k) {
#pragma GCC unroll 16
        for (unsigned v = 0; v < VECTORS; ++v)
            x[v] = FMA(x[v], factor, term);
    }
    for (unsigned v = 1; v < VECTORS; ++v)
        x[0] = FMA(x[v], factor, x[0]);
    total = ((float *)x)[0];
}

int main(void)
{
    serve((double)sysconf(_SC_NPROCESSORS_ONLN) * STEPS * 2.0 * VECTORS * LANES);
}
