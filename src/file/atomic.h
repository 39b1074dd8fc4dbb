/* atomic.h - write a file so that its path holds either the old bytes or all of the new ones. */
#ifndef CLP_FILE_ATOMIC_H
#define CLP_FILE_ATOMIC_H

#include "clpeft/file.h"

/* Starts as CLP_ATOMIC_NONE. clp_atomic_end closes it on every way out, and removes what was not committed. */
typedef struct {
    const char *path;
    char *temporary;
    int fd, folder;
} clp_atomic;
#define CLP_ATOMIC_NONE        \
    {                          \
        .fd = -1, .folder = -1 \
    }

/* Make a temporary file of mode 0600 in the folder of path, which is borrowed until the end. */
clpeft_status clp_atomic_begin(clp_atomic *file, const char *path);
clpeft_status clp_atomic_write(clp_atomic *file, const void *bytes, size_t size);
/* fsync, rename to path, fsync of the folder. */
clpeft_status clp_atomic_commit(clp_atomic *file);
void clp_atomic_end(clp_atomic *file);

#endif
