/* row.c - reductions over rows. */
#include "clpeft/op.h"
#include "launch.h"

clpeft_status clpeft_row_norm(clpeft_context *ctx, size_t N, size_t K, clpeft_view w, clpeft_view c, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_row_norm", ctx, queue, n_wait, wait));
    REQUIRE(N > 0 && K > 0, CLPEFT_INVALID_SIZE, "clpeft_row_norm: N is %zu, K is %zu", N, K);
    TRY(clp_check(&s, "w", w, N, K));
    TRY(clp_check_vector(&s, "c", c, N));
    const clp_arg args[] = { SIZE(K), VIEW(w), VIEW(c) };
    const size_t local = ctx->tuning.group, global = N * local;
    s.flops = 2.0 * (double)N * (double)K, s.bytes = 4.0 * (double)N * (double)K;
    TRY(clp_run(&s, "row", "row_norm", "", ARGS(args), 1, &global, &local));
    status = clp_end(&s, event);
out:
    return status;
}
