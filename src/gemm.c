/* gemm.c - C = alpha op(A) op(B) + beta C; the only file that includes CLBlast. */
#include "gemm.h"

#include "clpeft/op.h"

#include <clblast_c.h>

size_t clp_gemm_scratch(const clpeft_context *ctx, size_t M, size_t N, size_t K)
{
    return ctx->tuning.panel ? clp_panel_rows_size(ctx, M, K) + clp_panel_columns_size(ctx, K, N) : 0;
}

/* Pack both operands, then one product. */
static clpeft_status run_panels(clp_stream *s, const clp_gemm_call *p, cl_mem scratch, size_t off)
{
    const size_t b_off = off + clp_panel_rows_size(s->ctx, p->M, p->K), columns = clp_panel_columns(s->ctx);
    const clp_product product = { .M = p->M, .N = p->N, .K = p->K, .x_panel = scratch, .x_panel_off = off, .w = scratch,
                                  .w_off = b_off, .w_panel = p->K * columns, .w_row = columns, .alpha = p->alpha,
                                  .beta = p->beta, .c = p->c };
    clpeft_status status = CLPEFT_OK;

    if (p->transpose_a) TRY(clp_pack_rows_transposed(s, p->M, p->K, p->a, scratch, off));
    else TRY(clp_pack_rows(s, p->M, p->K, p->a, CLPEFT_IDENTITY, (clpeft_view){ 0 }, scratch, off));
    if (p->transpose_b) TRY(clp_pack_columns_transposed(s, 0, p->N, p->K, 4, p->b, scratch, b_off));
    else TRY(clp_pack_columns(s, p->N, p->K, 4, p->b, scratch, b_off));
    TRY(clp_product_run(s, &product));
out:
    return status;
}

static clpeft_status run_clblast(clp_stream *s, const clp_gemm_call *p)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_order(s));
    const CLBlastStatusCode code = CLBlastSgemm(
        CLBlastLayoutRowMajor, p->transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
        p->transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, p->M, p->N, p->K, p->alpha, p->a.buf, p->a.off, p->a.ld, p->b.buf,
        p->b.off, p->b.ld, p->beta, p->c.buf, p->c.off, p->c.ld, &s->queue, NULL);
    /* CLBlast hands OpenCL's codes on; its own lie outside of their range. */
    REQUIRE(code == CLBlastSuccess, code < 0 && code > -1000 ? (clpeft_status)code : CLPEFT_INTERNAL, "%s: CLBlast returned %d", s->what,
            (int)code);
out:
    return status;
}

clpeft_status clp_gemm_run(clp_stream *s, const clp_gemm_call *p, cl_mem scratch, size_t off)
{
    return s->ctx->tuning.panel ? run_panels(s, p, scratch, off) : run_clblast(s, p);
}

size_t clpeft_gemm_workspace(clpeft_context *ctx, size_t M, size_t N, size_t K)
{
    return ctx ? 4 * clp_gemm_scratch(ctx, M, N, K) : 0;
}

clpeft_status clpeft_gemm(clpeft_context *ctx, int transpose_a, int transpose_b, size_t M, size_t N, size_t K, float alpha,
                          clpeft_view a, clpeft_view b, float beta, clpeft_view c, clpeft_workspace *ws, CLPEFT_QUEUE)
{
    const clp_gemm_call call = { transpose_a != 0, transpose_b != 0, M, N, K, alpha, beta, a, b, c };
    clpeft_status status = CLPEFT_OK;
    clp_stream s;
    size_t sizes;

    TRY(clp_begin(&s, "clpeft_gemm", ctx, queue, n_wait, wait));
    REQUIRE(M > 0 && N > 0 && K > 0, CLPEFT_INVALID_SIZE, "clpeft_gemm: M is %zu, N is %zu, K is %zu", M, N, K);
    REQUIRE(!clp_mul(M, K, &sizes) && !clp_mul(N, K, &sizes) && !clp_mul(M, N, &sizes), CLPEFT_INVALID_SIZE,
            "clpeft_gemm: M %zu, N %zu, K %zu: a product overflows", M, N, K);
    TRY(clp_check(&s, "a", a, transpose_a ? K : M, transpose_a ? M : K));
    TRY(clp_check(&s, "b", b, transpose_b ? N : K, transpose_b ? K : N));
    TRY(clp_check(&s, "c", c, M, N));
    TRY(clp_workspace_check(ws, clpeft_gemm_workspace(ctx, M, N, K), "clpeft_gemm"));
    TRY(clp_gemm_run(&s, &call, ws ? ws->buf : NULL, ws ? ws->off / 4 : 0));
    status = clp_end(&s, event);
out:
    return status;
}
