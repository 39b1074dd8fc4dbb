#include "ranks.h"

#include "interrupt.h"
#include "program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t own, count = 1;
static bool started;

/* ---- what is asked of MPI ------------------------------------------------------------------------------------------- */

#ifdef HAVE_MPI
#include <mpi.h>

#include <time.h>

/* Seconds from a signal to the kill that mpirun lets follow it, as its --mca odls_base_sigkill_timeout says. */
static double until_killed(void)
{
    const char *text = getenv("OMPI_MCA_odls_base_sigkill_timeout");
    const double seconds = text ? atof(text) : 1;
    return seconds > 0 ? seconds : 1;
}

/* Wait for a collective call. Others that stay away after mpirun's signal are gone. */
static void finish(MPI_Request request)
{
    const struct timespec pause = { 0, 50000 };
    double since = 0;
    int done = 0;

    for (int turn = 0;; turn++) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) die("the connection to another rank is lost");
        if (done) return;
        if (turn > 100) nanosleep(&pause, NULL);
        if (!interrupt_ending()) continue;
        if (since == 0) since = program_clock();
        if (program_clock() - since > 0.7 * until_killed())
            die("ended, because another rank has ended or mpirun was stopped; what was saved last can be resumed");
    }
}

#define COLLECTIVE(call)     \
    do {                     \
        MPI_Request request; \
        call;                \
        finish(request);     \
    } while (0)

static void start(void)
{
    int rank, size;

    if (MPI_Init(NULL, NULL) != MPI_SUCCESS) die("MPI does not start");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    own = (size_t)rank, count = (size_t)size;
}

static void gather(const void *mine, void *all, size_t bytes)
{
    COLLECTIVE(MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &request));
}

/* Block k of mine goes to rank k; block k of all comes from rank k. */
static void exchange(const void *mine, void *all, size_t bytes)
{
    COLLECTIVE(MPI_Ialltoall(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &request));
}

static void add_integers(int32_t *value, size_t n)
{
    COLLECTIVE(MPI_Iallreduce(MPI_IN_PLACE, value, (int)n, MPI_INT32_T, MPI_SUM, MPI_COMM_WORLD, &request));
}

static void barrier(void)
{
    COLLECTIVE(MPI_Ibarrier(MPI_COMM_WORLD, &request));
}

static void end(void)
{
    barrier();
    MPI_Finalize();
}
#else
static void start(void)
{
}
static void gather(const void *mine, void *all, size_t bytes)
{
    memcpy(all, mine, bytes);
}
static void exchange(const void *mine, void *all, size_t bytes)
{
    memcpy(all, mine, bytes);
}
static void add_integers(int32_t *value, size_t n)
{
    (void)value, (void)n;
}
static void barrier(void)
{
}
static void end(void)
{
}
#endif

/* ---- ranks ---------------------------------------------------------------------------------------------------------- */

/* How many processes the launcher has started, by what Open MPI or PMI tell each; 0: there is none. */
static size_t launched(void)
{
    static const char *const sizes[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE" };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (getenv(sizes[i])) return (size_t)strtoul(getenv(sizes[i]), NULL, 10);
    return 0;
}

void ranks_start(void)
{
    if (launched() < 2) return;
    start();
    started = true;
    program_rank(own, count);
}

void ranks_end(void)
{
    if (started) end();
    started = false;
}

void ranks_check(void)
{
    if (launched() < 2 || count > 1) return;
    die("mpirun started %zu processes, but %s", launched(),
        started ? "this program was built without MPI" : "this is done by one process");
}

size_t ranks_own(void)
{
    return own;
}

size_t ranks_count(void)
{
    return count;
}

bool ranks_first(void)
{
    return own == 0;
}

/* ---- sums ----------------------------------------------------------------------------------------------------------- */

void ranks_sum(double *value, size_t n)
{
    if (count == 1) return;
    double *all = allocate(count * n, sizeof *all);
    gather(value, all, n * sizeof *value);
    for (size_t i = 0; i < n; i++) {
        value[i] = all[i];
        for (size_t k = 1; k < count; k++) value[i] += all[k * n + i];
    }
    free(all);
}

/* Each rank adds one block of all ranks' arrays, and the sums are gathered: 2 n floats are sent and received. */
void ranks_sum_gradient(float *value, size_t n)
{
    if (count == 1) return;
    const size_t block = (n + count - 1) / count, bytes = block * sizeof *value;
    float *mine = allocate(count, bytes), *all = allocate(count, bytes);

    memcpy(mine, value, n * sizeof *value);
    exchange(mine, all, bytes);
    for (size_t i = 0; i < block; i++) {
        double sum = 0;
        for (size_t k = 0; k < count; k++) sum += (double)all[k * block + i];
        mine[i] = (float)sum;
    }
    gather(mine, all, bytes);
    memcpy(value, all, n * sizeof *value);
    free(mine);
    free(all);
}

void ranks_join(int32_t *value, size_t n)
{
    if (count > 1) add_integers(value, n);
}

bool ranks_any(bool condition)
{
    double n = condition;
    ranks_sum(&n, 1);
    return n > 0;
}

void ranks_wait(void)
{
    if (count > 1) barrier();
}

/* ---- agreement ------------------------------------------------------------------------------------------------------ */

void ranks_agree(const char *what, const char *text)
{
    enum { SIZE = 256 };
    char mine[SIZE] = "";

    if (count == 1) return;
    char(*all)[SIZE] = allocate(count, SIZE);
    snprintf(mine, SIZE, "%s", text);
    gather(mine, all, SIZE);
    for (size_t k = 1; k < count; k++)
        if (strcmp(all[0], all[k]) != 0) {
            complain("%s differs: %s at rank 0, %s at rank %zu", what, all[0], all[k], k);
            end();
            exit(EXIT_BAD_INPUT);
        }
    free(all);
}

void ranks_agree_number(const char *what, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%016" PRIx64, number);
    ranks_agree(what, text);
}

/* ---- parts ---------------------------------------------------------------------------------------------------------- */

void ranks_part(size_t n, size_t *from, size_t *to)
{
    *from = n / count * own + (own < n % count ? own : n % count);
    *to = *from + n / count + (own < n % count);
}
