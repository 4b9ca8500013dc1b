// gaming.raymarch: a lake pavilion at dusk, ray-marched, lit, textured and post-processed.
//
// Three kernels make a frame: march finds what each pixel sees, shade lights it (soft sun shadow,
// ambient occlusion, lanterns, one mirror bounce, sky), post smooths edges and maps the tones.
// The host side is gpupanel/stress/gaming/raymarch.py; gaming/reference.py computes the same
// picture in NumPy. All numbers of the scene stand in both, on purpose: they check each other.

#ifndef LANES
#define LANES 1         // pixels per work-item, side by side in a row: 1 on a GPU, 8 or 16 on a CPU
#endif
#ifndef WIDTH
#define WIDTH 640       // of the picture
#endif
#ifndef HEIGHT
#define HEIGHT 360
#endif
#ifndef STRIDE
#define STRIDE 672      // floats from row to row of a plane: WIDTH in full packets and two margins
#endif
#ifndef BODIES
#define BODIES 16       // objects that cast shadows: the orrery
#endif
#ifndef OBJECTS
#define OBJECTS 64      // bodies, then lanterns
#endif
#ifndef TEXELS
#define TEXELS 512      // edge of the texture, a power of two
#endif

// Data layout (all 32-bit)
//   tick      32 floats of camera, time and ring axes, then 8 floats per object:
//             [0] eye  [3] time  [4] right  [8] up  [12] forward  [16] [20] [24] ring axes
//             [32 + 8 i] x y z radius red green blue emission
//   texture   TEXELS x TEXELS of RGBA8: clouds, stone, ripple slope in x, ripple slope in z
//   seen      2 planes of HEIGHT x STRIDE: distance, surface
//   light     3 planes of HEIGHT x STRIDE: red, green, blue, linear
//   picture   HEIGHT x WIDTH of RGBX8; X is 255, or 0 where the light is not finite
// A plane's row: 16 floats of margin | pixels, filled up to a packet | 16 or more of margin

#define MARGIN 16
#define PLANE (STRIDE * HEIGHT)
#define TICK_HEADER 32

#include "gaming_packets.cl"

// ---- scene -------------------------------------------------------------------------------

#define SUN rgb(-0.5692f, 0.2357f, -0.7877f)
#define SUN_LIGHT rgb(4.3f, 2.45f, 1.15f)
#define FAR 1.0e6f

// Surfaces: what the ray met. Objects are OBJECT + index.
#define SKY 0.0f
#define WATER 1.0f
#define BUILT 2.0f
#define OBJECT 3.0f

// Mirror the plane's directions into a wedge of 22.5 degrees: 8 mirrored copies of everything.
static void fold(F *x, F *z)
{
    F a = fabs(*x), b = fabs(*z);
    F major = max(a, b), minor = min(a, b);
    F beyond = max(0.92387953f * minor - 0.38268343f * major, (F)(0.0f));
    *x = major + 0.76536686f * beyond;
    *z = minor - 1.84775907f * beyond;
}

static F column(V3 p, F fx, F fz)
{
    F qx = fx - 5.5433f, qz = fz - 2.2961f;
    F high = (p.y - 0.9f) * (1.0f / 4.1f);
    F across = sqrt(qx * qx + qz * qz);
    fold(&qx, &qz);
    F gx = qx - 0.3825f, gz = qz - 0.0761f;
    F shaft = across - (0.40f - 0.07f * high);
    F groove = 0.060f - sqrt(gx * gx + gz * gz);
    F half_side = max(fabs(qx), fabs(qz));
    F foot = max(max(across - 0.50f, half_side - 0.47f), fabs(p.y - 1.02f) - 0.14f);
    F head = max(half_side - 0.34f - 0.5f * max(p.y - 4.62f, (F)(0.0f)), fabs(p.y - 4.82f) - 0.20f);
    F body = max(max(shaft, groove), fabs(p.y - 2.95f) - 2.05f);
    return min(body, min(foot, head)) * 0.9f;
}

static F dome(V3 p, F r, F fz)
{
    F up = p.y - 5.45f;
    F from = sqrt(r * r + up * up) - 5.9f;
    F rib = sqrt(from * from + fz * fz) - 0.10f;
    F q = r - 4.172f, s = up - 4.172f;
    F hoop = sqrt(q * q + s * s) - 0.085f;
    F u = r - 1.30f, v = up - 5.755f;
    F eye = sqrt(u * u + v * v) - 0.17f;
    F ribs = max(rib, 1.15f - r);
    return max(min(min(ribs, hoop), eye), -up);
}

static F ring(__global const float *axis, V3 q, float radius)
{
    V3 n = fetch3(axis);
    F along = dot3(q, n);
    F out = sqrt(max(dot3(q, q) - along * along, (F)(0.0f))) - radius;
    return sqrt(out * out + along * along) - 0.055f;
}

static F orrery(__global const float *tick, V3 p)
{
    V3 q = v3(p.x, p.y - 4.0f, p.z);
    F first = ring(tick + 16, q, 3.30f);
    F second = ring(tick + 20, q, 2.60f);
    F third = ring(tick + 24, q, 1.90f);
    return min(first, min(second, third));
}

// Distance to everything that stands: never more than the true distance.
static F distance_built(__global const float *tick, V3 p)
{
    F r = sqrt(p.x * p.x + p.z * p.z);
    F fx = p.x, fz = p.z;
    fold(&fx, &fz);
    F steps = max(r - 8.3f, p.y - 0.30f);
    steps = min(steps, max(r - 7.7f, p.y - 0.60f));
    steps = min(steps, max(r - 7.1f, p.y - 0.90f));
    F beam = max(fabs(r - 6.0f) - 0.44f, fabs(p.y - 5.17f) - 0.15f);
    beam = min(beam, max(fabs(r - 6.0f) - 0.52f, fabs(p.y - 5.40f) - 0.085f));
    F plinth = max(r - 0.75f + 0.35f * sat(p.y - 1.1f), p.y - 1.75f);
    F side = max(fabs(fx - 12.5f), fz);
    F obelisk = max(side - 0.36f + 0.055f * p.y, 0.55f * (p.y - 3.1f) + 0.83f * (side - 0.08f)) * 0.97f;
    obelisk = min(obelisk, max(side - 0.60f, p.y - 0.25f));
    F d = min(min(steps, beam), min(plinth, obelisk));
    d = min(d, column(p, fx, fz));
    // Far parts answer with the distance to what encloses them; each lane's answer is its own.
    F under = 5.45f - p.y;
    if (ANY(p.y > 4.3f)) under = PICK(p.y > 4.3f, dome(p, r, fz), under);
    F near = sqrt(r * r + (p.y - 4.0f) * (p.y - 4.0f)) - 3.5f;
    if (ANY(near < 1.0f)) near = PICK(near < 1.0f, orrery(tick, p), near);
    return min(d, min(under, near));
}

static V3 normal_built(__global const float *tick, V3 p)
{
    V3 n = rgb(0.0f, 0.0f, 0.0f);
    for (int corner = 0; corner < 4; ++corner) {
        float x = (corner & 1) ? 1.0f : -1.0f, y = (corner & 2) ? 1.0f : -1.0f;
        V3 way = rgb(x, y, x * y);
        n = add(n, scale(way, distance_built(tick, add(p, scale(way, (F)(0.004f))))));
    }
    return scale(n, 1.0f / sqrt(dot3(n, n) + 1.0e-20f));
}

// Where a ray runs inside the cylinder that holds all that stands: false masks come as near > far.
static void clip_built(V3 o, V3 d, F *near, F *far)
{
    F a = max(d.x * d.x + d.z * d.z, (F)(1.0e-9f));
    F b = o.x * d.x + o.z * d.z;
    F c = o.x * o.x + o.z * o.z - 14.0f * 14.0f;
    F disc = b * b - a * c;
    F root = sqrt(max(disc, (F)(0.0f)));
    F rise = PICK(fabs(d.y) < 1.0e-6f, (F)(1.0e-6f), d.y);
    F at_top = (11.6f - o.y) / rise, at_lake = (-0.01f - o.y) / rise;
    *near = max(max((-b - root) / a, min(at_top, at_lake)), (F)(0.0f));
    *far = PICK(disc > 0.0f, min((-b + root) / a, max(at_top, at_lake)), (F)(-1.0f));
}

// The nearest thing along a ray: its distance, and which surface.
static F trace(__global const float *tick, V3 o, V3 d, int steps, F *surface)
{
    F best = PICK(d.y < -1.0e-4f, -o.y / min(d.y, (F)(-1.0e-4f)), (F)(FAR));
    *surface = PICK(best < FAR, (F)(WATER), (F)(SKY));
    for (int i = 0; i < OBJECTS; ++i) {
        __global const float *object = tick + TICK_HEADER + 8 * i;
        V3 to = sub(fetch3(object), o);
        F b = dot3(to, d);
        F disc = b * b - dot3(to, to) + object[3] * object[3];
        if (!ANY((disc > 0.0f) & (b > 0.0f))) continue;
        F t = b - sqrt(max(disc, (F)(0.0f)));
        I hit = (disc > 0.0f) & (t > 0.0f) & (t < best);
        best = PICK(hit, t, best);
        *surface = PICK(hit, (F)(OBJECT + i), *surface);
    }
    F t, far;
    clip_built(o, d, &t, &far);
    far = min(far, best);
    I live = t < far;
    for (int i = 0; i < steps && ANY(live); ++i) {
        F free = distance_built(tick, add(o, scale(d, t)));
        F close = 0.0006f * t + 0.0004f;
        I hit = live & (free < close);
        best = PICK(hit, t, best);
        *surface = PICK(hit, (F)(BUILT), *surface);
        t = t + free;
        live = live & (free >= close) & (t < far);
    }
    return best;
}

// ---- light -------------------------------------------------------------------------------

static V3 haze(V3 d)
{
    F toward = sat(0.5f + 0.5f * dot3(d, SUN));
    return blend(rgb(0.30f, 0.31f, 0.42f), rgb(1.25f, 0.62f, 0.30f), toward * toward * toward);
}

static V3 sky(__global const int *texture, V3 d, float time)
{
    F up = max(d.y, (F)(0.0f));
    F low = 1.0f - up;
    F low4 = low * low * low * low;
    V3 colour = blend(rgb(0.060f, 0.115f, 0.26f), haze(d), low4 * low4 * 0.75f + 0.25f * low4);

    F s = max(dot3(d, SUN), (F)(0.0f));
    F s8 = s * s; s8 = s8 * s8; s8 = s8 * s8;
    F s64 = s8 * s8; s64 = s64 * s64; s64 = s64 * s64;
    F s512 = s64 * s64; s512 = s512 * s512; s512 = s512 * s512;
    colour = add(colour, scale(rgb(1.0f, 0.42f, 0.14f), 0.35f * s8 + 0.7f * s64));
    F disc = s512 * s512 * s512 + step_smooth(0.99930f, 0.99965f, s);
    colour = add(colour, scale(rgb(9.0f, 6.0f, 3.2f), disc));

    F reach = 1.0f / (up + 0.12f);
    Texel high = sample(texture, TEXELS, d.x * reach * 0.043f + 0.0011f * time, d.z * reach * 0.043f);
    Texel wisp = sample(texture, TEXELS, d.x * reach * 0.131f - 0.0007f * time, d.z * reach * 0.131f + 0.37f);
    F cloud = step_smooth(0.50f, 0.88f, high.r * 0.72f + wisp.r * 0.28f) * step_smooth(0.02f, 0.20f, d.y);
    V3 lit = blend(rgb(0.34f, 0.25f, 0.33f), rgb(2.3f, 1.05f, 0.50f), 0.10f + 0.9f * s8 * 0.6f + 0.3f * s);
    colour = blend(colour, lit, cloud * 0.80f);

    F flat = 1.0f / sqrt(d.x * d.x + d.z * d.z + 1.0e-6f);
    F ax = d.x * flat, az = d.z * flat, slope = d.y * flat;
    for (int layer = 0; layer < 2; ++layer) {
        float near = (float)layer;
        float size = 0.19f + 0.17f * near;
        Texel ridge = sample(texture, TEXELS, ax * size + 0.31f * near, az * size + 0.13f);
        F crest = (0.23f - 0.12f * near) * ridge.r * ridge.r + 0.022f - 0.008f * near + 0.012f * ridge.g;
        F cover = step_smooth(0.0f, 0.004f, crest - slope);
        F mist = 0.62f - 0.30f * near - 1.1f * slope;
        V3 hill = blend(rgb(0.050f, 0.070f, 0.115f), haze(d), sat(mist));
        colour = blend(colour, hill, cover);
    }
    return colour;
}

static F shadow(__global const float *tick, V3 p, int steps)
{
    F lit = (F)(1.0f);
    for (int i = 0; i < BODIES; ++i) {
        __global const float *object = tick + TICK_HEADER + 8 * i;
        V3 to = sub(fetch3(object), p);
        F b = dot3(to, SUN);
        F past = dot3(to, to) - b * b - object[3] * object[3];
        F soft = sat(past / (0.10f * object[3] * max(b, (F)(0.05f))));
        lit = PICK(b > 0.0f, min(lit, soft), lit);
    }
    F t, far;
    clip_built(p, SUN, &t, &far);
    t = max(t, (F)(0.03f));
    I live = (t < far) & (lit > 0.004f);
    for (int i = 0; i < steps && ANY(live); ++i) {
        F free = distance_built(tick, add(p, scale(SUN, t)));
        lit = PICK(live, min(lit, 14.0f * free / t), lit);
        t = t + clamp(free, (F)(0.02f), (F)(1.5f));
        live = live & (lit > 0.004f) & (t < far);
    }
    lit = sat(lit);
    return lit * lit * (3.0f - 2.0f * lit);
}

static F occlusion(__global const float *tick, V3 p, V3 n)
{
    F closed = (F)(0.0f);
    float weight = 1.0f;
    for (int i = 1; i <= 4; ++i) {
        float out = 0.13f * i;
        closed += weight * max(out - distance_built(tick, add(p, scale(n, (F)(out)))), (F)(0.0f));
        weight *= 0.72f;
    }
    return sat(1.0f - 1.35f * closed);
}

// The lanterns' light on a surface, and what glows in the air along the ray to it.
static void lanterns(__global const float *tick, V3 o, V3 d, F t, V3 p, V3 n, V3 *on, V3 *glow)
{
    *on = rgb(0.0f, 0.0f, 0.0f);
    *glow = *on;
    for (int i = 0; i < OBJECTS; ++i) {
        __global const float *object = tick + TICK_HEADER + 8 * i;
        if (object[7] == 0.0f) continue;
        float size = object[3];
        V3 centre = fetch3(object), colour = fetch3(object + 4);
        V3 to = sub(centre, p);
        F fall = 1.0f / (dot3(to, to) + 0.4f * size + 0.15f);
        F facing = max(dot3(to, n) + 0.25f * size, (F)(0.0f));
        *on = add(*on, scale(colour, (object[7] * size * 2.4f) * facing * fall * fall));
        V3 from = sub(centre, o);
        F b = dot3(from, d);
        F h = max(dot3(from, from) - b * b, (F)(0.0f));
        F halo = (size * size) / (h + 0.35f * size * size);
        F seen = PICK((b > 0.0f) & (b < t + size), halo * halo, (F)(0.0f));
        *glow = add(*glow, scale(colour, (object[7] * 0.030f) * seen));
    }
}

// ---- surfaces ----------------------------------------------------------------------------

typedef struct {
    V3 n, albedo, mirror, emission;     // mirror: reflectance of the bounce, Fresnel included
    F gloss;                            // strength of the sun's highlight
} Surface;

static F fresnel(V3 n, V3 d, float straight)
{
    F c = 1.0f - sat(-dot3(n, d));
    F c2 = c * c;
    return straight + (1.0f - straight) * c2 * c2 * c;
}

static void of_water(__global const int *texture, float time, V3 p, V3 d, F t, Surface *s)
{
    Texel wide = sample(texture, TEXELS, p.x * 0.031f + 0.006f * time, p.z * 0.031f - 0.004f * time);
    Texel fine = sample(texture, TEXELS, p.x * 0.097f - 0.009f * time, p.z * 0.097f + 0.011f * time);
    F calm = 0.34f / (1.0f + 0.045f * t);
    F nx = (wide.b + 0.6f * fine.b - 0.8f) * calm, nz = (wide.a + 0.6f * fine.a - 0.8f) * calm;
    s->n = unit(v3(nx, (F)(1.0f), nz));
    s->albedo = rgb(0.010f, 0.030f, 0.036f);
    F f = fresnel(s->n, d, 0.03f);
    s->mirror = v3(f * 0.92f, f * 0.97f, f);
    s->gloss = (F)(0.0f);
}

static void of_built(__global const int *texture, V3 p, V3 d, V3 n, Surface *s)
{
    I level = fabs(n.y) > 0.7f, across = fabs(n.x) > fabs(n.z);
    F u = PICK(level | (across == 0), p.x, p.z), v = PICK(level, p.z, p.y);
    Texel grain = sample(texture, TEXELS, u * 0.17f, v * 0.17f + 0.013f * p.x);
    F r2 = p.x * p.x + p.z * p.z;
    F shade = 0.72f + 0.40f * grain.g;
    V3 stone = scale(rgb(0.58f, 0.50f, 0.42f), shade);

    F cx = p.x * 0.8f, cz = p.z * 0.8f;
    F tx = cx - floor(cx), tz = cz - floor(cz);
    F odd = floor(cx) + floor(cz);
    odd = odd - 2.0f * floor(odd * 0.5f);
    F edge = min(min(tx, 1.0f - tx), min(tz, 1.0f - tz));
    F grout = step_smooth(0.010f, 0.030f, edge);
    V3 tile = choose(odd > 0.5f, rgb(0.60f, 0.53f, 0.45f), rgb(0.115f, 0.105f, 0.13f));
    tile = scale(tile, (0.6f + 0.65f * grain.g) * (0.35f + 0.65f * grout));
    I floor_here = (n.y > 0.9f) & (p.y < 1.0f) & (r2 < 7.1f * 7.1f);
    s->albedo = choose(floor_here, tile, stone);

    F qy = p.y - 4.0f;
    I brass = ((r2 + qy * qy < 3.45f * 3.45f) & (p.y > 1.8f)) | (p.y > 5.55f);
    I gilt = (r2 > 100.0f) & (p.y > 2.62f);
    I metal = brass | gilt;
    s->albedo = choose(metal, rgb(0.42f, 0.235f, 0.075f), s->albedo);
    F f = fresnel(n, d, 0.04f);
    F polish = PICK(floor_here, f * grout * 0.9f, (F)(0.0f));
    V3 gold = blend(rgb(0.68f, 0.43f, 0.17f), rgb(1.0f, 1.0f, 1.0f), f);
    s->mirror = choose(metal, gold, v3(polish, polish, polish));
    s->gloss = PICK(metal, (F)(1.6f), PICK(floor_here, (F)(0.5f), (F)(0.12f)));
}

static void of_object(__global const float *object, V3 p, V3 d, I here, Surface *s)
{
    V3 n = scale(sub(p, fetch3(object)), (F)(1.0f / object[3]));
    V3 colour = fetch3(object + 4);
    F f = fresnel(n, d, 0.06f);
    s->n = choose(here, n, s->n);
    if (object[7] == 0.0f) {
        s->albedo = choose(here, scale(colour, (F)(0.45f)), s->albedo);
        s->mirror = choose(here, blend(scale(colour, (F)(0.75f)), rgb(1.0f, 1.0f, 1.0f), f), s->mirror);
        s->gloss = PICK(here, (F)(1.2f), s->gloss);
        return;
    }
    F facing = sat(-dot3(n, d));
    V3 fire = scale(colour, object[7] * (0.30f + 0.75f * facing * facing) * (1.0f - 0.55f * n.y));
    s->emission = choose(here, fire, s->emission);
    s->albedo = choose(here, scale(colour, (F)(0.15f)), s->albedo);
}

static Surface surface_at(__global const float *tick, __global const int *texture, V3 p, V3 d, F t, F surface)
{
    Surface s;
    s.n = rgb(0.0f, 1.0f, 0.0f);
    s.albedo = rgb(0.0f, 0.0f, 0.0f);
    s.mirror = s.albedo;
    s.emission = s.albedo;
    s.gloss = (F)(0.0f);
    if (ANY(surface == WATER)) of_water(texture, tick[3], p, d, t, &s);
    if (ANY(surface == BUILT)) {
        Surface built = s;
        built.n = normal_built(tick, p);
        of_built(texture, p, d, built.n, &built);
        I here = surface == BUILT;
        s.n = choose(here, built.n, s.n);
        s.albedo = choose(here, built.albedo, s.albedo);
        s.mirror = choose(here, built.mirror, s.mirror);
        s.gloss = PICK(here, built.gloss, s.gloss);
    }
    if (ANY(surface >= OBJECT)) {
        for (int i = 0; i < OBJECTS; ++i) {
            I here = surface == OBJECT + i;
            if (ANY(here)) {
                of_object(tick + TICK_HEADER + 8 * i, p, d, here, &s);
            }
        }
    }
    return s;
}

// What leaves a surface toward the eye without its mirror image.
static V3 lit(__global const float *tick, V3 p, V3 d, const Surface *s, V3 lamps, I solid, int steps)
{
    V3 off = add(p, scale(s->n, (F)(0.012f)));
    F facing = max(dot3(s->n, SUN), (F)(0.0f));
    I lightable = solid & (facing > 0.0f);
    F sun = (F)(0.0f), open = (F)(1.0f);
    if (ANY(lightable)) sun = PICK(lightable, shadow(tick, off, steps), sun);
    if (ANY(solid)) open = PICK(solid, occlusion(tick, off, s->n), open);
    F upward = 0.5f + 0.5f * s->n.y;
    V3 from_sky = scale(blend(rgb(0.24f, 0.17f, 0.15f), rgb(0.36f, 0.42f, 0.62f), upward), open);
    V3 light = add(add(scale(SUN_LIGHT, sun * facing), from_sky), scale(lamps, open));
    V3 colour = add(mul(s->albedo, light), s->emission);
    V3 half_way = unit(sub(SUN, d));
    F h = max(dot3(s->n, half_way), (F)(0.0f));
    F h8 = h * h; h8 = h8 * h8; h8 = h8 * h8;
    F h64 = h8 * h8; h64 = h64 * h64; h64 = h64 * h64;
    return add(colour, scale(SUN_LIGHT, s->gloss * h64 * sun));
}

// ---- kernels -----------------------------------------------------------------------------

static void camera_ray(__global const float *tick, int column, int row, V3 *o, V3 *d)
{
    F x = (2.0f * ((float)column + LANE_NUMBERS) + (1.0f - WIDTH)) * (1.0f / HEIGHT);
    F y = ((HEIGHT - 1.0f) - 2.0f * row) * (1.0f / HEIGHT);
    *o = fetch3(tick);
    *d = unit(add(fetch3(tick + 12), add(scale(fetch3(tick + 4), x), scale(fetch3(tick + 8), y))));
}

// What each pixel sees. Global size: packets of LANES columns, rows.
__kernel void march(__global const float *restrict tick, __global float *restrict seen)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= WIDTH) return;
    V3 o, d;
    camera_ray(tick, column, row, &o, &d);
    F surface;
    F t = trace(tick, o, d, 96, &surface);
    __global float *at = seen + row * STRIDE + MARGIN + column;
    STORE(t, at);
    STORE(surface, at + PLANE);
}

// Light, linear, of what each pixel sees: the surface itself, then once its mirror image.
__kernel void shade(__global const float *restrict tick, __global const int *restrict texture,
                    __global const float *restrict seen, __global float *restrict light)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= WIDTH) return;
    int at = row * STRIDE + MARGIN + column;
    V3 o, d;
    camera_ray(tick, column, row, &o, &d);
    F t = LOAD(seen + at), surface = LOAD(seen + PLANE + at);
    V3 colour = rgb(0.0f, 0.0f, 0.0f), through = rgb(1.0f, 1.0f, 1.0f);
    I live = t > 0.0f;
    for (int bounce = 0; bounce < 2; ++bounce) {
        V3 p = add(o, scale(d, min(t, (F)(2000.0f))));
        I met = live & (surface > SKY), solid = live & (surface >= BUILT);
        Surface s = surface_at(tick, texture, p, d, t, surface);
        V3 lamps, glow;
        lanterns(tick, o, d, t, p, s.n, &lamps, &glow);
        V3 here = rgb(0.0f, 0.0f, 0.0f);
        if (ANY(met)) here = lit(tick, p, d, &s, lamps, solid, 40 - 16 * bounce);
        F far = t * 0.0085f;
        F fog = PICK(met, 1.0f - 1.0f / (1.0f + far * far), (F)(0.0f));
        V3 beyond = haze(d);
        if (ANY(live & (surface == SKY))) beyond = choose(surface == SKY, sky(texture, d, tick[3]), beyond);
        here = choose(met, blend(here, beyond, fog), beyond);
        here = add(here, glow);
        colour = choose(live, add(colour, mul(through, here)), colour);
        through = scale(mul(through, s.mirror), 1.0f - fog);
        live = live & met & (max(through.x, max(through.y, through.z)) > 0.012f);
        if (bounce == 1 || !ANY(live)) break;
        V3 back = sub(d, scale(s.n, 2.0f * dot3(s.n, d)));
        back.y = PICK(surface == WATER, max(back.y, (F)(0.004f)), back.y);
        d = unit(back);
        o = add(p, scale(s.n, (F)(0.015f)));
        t = trace(tick, o, d, 64, &surface);
    }
    STORE(colour.x, light + at);
    STORE(colour.y, light + PLANE + at);
    STORE(colour.z, light + 2 * PLANE + at);
}

// One pixel of light through the film curve, to be seen as its root.
static V3 tone(__global const float *light, int column, int row, int dx, int dy)
{
    int y = clamp(row + dy, 0, HEIGHT - 1);
    __global const float *at = light + y * STRIDE + MARGIN + column;
    F x = (float)(column + dx) + LANE_NUMBERS;
    I outside = (x < 0.0f) | (x > WIDTH - 1.0f);
    V3 c = v3(LOAD(at + dx), LOAD(at + PLANE + dx), LOAD(at + 2 * PLANE + dx));
    if (ANY(outside)) c = choose(outside, v3(LOAD(at), LOAD(at + PLANE), LOAD(at + 2 * PLANE)), c);
    return v3(film(c.x), film(c.y), film(c.z));
}

static F hat(F x) { return max(1.0f - fabs(x), (F)(0.0f)); }

static I byte_of(F linear, F vignette, F grain)
{
    return INT(clamp(pow(linear * vignette, (F)(1.0f / 2.2f)) * 255.0f + grain, (F)(0.0f), (F)(255.0f)));
}

// The picture: edges softened along themselves within 3 x 3, film curve, vignette, gamma, dither.
__kernel void post(__global const float *restrict light, __global int *restrict picture)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= WIDTH) return;
    V3 c[9];
    F l[9];
    for (int k = 0; k < 9; ++k) {
        c[k] = tone(light, column, row, k % 3 - 1, k / 3 - 1);
        l[k] = sqrt(luma(c[k]));
    }
    F gx = l[2] + 2.0f * l[5] + l[8] - l[0] - 2.0f * l[3] - l[6];
    F gy = l[6] + 2.0f * l[7] + l[8] - l[0] - 2.0f * l[1] - l[2];
    F steep = max(fabs(gx), fabs(gy)) + 1.0e-6f;
    F ux = -gy / steep, uy = gx / steep;
    F soften = step_smooth(0.12f, 0.60f, steep);
    V3 along = rgb(0.0f, 0.0f, 0.0f);
    for (int k = 0; k < 9; ++k) {
        float x = (float)(k % 3 - 1), y = (float)(k / 3 - 1);
        along = add(along, scale(c[k], hat(ux - x) * hat(uy - y) + hat(ux + x) * hat(uy + y)));
    }
    V3 seen = blend(c[4], scale(along, (F)(0.5f)), 0.6f * soften);

    __global const float *at = light + row * STRIDE + MARGIN + column;
    I sound = (fabs(LOAD(at)) < FAR) & (fabs(LOAD(at + PLANE)) < FAR) & (fabs(LOAD(at + 2 * PLANE)) < FAR);
    F x = (float)column + LANE_NUMBERS;
    F px = (x + 0.5f) * (2.0f / WIDTH) - 1.0f;
    float py = (row + 0.5f) * (2.0f / HEIGHT) - 1.0f;
    F vignette = 1.0f - 0.20f * (px * px + py * py) * (0.5f + 0.25f * (px * px + py * py));
    I bits = (INT(x) * 73 + row * 151) * 2654;
    F grain = FLOAT((bits >> 8) & 255) * (1.0f / 256.0f);
    I rgbx = byte_of(seen.x, vignette, grain) | (byte_of(seen.y, vignette, grain) << 8)
           | (byte_of(seen.z, vignette, grain) << 16) | ((sound & 1) * (int)0xff000000);
#if LANES == 1
    picture[row * WIDTH + column] = rgbx;
#else
    int last = min(LANES, WIDTH - column);
    for (int lane = 0; lane < last; ++lane) picture[row * WIDTH + column + lane] = ((int *)&rgbx)[lane];
#endif
}
