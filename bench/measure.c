/* measure RUNS STATUS RESET COMMAND [ARGUMENT]...
 *
 * Runs COMMAND that often, its output thrown away, and prints two medians: processor time (user and system, in
 * microseconds) and peak resident memory (in KiB), as the kernel accounts them to each child by itself; and on a line of
 * its own the median of the time that has passed, in microseconds. RESET, where not empty, goes to the shell before each run and is not measured. Stops at the first run that does not exit with
 * STATUS.
 *
 * Small and static on purpose: the kernel counts the memory of the process that started a program to that program's
 * peak, so an interpreter as measuring program would hide everything smaller than itself. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static long median(long *values, int count)
{
    qsort(values, count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static long microseconds(struct timeval t) { return t.tv_sec * 1000000L + t.tv_usec; }

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    int runs = argc > 4 ? atoi(argv[1]) : 0;
    if (runs < 1) {
        fprintf(stderr, "usage: measure RUNS STATUS RESET COMMAND [ARGUMENT]...\n");
        return 64;
    }
    int expected = atoi(argv[2]);
    const char *reset = argv[3];
    char **command = argv + 4;
    long *cpu = calloc(runs, sizeof *cpu), *peak = calloc(runs, sizeof *peak), *passed = calloc(runs, sizeof *passed);
    if (!cpu || !peak || !passed) {
        perror("measure");
        return 1;
    }

    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    for (int fd = 0; fd <= 2; fd++)
        posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);

    for (int run = 0; run < runs; run++) {
        if (*reset && system(reset) != 0) {
            fprintf(stderr, "measure: before run %d: this failed: %s\n", run + 1, reset);
            return 1;
        }
        pid_t child;
        long begun = now();
        int error = posix_spawnp(&child, command[0], &quiet, NULL, command, environ);
        if (error) {
            fprintf(stderr, "measure: cannot run %s: %s\n", command[0], strerror(error));
            return 1;
        }
        int status;
        struct rusage used;
        while (wait4(child, &status, 0, &used) < 0)
            if (errno != EINTR) {
                perror("measure: wait4");
                return 1;
            }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != expected) {
            fprintf(stderr, "measure: run %d of %s failed (%s %d); run it by hand to see why\n", run + 1, command[0],
                    WIFEXITED(status) ? "status" : "signal",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            return 1;
        }
        cpu[run] = microseconds(used.ru_utime) + microseconds(used.ru_stime);
        peak[run] = used.ru_maxrss;
        passed[run] = now() - begun;
    }
    printf("%ld %ld\n%ld\n", median(cpu, runs), median(peak, runs), median(passed, runs));
    return 0;
}
