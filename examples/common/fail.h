/* fail.h - how the shared code of the examples reports an error: a sentence in the caller's buffer, and false. */
#ifndef FAIL_H
#define FAIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
static inline bool
fail(char *error, size_t error_size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, error_size, format, args);
    va_end(args);
    return false;
}

#endif
