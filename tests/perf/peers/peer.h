/* A peer answers each line on stdin with one rate on stdout: the amount that one round of `work`
 * moves or computes on all threads, per second. There is a thread for each processor, and it stays
 * there; all live as long as the program. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void work(unsigned thread, unsigned threads, unsigned round);

static pthread_barrier_t start, end;
static unsigned round_number, thread_count;

static void *worker(void *number)
{
    for (;;) {
        pthread_barrier_wait(&start);
        work((unsigned)(uintptr_t)number, thread_count, round_number);
        pthread_barrier_wait(&end);
    }
    return NULL;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double round_s(void)
{
    const double began_s = now_s();
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&end);
    ++round_number;
    return now_s() - began_s;
}

/* The best of many rounds of `amount` in 0.3 s, per second, for each line that is read. */
static void serve(double amount)
{
    char line[16];
    thread_count = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    pthread_barrier_init(&start, NULL, thread_count + 1);
    pthread_barrier_init(&end, NULL, thread_count + 1);
    for (unsigned number = 0; number < thread_count; ++number) {
        pthread_t thread;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(number, &one);
        pthread_create(&thread, NULL, worker, (void *)(uintptr_t)number);
        pthread_setaffinity_np(thread, sizeof one, &one);
    }
    while (fgets(line, sizeof line, stdin)) {
        const double deadline_s = now_s() + 0.3;
        double best_s = 1e9;
        while (now_s() < deadline_s) {
            const double seconds = round_s();
            if (seconds < best_s)
                best_s = seconds;
        }
        printf("%.6g\n", amount / best_s);
        fflush(stdout);
    }
}
