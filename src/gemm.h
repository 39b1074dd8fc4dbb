/* gemm.h - plain products: CLBlast on devices that it suits, panels on the others. */
#ifndef CLP_GEMM_H
#define CLP_GEMM_H

#include "panel.h"

/* C [M,N] = alpha op(A) op(B) + beta C inside an operation. scratch: clp_gemm_scratch elements of buf from element off on. */
typedef struct {
    int transpose_a, transpose_b;
    size_t M, N, K;
    float alpha, beta;
    clpeft_view a, b, c;
} clp_gemm_call;
size_t clp_gemm_scratch(const clpeft_context *ctx, size_t M, size_t N, size_t K);
clpeft_status clp_gemm_run(clp_stream *s, const clp_gemm_call *p, cl_mem scratch, size_t off);

/* Sets of parameters that CLBlast may be given (clp_tuning.blas): 0, its defaults, up to this number - 1. */
unsigned clp_gemm_variants(void);

#endif
