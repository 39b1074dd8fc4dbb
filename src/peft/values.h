/* values.h - what leaves an adapter: A, B and m of its sites, in the type of a file. */
#ifndef CLP_PEFT_VALUES_H
#define CLP_PEFT_VALUES_H

#include "adapter.h"
#include "peft/paths.h"

/* Of one site: A [r,K], B [N,r], and with a magnitude m' = m c / (c + tau) [N], else NULL. */
typedef struct {
    size_t r, N, K;
    float *a, *b, *m;
} clp_values;

/* Of site `site` of a materialized adapter. Parameters of their own are read as they are, to the bit.
 * Errors:  CLPEFT_UNSUPPORTED  a magnitude on a row of zeros: m V / ||V|| is not defined there */
clpeft_status clp_values_read(clp_values *values, const clpeft_adapter *adapter, size_t site, cl_command_queue queue);
void clp_values_free(clp_values *values);

/* Index in paths of a site of an adapter. Errors:  CLPEFT_INVALID_ARGUMENT  it is not one of the model's. */
clpeft_status clp_values_path(const clp_paths *paths, const clpeft_site *site, size_t *index);

/* n values in another type, in memory for free(). Errors:  CLPEFT_NOT_FINITE  a value that is not finite or too
 * large. */
clpeft_status clp_narrow(clpeft_dtype dtype, const float *values, size_t n, const char *name, void **out);

#endif
