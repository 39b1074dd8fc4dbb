/* narrow.cl - U = X W^T for few columns: X [M,K] and W [N,K] as they lie, rows of W padded with zeros to whole vectors. U is written up to a
 * multiple of 8 columns; those past N mean nothing. A work item has `block` tiles of rows and `columns` columns, a multiple of 8.
 * Launch: global ceil(ceil(M / ROWS) / block), ceil(N / columns) */
#include "dot_rows.cl"

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void narrow(ulong M, ulong N, ulong K, ulong block, ulong columns, ulong depth, __global const float *restrict x, ulong x_off, ulong x_ld,
            __global const float *restrict w, ulong w_off, ulong w_ld, __global float *restrict u, ulong u_off, ulong u_ld)
{
    const size_t first = get_global_id(0) * block * ROWS, last = min((ulong)(first + block * ROWS), M);
    const size_t n0 = get_global_id(1) * columns, n1 = min((ulong)(n0 + columns), (N + 7) / 8 * 8);
    for (size_t k = 0; k < K; k += depth)
        for (size_t t = first; t < last; t += ROWS)
            for (size_t n = n0; n < n1; n += HALF) {
                const size_t row = min((ulong)n, N - 1);
                dot_rows((int)min((ulong)ROWS, last - t), n < N ? min(depth, K - k) : 0, x + x_off + t * x_ld + k, x_ld,
                         n == n0 && t + 2 * ROWS <= M ? ROWS * x_ld : 0, w + w_off + row * w_ld + k, w_ld,
                         (int)min((ulong)HALF, N - row) - 1, u + u_off + t * u_ld + n, u_ld, k > 0);
            }
}
