/* scratch.h - a folder of a fuzzer's own, for readers that take a path; in $TMPDIR, where memory is faster than a disk. */
#ifndef FUZZ_SCRATCH_H
#define FUZZ_SCRATCH_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline const char *scratch_path(const char *name)
{
    static char dir[200], path[4][300];
    static int made, next;
    if (!made++) {
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/clpeft-fuzz-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(dir)) abort();
    }
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", dir, name);
    return path[next];
}

static inline void scratch_write(const char *name, const void *bytes, size_t size)
{
    const int fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
    close(fd);
}

#endif
