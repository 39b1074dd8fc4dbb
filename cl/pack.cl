/* pack.cl - lay operands out for the panel kernels (product.cl), zeros at the edges.
 *   rows of a left operand X [M,K]:      panel[i][k][r] = X[i MR + r, k]   [ceil(M/MR)][K][MR]
 *   columns of a right operand W [K,N]:  panel[j][k][c] = W[k, j NR + c]   [ceil(N/NR)][K][NR]
 * One work item packs one panel. */
#define ONE __attribute__((reqd_work_group_size(1, 1, 1)))

/* f(x) g per element, VW columns at a time; columns of a tile become rows of the panel.
 * with_g: multiply column k by g[k].  Launch: global ceil(M/MR). */
__kernel ONE void pack_rows(ulong M, ulong K, __global const float *x, ulong x_off, ulong x_ld, int f, int with_g,
                            __global const float *g, ulong g_off, ulong g_ld, __global float *panel, ulong panel_off)
{
    const size_t i = get_global_id(0);
    const int rows = (int)min((ulong)MR, M - i * MR);
    float tile[MR * VW];
    x += x_off + i * MR * x_ld;
    g += g_off;
    panel += panel_off + i * K * MR;
    for (size_t k = 0; k < K; k += VW, panel += MR * VW) {
        const int n = (int)min((ulong)VW, K - k);
        const V scale = !with_g ? (V)(1.0f) : n == VW ? LOAD(g + k) : load_some(g + k, n);
        for (int r = 0; r < MR; r++) {
            V v = 0.0f;
            if (r < rows) v = n == VW ? LOAD(x + r * x_ld + k) : load_some(x + r * x_ld + k, n);
            if (f != F_IDENTITY) v = activate(f, v);
            STORE(v * scale, tile + r * VW);
        }
        for (int c = 0; c < n; c += 4) { /* VW is a multiple of 4: the tile holds whole quads */
            const int left = min(4, n - c);
            for (int r = 0; r + 2 <= MR; r += 2) {
                const float4 a = vload4(0, tile + r * VW + c), b = vload4(0, tile + (r + 1) * VW + c);
                vstore2((float2)(a.s0, b.s0), 0, panel + c * MR + r);
                if (left > 1) vstore2((float2)(a.s1, b.s1), 0, panel + (c + 1) * MR + r);
                if (left > 2) vstore2((float2)(a.s2, b.s2), 0, panel + (c + 2) * MR + r);
                if (left > 3) vstore2((float2)(a.s3, b.s3), 0, panel + (c + 3) * MR + r);
            }
        }
    }
}

/* The same from the transpose of the left operand, x [K,M]. */
__kernel ONE void pack_rows_transposed(ulong M, ulong K, __global const float *x, ulong x_off, ulong x_ld,
                                       __global float *panel, ulong panel_off)
{
    const size_t i = get_global_id(0);
    const int rows = (int)min((ulong)MR, M - i * MR);
    x += x_off + i * MR;
    panel += panel_off + i * K * MR;
    for (size_t k = 0; k < K; k++)
        for (int r = 0; r < MR; r++) panel[k * MR + r] = r < rows ? x[k * x_ld + r] : 0.0f;
}

/* Elements of the right operand are moved, not read: E is a type of their size.   -D E=uint or ushort */
#ifdef E
/* w [K,N] into panels.  Launch: global ceil(N/NR). */
__kernel ONE void pack_columns(ulong N, ulong K, __global const E *w, ulong w_off, ulong w_ld, __global E *panel, ulong panel_off)
{
    const size_t j = get_global_id(0);
    const int columns = (int)min((ulong)NR, N - j * NR);
    w += w_off + j * NR;
    panel += panel_off + j * K * NR;
    for (size_t k = 0; k < K; k++)
        for (int c = 0; c < NR; c++) panel[k * NR + c] = c < columns ? w[k * w_ld + c] : (E)0;
}

/* Rows [first, first + rows) of the transpose w [N,K] into the panels of W [K,N]: other columns stay as they are.
 * Launch: global ceil(N/NR) from the panel of the first row on. */
__kernel ONE void pack_columns_transposed(ulong first, ulong rows, ulong K, __global const E *w, ulong w_off, ulong w_ld,
                                          __global E *panel, ulong panel_off)
{
    const size_t j = first / NR + get_global_id(0);
    const size_t begin = max(first, (ulong)(j * NR)), end = min(first + rows, (ulong)((j + 1) * NR));
    panel += panel_off + j * K * NR;
    for (size_t k0 = 0; k0 < K; k0 += 16) { /* sixteen columns of a row share a cache line */
        const size_t k1 = min((ulong)(k0 + 16), K);
        for (size_t n = begin; n < end; n++)
            for (size_t k = k0; k < k1; k++) panel[k * NR + n % NR] = w[w_off + (n - first) * w_ld + k];
    }
}

/* Rows [first, first + rows) of w [N,K] into the panels of W [N,K] itself, the right operand of x W: row n is step n of each
 * panel. Launch: global ceil(K/NR). */
__kernel ONE void pack_steps(ulong first, ulong rows, ulong N, ulong K, __global const E *w, ulong w_off, ulong w_ld,
                             __global E *panel, ulong panel_off)
{
    const size_t j = get_global_id(0);
    const int columns = (int)min((ulong)NR, K - j * NR);
    w += w_off + j * NR;
    panel += panel_off + (j * N + first) * NR;
    for (size_t n = 0; n < rows; n++)
        for (int c = 0; c < NR; c++) panel[n * NR + c] = c < columns ? w[n * w_ld + c] : (E)0;
}
#endif
