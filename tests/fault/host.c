/* host.c - the wrapped functions behind host.h. */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

host_state host = { .error = EIO };

/* ---- what is alive: a hash table of pointers ----------------------------------------------------------------------- */

enum { ROOM = 1 << 17 };
typedef struct {
    uintptr_t at; /* 0: free, 1: was used */
    size_t size;
    const void *caller;
    int marked;
} block;
static block blocks[ROOM];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t place(uintptr_t at)
{
    return (at >> 4) * 11400714819323198485u >> 47;
}

static void *remember(void *memory, size_t size, const void *caller)
{
    if (!memory) return NULL;
    pthread_mutex_lock(&lock);
    size_t i = place((uintptr_t)memory);
    while (blocks[i].at > 1) i = (i + 1) % ROOM;
    blocks[i] = (block){ (uintptr_t)memory, size, caller, 0 };
    host.live++;
    pthread_mutex_unlock(&lock);
    return memory;
}

/* Memory that came from elsewhere is not in the table. */
static void forget(const void *memory)
{
    if (!memory) return;
    pthread_mutex_lock(&lock);
    size_t i = place((uintptr_t)memory);
    for (size_t n = 0; n < ROOM && blocks[i].at != 0 && blocks[i].at != (uintptr_t)memory; n++) i = (i + 1) % ROOM;
    if (blocks[i].at == (uintptr_t)memory) {
        blocks[i].at = blocks[(i + 1) % ROOM].at != 0;
        host.live--;
    }
    pthread_mutex_unlock(&lock);
}

void host_mark(void)
{
    for (size_t i = 0; i < ROOM; i++) blocks[i].marked = 1;
}

void host_print_leaks(void)
{
    extern const char __executable_start; /* of the linker: callers are offsets from it, for addr2line */
    for (size_t i = 0; i < ROOM; i++)
        if (blocks[i].at > 1 && !blocks[i].marked)
            fprintf(stderr, "    %zu bytes, allocated at 0x%zx\n", blocks[i].size,
                    (size_t)((const char *)blocks[i].caller - &__executable_start));
}

/* ---- gates --------------------------------------------------------------------------------------------------------- */

static int fails(host_gate *gate, const char *call)
{
    if (gate->at == 0) return 0;
    gate->seen++;
    if (gate->sticky ? gate->seen < gate->at : gate->seen != gate->at) return 0;
    gate->fired++;
    host.last = call;
    return 1;
}

static int memory_fails(const char *call)
{
    if (!fails(&host.memory, call)) return 0;
    errno = ENOMEM;
    return 1;
}

static int file_fails(const char *call)
{
    if (host.before) host.before(call);
    if (!fails(&host.files, call)) return 0;
    if (host.way == HOST_KILL) kill(getpid(), SIGKILL);
    if (host.way == HOST_SHORT) return 0;
    errno = host.error;
    return 1;
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

#define CALLER __builtin_return_address(0)

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
char *__real_strdup(const char *text);
char *__real_realpath(const char *path, char *whole);

void *__wrap_malloc(size_t size)
{
    return memory_fails("malloc") ? NULL : remember(__real_malloc(size), size, CALLER);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return memory_fails("calloc") ? NULL : remember(__real_calloc(n, size), n * size, CALLER);
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (memory_fails("realloc")) return NULL;
    void *grown = __real_realloc(memory, size);
    if (grown) forget(memory);
    return remember(grown, size, CALLER);
}

char *__wrap_strdup(const char *text)
{
    return memory_fails("strdup") ? NULL : remember(__real_strdup(text), strlen(text) + 1, CALLER);
}

char *__wrap_realpath(const char *path, char *whole)
{
    if (memory_fails("realpath")) return NULL;
    char *found = __real_realpath(path, whole);
    return whole ? found : remember(found, found ? strlen(found) + 1 : 0, CALLER);
}

void __wrap_free(void *memory)
{
    forget(memory);
    __real_free(memory);
}

/* jansson's allocations are counted and don't fail: its parser (2.14) goes on with a cut string then, into an assertion. */
static void *count_only(size_t size)
{
    return remember(__real_malloc(size), size, CALLER);
}

void host_start(void)
{
    json_set_alloc_funcs(count_only, __wrap_free);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

int __real_open64(const char *path, int flags, ...);
int __real_mkostemp64(char *path, int flags);
ssize_t __real_write(int file, const void *bytes, size_t size);
ssize_t __real_read(int file, void *bytes, size_t size);
int __real_fsync(int file);
int __real_fchmod(int file, mode_t mode);
int __real_close(int file);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_mkdir(const char *path, mode_t mode);
int __real_fstat64(int file, struct stat64 *info);
void *__real_mmap64(void *at, size_t size, int access, int flags, int file, off64_t offset);
int __real_clock_gettime(clockid_t clock, struct timespec *time);

/* None of the callers makes a file by open: there is no mode. */
int __wrap_open64(const char *path, int flags, ...)
{
    return file_fails("open") ? -1 : __real_open64(path, flags);
}

int __wrap_mkostemp64(char *path, int flags)
{
    return file_fails("mkostemp") ? -1 : __real_mkostemp64(path, flags);
}

ssize_t __wrap_write(int file, const void *bytes, size_t size)
{
    const long fired = host.files.fired;
    if (file_fails("write")) return -1;
    return __real_write(file, bytes, host.files.fired > fired && size > 1 ? 1 : size);
}

ssize_t __wrap_read(int file, void *bytes, size_t size)
{
    return file_fails("read") ? -1 : __real_read(file, bytes, size);
}

int __wrap_fsync(int file)
{
    return file_fails("fsync") ? -1 : __real_fsync(file);
}

int __wrap_fchmod(int file, mode_t mode)
{
    return file_fails("fchmod") ? -1 : __real_fchmod(file, mode);
}

/* A close that fails has closed the file all the same. */
int __wrap_close(int file)
{
    const int failed = file_fails("close");
    const int error = errno, result = __real_close(file);
    if (failed) errno = error;
    return failed ? -1 : result;
}

int __wrap_rename(const char *from, const char *to)
{
    return file_fails("rename") ? -1 : __real_rename(from, to);
}

/* Removing what could not be written goes well: only a process that is killed leaves it. */
int __wrap_unlink(const char *path)
{
    return host.way == HOST_KILL && file_fails("unlink") ? -1 : __real_unlink(path);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return file_fails("mkdir") ? -1 : __real_mkdir(path, mode);
}

int __wrap_fstat64(int file, struct stat64 *info)
{
    return file_fails("fstat") ? -1 : __real_fstat64(file, info);
}

void *__wrap_mmap64(void *at, size_t size, int access, int flags, int file, off64_t offset)
{
    return file_fails("mmap") ? MAP_FAILED : __real_mmap64(at, size, access, flags, file, offset);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    static time_t held;
    const int result = __real_clock_gettime(clock, time);
    if (host.hold_clock) *time = (struct timespec){ .tv_sec = held++ };
    return result;
}
