/* gemm.c - C = alpha op(A) op(B) + beta C; the only file that includes CLBlast. */
#include "gemm.h"

#include "clpeft/op.h"

#include <clblast_c.h>

size_t clp_gemm_scratch(const clpeft_context *ctx, size_t M, size_t N, size_t K)
{
    return ctx->tuning.panel ? clp_prepare_size(M, K) + clp_panel_columns_size(ctx, K, N) : 0;
}

/* Pack the right operand, then one product. */
static clpeft_status run_panels(clp_stream *s, const clp_gemm_call *p, cl_mem scratch, size_t off)
{
    const size_t b_off = off + clp_prepare_size(p->M, p->K), columns = clp_panel_columns(s->ctx);
    clp_product product = { .M = p->M,
                            .N = p->N,
                            .K = p->K,
                            .a = p->a,
                            .transposed = p->transpose_a,
                            .w = scratch,
                            .w_off = b_off,
                            .w_panel = p->K * columns,
                            .w_row = columns,
                            .alpha = p->alpha,
                            .beta = p->beta,
                            .c = p->c };
    clpeft_status status = CLPEFT_OK;

    if (!p->transpose_a) TRY(clp_prepare(s, p->M, p->K, p->a, CLPEFT_IDENTITY, scratch, off, &product.a));
    if (p->transpose_b)
        TRY(clp_pack_columns_transposed(s, 0, p->N, p->K, 4, p->b, scratch, b_off));
    else
        TRY(clp_pack_columns(s, p->N, p->K, 4, p->b, scratch, b_off));
    TRY(clp_product_run(s, &product));
out:
    return status;
}

/* Parameters of CLBlast's Xgemm kernel, in its own terms. Device kinds of its published tuning results differ mainly in the tile of a
 * work group (MWG x NWG), of a work item (MWG / MDIMC x NWG / NDIMC), and in local memory (SA, SB). */
static const char *parameter[] = { "GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB",
                                   "NDIMC", "NWG",  "SA",  "SB",  "STRM",  "STRN",  "VWM", "VWN" };
static const size_t variant[][LENGTH(parameter)] = {
    { 0, 1, 32, 2, 8, 8, 64, 8, 8, 64, 1, 1, 0, 0, 4, 4 },       /* 64 x 64, local memory */
    { 0, 1, 16, 2, 16, 16, 128, 16, 16, 128, 1, 1, 0, 0, 4, 4 }, /* 128 x 128, local memory */
    { 0, 1, 16, 8, 16, 16, 128, 8, 8, 64, 1, 1, 1, 1, 4, 2 },
    { 0, 1, 32, 2, 4, 4, 32, 8, 8, 64, 0, 0, 0, 0, 4, 4 }, /* no local memory: caches */
    { 0, 1, 32, 8, 1, 1, 16, 1, 1, 16, 0, 0, 0, 0, 8, 8 }, /* one work item a group */
};

unsigned clp_gemm_variants(void)
{
    return (unsigned)LENGTH(variant) + 1;
}

/* Tell CLBlast the parameters of this context. They hold for the device in the whole process. */
static clpeft_status set_variant(clpeft_context *ctx)
{
    clpeft_status status = CLPEFT_OK;

    pthread_mutex_lock(&ctx->lock);
    if (ctx->tuning.blas > 0 && ctx->tuning.blas < clp_gemm_variants() && ctx->blas_set != ctx->tuning.blas + 1) {
        const CLBlastStatusCode code = CLBlastOverrideParameters(
            ctx->device, "Xgemm", CLBlastPrecisionSingle, LENGTH(parameter), parameter, variant[ctx->tuning.blas - 1]);
        REQUIRE(code == CLBlastSuccess, CLPEFT_INTERNAL, "CLBlastOverrideParameters returned %d", (int)code);
        ctx->blas_set = ctx->tuning.blas + 1;
    }
out:
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

static clpeft_status run_clblast(clp_stream *s, const clp_gemm_call *p)
{
    clpeft_status status = CLPEFT_OK;

    TRY(set_variant(s->ctx));
    TRY(clp_order(s));
    const CLBlastStatusCode code = CLBlastSgemm(
        CLBlastLayoutRowMajor, p->transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
        p->transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, p->M, p->N, p->K, p->alpha, p->a.buf, p->a.off,
        p->a.ld, p->b.buf, p->b.off, p->b.ld, p->beta, p->c.buf, p->c.off, p->c.ld, &s->queue, NULL);
    /* CLBlast hands OpenCL's codes on; its own lie outside of their range. */
    REQUIRE(code == CLBlastSuccess, code < 0 && code > -1000 ? (clpeft_status)code : CLPEFT_INTERNAL,
            "%s: CLBlast returned %d", s->what, (int)code);
out:
    return status;
}

clpeft_status clp_gemm_run(clp_stream *s, const clp_gemm_call *p, cl_mem scratch, size_t off)
{
    return s->ctx->tuning.panel ? run_panels(s, p, scratch, off) : run_clblast(s, p);
}

size_t clpeft_gemm_workspace(clpeft_context *ctx, size_t M, size_t N, size_t K)
{
    return clp_is_live(ctx, CLP_HANDLE_CONTEXT) ? 4 * clp_gemm_scratch(ctx, M, N, K) : 0;
}

clpeft_status clpeft_gemm(clpeft_context *ctx, int transpose_a, int transpose_b, size_t M, size_t N, size_t K,
                          float alpha, clpeft_view a, clpeft_view b, float beta, clpeft_view c, clpeft_workspace *ws,
                          CLPEFT_QUEUE)
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
