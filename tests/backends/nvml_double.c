/* A DOUBLE of libnvidia-ml.so.1 for the tests: the C ABI of NVML without an NVIDIA card.
 *
 * Written from the public header's signatures. It checks what the library checks: handles die with
 * the last shutdown, structure versions must fit, buffers must be large enough. nvml_double.py
 * builds it and calls the double_* functions, which set the stage. With -DOLD_DRIVER it is the
 * library of a 470 driver: the functions that came later are not exported.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, TIMEOUT = 10, ARGUMENT_VERSION_MISMATCH = 25 };
enum { GPUS = 8, FUNCTIONS = 256, FIELDS = 300, PROCESSES = 200, EVENTS = 64 };

typedef unsigned int uint;
typedef unsigned long long u64;
typedef long long i64;
typedef struct { uint id, scope; i64 timestamp, latency; uint type, result; u64 value; } field_t;
typedef struct { uint pid; u64 timestamp; uint sm, mem, enc, dec; } use_t;
typedef struct { void *device; u64 type, data; uint gi, ci; } event_t;

/* One row per value: its name for double_set, and what a healthy card answers. */
#define VALUES(X) \
    X(utilization_gpu, 97) X(utilization_memory, 61) X(encoder, 12) X(decoder, 7) X(jpeg, 3) \
    X(ofa, 2) X(power_mw, 312450) X(enforced_mw, 400000) X(requested_mw, 420000) \
    X(default_mw, 450000) X(least_mw, 150000) X(most_mw, 450000) X(energy_mj, 123456789) \
    X(temperature, 71) X(shutdown_c, 96) X(slowdown_c, 88) X(mem_max_c, 105) X(gpu_max_c, 84) \
    X(memory_total, 24LL << 30) X(memory_used, 5LL << 30) X(memory_reserved, 512LL << 20) \
    X(bar1_total, 32LL << 30) X(bar1_used, 300LL << 20) X(clock_graphics, 2520) \
    X(clock_sm, 2520) X(clock_memory, 10501) X(clock_video, 1980) X(max_graphics, 3105) \
    X(max_sm, 3105) X(max_memory, 10501) X(max_video, 2415) X(pstate, 2) X(reasons, 4) \
    X(fans, 2) X(fan_percent, 43) X(fan_rpm, 1310) X(fan_policy, 0) X(pcie_generation, 4) \
    X(pcie_width, 16) X(pcie_max_generation, 4) X(pcie_max_width, 16) X(replays, 5) \
    X(ecc_corrected, 11) X(ecc_uncorrected, 1) X(ecc_mode, 1) X(mig_mode, 0) X(rows_corrected, 3) \
    X(rows_uncorrected, 1) X(retired_single, 2) X(retired_double, 1) X(cuda_major, 8) \
    X(cuda_minor, 9) X(persistence, 0) X(gone, 0) X(locked_low, 0) X(locked_high, 0) \
    X(locked_memory_low, 0) X(locked_memory_high, 0) X(fan_target, 0) X(events, 0x1b)
#define NAME(name, value) name,
#define TEXT(name, value) #name,
#define START(name, value) value,
enum { VALUES(NAME) VALUE_COUNT };
static const char *const value_names[] = {VALUES(TEXT)};
static const i64 healthy[] = {VALUES(START)};

typedef struct {
    i64 value[VALUE_COUNT];
    i64 field[FIELDS];
    uint field_type[FIELDS], field_result[FIELDS];
    uint process_count[2], pid[2][PROCESSES];
    u64 process_memory[2][PROCESSES];
    uint use_count;
    use_t use[PROCESSES];
} gpu_t;
typedef struct { char name[64]; uint calls; int fault[GPUS + 1]; } function_t;

static gpu_t gpus[GPUS];
static function_t functions[FUNCTIONS];
static uint gpu_count, known_count, function_count, started, generation, process_stride, throughput_us;
static uint knows_late, is_user;
static char driver_version[80];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static event_t queue[EVENTS];
static uint queued, sets_open, waiting;

static function_t *function_named(const char *name)
{
    pthread_mutex_lock(&lock);
    uint i = 0;
    while (i < function_count && strcmp(functions[i].name, name)) i++;
    if (i == function_count) snprintf(functions[function_count++].name, 64, "%s", name);
    pthread_mutex_unlock(&lock);
    return &functions[i];
}

/* ---- the stage: not of NVML ---- */

static int value_named(const char *name)
{
    for (int i = 0; i < VALUE_COUNT; i++)
        if (!strcmp(value_names[i], name)) return i;
    fprintf(stderr, "nvml_double: no value %s\n", name);
    abort();
}

void double_set(uint gpu, const char *name, i64 value) { gpus[gpu].value[value_named(name)] = value; }
i64 double_get(uint gpu, const char *name) { return gpus[gpu].value[value_named(name)]; }
void double_driver(const char *version) { snprintf(driver_version, 80, "%s", version); }
void double_stride(uint bytes) { process_stride = bytes; }
void double_throughput_us(uint delay_us) { throughput_us = delay_us; }
/* GPUs are plugged in or out; a library that is already started may not learn of new ones. */
void double_count(uint count) { gpu_count = count; if (!knows_late) known_count = count; }
void double_knows_late(uint late) { knows_late = late; }
/* Setters want an administrator. */
void double_user(uint user) { is_user = user; }
uint double_started(void) { return started; }
uint double_sets(void) { return sets_open; }
uint double_waiting(void) { return waiting; }
uint double_calls(const char *name) { return function_named(name)->calls; }
uint double_all_calls(void)
{
    uint calls = 0;
    for (uint i = 0; i < function_count; i++) calls += functions[i].calls;
    return calls;
}
void double_forget_calls(void)
{
    for (uint i = 0; i < function_count; i++) functions[i].calls = 0;
}
/* What the function returns for one GPU; for gpu GPUS, what it returns where no GPU is named. */
void double_fail(uint gpu, const char *name, int result) { function_named(name)->fault[gpu] = result; }
void double_field(uint gpu, uint id, uint type, uint result, i64 value)
{
    gpus[gpu].field[id] = value;
    gpus[gpu].field_type[id] = type;
    gpus[gpu].field_result[id] = result;
}
void double_process(uint gpu, uint is_graphics, uint pid, u64 memory)
{
    uint i = gpus[gpu].process_count[is_graphics]++;
    gpus[gpu].pid[is_graphics][i] = pid;
    gpus[gpu].process_memory[is_graphics][i] = memory;
}
void double_use(uint gpu, uint pid, u64 timestamp, uint sm, uint mem, uint enc, uint dec)
{
    gpus[gpu].use[gpus[gpu].use_count++] = (use_t){pid, timestamp, sm, mem, enc, dec};
}
void double_no_processes(uint gpu)
{
    gpus[gpu].process_count[0] = gpus[gpu].process_count[1] = gpus[gpu].use_count = 0;
}
void double_event(uint gpu, u64 type, u64 data)
{
    pthread_mutex_lock(&lock);
    void *device = (void *)(size_t)(generation * 0x1000 + gpu + 1);
    queue[queued++] = (event_t){device, type, data, ~0u, ~0u};
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}
void double_reset(uint count)
{
    static const uint ids[] = {74, 75, 76, 82, 138, 139, 185, 186, 197, 198, 269, 270, 271};
    static const i64 starts[] = {7000000000, 2000000000, 1000000000, 64, 1000, 2000, 305000, 318000,
                                 10000000, 20000000, 500000000, 250000000, 125000000};
    memset(gpus, 0, sizeof gpus);
    memset(functions, 0, sizeof functions[0] * FUNCTIONS);
    for (uint g = 0; g < GPUS; g++) {
        memcpy(gpus[g].value, healthy, sizeof healthy);
        for (uint i = 0; i < FIELDS; i++) gpus[g].field_result[i] = NOT_SUPPORTED;
        for (uint i = 0; i < sizeof ids / sizeof *ids; i++)
            double_field(g, ids[i], ids[i] == 82 || ids[i] / 2 == 92 || ids[i] == 186 ? 1 : 3, 0, starts[i]);
    }
    gpu_count = known_count = count;
    knows_late = is_user = 0;
    started = queued = sets_open = waiting = throughput_us = function_count = 0;
    process_stride = 24;
    generation++;
    double_driver("575.64.03");
}

/* ---- what every function does first ---- */

static int enter(function_t **slot, const char *name)
{
    /* double_reset empties the table: a name that is gone is looked up again. */
    if (!*slot || !(*slot)->name[0] || strcmp((*slot)->name, name)) *slot = function_named(name);
    (*slot)->calls++;
    if (!started && strcmp(name, "nvmlInitWithFlags")) return UNINITIALIZED;
    return (*slot)->fault[GPUS];
}

static int enter_gpu(function_t **slot, const char *name, void *device, gpu_t **gpu)
{
    int result = enter(slot, name);
    size_t handle = (size_t)device, index = handle % 0x1000;
    if (result) return result;
    if (handle / 0x1000 != generation || !index || index > GPUS) return INVALID_ARGUMENT;
    *gpu = &gpus[index - 1];
    return (*gpu)->value[gone] ? (int)(*gpu)->value[gone] : (*slot)->fault[index - 1];
}

#define ENTER static function_t *slot; int result = enter(&slot, __func__); if (result) return result
#define ENTER_GPU static function_t *slot; gpu_t *gpu; \
    int result = enter_gpu(&slot, __func__, device, &gpu); if (result) return result
#define V(name) gpu->value[name]
#define GETTER(function, type, name) \
    int function(void *device, type *out) { ENTER_GPU; *out = (type)V(name); return SUCCESS; }

static int text_out(char *out, uint size, const char *text)
{
    if (size <= strlen(text)) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}
static int index_of(gpu_t *gpu) { return (int)(gpu - gpus); }

/* ---- the library ---- */

int nvmlInitWithFlags(uint flags)
{
    (void)flags;
    ENTER;
    pthread_mutex_lock(&lock);
    if (!started) known_count = gpu_count;
    generation += !started++;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void)
{
    ENTER;
    pthread_mutex_lock(&lock);
    started--;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}
const char *nvmlErrorString(int result)
{
    static char text[40];
    snprintf(text, sizeof text, "error %d", result);
    return text;
}
int nvmlSystemGetDriverVersion(char *out, uint size) { ENTER; return text_out(out, size, driver_version); }
int nvmlSystemGetCudaDriverVersion(int *out) { ENTER; *out = 12090; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { ENTER; *out = 12090; return SUCCESS; }
int nvmlSystemGetNVMLVersion(char *out, uint size) { ENTER; return text_out(out, size, "12.575.64.03"); }

static int hand_out(uint index, void **device)
{
    if (index >= known_count || index >= gpu_count) return NOT_FOUND;
    if (gpus[index].value[gone]) return (int)gpus[index].value[gone];
    *device = (void *)(size_t)(generation * 0x1000 + index + 1);
    return SUCCESS;
}
static uint bus_of(uint index) { return index * 0x20 + 1; }

int nvmlDeviceGetCount_v2(uint *out) { ENTER; *out = known_count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(uint index, void **device)
{
    ENTER;
    return index < known_count ? hand_out(index, device) : INVALID_ARGUMENT;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **device)
{
    ENTER;
    uint domain, bus, slot_number, part;
    if (sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &slot_number, &part) != 4) return INVALID_ARGUMENT;
    return bus % 0x20 == 1 && !domain ? hand_out(bus / 0x20, device) : NOT_FOUND;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
    ENTER;
    return hand_out((uint)strtoul(uuid + strlen(uuid) - 1, NULL, 16) - 1, device);
}
int nvmlDeviceGetIndex(void *device, uint *out) { ENTER_GPU; *out = (uint)index_of(gpu); return SUCCESS; }
int nvmlDeviceGetUUID(void *device, char *out, uint size)
{
    ENTER_GPU;
    char text[80];
    snprintf(text, sizeof text, "GPU-8f1c2a4e-0d5b-4f1e-9d9a-%012d", index_of(gpu) + 1);
    return text_out(out, size, text);
}
int nvmlDeviceGetName(void *device, char *out, uint size)
{
    ENTER_GPU;
    return text_out(out, size, index_of(gpu) ? "NVIDIA A100-SXM4-80GB" : "NVIDIA GeForce RTX 4090");
}
int nvmlDeviceGetSerial(void *device, char *out, uint size) { ENTER_GPU; return text_out(out, size, "1321"); }
int nvmlDeviceGetVbiosVersion(void *device, char *out, uint size)
{
    ENTER_GPU;
    return text_out(out, size, "95.02.3C.00.91");
}
int nvmlDeviceGetPciInfo_v3(void *device, void *out)
{
    ENTER_GPU;
    struct { char legacy[16]; uint domain, bus, device, id, subsystem; char bus_id[32]; } *info = out;
    memset(info, 0, sizeof *info);
    info->bus = bus_of((uint)index_of(gpu));
    snprintf(info->legacy, 16, "0000:%02X:00.0", info->bus);
    snprintf(info->bus_id, 32, "00000000:%02X:00.0", info->bus);
    return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor)
{
    ENTER_GPU;
    *major = (int)V(cuda_major), *minor = (int)V(cuda_minor);
    return SUCCESS;
}

static int pair(uint *first, uint *second, i64 one, i64 two)
{
    *first = (uint)one, *second = (uint)two;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, uint *out)
{
    ENTER_GPU;
    return pair(out, out + 1, V(utilization_gpu), V(utilization_memory));
}
#define ENGINE(function, name) int function(void *device, uint *percent, uint *period_us) \
    { ENTER_GPU; return pair(percent, period_us, V(name), 167000); }
ENGINE(nvmlDeviceGetEncoderUtilization, encoder)
ENGINE(nvmlDeviceGetDecoderUtilization, decoder)
GETTER(nvmlDeviceGetPowerUsage, uint, power_mw)
GETTER(nvmlDeviceGetEnforcedPowerLimit, uint, enforced_mw)
GETTER(nvmlDeviceGetPowerManagementLimit, uint, requested_mw)
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, uint, default_mw)
int nvmlDeviceGetPowerManagementLimitConstraints(void *device, uint *least, uint *most)
{
    ENTER_GPU;
    return pair(least, most, V(least_mw), V(most_mw));
}
GETTER(nvmlDeviceGetTotalEnergyConsumption, u64, energy_mj)
int nvmlDeviceGetTemperature(void *device, uint sensor, int *out)
{
    ENTER_GPU;
    *out = (int)V(temperature);
    return sensor ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlDeviceGetTemperatureThreshold(void *device, uint threshold, uint *out)
{
    static const int of[] = {shutdown_c, slowdown_c, mem_max_c, gpu_max_c};
    ENTER_GPU;
    if (threshold > 3 || !gpu->value[of[threshold]]) return NOT_SUPPORTED;
    *out = (uint)gpu->value[of[threshold]];
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, u64 *out)
{
    ENTER_GPU; /* version 1 counts the reserved memory as used */
    out[0] = (u64)V(memory_total), out[2] = (u64)(V(memory_used) + V(memory_reserved));
    out[1] = out[0] - out[2];
    return SUCCESS;
}
int nvmlDeviceGetBAR1MemoryInfo(void *device, u64 *out)
{
    ENTER_GPU;
    out[0] = (u64)V(bar1_total), out[2] = (u64)V(bar1_used), out[1] = out[0] - out[2];
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(void *device, uint type, uint *out)
{
    static const int of[] = {clock_graphics, clock_sm, clock_memory, clock_video};
    ENTER_GPU;
    if (type > 3) return INVALID_ARGUMENT;
    i64 mhz = gpu->value[of[type]]; /* locked clocks show in what a clock does, and nowhere else */
    i64 low = type < 2 ? V(locked_low) : type == 2 ? V(locked_memory_low) : 0;
    i64 high = type < 2 ? V(locked_high) : type == 2 ? V(locked_memory_high) : 0;
    *out = (uint)(high && mhz > high ? high : mhz < low ? low : mhz);
    return SUCCESS;
}
int nvmlDeviceGetMaxClockInfo(void *device, uint type, uint *out)
{
    static const int of[] = {max_graphics, max_sm, max_memory, max_video};
    ENTER_GPU;
    *out = type < 4 ? (uint)gpu->value[of[type]] : 0;
    return type < 4 ? SUCCESS : INVALID_ARGUMENT;
}
GETTER(nvmlDeviceGetPerformanceState, uint, pstate)
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, u64, reasons)
GETTER(nvmlDeviceGetNumFans, uint, fans)
GETTER(nvmlDeviceGetFanSpeed, uint, fan_percent)
int nvmlDeviceGetFanSpeed_v2(void *device, uint fan, uint *out)
{
    ENTER_GPU;
    *out = (uint)V(fan_percent);
    return fan < V(fans) ? SUCCESS : INVALID_ARGUMENT;
}
GETTER(nvmlDeviceGetCurrPcieLinkGeneration, uint, pcie_generation)
GETTER(nvmlDeviceGetCurrPcieLinkWidth, uint, pcie_width)
GETTER(nvmlDeviceGetMaxPcieLinkGeneration, uint, pcie_max_generation)
GETTER(nvmlDeviceGetMaxPcieLinkWidth, uint, pcie_max_width)
GETTER(nvmlDeviceGetPcieReplayCounter, uint, replays)
GETTER(nvmlDeviceGetPersistenceMode, uint, persistence)
GETTER(nvmlDeviceGetDisplayMode, uint, persistence)
GETTER(nvmlDeviceGetDisplayActive, uint, persistence)
GETTER(nvmlDeviceGetComputeMode, uint, persistence)
int nvmlDeviceGetPcieThroughput(void *device, uint counter, uint *kb_per_s)
{
    ENTER_GPU;
    struct timespec delay = {0, (long)throughput_us * 1000};
    nanosleep(&delay, NULL);
    *kb_per_s = 1000 + counter;
    return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(void *device, uint type, uint counter, u64 *out)
{
    ENTER_GPU;
    if (counter) return NOT_SUPPORTED;
    *out = (u64)(type ? V(ecc_uncorrected) : V(ecc_corrected));
    return SUCCESS;
}
int nvmlDeviceGetMemoryErrorCounter(void *device, uint type, uint counter, uint place, u64 *out)
{
    ENTER_GPU;
    (void)counter, (void)place;
    *out = (u64)(type ? V(ecc_uncorrected) : V(ecc_corrected));
    return SUCCESS;
}
int nvmlDeviceGetEccMode(void *device, uint *now, uint *next)
{
    ENTER_GPU;
    return pair(now, next, V(ecc_mode), V(ecc_mode));
}
int nvmlDeviceGetMigMode(void *device, uint *now, uint *next)
{
    ENTER_GPU;
    return pair(now, next, V(mig_mode), V(mig_mode));
}
int nvmlDeviceIsMigDeviceHandle(void *device, uint *out) { ENTER_GPU; *out = 0; return SUCCESS; }
int nvmlDeviceGetRemappedRows(void *device, uint *corrected, uint *uncorrected, uint *pending, uint *failed)
{
    ENTER_GPU;
    *pending = *failed = 0;
    return pair(corrected, uncorrected, V(rows_corrected), V(rows_uncorrected));
}
int nvmlDeviceGetRetiredPages_v2(void *device, uint cause, uint *count, u64 *pages, u64 *times)
{
    ENTER_GPU;
    uint held = (uint)(cause ? V(retired_double) : V(retired_single)), room = *count;
    *count = held;
    if (room < held) return INSUFFICIENT_SIZE;
    for (uint i = 0; i < held; i++) pages[i] = 0x1000 * i, times[i] = 1;
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(void *device, int count, field_t *fields)
{
    ENTER_GPU;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        uint id = fields[i].id < FIELDS ? fields[i].id : 0;
        fields[i].timestamp = (i64)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        fields[i].type = gpu->field_type[id];
        fields[i].result = gpu->field_result[id];
        if (!fields[i].result) fields[i].value = (u64)gpu->field[id];
    }
    return SUCCESS;
}

/* Windows only */
int nvmlDeviceGetDriverModel(void *device, uint *now, uint *next)
{
    ENTER_GPU;
    (void)now, (void)next;
    return NOT_SUPPORTED;
}
int nvmlDeviceGetDriverModel_v2(void *device, uint *now, uint *next)
{
    return nvmlDeviceGetDriverModel(device, now, next);
}

static int list_processes(gpu_t *gpu, uint is_graphics, uint *count, unsigned char *out, uint stride)
{
    uint held = gpu->process_count[is_graphics], room = *count;
    *count = held;
    if (room < held) return INSUFFICIENT_SIZE;
    for (uint i = 0; i < held; i++, out += stride) {
        struct { uint pid; u64 memory; uint gi, ci; u64 secret; } entry = {
            gpu->pid[is_graphics][i], gpu->process_memory[is_graphics][i], ~0u, ~0u, 0};
        memcpy(out, &entry.pid, sizeof entry.pid);
        memcpy(out + 8, (char *)&entry + 8, stride - 8);
    }
    return SUCCESS;
}
#define LIST(function, is_graphics, stride) int function(void *device, uint *count, void *out) \
    { ENTER_GPU; return list_processes(gpu, is_graphics, count, out, stride); }
LIST(nvmlDeviceGetComputeRunningProcesses, 0, 16)
LIST(nvmlDeviceGetGraphicsRunningProcesses, 1, 16)
LIST(nvmlDeviceGetComputeRunningProcesses_v2, 0, 24)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, 1, 24)
int nvmlDeviceGetProcessUtilization(void *device, use_t *out, uint *count, u64 last_seen)
{
    ENTER_GPU;
    uint room = *count, fresh = 0;
    for (uint i = 0; i < gpu->use_count; i++) fresh += gpu->use[i].timestamp > last_seen;
    *count = fresh;
    if (!fresh) return NOT_FOUND;
    if (room < fresh) return INSUFFICIENT_SIZE;
    for (uint i = 0; i < gpu->use_count; i++)
        if (gpu->use[i].timestamp > last_seen) *out++ = gpu->use[i];
    return SUCCESS;
}

#ifndef OLD_DRIVER
ENGINE(nvmlDeviceGetJpgUtilization, jpeg)
ENGINE(nvmlDeviceGetOfaUtilization, ofa)
GETTER(nvmlDeviceGetCurrentClocksEventReasons, u64, reasons)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, 0, process_stride)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, 1, process_stride)
int nvmlDeviceGetMemoryInfo_v2(void *device, void *out)
{
    ENTER_GPU;
    struct { uint version; u64 total, reserved, free, used; } *memory = out;
    if (memory->version != 0x02000028) return ARGUMENT_VERSION_MISMATCH;
    memory->total = (u64)V(memory_total), memory->used = (u64)V(memory_used);
    memory->reserved = (u64)V(memory_reserved);
    memory->free = memory->total - memory->used - memory->reserved;
    return SUCCESS;
}
int nvmlDeviceGetTemperatureV(void *device, int *out)
{
    ENTER_GPU;
    if (out[0] != 0x100000C) return ARGUMENT_VERSION_MISMATCH;
    out[2] = (int)V(temperature);
    return SUCCESS;
}
int nvmlDeviceGetFanSpeedRPM(void *device, uint *out)
{
    ENTER_GPU;
    if (out[0] != 0x100000C) return ARGUMENT_VERSION_MISMATCH;
    out[2] = (uint)V(fan_rpm);
    return out[1] < V(fans) ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetFanControlPolicy_v2(void *device, uint fan, uint *out)
{
    ENTER_GPU;
    *out = (uint)V(fan_policy);
    return fan < V(fans) ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetMinMaxFanSpeed(void *device, uint *least, uint *most) { ENTER_GPU; return pair(least, most, 30, 100); }
int nvmlDeviceGetTargetFanSpeed(void *device, uint fan, uint *out)
{
    ENTER_GPU;
    *out = (uint)V(fan_target);
    return fan < V(fans) ? SUCCESS : INVALID_ARGUMENT;
}
#endif

/* ---- events: waiting really blocks ---- */

int nvmlEventSetCreate(void **set) { ENTER; *set = &queue; sets_open++; return SUCCESS; }
int nvmlEventSetFree(void *set) { ENTER; (void)set; sets_open--; return SUCCESS; }
GETTER(nvmlDeviceGetSupportedEventTypes, u64, events)
int nvmlDeviceRegisterEvents(void *device, u64 types, void *set)
{
    ENTER_GPU;
    (void)set;
    return types & ~(u64)V(events) ? NOT_SUPPORTED : SUCCESS;
}
int nvmlEventSetWait_v2(void *set, event_t *out, uint timeout_ms)
{
    ENTER;
    (void)set;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    u64 ns = (u64)until.tv_nsec + (u64)timeout_ms * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000), until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&lock);
    waiting++;
    while (!queued && !result) result = pthread_cond_timedwait(&news, &lock, &until) ? TIMEOUT : 0;
    waiting--;
    if (queued) {
        result = SUCCESS, *out = queue[0];
        memmove(queue, queue + 1, --queued * sizeof *queue);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- setters: they remember ---- */

#define ENTER_SETTER ENTER_GPU; if (is_user) return NO_PERMISSION

int nvmlDeviceSetPowerManagementLimit(void *device, uint limit_mw)
{
    ENTER_SETTER;
    if (limit_mw < V(least_mw) || limit_mw > V(most_mw)) return INVALID_ARGUMENT;
    V(requested_mw) = V(enforced_mw) = limit_mw;
    return SUCCESS;
}
#define RANGE(function, low, high) int function(void *device, uint least, uint most) \
    { ENTER_SETTER; if (least > most) return INVALID_ARGUMENT; V(low) = least; V(high) = most; return SUCCESS; }
RANGE(nvmlDeviceSetGpuLockedClocks, locked_low, locked_high)
RANGE(nvmlDeviceSetMemoryLockedClocks, locked_memory_low, locked_memory_high)
#define UNLOCK(function, low, high) int function(void *device) \
    { ENTER_SETTER; V(low) = V(high) = 0; return SUCCESS; }
UNLOCK(nvmlDeviceResetGpuLockedClocks, locked_low, locked_high)
UNLOCK(nvmlDeviceResetMemoryLockedClocks, locked_memory_low, locked_memory_high)
int nvmlDeviceSetPersistenceMode(void *device, uint mode) { ENTER_SETTER; V(persistence) = mode; return SUCCESS; }
int nvmlDeviceSetFanSpeed_v2(void *device, uint fan, uint percent)
{
    ENTER_SETTER;
    if (fan >= V(fans) || percent > 100) return INVALID_ARGUMENT;
    V(fan_policy) = 1, V(fan_target) = V(fan_percent) = percent;
    return SUCCESS;
}
int nvmlDeviceSetDefaultFanSpeed_v2(void *device, uint fan)
{
    ENTER_SETTER;
    if (fan >= V(fans)) return INVALID_ARGUMENT;
    V(fan_policy) = 0, V(fan_target) = 0, V(fan_percent) = healthy[fan_percent];
    return SUCCESS;
}
int nvmlDeviceSetFanControlPolicy(void *device, uint fan, uint policy)
{
    ENTER_SETTER;
    if (fan >= V(fans) || policy > 1) return INVALID_ARGUMENT;
    V(fan_policy) = policy;
    return SUCCESS;
}
