/* flushes ROUNDS STATE-DIRECTORY FILE...
 *
 * What a pass of the agent asks the disk for, and nothing else: each FILE is replaced by a copy of itself in the way in
 * which agent/src/apply.rs does it, with a state and a journal in STATE-DIRECTORY. Prints a line for each round, "ALL
 * FLUSHES": the microseconds from the first file to the last, and of those the ones in fsync(2). bench/resend compares
 * the number of flushes with that of a pass, so that the two cannot part unnoticed. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The size of a state and of a journal of ten files. */
enum { REMEMBERED = 2048, LONGEST = 1 << 20 };

static long flushing;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "flushes: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void flush(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        fail("open", path);
    long begun = now();
    if (fsync(fd) != 0)
        fail("flush", path);
    flushing += now() - begun;
    close(fd);
}

static void stage(const char *path, const char *content, size_t length, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, content, length) != (ssize_t)length || fchmod(fd, mode) != 0)
        fail("write", path);
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    close(fd);
}

static void replace(const char *staged, const char *path, unsigned flags)
{
    if (renameat2(AT_FDCWD, staged, AT_FDCWD, path, flags) != 0)
        fail("rename", staged);
}

static void forget(const char *path)
{
    if (unlink(path) != 0)
        fail("remove", path);
}

/* The path of NAME, staged, beside PATH; or PATH's directory, where NAME is empty. */
static char *beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    char *made;
    if (!slash || asprintf(&made, *name ? "%.*s/.#flushes.%s" : "%.*s", (int)(slash - path), path, name) < 0)
        fail("name a file beside", path);
    return made;
}

static void round_of(const char *state, char **files, char **staged, char **contents, size_t *lengths, mode_t *modes,
                     int count, char **directories)
{
    static const char remembered[REMEMBERED];
    static char new_state[4096], old_state[4096], new_journal[4096], journal[4096];
    snprintf(new_state, sizeof new_state, "%s/.#flushes.state", state);
    snprintf(old_state, sizeof old_state, "%s/.flushes-state", state);
    snprintf(new_journal, sizeof new_journal, "%s/.#flushes.journal", state);
    snprintf(journal, sizeof journal, "%s/.flushes-journal", state);
    if (access(old_state, F_OK) != 0)
        stage(old_state, remembered, sizeof remembered, 0600);

    flushing = 0;
    long begun = now();
    for (int i = 0; i < count; i++)
        stage(staged[i], contents[i], lengths[i], modes[i]);
    stage(new_state, remembered, sizeof remembered, 0600);
    stage(new_journal, remembered, sizeof remembered, 0600);
    for (int i = 0; i < count; i++)
        flush(staged[i], O_WRONLY);
    flush(new_state, O_WRONLY);
    flush(new_journal, O_WRONLY);
    replace(new_journal, journal, 0);
    flush(state, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < count; i++)
        replace(staged[i], files[i], RENAME_EXCHANGE);
    for (char **directory = directories; *directory; directory++)
        flush(*directory, O_RDONLY | O_DIRECTORY);
    replace(new_state, old_state, RENAME_EXCHANGE);
    flush(state, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < count; i++)
        forget(staged[i]);
    forget(new_state);
    forget(journal);
    printf("%ld %ld\n", now() - begun, flushing);
    forget(old_state);
}

int main(int argc, char **argv)
{
    int rounds = argc > 3 ? atoi(argv[1]) : 0, count = argc - 3;
    if (rounds < 1) {
        fprintf(stderr, "usage: flushes ROUNDS STATE-DIRECTORY FILE...\n");
        return 64;
    }
    char **files = argv + 3, **staged = calloc(count, sizeof *staged), **contents = calloc(count, sizeof *contents);
    char **directories = calloc(count + 1, sizeof *directories);
    size_t *lengths = calloc(count, sizeof *lengths);
    mode_t *modes = calloc(count, sizeof *modes);
    if (!staged || !contents || !directories || !lengths || !modes)
        fail("remember", "the files");
    for (int i = 0; i < count; i++) {
        staged[i] = beside(files[i], strrchr(files[i], '/') ? strrchr(files[i], '/') + 1 : "");
        char *directory = beside(files[i], "");
        int known = 0;
        while (directories[known] && strcmp(directories[known], directory) != 0)
            known++;
        directories[known] = directory;
        struct stat status;
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) != 0 || status.st_size > LONGEST)
            fail("look at", files[i]);
        lengths[i] = status.st_size;
        modes[i] = status.st_mode & 07777;
        contents[i] = malloc(lengths[i] + 1);
        if (!contents[i] || read(fd, contents[i], lengths[i]) != (ssize_t)lengths[i])
            fail("read", files[i]);
        close(fd);
    }
    while (rounds-- > 0)
        round_of(argv[2], files, staged, contents, lengths, modes, count, directories);
    return 0;
}
