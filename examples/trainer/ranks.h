/* ranks.h - one training by several processes, the ranks that `mpirun -n N` starts; without it, or without MPI, there is one.
 *
 * A sum is added in the order of the ranks and sent to all, so that every rank holds the same bits whatever the network does.
 * While a rank waits for others it sleeps: the processor may be their device. */
#ifndef RANKS_H
#define RANKS_H

#include "clpeft.h"

#include <stdbool.h>

/* Join the others. Before anything else; rank 0 alone is heard on stdout from then on. */
void ranks_start(void);
/* After the last call of any other function here, before the process ends well. */
void ranks_end(void);

size_t ranks_own(void);
size_t ranks_count(void);
bool ranks_first(void); /* own is 0: this one writes files */
/* Dies where mpirun started several processes, but this program did not call ranks_start, or knows no MPI. */
void ranks_check(void);

/* Sums over the ranks, in place; all ranks call them in the same order. join: of an array that each rank has filled a part of, with
 * zeros elsewhere. */
void ranks_sum(double *value, size_t n);
void ranks_sum_gradient(float *value, size_t n);
void ranks_join(int32_t *value, size_t n);
bool ranks_any(bool condition);
void ranks_wait(void); /* until all are here */

/* All ranks must hold the same text; or else all of them die with "<what> differs: ..." */
void ranks_agree(const char *what, const char *text);
void ranks_agree_number(const char *what, uint64_t number);

/* The part [*from, *to) of n things that is this rank's. */
void ranks_part(size_t n, size_t *from, size_t *to);

#endif
