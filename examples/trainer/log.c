#include "log.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "program.h"

static _Noreturn void die_of_log(const log_file *log)
{
    die("%s: %s", log->path ? log->path : "temporary log", strerror(errno));
}

void log_open(log_file *log, const char *path, bool append, bool wanted)
{
    *log = (log_file){ .path = path };
    if (!path && !wanted) return;
    log->file = path ? fopen(path, append ? "a+" : "w+") : tmpfile();
    if (!log->file) die_of_log(log);
}

void log_write(log_file *log, json_t *object)
{
    if (log->file && (json_dumpf(object, log->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0 ||
                      fputc('\n', log->file) == EOF || fflush(log->file) != 0))
        die_of_log(log);
    json_decref(object);
}

void log_close(log_file *log)
{
    FILE *file = log->file;

    log->file = NULL;
    if (file && fclose(file) != 0) die_of_log(log);
}

json_t *log_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}
