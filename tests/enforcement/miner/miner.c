/* A foreign miner: it computes SHA-256d on the processor through OpenCL, is started like T-Rex and
 * answers like T-Rex, and contacts nobody. Its header is synthetic and it never has a share.
 *
 *   miner -a ethash -o stratum+tcp://127.0.0.1:PORT -u WALLET -w rig [--api-bind-http HOST:PORT]
 *
 * The switches below -w are ways to escape a cap. Exit: 2 no OpenCL or no counter, 3 wrong hashes,
 * 4 no real-time priority, 5 the port of its API is taken, 64 a switch that it does not know. */

#include "program.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { LANES = 8, ROUNDS = 16, GROUP = 16, PER_ITEM = LANES * ROUNDS, MOST_ITEMS = 1 << 16 };

/* What hashlib says of the last words of the first 2048 hashes, all combined by exclusive or
 * (test_programs.py asks it again). */
enum { KNOWN_NONCES = GROUP * PER_ITEM };
static const uint32_t KNOWN_FOLD = 0x8f6724a7;

static const double BATCH_S = 0.03;

/* FIPS 180-4. The header is the bytes 0 to 75 and a nonce; what does not change of it, the state
 * after its first 64 bytes, is worked out beforehand. */
static const char *SOURCE =
    "constant uint K[64] = {"
    "0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, "
    "0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, "
    "0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, "
    "0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, "
    "0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, "
    "0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, "
    "0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, "
    "0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, "
    "0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, "
    "0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, "
    "0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};"
    "constant uint FIRST[8] = {"
    "0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, "
    "0x1f83d9ab, 0x5be0cd19};"
    "constant uint AFTER_64_BYTES[8] = {"
    "0xfc99a2df, 0x88f42a7a, 0x7bb9d180, 0x33cdc6a2, 0x0256755f, 0x9d5b9a50, "
    "0x44a9cc31, 0x5abe84a7};\n"
    "#define R(x, n) rotate(x, (uint8)(32 - n))\n"
    "void compress(uint8 *state, uint8 *w) {"
    "  uint8 a = state[0], b = state[1], c = state[2], d = state[3];"
    "  uint8 e = state[4], f = state[5], g = state[6], h = state[7];"
    "  for (int outer = 0; outer < 64; outer += 16) {\n"
    "    #pragma unroll\n"
    "    for (int i = 0; i < 16; i++) {"
    "      if (outer) {"
    "        uint8 x = w[(i + 1) & 15], y = w[(i + 14) & 15];"
    "        w[i] += (R(x, 7) ^ R(x, 18) ^ (x >> 3)) + w[(i + 9) & 15]"
    "              + (R(y, 17) ^ R(y, 19) ^ (y >> 10));"
    "      }"
    "      uint8 t = h + (R(e, 6) ^ R(e, 11) ^ R(e, 25)) + bitselect(g, f, e)"
    "              + K[outer + i] + w[i];"
    "      uint8 u = (R(a, 2) ^ R(a, 13) ^ R(a, 22)) + bitselect(a, b, a ^ c);"
    "      h = g; g = f; f = e; e = d + t; d = c; c = b; b = a; a = t + u;"
    "    }"
    "  }"
    "  state[0] += a; state[1] += b; state[2] += c; state[3] += d;"
    "  state[4] += e; state[5] += f; state[6] += g; state[7] += h;"
    "}"
    "kernel void search(uint start, uint rounds, global uint *folds) {"
    "  uint item = get_global_id(0);"
    "  uint8 nonce = start + item * rounds * 8 + (uint8)(0, 1, 2, 3, 4, 5, 6, 7), fold = 0;"
    "  for (uint round = 0; round < rounds; round++, nonce += 8) {"
    "    uint8 w[16], state[8];"
    "    for (int i = 0; i < 16; i++) w[i] = 0;"
    "    for (int i = 0; i < 8; i++) state[i] = AFTER_64_BYTES[i];"
    "    w[0] = 0x40414243; w[1] = 0x44454647; w[2] = 0x48494a4b; w[3] = nonce;"
    "    w[4] = 0x80000000; w[15] = 80 * 8;"
    "    compress(state, w);"
    "    for (int i = 0; i < 8; i++) { w[i] = state[i]; state[i] = FIRST[i]; w[i + 8] = 0; }"
    "    w[8] = 0x80000000; w[15] = 32 * 8;"
    "    compress(state, w);"
    "    fold ^= state[7];"
    "  }"
    "  uint4 four = fold.lo ^ fold.hi;"
    "  folds[item] = four.x ^ four.y ^ four.z ^ four.w;"
    "}";

/* What every miner's file holds, and what makes it known as one. Nothing here is ever sent. */
__attribute__((used)) static const char *const PROTOCOL[] = {
    "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}",
    "{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"%s\",\"x\"]}",
    "{\"id\":3,\"method\":\"mining.submit\",\"params\":[]}",
};

static struct {
    char **words;
    struct pulse pulse;
    double seconds, respawn_s;
    int intensity, split, api_port;
    int child, daemonize, watchdog, fifo, threads_churn, survives_parent;
} asked = {.seconds = 120, .intensity = 100, .split = 1, .api_port = 4067};

static int api_socket = -1;

/* The API: T-Rex's summary, with the rate of the last ten seconds in which there was work. */

enum { RATES = 41 };
static const double RATE_STEP_S = 0.25;

static void answer(int client, uint64_t per_s, double since_s)
{
    char asked_for[1024] = "", body[512], text[1024];
    struct timeval most = {0, 200000};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    ssize_t got = recv(client, asked_for, sizeof asked_for - 1, 0);
    int is_known = got > 0 && (!strncmp(asked_for, "GET /summary ", 13)
                               || !strncmp(asked_for, "GET /summary?", 13));
    snprintf(body, sizeof body,
             "{\"name\":\"t-rex\",\"version\":\"0.26.8\",\"algorithm\":\"ethash\","
             "\"hashrate\":%llu,\"gpu_total\":1,\"uptime\":%.0f,\"accepted_count\":0}",
             (unsigned long long)per_s, now_s() - since_s);
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          is_known ? "200 OK" : "404 Not Found", is_known ? strlen(body) : 0,
                          is_known ? body : "");
    send(client, text, (size_t)length, MSG_NOSIGNAL);
    close(client);
}

static void *serve(void *unused)
{
    struct { double at_s; uint64_t work; } seen[RATES] = {0};
    unsigned count = 0;
    double since_s = now_s();
    while (!is_over()) {
        struct pollfd waiting = {.fd = api_socket, .events = POLLIN};
        int ready = poll(&waiting, 1, (int)(RATE_STEP_S * 1000));
        double now = now_s();
        if (board->work && (!count || now - seen[(count - 1) % RATES].at_s >= RATE_STEP_S)) {
            seen[count % RATES].at_s = now;
            seen[count % RATES].work = board->work;
            count++;
        }
        unsigned oldest = count > RATES ? count % RATES : 0;
        double span_s = count ? now - seen[oldest].at_s : 0;
        uint64_t work = count ? board->work - seen[oldest].work : 0;
        if (ready > 0) {
            int client = accept4(api_socket, NULL, NULL, SOCK_CLOEXEC);
            uint64_t per_s = span_s > 0 ? (uint64_t)((double)work / span_s) : 0;
            if (client >= 0) answer(client, per_s, since_s);
        }
    }
    return unused;
}

static void offer_api(void)
{
    if (!asked.api_port) return;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.api_port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    double give_up_s = now_s() + 3; /* one that was started anew has its port for a moment longer */
    api_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(api_socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    while (bind(api_socket, (struct sockaddr *)&here, sizeof here)) {
        if (now_s() > give_up_s) fail("the port of the API is taken", 5);
        sleep_s(0.02);
    }
    listen(api_socket, 4);
    pthread_t thread;
    pthread_create(&thread, NULL, serve, NULL);
}

/* Ways to escape. */

static void start_anew(void)
{
    if (fork() == 0) {
        execv("/proc/self/exe", asked.words);
        _exit(2);
    }
    _exit(0);
}

static void keep_waking(void)
{
    pid_t worker = getpid();
    if (fork()) return;
    die_with_parent();
    while (!is_over()) {
        kill(worker, SIGCONT);
        sleep_s(0.001);
    }
    _exit(0);
}

static void *short_life(void *unused)
{
    sleep_s(0.001);
    return unused;
}

static void *churn(void *unused)
{
    while (!is_over()) {
        pthread_t thread;
        if (!pthread_create(&thread, NULL, short_life, NULL)) pthread_join(thread, NULL);
    }
    return unused;
}

static void become_daemon(void)
{
    if (fork()) _exit(0);
    setsid();
    if (fork()) _exit(0);
}

/* Work. */

static handle search(struct device *device, uint32_t start, size_t items)
{
    uint32_t rounds = ROUNDS;
    check(clSetKernelArg(device->kernel, 0, sizeof start, &start), "clSetKernelArg");
    check(clSetKernelArg(device->kernel, 1, sizeof rounds, &rounds), "clSetKernelArg");
    return launched(device, items, GROUP);
}

static void compare_with_known(struct device *device, handle folds)
{
    uint32_t found[GROUP], fold = 0;
    wait_for(search(device, 0, GROUP));
    check(clEnqueueReadBuffer(device->queue, folds, 1, 0, sizeof found, found, 0, NULL, NULL),
          "clEnqueueReadBuffer");
    for (int i = 0; i < GROUP; i++) fold ^= found[i];
    if (fold != KNOWN_FOLD) fail("wrong hashes", 3);
}

static size_t tuned(struct device *device)
{
    size_t items = 64 * GROUP;
    double before = now_s();
    wait_for(search(device, 0, items));
    double share = BATCH_S * asked.intensity / 100 / (now_s() - before);
    size_t groups = (size_t)((double)items * share / GROUP);
    return groups < 1 ? GROUP : groups * GROUP > MOST_ITEMS ? MOST_ITEMS : groups * GROUP;
}

static void mine(void)
{
    if (asked.fifo) {
        struct sched_param first = {.sched_priority = 1};
        if (sched_setscheduler(0, SCHED_FIFO, &first)) fail("no real-time priority", 4);
    }
    struct device device = opened(SOURCE, "search");
    handle folds = buffer(&device, MOST_ITEMS * sizeof(uint32_t), NULL);
    check(clSetKernelArg(device.kernel, 2, sizeof folds, &folds), "clSetKernelArg");
    compare_with_known(&device, folds);
    size_t items = tuned(&device);
    if (asked.watchdog) keep_waking();
    pthread_t thread;
    if (asked.threads_churn) pthread_create(&thread, NULL, churn, NULL);
    report_for_work();
    int is_steady = asked.pulse.period_s <= 0 && asked.intensity == 100;
    double began_s = now_s();
    uint32_t nonce = (uint32_t)getpid() << 16;
    handle queued = NULL;
    while (!is_over()) {
        rest(asked.pulse);
        double before = now_s();
        handle last = search(&device, nonce, items);
        nonce += (uint32_t)(items * PER_ITEM);
        handle done = is_steady ? queued : last; /* two batches are on their way */
        queued = is_steady ? last : NULL;
        if (!done) continue;
        wait_for(done);
        board->work += items * PER_ITEM;
        board->batches++;
        if (asked.intensity < 100)
            sleep_s((now_s() - before) * (100 - asked.intensity) / asked.intensity);
        if (asked.respawn_s > 0 && now_s() - began_s >= asked.respawn_s) start_anew();
    }
    _exit(0);
}

static void understand(int count, char **words)
{
    asked.words = words;
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *next = i + 1 < count ? words[i + 1] : "";
        if (!strcmp(word, "--child")) asked.child = 1;
        else if (!strcmp(word, "--daemonize")) asked.daemonize = 1;
        else if (!strcmp(word, "--watchdog")) asked.watchdog = 1;
        else if (!strcmp(word, "--fifo")) asked.fifo = 1;
        else if (!strcmp(word, "--threads-churn")) asked.threads_churn = 1;
        else if (!strcmp(word, "--survives-parent")) asked.survives_parent = 1;
        else {
            i++;
            if (!strcmp(word, "--seconds")) asked.seconds = atof(next);
            else if (!strcmp(word, "--respawn")) asked.respawn_s = atof(next);
            else if (!strcmp(word, "--split")) asked.split = atoi(next);
            else if (!strcmp(word, "--intensity")) asked.intensity = atoi(next);
            else if (!strcmp(word, "--api-bind-http"))
                asked.api_port = atoi(strchr(next, ':') ? strchr(next, ':') + 1 : next);
            else if (!strcmp(word, "--pulse") && i + 1 < count) {
                double on_s = atof(next) / 1000;
                asked.pulse = (struct pulse){on_s, on_s + atof(words[++i]) / 1000};
            } else if (!strcmp(word, "--duty") && i + 1 < count) {
                double period_s = atof(words[++i]) / 1000;
                asked.pulse = (struct pulse){period_s * atof(next) / 100, period_s};
            } else if (strcmp(word, "-a") && strcmp(word, "-o") && strcmp(word, "-u")
                       && strcmp(word, "-w") && strcmp(word, "-p"))
                fail("there is no such switch", 64);
        }
    }
    if (asked.intensity < 1 || asked.intensity > 100 || asked.split < 1 || asked.split > 64)
        fail("--intensity is 1 to 100, --split 1 to 64", 64);
}

int main(int count, char **words)
{
    understand(count, words);
    signal(SIGPIPE, SIG_IGN);
    begin(asked.seconds);
    if (asked.daemonize && !getenv("WORK_DAEMON")) {
        become_daemon();
        setenv("WORK_DAEMON", "1", 1);
    } else if (!asked.survives_parent && !asked.daemonize && asked.respawn_s <= 0)
        die_with_parent();
    int workers = asked.split > 1 ? asked.split : asked.child;
    for (int i = 0; i < workers; i++)
        if (fork() == 0) {
            die_with_parent();
            mine();
        }
    offer_api();
    if (!workers) mine();
    int status = 0, worst = 0;
    while (wait(&status) > 0)
        if (WIFEXITED(status) && WEXITSTATUS(status) > worst) worst = WEXITSTATUS(status);
    return worst;
}
