// gaming.pathtrace: the scene of gaming.frame by following light from the eye, bounce by bounce.
//
// One kernel, trace, adds PATHS paths per pixel to the mean of a shot; gaming_post.cl makes the
// picture. The host side is gpupanel/stress/gaming/sculpture/pathtrace.py; sculpture/path_oracle.py
// follows the same paths in NumPy, with the same random numbers.

#ifndef LANES
#define LANES 1         // pixels per work-item, side by side in a row: 1 on a GPU, 8 or 16 on a CPU
#endif
#ifndef INSTANCES
#define INSTANCES 2048  // a multiple of CLUSTER
#endif
#ifndef TEXELS
#define TEXELS 512      // edge of the texture, a power of two
#endif
#ifndef RIPPLES
#define RIPPLES 512     // edge of the ripples, a power of two
#endif
#ifndef MARGIN
#define MARGIN 144      // columns left and right of a plane
#endif

// Data layout (all 32-bit); of `size`, x and y are the picture's, z is from row to row of a plane.
// x is a multiple of 16. Of `plan`, x is the number of the first path, y paths per pixel, z bounces,
// w how many paths the mean already holds.
//   tick, texture, ripples   as gaming_scene.cl draws them; near instances stand side by side
//   clusters  8 floats per 16 instances: lowest corner of their box, 0, highest corner, 0
//   before, after   3 planes: red, green, blue, linear: means of all paths of a shot so far

#include "gaming_scene.cl"

#define CLUSTER 16
#define CLUSTERS (INSTANCES / CLUSTER)
#define SUN_SPREAD 0.025f
#define OFF 0.004f      // where a path goes on, above the surface that it met

// ---- random numbers ----------------------------------------------------------------------

// C. Wellons' lowbias32, found by search: every bit of x changes half of the bits.
static U mixed(U x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

// A function of pixel, path and number alone: 0 to 1, below 1.
static F chance(U path, uint number)
{
    return FLOAT(AS_INT(mixed(path + number * 0x9e3779b9u) >> 8)) * (1.0f / 16777216.0f);
}

static V3 on_ball(F a, F b)
{
    F z = 1.0f - 2.0f * a, turn = 6.28318531f * b;
    F flat = sqrt(max(1.0f - z * z, (F)(0.0f)));
    return v3(flat * cos(turn), z, flat * sin(turn));
}

// ---- rays --------------------------------------------------------------------------------

static F no_zero(F x) { return PICK(fabs(x) < 1.0e-9f, (F)(1.0e-9f), x); }

// The nearest instance before t, by boxes around clusters of them; dead lanes have t 0.
static F nearest(__global const float *tick, __global const float *clusters, V3 o, V3 d, F t, I *what)
{
    V3 per = v3(1.0f / no_zero(d.x), 1.0f / no_zero(d.y), 1.0f / no_zero(d.z));
    V3 start = mul(o, per);
    for (int c = 0; c < CLUSTERS; ++c) {
        V3 low = sub(mul(fetch3(clusters + 8 * c), per), start);
        V3 high = sub(mul(fetch3(clusters + 8 * c + 4), per), start);
        F near = max(max(min(low.x, high.x), min(low.y, high.y)), min(low.z, high.z));
        F far = min(min(max(low.x, high.x), max(low.y, high.y)), max(low.z, high.z));
        if (!ANY((near < far) & (far > 0.0f) & (near < t))) continue;
        for (int i = CLUSTER * c; i < CLUSTER * c + CLUSTER; ++i) {
            F distance = hit_instance(instance_of(tick, i), o, d);
            *what = PICK_I(distance < t, i, *what);
            t = min(distance, t);
        }
    }
    return t;
}

static I in_sun(__global const float *tick, __global const float *clusters, V3 p, V3 way, I asked)
{
    I what = (I)(SKY);
    nearest(tick, clusters, p, way, PICK(asked, (F)(FAR), (F)(0.0f)), &what);
    return asked & (what == SKY);
}

typedef struct {
    V3 o, d, through;   // where the path goes on, and what light from there is worth
    V3 light;           // what it has brought so far
    I live;
} Path;

// What a path meets next; number counts the random numbers that it has used.
static void bounce(__global const float *tick, __global const int *texture, __global const int *ripples,
                   __global const float *clusters, U seed, uint number, Path *path)
{
    V3 o = path->o, d = path->d;
    F t = hit_pool(o, d);
    I what = PICK_I(t < FAR, POOL, SKY);
    t = nearest(tick, clusters, o, d, PICK(path->live, t, (F)(0.0f)), &what);
    I outside = path->live & (what == SKY);
    if (ANY(outside)) {
        V3 from = mul(path->through, sky(texture, d, tick[3]));
        path->light = choose(outside, add(path->light, from), path->light);
    }
    path->live = path->live & (what != SKY);
    if (!ANY(path->live)) return;

    V3 p = add(o, scale(d, t));
    Surface s = surface_at(tick, texture, ripples, p, what);
    I lamp = path->live & (s.roughness == 0.0f);
    V3 shine = scale(mul(path->through, s.albedo), (F)(LAMP_LIGHT));
    path->light = choose(lamp, add(path->light, shine), path->light);
    path->live = path->live & (lamp == 0);

    I metal = s.roughness < 0.0f;
    F facing = sat(-dot3(d, s.n)), c = 1.0f - facing, c2 = c * c, c5 = c2 * c2 * c;
    I mirrors = metal | (chance(seed, number) < 0.04f + 0.96f * c5);
    V3 tint = choose(metal, blend(s.albedo, rgb(1.0f, 1.0f, 1.0f), c5), rgb(1.0f, 1.0f, 1.0f));
    path->through = mul(path->through, choose(mirrors, tint, s.albedo));
    V3 ball = on_ball(chance(seed, number + 1), chance(seed, number + 2));
    path->o = add(p, scale(s.n, (F)(OFF)));

    V3 sunward = unit(add(SUN, scale(on_ball(chance(seed, number + 3), chance(seed, number + 4)), (F)(SUN_SPREAD))));
    F cosine = max(dot3(s.n, sunward), (F)(0.0f));
    I asked = path->live & (mirrors == 0) & (cosine > 0.0f);
    if (ANY(asked)) {
        I sunny = in_sun(tick, clusters, path->o, sunward, asked);
        V3 sun = mul(path->through, scale(SUN_LIGHT, cosine));
        path->light = choose(sunny, add(path->light, sun), path->light);
    }
    V3 back = add(sub(d, scale(s.n, 2.0f * dot3(d, s.n))), scale(ball, s.roughness * s.roughness));
    back = sub(back, scale(s.n, 2.0f * min(dot3(back, s.n), (F)(0.0f))));
    V3 spread = add(s.n, scale(ball, (F)(0.999f)));
    path->d = unit(choose(mirrors, back, spread));
}

// Global size: packets of columns, rows.
__kernel void trace(__global const float *restrict tick, __global const int *restrict texture,
                    __global const int *restrict ripples, __global const float *restrict clusters,
                    __global const float *restrict before, __global float *restrict after,
                    int4 size, int4 plan)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.x || row >= size.y) return;
    F x = (float)column + LANE_NUMBERS;
    V3 sum = rgb(0.0f, 0.0f, 0.0f);
    for (int k = 0; k < plan.y; ++k) {
        U seed = mixed(mixed((U)((uint)(plan.x + k))) + AS_UINT(INT(x) + row * size.x));
        F u = (2.0f * (x + chance(seed, 0)) - size.x) / (float)size.y;
        F v = (size.y - 2.0f * ((float)row + chance(seed, 1))) / (float)size.y;
        Path path;
        path.o = fetch3(tick);
        path.d = unit(add(fetch3(tick + 12), add(scale(fetch3(tick + 4), u), scale(fetch3(tick + 8), v))));
        path.through = rgb(1.0f, 1.0f, 1.0f);
        path.light = rgb(0.0f, 0.0f, 0.0f);
        path.live = x >= 0.0f;
        for (int n = 0; n <= plan.z && ANY(path.live); ++n) {
            bounce(tick, texture, ripples, clusters, seed, 2 + 5 * n, &path);
        }
        sum = add(sum, path.light);
    }
    int plane = size.y * size.z, at = row * size.z + MARGIN + column;
    F share = (F)(1.0f / (plan.y + plan.w)), kept = (F)((float)plan.w / (plan.y + plan.w));
    for (int k = 0; k < 3; ++k) {
        F mean = (k == 0 ? sum.x : k == 1 ? sum.y : sum.z) * share;
        if (plan.w > 0) mean += kept * LOAD(before + k * plane + at);
        STORE(mean, after + k * plane + at);
    }
}
