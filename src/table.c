/* table.c - the rows of a vocabulary in their file's type. */
#include "table.h"
#include "linear.h"

#include <stdio.h>

clpeft_status clp_table_create(clp_table *table, clpeft_context *ctx, const clpeft_file_tensor *tensor)
{
    const clpeft_linear_options kept = { .N = 1, .K = (size_t)tensor->dims[1], .dtype = tensor->dtype };
    clpeft_status status = CLPEFT_OK;

    REQUIRE(clpeft_linear_bytes(ctx, &kept) > 0, CLPEFT_UNSUPPORTED,
            "tensor %s is of type %s, which is not multiplied with", tensor->name, tensor->dtype_name);
    *table = (clp_table){ .ctx = ctx,
                          .V = (size_t)tensor->dims[0],
                          .D = (size_t)tensor->dims[1],
                          .dtype = tensor->dtype,
                          .row_bytes = (size_t)(tensor->bytes / tensor->dims[0]) };
    TRY(clp_buffer(ctx, (size_t)tensor->bytes, tensor->data, &table->rows));
out:
    return status;
}

void clp_table_destroy(clp_table *table)
{
    if (table->rows) clReleaseMemObject(table->rows);
    *table = (clp_table){ 0 };
}

clp_table clp_table_of(clpeft_context *ctx, size_t V, size_t D, clpeft_view x)
{
    return (clp_table){
        .ctx = ctx, .V = V, .D = D, .dtype = CLPEFT_F32, .rows = x.buf, .off = 4 * x.off, .row_bytes = 4 * x.ld
    };
}

clpeft_status clp_table_look_up(clp_stream *s, const clp_table *table, size_t n, clpeft_view ids, clpeft_view y)
{
    const size_t local = s->ctx->tuning.group, global = n * local;
    const clp_arg args[] = { SIZE(table->D),   SIZE(table->V),         BUFFER(table->rows),
                             SIZE(table->off), SIZE(table->row_bytes), VIEW(ids),
                             VIEW(y) };
    char options[24];

    snprintf(options, sizeof options, "-D SOURCE=%d", (int)table->dtype);
    s->bytes = (double)n * (double)(table->row_bytes + 4 * table->D);
    return clp_run(s, "table", "look_up", options, ARGS(args), 1, &global, &local);
}

clpeft_linear clp_table_slice(const clp_table *table, size_t first, size_t n)
{
    const size_t off = table->off + first * table->row_bytes;
    return (clpeft_linear){ .ctx = table->ctx,
                            .N = n,
                            .K = table->D,
                            .dtype = table->dtype,
                            .storage = table->rows,
                            .forward_off = off,
                            .backward_off = off };
}

size_t clp_table_workspace(const clp_table *table, size_t T)
{
    const clpeft_linear slice = clp_table_slice(table, 0, table->V < CLP_SLICE ? table->V : CLP_SLICE);
    return clp_linear_workspace(&slice, NULL, T);
}
