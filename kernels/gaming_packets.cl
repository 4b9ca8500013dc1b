// What the gaming kernels share: packets of rays, vectors of them, and texture lookups.
//
// A packet is LANES pixels side by side; F, I and U hold one number of each. A mask is an I of
// 0 and -1 per lane, except for LANES 1, where C says 1 for true: test it, do not compute with it.

// Halving is a seventh faster over a frame than PoCL's any(), which looks at lane after lane.
static int any_of_8(int8 mask)
{
    int4 four = mask.lo | mask.hi;
    int2 two = four.lo | four.hi;
    return (two.x | two.y) < 0;
}

#if LANES == 1
typedef float F;
typedef int I;
typedef uint U;
#define ANY(mask) ((mask) != 0)
#define PICK(mask, yes, no) ((mask) ? (yes) : (no))
#define PICK_I(mask, yes, no) ((mask) ? (yes) : (no))
#define LOAD(from) (*(from))
#define STORE(value, to) (*(to) = (value))
#define INT(x) convert_int(x)
#define FLOAT(x) convert_float(x)
#define AS_FLOAT(x) as_float(x)
#define AS_INT(x) as_int(x)
#define AS_UINT(x) as_uint(x)
#define LANE_NUMBERS 0.0f
#elif LANES == 8
typedef float8 F;
typedef int8 I;
typedef uint8 U;
#define ANY(mask) any_of_8(mask)
#define PICK(mask, yes, no) select((F)(no), (F)(yes), mask)
#define PICK_I(mask, yes, no) select((I)(no), (I)(yes), mask)
#define LOAD(from) vload8(0, from)
#define STORE(value, to) vstore8(value, 0, to)
#define INT(x) convert_int8(x)
#define FLOAT(x) convert_float8(x)
#define AS_FLOAT(x) as_float8(x)
#define AS_INT(x) as_int8(x)
#define AS_UINT(x) as_uint8(x)
#define LANE_NUMBERS (float8)(0, 1, 2, 3, 4, 5, 6, 7)
#elif LANES == 16
typedef float16 F;
typedef int16 I;
typedef uint16 U;
#define ANY(mask) any_of_8((mask).lo | (mask).hi)
#define PICK(mask, yes, no) select((F)(no), (F)(yes), mask)
#define PICK_I(mask, yes, no) select((I)(no), (I)(yes), mask)
#define LOAD(from) vload16(0, from)
#define STORE(value, to) vstore16(value, 0, to)
#define INT(x) convert_int16(x)
#define FLOAT(x) convert_float16(x)
#define AS_FLOAT(x) as_float16(x)
#define AS_INT(x) as_int16(x)
#define AS_UINT(x) as_uint16(x)
#define LANE_NUMBERS (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#else
#error "LANES is 1, 8 or 16"
#endif

typedef struct { F x, y, z; } V3;

static V3 v3(F x, F y, F z) { V3 v; v.x = x; v.y = y; v.z = z; return v; }
static V3 rgb(float r, float g, float b) { return v3((F)(r), (F)(g), (F)(b)); }
static V3 fetch3(__global const float *at) { return rgb(at[0], at[1], at[2]); }
static V3 add(V3 a, V3 b) { return v3(a.x + b.x, a.y + b.y, a.z + b.z); }
static V3 sub(V3 a, V3 b) { return v3(a.x - b.x, a.y - b.y, a.z - b.z); }
static V3 mul(V3 a, V3 b) { return v3(a.x * b.x, a.y * b.y, a.z * b.z); }
static V3 scale(V3 a, F s) { return v3(a.x * s, a.y * s, a.z * s); }
static F dot3(V3 a, V3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static V3 unit(V3 a) { return scale(a, 1.0f / sqrt(dot3(a, a))); }
static V3 blend(V3 a, V3 b, F s) { return add(a, scale(sub(b, a), s)); }
static V3 choose(I mask, V3 yes, V3 no)
{
    return v3(PICK(mask, yes.x, no.x), PICK(mask, yes.y, no.y), PICK(mask, yes.z, no.z));
}
static F sat(F x) { return min(max(x, (F)(0.0f)), (F)(1.0f)); }
static F step_smooth(float low, float high, F x)
{
    F s = sat((x - low) * (1.0f / (high - low)));
    return s * s * (3.0f - 2.0f * s);
}

// ---- textures ----------------------------------------------------------------------------

typedef struct { F r, g, b, a; } Texel;

static F channel(I texel, int shift) { return FLOAT((texel >> shift) & 255); }

static I fetch(__global const int *from, I at)
{
#if LANES == 1
    return from[at];
#else
    I found;
    for (int lane = 0; lane < LANES; ++lane) ((int *)&found)[lane] = from[((int *)&at)[lane]];
    return found;
#endif
}

static I texel(__global const int *texture, int edge, I u, I v)
{
    return fetch(texture, (v & (edge - 1)) * edge + (u & (edge - 1)));
}

// Bilinear and repeating, by hand: three times as fast as a sampler on a processor. The texture's
// edge is a power of two.
static Texel sample(__global const int *texture, int edge, F u, F v)
{
    u = u * (float)edge;
    v = v * (float)edge;
    F u0 = floor(u), v0 = floor(v);
    F fu = u - u0, fv = v - v0;
    I iu = INT(u0), iv = INT(v0);
    I t00 = texel(texture, edge, iu, iv), t10 = texel(texture, edge, iu + 1, iv);
    I t01 = texel(texture, edge, iu, iv + 1), t11 = texel(texture, edge, iu + 1, iv + 1);
    F w11 = fu * fv * (1.0f / 255.0f), w10 = fu * (1.0f / 255.0f) - w11;
    F w01 = fv * (1.0f / 255.0f) - w11, w00 = (1.0f / 255.0f) - w10 - w01 - w11;
    Texel s;
    s.r = channel(t00, 0) * w00 + channel(t10, 0) * w10 + channel(t01, 0) * w01 + channel(t11, 0) * w11;
    s.g = channel(t00, 8) * w00 + channel(t10, 8) * w10 + channel(t01, 8) * w01 + channel(t11, 8) * w11;
    s.b = channel(t00, 16) * w00 + channel(t10, 16) * w10 + channel(t01, 16) * w01 + channel(t11, 16) * w11;
    s.a = channel(t00, 24) * w00 + channel(t10, 24) * w10 + channel(t01, 24) * w01 + channel(t11, 24) * w11;
    return s;
}

// ---- film --------------------------------------------------------------------------------

// K. Narkowicz's fit of the ACES film curve.
static F film(F x)
{
    return sat(x * (2.51f * x + 0.03f) / (x * (2.43f * x + 0.59f) + 0.14f));
}

static F luma(V3 c) { return 0.25f * c.x + 0.65f * c.y + 0.10f * c.z; }
