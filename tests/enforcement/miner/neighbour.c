/* A neighbour that does honest work on the same processor: heat spreads over a plate, step by step,
 * in single precision through OpenCL.
 *
 *   heat2d [--duty PERCENT PERIOD_MS] [--seconds MAX]
 *
 * Exit: 2 no OpenCL or no counter, 3 the plate's heat is not what it was, 64 bad usage. */

#include "program.h"

enum { SIDE = 512, STEPS = 16, GROUP = 16, CELLS = SIDE * SIDE };

/* One launch is one step; the edges wrap, so that no heat is lost. */
static const char *SOURCE =
    "kernel void spread(global const float *from, global float *to) {"
    "  uint row = get_global_id(0), side = 512;"
    "  uint up = (row + side - 1) % side, down = (row + 1) % side;"
    "  for (uint column = 0; column < side; column++) {"
    "    uint left = (column + side - 1) % side, right = (column + 1) % side;"
    "    float here = from[row * side + column];"
    "    float around = from[up * side + column] + from[down * side + column]"
    "                 + from[row * side + left] + from[row * side + right];"
    "    to[row * side + column] = here + 0.2f * (around - 4.0f * here);"
    "  }"
    "}";

static float plate[CELLS];

static handle stepped(struct device *device, handle from, handle to)
{
    check(clSetKernelArg(device->kernel, 0, sizeof from, &from), "clSetKernelArg");
    check(clSetKernelArg(device->kernel, 1, sizeof to, &to), "clSetKernelArg");
    return launched(device, SIDE, GROUP);
}

static double heat(struct device *device, handle cells)
{
    double sum = 0;
    check(clEnqueueReadBuffer(device->queue, cells, 1, 0, sizeof plate, plate, 0, NULL, NULL),
          "clEnqueueReadBuffer");
    for (int i = 0; i < CELLS; i++) sum += plate[i];
    return sum;
}

int main(int count, char **words)
{
    double seconds = 120;
    struct pulse pulse = {0, 0};
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "--seconds") && i + 1 < count) seconds = atof(words[++i]);
        else if (!strcmp(words[i], "--duty") && i + 2 < count) {
            pulse.period_s = atof(words[i + 2]) / 1000;
            pulse.on_s = pulse.period_s * atof(words[i + 1]) / 100;
            i += 2;
        } else
            fail("heat2d [--duty PERCENT PERIOD_MS] [--seconds MAX]", 64);
    }
    begin(seconds);
    die_with_parent();
    struct device device = opened(SOURCE, "spread");
    for (int i = 0; i < CELLS; i++) plate[i] = i / SIDE == SIDE / 2 ? 100.0f : 20.0f;
    handle one = buffer(&device, sizeof plate, plate), other = buffer(&device, sizeof plate, plate);
    double at_first = heat(&device, one);
    wait_for(stepped(&device, one, other));
    wait_for(stepped(&device, other, one));
    report_for_work();
    while (!is_over()) {
        rest(pulse);
        handle last = NULL;
        for (int i = 0; i < STEPS; i++) {
            if (last) clReleaseEvent(last);
            last = i % 2 ? stepped(&device, other, one) : stepped(&device, one, other);
        }
        wait_for(last);
        board->work += STEPS;
        board->batches++;
    }
    double now = heat(&device, one);
    if (now < 0.99 * at_first || now > 1.01 * at_first) fail("heat was lost", 3);
    return 0;
}
