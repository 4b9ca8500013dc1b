// From light to picture: what follows the shading of gaming.frame, and of gaming.pathtrace.
//
//   resolve   temporal anti-aliasing: this frame's light into the history of those before
//   bright    what is too bright for the film, small
//   blur      makes a glow of it, first across and then down
//   develop   film curve, bloom, vignette, gamma, grain
// The host sides are in gpupanel/stress/gaming/sculpture/; frame_oracle.py is the same in NumPy.

#ifndef LANES
#define LANES 1         // pixels per work-item, side by side in a row: 1 on a GPU, 8 or 16 on a CPU
#endif
#ifndef MARGIN
#define MARGIN 144      // columns left and right of a plane
#endif

// Data layout (all 32-bit); of `size`, x and y are the picture's, z is from row to row of a plane.
//   tick      only [15] is read: 1 if there is a history
//   seen      as gaming_frame.cl draws it; only motion is read
//   light     3 planes: red, green, blue, linear; history, before and after: the same
//   glow      3 planes of 90 rows of 160, without margins; y is a multiple of 90
//   picture   y rows of x of RGBX8; X is 255, or 0 where the light is not finite

#include "gaming_packets.cl"

#define FAR 1.0e6f
#define GLOW_X 160
#define GLOW_Y 90
#define GLOW_SHARE (LANES == 1 ? 1 : 8)     // pixels that one item makes, one after another

static V3 load3(__global const float *at, int plane)
{
    return v3(LOAD(at), LOAD(at + plane), LOAD(at + 2 * plane));
}

static void store3(V3 c, __global float *at, int plane)
{
    STORE(c.x, at);
    STORE(c.y, at + plane);
    STORE(c.z, at + 2 * plane);
}

static void put(float3 c, __global float *glow, int column, int row)
{
    int at = row * GLOW_X + column;
    glow[at] = c.x;
    glow[at + GLOW_X * GLOW_Y] = c.y;
    glow[at + 2 * GLOW_X * GLOW_Y] = c.z;
}

// Where light varies wildly, means are taken of this, so that one spark does not outweigh all.
static V3 tamed(V3 c) { return scale(c, 1.0f / (1.0f + luma(c))); }
static V3 untamed(V3 c) { return scale(c, 1.0f / (1.0f - luma(c))); }

static V3 bilinear(__global const float *planes, int plane, int pitch, int2 most, F x, F y)
{
    F x0 = floor(x), y0 = floor(y);
    F fx = x - x0, fy = y - y0;
    I left = clamp(INT(x0), 0, most.x), right = clamp(INT(x0) + 1, 0, most.x);
    I top = clamp(INT(y0), 0, most.y) * pitch, below = clamp(INT(y0) + 1, 0, most.y) * pitch;
    F part[3];
    for (int k = 0; k < 3; ++k) {
        __global const int *from = (__global const int *)(planes + k * plane);
        F a = AS_FLOAT(fetch(from, top + left)), b = AS_FLOAT(fetch(from, top + right));
        F c = AS_FLOAT(fetch(from, below + left)), d = AS_FLOAT(fetch(from, below + right));
        F upper = a + (b - a) * fx, lower = c + (d - c) * fx;
        part[k] = upper + (lower - upper) * fy;
    }
    return v3(part[0], part[1], part[2]);
}

__kernel void resolve(__global const float *restrict tick, __global const int *restrict seen,
                      __global const float *restrict light, __global const float *restrict before,
                      __global float *restrict after, int4 size)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.x || row >= size.y) return;
    int plane = size.y * size.z, at = row * size.z + MARGIN + column;
    F x = (float)column + LANE_NUMBERS;
    V3 here = tamed(load3(light + at, plane));
    V3 low = here, high = here, smooth = rgb(0.0f, 0.0f, 0.0f);
    for (int k = 0; k < 9; ++k) {
        int dx = k % 3 - 1, y = clamp(row + k / 3 - 1, 0, size.y - 1);
        __global const float *from = light + y * size.z + MARGIN + column;
        I outside = (x + (float)dx < 0.0f) | (x + (float)dx > size.x - 1.0f);
        V3 c = load3(from + dx, plane);
        if (ANY(outside)) c = choose(outside, load3(from, plane), c);
        c = tamed(c);
        low = v3(min(low.x, c.x), min(low.y, c.y), min(low.z, c.z));
        high = v3(max(high.x, c.x), max(high.y, c.y), max(high.z, c.z));
        smooth = add(smooth, scale(c, (F)((dx == 0 ? 0.5f : 0.25f) * (k / 3 == 1 ? 0.5f : 0.25f))));
    }
    if (tick[15] == 0.0f) {
        store3(untamed(smooth), after + at, plane);
        return;
    }
    I motion = LOAD(seen + 3 * plane + at);
    F old_x = x - FLOAT((motion << 16) >> 16) * (1.0f / 256.0f);
    F old_y = (float)row - FLOAT(motion >> 16) * (1.0f / 256.0f);
    I known = (old_x >= 0.0f) & (old_x <= size.x - 1.0f) & (old_y >= 0.0f) & (old_y <= size.y - 1.0f);
    V3 old = tamed(bilinear(before + MARGIN, plane, size.z, (int2)(size.x - 1, size.y - 1), old_x, old_y));
    old = v3(clamp(old.x, low.x, high.x), clamp(old.y, low.y, high.y), clamp(old.z, low.z, high.z));
    V3 mixed = choose(known, blend(old, here, (F)(0.10f)), smooth);
    store3(untamed(mixed), after + at, plane);
}

// The glow, 160 x 90 at any size of the picture: so it is as wide on every screen.
// One item per GLOW_SHARE pixels.
__kernel void bright(__global const float *restrict after, __global float *restrict glow, int4 size)
{
    int first = get_global_id(0) * GLOW_SHARE, row = get_global_id(1);
    if (row >= GLOW_Y) return;
    int factor = size.y / GLOW_Y, plane = size.y * size.z;
    for (int column = first; column < first + GLOW_SHARE; ++column) {
        float3 sum = (float3)(0.0f);
        for (int y = factor * row; y < factor * row + factor; ++y) {
            __global const float *at = after + y * size.z + MARGIN;
            for (int x = factor * column; x < factor * column + factor; ++x) {
                float3 c = (float3)(at[x], at[plane + x], at[2 * plane + x]);
                float strength = 0.25f * c.x + 0.65f * c.y + 0.10f * c.z;
                float over = max(strength - 1.1f, 0.0f) / (strength + 0.5f);
                sum += c * (over / (1.0f + 0.06f * strength));
            }
        }
        put(sum / (float)(factor * factor), glow, column, row);
    }
}

constant float BLUR[15] = {
    0.14408f, 0.12659f, 0.09025f, 0.06004f, 0.04263f, 0.03239f, 0.02463f, 0.01807f,
    0.01267f, 0.00847f, 0.00540f, 0.00329f, 0.00191f, 0.00106f, 0.00056f,
};

// Across with step (1, 0), down with step (0, 1).
__kernel void blur(__global const float *restrict from, __global float *restrict to, int2 step)
{
    int first = get_global_id(0) * GLOW_SHARE, row = get_global_id(1);
    if (row >= GLOW_Y) return;
    for (int column = first; column < first + GLOW_SHARE; ++column) {
        float3 sum = (float3)(0.0f);
        for (int k = -14; k < 15; ++k) {
            int x = clamp(column + k * step.x, 0, GLOW_X - 1), y = clamp(row + k * step.y, 0, GLOW_Y - 1);
            __global const float *at = from + y * GLOW_X + x;
            sum += BLUR[abs(k)] * (float3)(at[0], at[GLOW_X * GLOW_Y], at[2 * GLOW_X * GLOW_Y]);
        }
        put(sum, to, column, row);
    }
}

static I byte_of(F linear, F grain)
{
    return INT(clamp(pow(linear, (F)(1.0f / 2.2f)) * 255.0f + grain, (F)(0.0f), (F)(255.0f)));
}

__kernel void develop(__global const float *restrict after, __global const float *restrict glow,
                      __global int *restrict picture, int4 size)
{
    int column = get_global_id(0) * LANES, row = get_global_id(1);
    if (column >= size.x || row >= size.y) return;
    int plane = size.y * size.z;
    V3 c = load3(after + row * size.z + MARGIN + column, plane);
    I sound = (fabs(c.x) < FAR) & (fabs(c.y) < FAR) & (fabs(c.z) < FAR);
    F x = (float)column + LANE_NUMBERS;
    float per = (float)GLOW_Y / size.y;
    V3 halo = bilinear(glow, GLOW_X * GLOW_Y, GLOW_X, (int2)(GLOW_X - 1, GLOW_Y - 1),
                       (x + 0.5f) * per - 0.5f, (F)((row + 0.5f) * per - 0.5f));
    F px = (x + 0.5f) * (2.0f / size.x) - 1.0f;
    float py = (row + 0.5f) * (2.0f / size.y) - 1.0f;
    F r2 = px * px + py * py;
    F exposure = 0.82f * (1.0f - 0.17f * r2 * (0.4f + 0.3f * r2));
    c = scale(add(c, scale(halo, (F)(0.55f))), exposure);
    I bits = (INT(x) * 73 + row * 151) * 2654;
    F grain = FLOAT((bits >> 8) & 255) * (1.0f / 256.0f);
    I rgbx = byte_of(film(c.x), grain) | (byte_of(film(c.y), grain) << 8)
           | (byte_of(film(c.z), grain) << 16) | PICK_I(sound, (int)0xff000000, 0);
    STORE(rgbx, picture + row * size.x + column);
}
