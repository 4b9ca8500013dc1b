// The scene of gaming.frame and gaming.pathtrace: a disc of pillars that waves go through, in a
// pool at dusk, with polished balls and lamps above it.
//
// gpupanel/stress/gaming/sculpture/scene.py moves it, sculpture/oracle.py is the same in NumPy.
// All numbers stand in both, on purpose: they check each other.
//
// Data layout (all 32-bit)
//   tick      32 floats of camera, then 24 floats per instance, lamps first:
//             [0] eye  [3] time  [4] right  [7] jitter x  [8] up  [11] jitter y  [12] forward
//             [15] 1 if there is a history  [16] eye [20] right [24] up [28] forward, a frame ago
//             [32 + 24 i] centre  [+3] radius of the ball that holds it
//             [+4] [+8] [+12] axes, each followed by half the size along it
//             [+16] centre a frame ago  [+19] where in the texture; negative: a ball, not a box
//             [+20] colour  [+23] roughness; negative: of metal; 0: a lamp
//   texture   TEXELS x TEXELS of RGBA8: veins, grain, clouds, scratches
//   ripples   RIPPLES x RIPPLES of RGBA8, new in every frame: slope of the water in x and in z

#include "gaming_packets.cl"

#define HEADER 32
#define INSTANCE 24
#define WORDS (INSTANCES / 32)
#define FAR 1.0e6f

// What a ray met: an instance, or one of these.
#define SKY (-2)
#define POOL (-1)

#define SUN rgb(0.60036f, 0.42025f, -0.68041f)
#define SUN_LIGHT rgb(4.6f, 3.1f, 1.9f)
#define LAMP_LIGHT 6.5f
#define BEVEL 0.07f

static __global const float *instance_of(__global const float *tick, int i)
{
    return tick + HEADER + INSTANCE * i;
}

// ---- where things are --------------------------------------------------------------------

// Distance along a ray to an instance, FAR where it misses.
static F hit_instance(__global const float *instance, V3 o, V3 d)
{
    V3 to = sub(fetch3(instance), o);
    F b = dot3(to, d);
    V3 past = sub(to, scale(d, b));
    F disc = instance[3] * instance[3] - dot3(past, past);
    if (!ANY(disc > 0.0f)) return (F)(FAR);
    if (instance[19] < 0.0f) {
        F t = b - sqrt(max(disc, (F)(0.0f)));
        return PICK((disc > 0.0f) & (t > 0.0f), t, (F)(FAR));
    }
    F near = (F)(-FAR), far = (F)(FAR);
    for (int k = 4; k < 16; k += 4) {
        V3 axis = fetch3(instance + k);
        F across = dot3(axis, d), centre = dot3(axis, to);
        across = 1.0f / PICK(fabs(across) < 1.0e-9f, (F)(1.0e-9f), across);
        F middle = centre * across, half_way = fabs(instance[k + 3] * across);
        near = max(near, middle - half_way);
        far = min(far, middle + half_way);
    }
    return PICK((near < far) & (near > 0.0f), near, (F)(FAR));
}

static F hit_pool(V3 o, V3 d)
{
    return PICK(d.y < -1.0e-4f, -o.y / min(d.y, (F)(-1.0e-4f)), (F)(FAR));
}

static int lowest(I x)
{
#if LANES == 1
    return x;
#else
#if LANES == 16
    int8 eight = min(x.lo, x.hi);
#else
    int8 eight = x;
#endif
    int4 four = min(eight.lo, eight.hi);
    int2 two = min(four.lo, four.hi);
    return min(two.x, two.y);
#endif
}

// ---- what they are made of ---------------------------------------------------------------

typedef struct {
    V3 n, albedo;
    F roughness;        // as in tick
} Surface;

// The surface of one instance at p, for the lanes that are here.
static void of_instance(__global const float *instance, __global const int *texture,
                        V3 p, I here, Surface *s)
{
    V3 a = fetch3(instance + 4), b = fetch3(instance + 8), c = fetch3(instance + 12);
    V3 q = sub(p, fetch3(instance));
    q = v3(dot3(q, a), dot3(q, b), dot3(q, c));
    V3 out = q;
    if (instance[19] > 0.0f) {      // a box with rounded edges, as far as light can tell
        float x = instance[7] - BEVEL, y = instance[11] - BEVEL, z = instance[15] - BEVEL;
        out = sub(q, v3(clamp(q.x, (F)(-x), (F)(x)), clamp(q.y, (F)(-y), (F)(y)), clamp(q.z, (F)(-z), (F)(z))));
    }
    out = unit(out);
    V3 n = add(scale(a, out.x), add(scale(b, out.y), scale(c, out.z)));
    F ax = fabs(out.x), ay = fabs(out.y), az = fabs(out.z);
    I level = (ay >= ax) & (ay >= az), side = (ax >= az) & (level == 0);
    F u = PICK(side, q.z, q.x), v = PICK(level, q.z, q.y);
    float shift = fabs(instance[19]);
    Texel t = sample(texture, TEXELS, u * 0.23f + 7.0f * shift, v * 0.23f + 3.0f * shift);

    float rough = instance[23];
    F grain = 0.72f + 0.26f * t.g + 0.22f * t.r;
    F polish = rough < 0.0f ? rough * (0.70f + 0.60f * t.a) : (F)(rough * (0.75f + 0.5f * t.g));
    V3 albedo = scale(fetch3(instance + 20), rough == 0.0f ? (F)(1.0f) : grain);
    s->n = choose(here, n, s->n);
    s->albedo = choose(here, albedo, s->albedo);
    s->roughness = PICK(here, polish, s->roughness);
}

static void of_pool(__global const int *ripples, V3 p, I here, Surface *s)
{
    Texel wide = sample(ripples, RIPPLES, p.x * 0.041f, p.z * 0.041f);
    Texel fine = sample(ripples, RIPPLES, p.x * 0.117f + 0.37f, p.z * 0.117f + 0.11f);
    F r2 = p.x * p.x + p.z * p.z;
    F calm = 0.42f / (1.0f + 0.0011f * r2);
    F nx = (wide.r + 0.5f * fine.r - 0.75f) * calm, nz = (wide.g + 0.5f * fine.g - 0.75f) * calm;
    s->n = choose(here, unit(v3(nx, (F)(1.0f), nz)), s->n);
    s->albedo = choose(here, rgb(0.012f, 0.030f, 0.040f), s->albedo);
    s->roughness = PICK(here, (F)(0.16f), s->roughness);
}

// The surfaces that the lanes of a packet met, one instance after another.
static Surface surface_at(__global const float *tick, __global const int *texture,
                          __global const int *ripples, V3 p, I what)
{
    Surface s;
    s.n = rgb(0.0f, 1.0f, 0.0f);
    s.albedo = rgb(0.0f, 0.0f, 0.0f);
    s.roughness = (F)(1.0f);
    if (ANY(what == POOL)) of_pool(ripples, p, what == POOL, &s);
    I left = PICK_I(what >= 0, what, INSTANCES);
    for (int i = lowest(left); i < INSTANCES; i = lowest(left)) {
        of_instance(instance_of(tick, i), texture, p, left == i, &s);
        left = PICK_I(left == i, INSTANCES, left);
    }
    return s;
}

// ---- the sky -----------------------------------------------------------------------------

// Without clouds and sun: what rough surfaces mirror.
static V3 air(V3 d)
{
    F up = max(d.y, (F)(0.0f)), low = 1.0f - up;
    F low2 = low * low, low4 = low2 * low2;
    F s = max(dot3(d, SUN), (F)(0.0f));
    F toward = 0.5f + 0.5f * dot3(d, SUN);
    V3 horizon = blend(rgb(0.30f, 0.30f, 0.44f), rgb(1.30f, 0.66f, 0.36f), toward * toward);
    V3 colour = blend(rgb(0.035f, 0.080f, 0.200f), horizon, 0.15f * low2 + 0.85f * low4 * low4);
    F s2 = s * s, s4 = s2 * s2, s8 = s4 * s4, s32 = s8 * s8 * s8 * s8;
    colour = add(colour, scale(rgb(1.0f, 0.46f, 0.18f), 0.22f * s8 + 0.7f * s32));
    return blend(colour, rgb(0.10f, 0.09f, 0.10f), sat(-5.0f * d.y));
}

static V3 sky(__global const int *texture, V3 d, float time)
{
    F reach = 1.0f / (max(d.y, (F)(0.0f)) + 0.14f);
    Texel high = sample(texture, TEXELS, d.x * reach * 0.037f + 0.0012f * time, d.z * reach * 0.037f);
    Texel wisp = sample(texture, TEXELS, d.x * reach * 0.119f, d.z * reach * 0.119f + 0.0009f * time);
    F cloud = step_smooth(0.46f, 0.86f, 0.74f * high.b + 0.26f * wisp.b) * step_smooth(0.02f, 0.22f, d.y);
    F s = max(dot3(d, SUN), (F)(0.0f));
    F s2 = s * s, s4 = s2 * s2;
    V3 lit = blend(rgb(0.34f, 0.30f, 0.40f), rgb(2.1f, 1.10f, 0.62f), 0.12f + 0.30f * s2 + 0.50f * s4 * s4);
    V3 colour = blend(air(d), lit, 0.75f * cloud);
    return add(colour, scale(rgb(26.0f, 17.0f, 9.0f), step_smooth(0.99955f, 0.99975f, s)));
}
