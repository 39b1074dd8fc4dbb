/* atomic.c - write a file so that its path holds either the old bytes or all of the new ones. */
#define _GNU_SOURCE /* mkostemp */
#include "file/atomic.h"

#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static clpeft_status fail(const char *path, const char *what)
{
    return clp_fail(CLPEFT_FILE_ERROR, "%s: %s: %s", path, what, strerror(errno));
}

clpeft_status clp_atomic_begin(clp_atomic *file, const char *path)
{
    static const char name[] = ".clpeft-XXXXXX";
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    char *temporary = malloc(length + sizeof name);

    if (!temporary) return clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "%s: out of memory", path);
    memcpy(temporary, path, length);
    temporary[length] = '\0';
    file->path = path;
    file->folder = open(length ? temporary : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->folder >= 0) {
        memcpy(temporary + length, name, sizeof name);
        file->fd = mkostemp(temporary, O_CLOEXEC);
    }
    if (file->fd < 0) {
        const clpeft_status status = fail(path, "cannot make a file in its folder");
        free(temporary);
        return status;
    }
    file->temporary = temporary;
    if (fchmod(file->fd, S_IRUSR | S_IWUSR) != 0) return fail(path, "cannot set the mode");
    return CLPEFT_OK;
}

clpeft_status clp_atomic_write(clp_atomic *file, const void *bytes, size_t size)
{
    const size_t largest = (size_t)1 << 30; /* Linux writes at most 2^31 - 4096 bytes at once */
    for (const char *at = bytes; size > 0;) {
        const ssize_t n = write(file->fd, at, size < largest ? size : largest);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(file->path, "cannot write");
        at += n;
        size -= (size_t)n;
    }
    return CLPEFT_OK;
}

clpeft_status clp_atomic_commit(clp_atomic *file)
{
    if (fsync(file->fd) != 0) return fail(file->path, "cannot write");
    const int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0) return fail(file->path, "cannot write");
    if (rename(file->temporary, file->path) != 0) return fail(file->path, "cannot replace");
    free(file->temporary);
    file->temporary = NULL;
    /* EINVAL: a file system whose folders have no fsync. */
    if (fsync(file->folder) != 0 && errno != EINVAL)
        return fail(file->path, "written, but its folder cannot be synced");
    return CLPEFT_OK;
}

void clp_atomic_end(clp_atomic *file)
{
    if (file->fd >= 0) close(file->fd);
    if (file->folder >= 0) close(file->folder);
    if (file->temporary) unlink(file->temporary);
    free(file->temporary);
    *file = (clp_atomic)CLP_ATOMIC_NONE;
}

clpeft_status clpeft_file_replace(const char *path, const void *bytes, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    clp_atomic file = CLP_ATOMIC_NONE;

    REQUIRE(path && (bytes || size == 0), CLPEFT_INVALID_ARGUMENT, "clpeft_file_replace: path or bytes is NULL");
    TRY(clp_atomic_begin(&file, path));
    TRY(clp_atomic_write(&file, bytes, size));
    TRY(clp_atomic_commit(&file));
out:
    clp_atomic_end(&file);
    return status;
}
