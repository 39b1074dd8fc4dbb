/* pack.cl - lay operands out for the panel kernel (product.cl).
 *   columns of a right operand W [K,N]:  panel[j][k][c] = W[k, j NR + c]   [ceil(N/NR)][K][NR], zeros at the edge
 * One work item packs STRIP steps of one panel. The left operand is read as it lies, or through `prepare`. */
#include "strip.cl"
#define ONE __attribute__((reqd_work_group_size(1, 1, 1)))

/* y = f(x), [M,K].   Launch: global M, a row each. */
__kernel ONE void prepare(ulong K, __global const float *x, ulong x_off, ulong x_ld, int f, __global float *y, ulong y_off, ulong y_ld)
{
    x += x_off + get_global_id(0) * x_ld;
    y += y_off + get_global_id(0) * y_ld;
    for (size_t k = 0; k < K; k += VW) {
        const V v = load_at(x, k, K);
        store_at(f == F_IDENTITY ? v : activate(f, v), y, k, K);
    }
}

/* Elements of the right operand are moved, not read: E is a type of their size.   -D E=uint or ushort */
#ifdef E
/* w [K,N] into panels.  Launch: global ceil(N/NR), ceil(K/STRIP). */
__kernel ONE void pack_columns(ulong N, ulong K, __global const E *w, ulong w_off, ulong w_ld, __global E *panel, ulong panel_off)
{
    const size_t j = get_global_id(0);
    const int columns = (int)min((ulong)NR, N - j * NR);
    w += w_off + j * NR;
    panel += panel_off + j * K * NR;
    for (size_t k = STRIP_BEGIN(1); k < STRIP_END(1, K); k++)
        for (int c = 0; c < NR; c++) panel[k * NR + c] = c < columns ? w[k * w_ld + c] : (E)0;
}

/* Rows [first, first + rows) of the transpose w [N,K] into the panels of W [K,N]: other columns stay as they are.
 * Launch: global ceil(N/NR) from the panel of the first row on, ceil(K/STRIP). */
__kernel ONE void pack_columns_transposed(ulong first, ulong rows, ulong K, __global const E *w, ulong w_off, ulong w_ld,
                                          __global E *panel, ulong panel_off)
{
    const size_t j = first / NR + get_global_id(0);
    const size_t begin = max(first, (ulong)(j * NR)), end = min(first + rows, (ulong)((j + 1) * NR));
    panel += panel_off + j * K * NR;
    for (size_t k0 = STRIP_BEGIN(1); k0 < STRIP_END(1, K); k0 += 16) { /* sixteen columns of a row share a cache line */
        const size_t k1 = min((ulong)(k0 + 16), K);
        for (size_t n = begin; n < end; n++)
            for (size_t k = k0; k < k1; k++) panel[k * NR + n % NR] = w[w_off + (n - first) * w_ld + k];
    }
}

/* Rows [first, first + rows) of w [N,K] into the panels of W [N,K] itself, the right operand of x W: row n is step n of each
 * panel. Launch: global ceil(K/NR), ceil(rows/STRIP). */
__kernel ONE void pack_steps(ulong first, ulong rows, ulong N, ulong K, __global const E *w, ulong w_off, ulong w_ld,
                             __global E *panel, ulong panel_off)
{
    const size_t j = get_global_id(0);
    const int columns = (int)min((ulong)NR, K - j * NR);
    w += w_off + j * NR;
    panel += panel_off + (j * N + first) * NR;
    for (size_t n = STRIP_BEGIN(1); n < STRIP_END(1, rows); n++)
        for (int c = 0; c < NR; c++) panel[n * NR + c] = c < columns ? w[n * w_ld + c] : (E)0;
}
#endif
