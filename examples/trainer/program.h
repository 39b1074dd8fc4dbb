/* program.h - what the example programs have in common: a name, how they report, and how they end.
 *
 * Results and progress go to stdout; stderr gets one line, when the program ends because of an error. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "clpeft.h"

#include <stdbool.h>

/* Exit statuses. */
enum {
    EXIT_BAD_INPUT = 2,    /* arguments, files, the device, or no space left */
    EXIT_NOT_FINITE = 3,   /* too many steps in a row without a finite gradient */
    EXIT_INTERRUPTED = 130 /* Ctrl-C; the state was saved */
};

/* Name the program, which was called as argv[0]; getopt_long uses the name too. A file that hits a size limit is an error
 * like a full disk from now on, not a signal that kills. */
void program_start(const char *name, char **argv);
const char *program_name(void);
const char *program_called(void); /* as the user called it */

#ifdef __GNUC__
#define PRINTS __attribute__((format(printf, 1, 2)))
#else
#define PRINTS
#endif

/* One of several processes that do the same: only the first is heard on stdout, and complaints of others name the rank. */
void program_rank(size_t own, size_t count);

/* "name: sentence" on stderr, in one line whatever the sentence holds; die also ends the program, with status 2. */
void complain(const char *format, ...) PRINTS;
_Noreturn void die(const char *format, ...) PRINTS;

/* Die with the library's message unless status is CLPEFT_OK. */
void must(clpeft_status status);

/* count zeroed values of size bytes; dies when there is no memory. count may be 0. */
void *allocate(size_t count, size_t size);

/* The same for a longer array: *capacity, which becomes at least count, and the values so far. */
void *grow(void *array, size_t *capacity, size_t count, size_t size);

/* A line on stdout, in place of the status line. */
void note(const char *format, ...) PRINTS;

/* The line at the bottom of a terminal that is overwritten by the next; only where program_on_terminal(). */
void status_line(const char *text);
bool program_on_terminal(void);

/* Seconds of a clock that never goes back. */
double program_clock(void);

/* The most memory that the process has held so far, in bytes. */
uint64_t program_peak_memory(void);

/* Number of a safe length for a path; longer ones are refused by path_join. */
enum { PATH_SIZE = 4096 };
/* folder/name. Dies when it does not fit. */
void path_join(char path[PATH_SIZE], const char *folder, const char *name);

#endif
