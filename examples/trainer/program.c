#include "program.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static char name[64] = "program";
static const char *called = name;
static bool status_shown, silent;
static char rank[32]; /* ", rank 1"; "" of a single process */

void program_start(const char *program, char **argv)
{
    snprintf(name, sizeof name, "%s", program);
    if (argv[0]) called = argv[0];
    argv[0] = name;
    signal(SIGXFSZ, SIG_IGN);
}

const char *program_name(void)
{
    return name;
}

const char *program_called(void)
{
    return called;
}

void program_rank(size_t own, size_t count)
{
    silent = own > 0;
    if (count > 1) snprintf(rank, sizeof rank, ", rank %zu", own);
}

bool program_on_terminal(void)
{
    return !silent && isatty(STDOUT_FILENO);
}

static void clear_status(void)
{
    if (status_shown) fputs("\r\033[K", stdout);
    status_shown = false;
}

void status_line(const char *text)
{
    clear_status();
    fputs(text, stdout);
    fflush(stdout);
    status_shown = true;
}

void note(const char *format, ...)
{
    va_list args;

    if (silent) return;
    clear_status();
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void write_error(const char *format, va_list args)
{
    char line[2048];

    vsnprintf(line, sizeof line, format, args);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = ' ';
    clear_status();
    fflush(stdout);
    fprintf(stderr, "%s%s: %s\n", name, rank, line);
}

void complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_error(format, args);
    va_end(args);
}

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_error(format, args);
    va_end(args);
    exit(EXIT_BAD_INPUT);
}

void must(clpeft_status status)
{
    if (status == CLPEFT_OK) return;
    const char *message = clpeft_error_message();
    die("%s", *message ? message : clpeft_status_text(status));
}

void *allocate(size_t count, size_t size)
{
    void *array = calloc(count ? count : 1, size);
    if (!array) die("no memory for %zu values of %zu bytes", count, size);
    return array;
}

void *grow(void *array, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity) return array;
    const size_t longer = count > 2 * *capacity ? count : 2 * *capacity;
    if (longer > SIZE_MAX / size || !(array = realloc(array, longer * size)))
        die("no memory for %zu values of %zu bytes", longer, size);
    *capacity = longer;
    return array;
}

double program_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* VmHWM, where there is a /proc: ru_maxrss also counts what the process was before exec. */
uint64_t program_peak_memory(void)
{
    unsigned long long kib = 0;
    char line[256];
    struct rusage usage;
    FILE *status = fopen("/proc/self/status", "r");

    while (status && kib == 0 && fgets(line, sizeof line, status)) sscanf(line, "VmHWM: %llu", &kib);
    if (status) fclose(status);
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0) kib = (unsigned long long)usage.ru_maxrss;
    return 1024 * (uint64_t)kib;
}

void path_join(char path[PATH_SIZE], const char *folder, const char *file)
{
    const int n = snprintf(path, PATH_SIZE, "%s/%s", folder, file);
    if (n < 0 || n >= PATH_SIZE) die("%.100s...: %s", folder, strerror(ENAMETOOLONG));
}
