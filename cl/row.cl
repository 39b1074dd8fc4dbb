/* row.cl - Euclidean norm of every row:  c_i = sqrt(sum_k w_ik^2)
 *   w  [N,K]  in    rows w_ld elements apart
 *   c  [N]    out   values c_ld elements apart
 * A group of WG work items, each with VW lanes, computes row i.  Launch: global N*WG, local WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void row_norm(ulong K, __global const float *restrict w, ulong w_off, ulong w_ld,
              __global float *restrict c, ulong c_off, ulong c_ld)
{
    __local float part[WG];
    const size_t i = get_group_id(0), lane = get_local_id(0);
    __global const float *row = w + w_off + i * w_ld;
    V sum = 0.0f;
    for (size_t k = lane * VW; k < K; k += WG * VW) {
        const V x = k + VW <= K ? LOAD(row + k) : load_some(row + k, (int)(K - k));
        sum = fma(x, x, sum);
    }
    part[lane] = sum_lanes(sum);
    for (size_t step = WG / 2; step > 0; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < step) part[lane] += part[lane + step];
    }
    if (lane == 0) c[c_off + i * c_ld] = sqrt(part[0]);
}
