/* host.h - memory and files as the library sees them: counted, and failing at a chosen call. The program is linked with --wrap for
 * every name of the list in tests/meson.build, which holds for the program, the static library and, through its hooks, jansson. */
#ifndef TEST_FAULT_HOST_H
#define TEST_FAULT_HOST_H

#include <stddef.h>

/* A gate that calls pass: the at-th from now on fails, and with sticky all after it. at 0: none. */
typedef struct {
    long at, seen, fired;
    int sticky;
} host_gate;

typedef enum {
    HOST_ERROR, /* the call is not made, and fails with host.error */
    HOST_SHORT, /* write: one byte is written, then all goes well; other calls: as usual */
    HOST_KILL   /* the process is killed before the call */
} host_way;

typedef struct {
    host_gate memory, files; /* malloc, calloc, realloc, strdup, realpath; open, write, rename, ... */
    long live;               /* allocations that are not freed */
    int error;
    host_way way;
    const char *last;                 /* the call that failed last */
    void (*before)(const char *call); /* called before each call on files, when it is not NULL */
    int hold_clock;                   /* every reading of the clock is one second after the last */
} host_state;
extern host_state host;

/* To be called first: what jansson allocates is counted too. */
void host_start(void);

/* Print the callers of what is alive and was not when host_mark was called. */
void host_mark(void);
void host_print_leaks(void);

#endif
