/* What the miner and its neighbour share: OpenCL without headers, a counter that a test can read,
 * and an end that always comes.
 *
 * OpenCL's calls and numbers are those of Khronos' specification of OpenCL 1.2. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

typedef void *handle;

enum { CL_DEVICE_TYPE_CPU = 1 << 1, CL_MEM_READ_WRITE = 1 << 0, CL_MEM_COPY_HOST_PTR = 1 << 5 };

/* Read by tests/enforcement/miner/programs.py: keep both alike. */
struct board {
    _Atomic uint64_t work;    /* hashes, or steps */
    _Atomic uint64_t batches; /* that were waited for */
    _Atomic uint64_t pid;     /* of the process that began to compute last */
    _Atomic uint64_t starts;  /* how many have */
    _Atomic uint64_t stop;    /* set by the test: everybody ends */
};

static struct board *board;
static double until_s;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sleep_s(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (seconds > 0) nanosleep(&left, NULL);
}

static int is_over(void) { return board->stop || now_s() >= until_s; }

static void fail(const char *what, int code)
{
    fprintf(stderr, "%s\n", what);
    exit(code);
}

/* The counter, and the time when all of this ends; both outlive exec through the environment. */
static void begin(double seconds)
{
    const char *path = getenv("WORK_BOARD"), *until = getenv("WORK_UNTIL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    int flags = file < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    if (path && file < 0) fail("WORK_BOARD cannot be opened", 2);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, flags, file, 0);
    if (board == MAP_FAILED) fail("WORK_BOARD cannot be mapped", 2);
    if (file >= 0) close(file);
    until_s = until ? atof(until) : now_s() + seconds;
    char text[32];
    snprintf(text, sizeof text, "%.3f", until_s);
    setenv("WORK_UNTIL", text, 1);
}

static void die_with_parent(void)
{
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) exit(0);
}

#define CALLS(X) \
    X(int, clGetPlatformIDs, (unsigned, handle *, unsigned *)) \
    X(int, clGetDeviceIDs, (handle, uint64_t, unsigned, handle *, unsigned *)) \
    X(handle, clCreateContext, (const void *, unsigned, handle *, void *, void *, int *)) \
    X(handle, clCreateCommandQueue, (handle, handle, uint64_t, int *)) \
    X(handle, clCreateProgramWithSource, (handle, unsigned, const char **, const size_t *, int *)) \
    X(int, clBuildProgram, (handle, unsigned, handle *, const char *, void *, void *)) \
    X(handle, clCreateKernel, (handle, const char *, int *)) \
    X(handle, clCreateBuffer, (handle, uint64_t, size_t, void *, int *)) \
    X(int, clSetKernelArg, (handle, unsigned, size_t, const void *)) \
    X(int, clEnqueueNDRangeKernel, (handle, handle, unsigned, const size_t *, const size_t *, \
                                    const size_t *, unsigned, const handle *, handle *)) \
    X(int, clEnqueueReadBuffer, (handle, handle, unsigned, size_t, size_t, void *, unsigned, \
                                 const handle *, handle *)) \
    X(int, clFlush, (handle)) \
    X(int, clWaitForEvents, (unsigned, const handle *)) \
    X(int, clReleaseEvent, (handle))

#define DECLARE(type, name, arguments) static type(*name) arguments;
CALLS(DECLARE)

static void check(int code, const char *what)
{
    if (code) {
        fprintf(stderr, "%s: OpenCL error %d\n", what, code);
        exit(2);
    }
}

struct device {
    handle context, queue, kernel;
};

/* The first processor of any platform, and one kernel for it. */
static struct device opened(const char *source, const char *kernel)
{
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW);
    if (!library) fail(dlerror(), 2);
#define FIND(type, name, arguments) *(void **)&name = dlsym(library, #name);
    CALLS(FIND)
    handle platforms[8], cpu = NULL;
    unsigned count = 0;
    int code = 0;
    check(clGetPlatformIDs(8, platforms, &count), "clGetPlatformIDs");
    for (unsigned i = 0; i < count && i < 8 && !cpu; i++)
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &cpu, NULL)) cpu = NULL;
    if (!cpu) fail("no OpenCL device is a processor", 2);
    struct device device;
    device.context = clCreateContext(NULL, 1, &cpu, NULL, NULL, &code);
    check(code, "clCreateContext");
    device.queue = clCreateCommandQueue(device.context, cpu, 0, &code);
    check(code, "clCreateCommandQueue");
    handle program = clCreateProgramWithSource(device.context, 1, &source, NULL, &code);
    check(clBuildProgram(program, 1, &cpu, "", NULL, NULL), "clBuildProgram");
    device.kernel = clCreateKernel(program, kernel, &code);
    check(code, "clCreateKernel");
    return device;
}

static handle buffer(struct device *device, size_t bytes, void *content)
{
    int code = 0;
    uint64_t flags = CL_MEM_READ_WRITE | (content ? CL_MEM_COPY_HOST_PTR : 0);
    handle made = clCreateBuffer(device->context, flags, bytes, content, &code);
    check(code, "clCreateBuffer");
    return made;
}

static handle launched(struct device *device, size_t items, size_t group)
{
    handle event;
    check(clEnqueueNDRangeKernel(device->queue, device->kernel, 1, NULL, &items, &group, 0, NULL,
                                 &event), "clEnqueueNDRangeKernel");
    check(clFlush(device->queue), "clFlush");
    return event;
}

static void wait_for(handle event)
{
    check(clWaitForEvents(1, &event), "clWaitForEvents");
    clReleaseEvent(event);
}

/* When to work: the first `on` of each `period` of the machine's clock; period 0 is always. */
struct pulse {
    double on_s, period_s;
};

static void rest(struct pulse pulse)
{
    if (pulse.period_s <= 0) return;
    double now = now_s(), phase = now - pulse.period_s * (double)(uint64_t)(now / pulse.period_s);
    if (phase >= pulse.on_s) sleep_s(pulse.period_s - phase);
}

static void report_for_work(void)
{
    board->pid = (uint64_t)getpid();
    board->starts++;
    printf("working %d\n", getpid());
    fflush(stdout);
}
