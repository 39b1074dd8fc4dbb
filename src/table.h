/* table.h - one row per token of a vocabulary, kept in its file's type: looked up by the embedding, multiplied in slices of rows by
 * the output layer. Often both use the same table. */
#ifndef CLP_TABLE_H
#define CLP_TABLE_H

#include "weight.h"

typedef struct {
    clpeft_context *ctx;
    size_t V, D;
    clpeft_dtype dtype; /* F32, F16, BF16 or a block type */
    cl_mem rows;        /* plain, row_bytes each */
    size_t off, row_bytes;
} clp_table;

/* Upload a tensor [V,D]. Errors:  CLPEFT_UNSUPPORTED  of another type; OpenCL's codes */
clpeft_status clp_table_create(clp_table *table, clpeft_context *ctx, const clpeft_file_tensor *tensor);
void clp_table_destroy(clp_table *table);

/* The rows of an f32 matrix [V,D] as a table; borrowed. */
clp_table clp_table_of(clpeft_context *ctx, size_t V, size_t D, clpeft_view x);

/* y_i = row ids_i, 0 for an id below 0;  ids i32 [n], y [n,D]. */
clpeft_status clp_table_look_up(clp_stream *s, const clp_table *table, size_t n, clpeft_view ids, clpeft_view y);

/* Rows [first, first + n) as a frozen layer, to be multiplied with; borrowed. n is at most CLP_SLICE. */
enum { CLP_SLICE = 4096 };
clpeft_linear clp_table_slice(const clp_table *table, size_t first, size_t n);
/* Bytes of workspace for products of up to T tokens with a slice. */
size_t clp_table_workspace(const clp_table *table, size_t T);

#endif
