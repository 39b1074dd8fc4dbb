/* row.cl - reductions of a matrix: norms of its rows, sums of its columns. */

/* c_i = sqrt(sum_k w_ik^2)
 *   w  [N,K]  in    rows w_ld elements apart
 *   c  [N]    out   values c_ld elements apart
 * Group i takes row i.  Launch: global N*WG, local WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void row_norm(ulong K, __global const float *restrict w, ulong w_off, ulong w_ld,
              __global float *restrict c, ulong c_off, ulong c_ld)
{
    __local float part[WG];
    const ulong i = get_group_id(0), lane = get_local_id(0);
    __global const float *row = w + w_off + i * w_ld;
    V sum = 0.0f;
    for (ulong k = lane * VW; k < K; k += WG * VW) {
        const V x = load_at(row, k, K);
        sum = fma(x, x, sum);
    }
    const float square = sum_group(sum, part);
    if (lane == 0) c[c_off + i * c_ld] = sqrt(square);
}

/* s_n = beta s_n + sum_t x_tn;  beta = 0 does not read s
 *   x  [T,N]  in
 *   s  [N]    in, out   values s_ld elements apart
 * Launch: a group per COLS*VW columns, local WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void column_sum(ulong T, ulong N, __global const float *restrict x, ulong x_off, ulong x_ld, float beta,
                __global float *restrict s, ulong s_off, ulong s_ld)
{
    __local V part[WG];
    const ulong n = (get_group_id(0) * COLS + get_local_id(0) % COLS) * VW, slice = get_local_id(0) / COLS;
    V sum = 0.0f;
    if (n < N)
        for (ulong t = slice; t < T; t += SLICES) sum += load_at(x + x_off + t * x_ld, n, N);
    sum = sum_slices(sum, part);
    if (slice == 0) add_step(sum, beta, s + s_off, s_ld, n, N);
}
