/* handle.h - the public objects that are alive, so that a released one is refused with a message instead of followed.
 *
 * Builds without NDEBUG keep a set of them. With NDEBUG there is none: an object is then taken for alive unless it is NULL. An object
 * made at the address of a released one is not told from it. */
#ifndef CLP_HANDLE_H
#define CLP_HANDLE_H

#include "status.h"

typedef enum {
    CLP_HANDLE_CONTEXT,
    CLP_HANDLE_WORKSPACE,
    CLP_HANDLE_FILE,
    CLP_HANDLE_LINEAR,
    CLP_HANDLE_PARAMS,
    CLP_HANDLE_ADAPTER,
    CLP_HANDLE_MODEL,
    CLP_HANDLE_CACHE,
    CLP_HANDLE_TRAINER,
    CLP_HANDLE_PEFT
} clp_handle;

/* A new object of bytes zeros, alive from now on; NULL when memory is out. */
void *clp_handle_create(size_t bytes, clp_handle kind);

/* The end of an object: 1 if it was alive, and the caller then frees what it holds and itself; else 0. */
int clp_handle_end(const void *object, clp_handle kind);

/* Whether the object is alive and of this kind. */
int clp_is_live(const void *object, clp_handle kind);

/* The same as a status with a detail; what names the function, the kind its argument. */
clpeft_status clp_live(const void *object, clp_handle kind, const char *what);

#endif
