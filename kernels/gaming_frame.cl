// gaming.frame: one frame of a game as a deferred renderer draws it, every pass a kernel.
//
//   project   bounds of each instance on the screen and in the sun's map
//   bin       for each tile of 16 x 16, a bit for every instance that may show in it
//   shadow    the sun's map: how far its light comes
//   raster    the G-buffer: depth, normal, material and motion of what each pixel shows
//   occlude   ambient occlusion from the depths around a pixel
//   shade     physically based light: sun through the map, lamps, sky
// The passes from light to picture are in gaming_post.cl. The host side is
// gpupanel/stress/gaming/sculpture/frame.py; sculpture/frame_oracle.py is every pass in NumPy.

#ifndef LANES
#define LANES 1         // pixels per work-item, side by side in a row: 1 on a GPU, 8 or 16 on a CPU
#endif
#ifndef INSTANCES
#define INSTANCES 2048  // a multiple of 32
#endif
#ifndef LAMPS
#define LAMPS 24        // the first instances, which shine
#endif
#ifndef TEXELS
#define TEXELS 512      // edge of the texture, a power of two
#endif
#ifndef RIPPLES
#define RIPPLES 512     // edge of the ripples, a power of two
#endif
#ifndef MARGIN
#define MARGIN 144      // columns left and right of a plane; occlusion looks that far at most
#endif
#ifndef MAP_HALF
#define MAP_HALF 25.0f  // half the width of the sun's map, in the scene
#endif

// Data layout (all 32-bit); of `size`, x and y are the picture's, z is from row to row of a plane,
// w the edge of the sun's map. x and w are multiples of 16.
//   tick, texture, ripples   as gaming_scene.cl draws them
//   bounds    8 planes of INSTANCES: left, right, top, bottom in pixels, the same in the map
//   masks     per tile INSTANCES / 32 words; tiles of the screen row by row, or of the map
//   map       w rows of w: distance from the sun's plane, FAR where nothing stops the light
//   seen      4 planes of y rows of z: depth along the view (FAR: sky), normal as an octahedron in
//             2 x 16 bits, colour and material in 4 x 8 bits, motion in pixels in 2 x 8.8 bits
//   taps      32 rows of TAPS x (right, down): occlusion's for row % 4 + 4 * (frame % 8)
//   open      1 plane: share of the sky that a pixel is open to
//   light     3 planes: red, green, blue, linear
// A plane's row: MARGIN | pixels | MARGIN. The margins of depth hold FAR.

#include "gaming_scene.cl"

#define TILE 16
#define TAPS 16
#define FIELD_OF_VIEW 0.52f
#define MAP_X rgb(-0.74984f, 0.0f, -0.66162f)
#define MAP_Y rgb(-0.27804f, 0.90741f, 0.31512f)
#define MAP_FAR 40.0f   // from the middle of the scene to the sun's plane
#define OCCLUDER 1.5f   // how far away something may still take light from a point

static int tiles_of(int pixels) { return (pixels + TILE - 1) / TILE; }

// ---- geometry ----------------------------------------------------------------------------

// Where a ball is seen along one axis of the screen: the lines from the eye that touch it.
static float2 silhouette(float across, float ahead, float radius)
{
    float clear = ahead * ahead - radius * radius;
    float reach = radius * sqrt(max(across * across + clear, 0.0f));
    return (float2)(across * ahead - reach, across * ahead + reach) / clear;
}

// One item per instance.
__kernel void project(__global const float *restrict tick, __global float *restrict bounds, int4 size)
{
    int i = get_global_id(0);
    __global const float *instance = tick + HEADER + INSTANCE * i;
    float3 centre = vload3(0, instance);
    float radius = instance[3];
    float3 from = centre - vload3(0, tick);
    float per_fov = 1.0f / (FIELD_OF_VIEW * FIELD_OF_VIEW), focal = 0.5f * size.y;
    float ahead = dot(from, vload3(0, tick + 12));
    float2 x = silhouette(dot(from, vload3(0, tick + 4)) / FIELD_OF_VIEW, ahead, radius);
    float2 y = silhouette(dot(from, vload3(0, tick + 8)) / FIELD_OF_VIEW, ahead, radius);
    int clear = ahead > 1.01f * radius, behind = ahead < -radius;
    x = 0.5f * size.x + x * (focal / FIELD_OF_VIEW);
    y = 0.5f * size.y - y * (focal / FIELD_OF_VIEW);
    // A pixel more on every side: the picture is taken with a jitter.
    bounds[i] = clear ? x.x - 1.0f : behind ? FAR : -FAR;
    bounds[INSTANCES + i] = clear ? x.y + 1.0f : behind ? -FAR : FAR;
    bounds[2 * INSTANCES + i] = clear ? y.y - 1.0f : behind ? FAR : -FAR;
    bounds[3 * INSTANCES + i] = clear ? y.x + 1.0f : behind ? -FAR : FAR;

    float scale = size.w / (2.0f * MAP_HALF);
    float u = (dot(centre, (float3)(-0.74984f, 0.0f, -0.66162f)) + MAP_HALF) * scale;
    float v = (dot(centre, (float3)(-0.27804f, 0.90741f, 0.31512f)) + MAP_HALF) * scale;
    bounds[4 * INSTANCES + i] = u - radius * scale - 0.01f;
    bounds[5 * INSTANCES + i] = u + radius * scale + 0.01f;
    bounds[6 * INSTANCES + i] = v - radius * scale - 0.01f;
    bounds[7 * INSTANCES + i] = v + radius * scale + 0.01f;
}

#define SHARE 8         // words that one item of bin writes

// Items: tiles of the screen and then of the map, shares of a tile's words.
__kernel void bin(__global const float *restrict bounds, __global uint *restrict masks, int4 size)
{
    int tile = get_global_id(0), screen = tiles_of(size.x) * tiles_of(size.y);
    if (tile >= screen + tiles_of(size.w) * tiles_of(size.w)) return;
    int in_map = tile >= screen;
    int across = tiles_of(in_map ? size.w : size.x), number = in_map ? tile - screen : tile;
    float left = TILE * (number % across), top = TILE * (number / across);
    __global const float *planes = bounds + (in_map ? 4 * INSTANCES : 0);
    for (int k = 0; k < SHARE; ++k) {
        int word = SHARE * get_global_id(1) + k;
        uint bits = 0;
        for (int i = 0; i < 32; i += LANES) {
            __global const float *at = planes + 32 * word + i;
            I here = (LOAD(at) < left + TILE) & (LOAD(at + INSTANCES) > left)
                   & (LOAD(at + 2 * INSTANCES) < top + TILE) & (LOAD(at + 3 * INSTANCES) > top);
#if LANES == 1
            bits |= (uint)here << i;
#else
            if (!ANY(here)) continue;
            for (int lane = 0; lane < LANES; ++lane) bits |= (uint)(((int *)&here)[lane] & 1) << (i + lane);
#endif
        }
        masks[tile * WORDS + word] = bits;
    }
}

// The nearest instance of a tile along a packet's rays, if it is nearer than t.
static F nearest_of(__global const float *tick, __global const uint *mask, V3 o, V3 d, F t, I *what)
{
    for (int word = 0; word < WORDS; ++word) {
        for (uint left = mask[word]; left != 0; left &= left - 1) {
            int i = 32 * word + 31 - clz(left & -left);
            F distance = hit_instance(instance_of(tick, i), o, d);
            *what = PICK_I(distance < t, i, *what);
            t = min(distance, t);
        }
    }
    return t;
}

// Global size: packets of columns, rows of the map. All rays are parallel.
__kernel void shadow(__global const float *restrict tick, __global const uint *restrict masks,
                     __global float *restrict map, int4 size)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.w || row >= size.w) return;
    int tile = tiles_of(size.x) * tiles_of(size.y) + row / TILE * tiles_of(size.w) + column / TILE;
    float texel = 2.0f * MAP_HALF / size.w;
    F u = ((float)column + LANE_NUMBERS + 0.5f) * texel - MAP_HALF;
    F v = (F)((row + 0.5f) * texel - MAP_HALF);
    V3 o = add(scale(SUN, (F)(MAP_FAR)), add(scale(MAP_X, u), scale(MAP_Y, v)));
    I what;
    F t = nearest_of(tick, masks + WORDS * tile, o, scale(SUN, (F)(-1.0f)), (F)(FAR), &what);
    STORE(t, map + row * size.w + column);
}

// ---- G-buffer ----------------------------------------------------------------------------

// From the eye through a pixel; its part along the view is 1.
static V3 view_ray(__global const float *tick, int column, int row, int4 size)
{
    F x = (2.0f * ((float)column + LANE_NUMBERS + tick[7]) + (1.0f - size.x)) / (float)size.y;
    F y = (F)(((size.y - 1.0f) - 2.0f * (row + tick[11])) / (float)size.y);
    return add(fetch3(tick + 12), add(scale(fetch3(tick + 4), x), scale(fetch3(tick + 8), y)));
}

// Columns right of and rows below the middle of the picture, for a camera without jitter.
static void on_screen(__global const float *eye, V3 p, int height, F *x, F *y)
{
    V3 from = sub(p, fetch3(eye));
    F focal = (0.5f / (FIELD_OF_VIEW * FIELD_OF_VIEW)) * height / dot3(from, fetch3(eye + 12));
    *x = dot3(from, fetch3(eye + 4)) * focal;
    *y = -dot3(from, fetch3(eye + 8)) * focal;
}

static I fixed8(F x) { return INT(floor(clamp(x, (F)(-127.0f), (F)(127.0f)) * 256.0f + 0.5f)); }

// How far what is at p moved on the screen since the frame before.
static I motion_of(__global const float *tick, V3 p, I what, int height)
{
    V3 before = p;
    I left = PICK_I(what >= 0, what, INSTANCES);
    for (int i = lowest(left); i < INSTANCES; i = lowest(left)) {
        __global const float *instance = instance_of(tick, i);
        V3 went = sub(fetch3(instance), fetch3(instance + 16));
        before = choose(left == i, sub(p, went), before);
        left = PICK_I(left == i, INSTANCES, left);
    }
    F x, y, old_x, old_y;
    on_screen(tick, p, height, &x, &y);
    on_screen(tick + 16, before, height, &old_x, &old_y);
    return (fixed8(x - old_x) & 0xffff) | (fixed8(y - old_y) << 16);
}

static F sign_of(F x) { return PICK(x < 0.0f, (F)(-1.0f), (F)(1.0f)); }

static I packed_normal(V3 n)
{
    F flat = 1.0f / (fabs(n.x) + fabs(n.y) + fabs(n.z));
    F x = n.x * flat, z = n.z * flat;
    F u = PICK(n.y < 0.0f, (1.0f - fabs(z)) * sign_of(x), x);
    F v = PICK(n.y < 0.0f, (1.0f - fabs(x)) * sign_of(z), z);
    return (INT(floor(u * 32767.0f + 0.5f)) & 0xffff) | (INT(floor(v * 32767.0f + 0.5f)) << 16);
}

static V3 normal_from(I packed)
{
    F u = FLOAT((packed << 16) >> 16) * (1.0f / 32767.0f), v = FLOAT(packed >> 16) * (1.0f / 32767.0f);
    F y = 1.0f - fabs(u) - fabs(v);
    F under = max(-y, (F)(0.0f));
    return unit(v3(u - under * sign_of(u), y, v - under * sign_of(v)));
}

static I levels(F x, float most) { return INT(sat(x) * most + 0.5f); }

// Colour in three bytes; in the fourth, roughness of 1 to 127, 128 more for metal, 0 for a lamp.
static I packed_material(const Surface *s)
{
    I rough = max(levels(fabs(s->roughness), 127.0f), (I)(1));
    rough = PICK_I(s->roughness < 0.0f, rough + 128, PICK_I(s->roughness == 0.0f, 0, rough));
    return levels(s->albedo.x, 255.0f) | (levels(s->albedo.y, 255.0f) << 8)
         | (levels(s->albedo.z, 255.0f) << 16) | (rough << 24);
}

__kernel void raster(__global const float *restrict tick, __global const int *restrict texture,
                     __global const int *restrict ripples, __global const uint *restrict masks,
                     __global int *restrict seen, int4 size)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.x || row >= size.y) return;
    V3 eye = fetch3(tick), ray = view_ray(tick, column, row, size), d = unit(ray);
    F t = hit_pool(eye, d);
    I what = PICK_I(t < FAR, POOL, SKY);
    int tile = row / TILE * tiles_of(size.x) + column / TILE;
    t = nearest_of(tick, masks + WORDS * tile, eye, d, t, &what);
    V3 p = add(eye, scale(d, t));
    Surface s = surface_at(tick, texture, ripples, p, what);
    F depth = PICK(what == SKY, (F)(FAR), t * dot3(d, fetch3(tick + 12)));
    int plane = size.y * size.z;
    __global int *at = seen + row * size.z + MARGIN + column;
    STORE(AS_INT(depth), at);
    STORE(packed_normal(s.n), at + plane);
    STORE(packed_material(&s), at + 2 * plane);
    STORE(motion_of(tick, p, what, size.y), at + 3 * plane);
}

// ---- ambient occlusion -------------------------------------------------------------------

// What the tap looks along is the same for a whole row, so that a packet reads side by side.
__kernel void occlude(__global const float *restrict tick, __global const int *restrict seen,
                      __global const int *restrict taps, __global float *restrict open,
                      int4 size, int frame)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.x || row >= size.y) return;
    int at = row * size.z + MARGIN + column;
    F depth = AS_FLOAT(LOAD(seen + at));
    V3 p = scale(view_ray(tick, column, row, size), depth);
    V3 n = normal_from(LOAD(seen + size.y * size.z + at));
    __global const int *tap = taps + 2 * TAPS * (row % 4 + 4 * (frame % 8));
    F taken = (F)(0.0f);
    for (int k = 0; k < TAPS; ++k) {
        int right = tap[2 * k], below = clamp(row + tap[2 * k + 1], 0, size.y - 1);
        F there = AS_FLOAT(LOAD(seen + below * size.z + MARGIN + column + right));
        V3 to = sub(scale(view_ray(tick, column + right, below, size), there), p);
        F squared = dot3(to, to);
        F near = max(1.0f - squared * (1.0f / (OCCLUDER * OCCLUDER)), (F)(0.0f));
        F above = max(dot3(to, n) - 0.0015f * depth, (F)(0.0f));
        taken += near * above / sqrt(squared + 1.0e-4f);
    }
    F share = sat(1.0f - taken * (1.7f / TAPS));
    STORE(PICK(depth < FAR, share * share, (F)(1.0f)), open + at);
}

// Four rows have four sets of taps: their mean is what a pixel gets, as far as depths agree.
static F openness(__global const float *open, __global const int *seen, int column, int row, F depth, int4 size)
{
    F sum = (F)(0.0f), weights = (F)(0.0f);
    for (int k = -1; k < 3; ++k) {
        int at = clamp(row + k, 0, size.y - 1) * size.z + MARGIN + column;
        F apart = fabs(AS_FLOAT(LOAD(seen + at)) - depth) / depth;
        F weight = 1.0f / (1.0f + 400.0f * apart);
        sum += weight * LOAD(open + at);
        weights += weight;
    }
    return sum / weights;
}

// ---- light -------------------------------------------------------------------------------

// Share of the sun that reaches p: 3 x 3 texels of the map, blended, each with a soft step.
static F sunlit(__global const float *map, V3 p, int edge)
{
    float per = 0.5f / MAP_HALF * edge;
    F u = (dot3(p, MAP_X) + MAP_HALF) * per - 0.5f, v = (dot3(p, MAP_Y) + MAP_HALF) * per - 0.5f;
    F depth = MAP_FAR - dot3(p, SUN);
    F u0 = floor(u), v0 = floor(v);
    F fu = u - u0, fv = v - v0;
    I left = INT(u0), top = INT(v0);
    F lit = (F)(0.0f);
    for (int y = -1; y < 3; ++y) {
        F down = y < 0 ? 1.0f - fv : y > 1 ? fv : (F)(1.0f);
        for (int x = -1; x < 3; ++x) {
            F weight = down * (x < 0 ? 1.0f - fu : x > 1 ? fu : (F)(1.0f));
            I at = clamp(top + y, 0, edge - 1) * edge + clamp(left + x, 0, edge - 1);
            F stops = AS_FLOAT(fetch((__global const int *)map, at));
            lit += weight * sat((stops - depth) * 6.0f + 1.3f);
        }
    }
    return lit * (1.0f / 9.0f);
}

typedef struct {
    V3 n, v;            // normal, and the way to the eye
    V3 colour, straight;// of diffuse light, and mirrored straight on
    F alpha, facing;    // squared roughness; how much v faces n
} Material;

// What a light from `way` sends to the eye, per its strength (Trowbridge and Reitz; Schlick).
static V3 bounced(const Material *m, V3 way, F alpha)
{
    F cosine = max(dot3(m->n, way), (F)(0.0f));
    V3 half_way = unit(add(way, m->v));
    F nh = max(dot3(m->n, half_way), (F)(0.0f)), vh = max(dot3(m->v, half_way), (F)(0.0f));
    F a2 = alpha * alpha, slope = nh * nh * (a2 - 1.0f) + 1.0f;
    F k = 0.5f * alpha;
    F masked = 4.0f * (cosine * (1.0f - k) + k) * (m->facing * (1.0f - k) + k);
    F peak = a2 / (3.14159265f * slope * slope * masked);
    F c = 1.0f - vh, c2 = c * c, c5 = c2 * c2 * c;
    V3 mirrored = scale(blend(m->straight, rgb(1.0f, 1.0f, 1.0f), c5), peak);
    return scale(add(scale(m->colour, (F)(0.31830989f)), mirrored), cosine);
}

static V3 from_lamps(__global const float *tick, const Material *m, V3 p)
{
    V3 sum = rgb(0.0f, 0.0f, 0.0f);
    for (int i = 0; i < LAMPS; ++i) {
        __global const float *lamp = instance_of(tick, i);
        V3 to = sub(fetch3(lamp), p);
        F squared = dot3(to, to), radius = (F)(lamp[3]);
        F away = sqrt(squared);
        // Its disc as a point light, its mirror image as wide as the disc is seen.
        F strength = 3.14159265f * LAMP_LIGHT * radius * radius / (squared + radius * radius);
        strength *= 1.0f / (1.0f + 0.004f * squared * squared);
        V3 sent = bounced(m, scale(to, 1.0f / away), sat(m->alpha + 0.5f * radius / away));
        sum = add(sum, scale(mul(sent, fetch3(lamp + 20)), strength));
    }
    return sum;
}

// From the sky, diffuse and mirrored; the mirrored part by B. Karis' fit of its integral.
static V3 from_sky(const Material *m, F roughness, F open)
{
    F upward = 0.5f + 0.5f * m->n.y;
    V3 above = scale(blend(rgb(0.16f, 0.13f, 0.13f), rgb(0.34f, 0.38f, 0.54f), upward), open);
    V3 back = sub(scale(m->n, 2.0f * dot3(m->n, m->v)), m->v);
    V3 mirrored = blend(air(back), above, sat(roughness * 1.2f - 0.1f));
    F r = 1.0f - roughness;
    F a004 = min(r * r, exp2(-9.28f * m->facing)) * r + (0.0425f - 0.0275f * roughness);
    F scaled = -1.04f * a004 + (1.04f - 0.572f * roughness);
    F offset = 1.04f * a004 + (0.022f * roughness - 0.04f);
    V3 share = add(scale(m->straight, scaled), v3(offset, offset, offset));
    return add(mul(m->colour, above), scale(mul(share, mirrored), 0.25f + 0.75f * open));
}

__kernel void shade(__global const float *restrict tick, __global const int *restrict texture,
                    __global const int *restrict seen, __global const float *restrict open,
                    __global const float *restrict map, __global float *restrict light, int4 size)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.x || row >= size.y) return;
    int plane = size.y * size.z, at = row * size.z + MARGIN + column;
    F depth = AS_FLOAT(LOAD(seen + at));
    V3 ray = view_ray(tick, column, row, size), d = unit(ray);
    I met = depth < FAR;
    V3 colour = rgb(0.0f, 0.0f, 0.0f);
    if (ANY(met == 0)) colour = sky(texture, d, tick[3]);
    if (ANY(met)) {
        I packed = LOAD(seen + 2 * plane + at);
        F z = min(depth, (F)(3000.0f));
        V3 p = add(fetch3(tick), scale(ray, z));
        I finish = (packed >> 24) & 255;
        I metal = finish > 127;
        V3 albedo = v3(FLOAT(packed & 255), FLOAT((packed >> 8) & 255), FLOAT((packed >> 16) & 255));
        albedo = scale(albedo, (F)(1.0f / 255.0f));
        F roughness = FLOAT(finish & 127) * (1.0f / 127.0f);
        Material m;
        m.n = normal_from(LOAD(seen + plane + at));
        m.v = scale(d, (F)(-1.0f));
        m.colour = choose(metal, rgb(0.0f, 0.0f, 0.0f), albedo);
        m.straight = choose(metal, albedo, rgb(0.04f, 0.04f, 0.04f));
        m.facing = max(dot3(m.n, m.v), (F)(0.02f));
        F share = openness(open, seen, column, row, depth, size);
        m.alpha = max(roughness * roughness, (F)(0.04f));
        F sun = sunlit(map, add(p, scale(m.n, (F)(0.05f))), size.w);
        V3 here = scale(mul(bounced(&m, SUN, m.alpha), SUN_LIGHT), sun * 3.14159265f);
        here = add(here, add(from_lamps(tick, &m, p), from_sky(&m, roughness, share)));
        here = choose(finish == 0, scale(albedo, (F)(LAMP_LIGHT)), here);
        F far = z * 0.011f, fog = 1.0f - 1.0f / (1.0f + far * far * far);
        V3 level = unit(v3(d.x, max(d.y, (F)(0.0f)), d.z));
        colour = choose(met, blend(here, air(level), fog), colour);
    }
    STORE(colour.x, light + at);
    STORE(colour.y, light + plane + at);
    STORE(colour.z, light + 2 * plane + at);
}
