/* head.cl - the parts of a classifier that are no products.
 *
 * spread:  y_sc = b_c              y [S,C], b [C]; global C, S
 * tally:   sums += (sum_s loss_s, sum_s correct_s)   loss [S], correct i32 [S], sums [2];  one group: global WG, local WG
 *          db_0 = NaN if the sum of the losses is not finite, so that the optimizer refuses the step */
__kernel void spread(__global const float *restrict b, ulong b_off, ulong b_ld, __global float *restrict y, ulong y_off, ulong y_ld)
{
    const size_t c = get_global_id(0), s = get_global_id(1);
    y[y_off + s * y_ld + c] = b[b_off + c * b_ld];
}

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void tally(ulong S, __global const float *restrict loss, ulong loss_off, ulong loss_ld,
           __global const int *restrict correct, ulong correct_off, ulong correct_ld,
           __global float *restrict sums, ulong sums_off, ulong sums_ld, __global float *restrict db, ulong db_off, ulong db_ld)
{
    __local float part[WG], hits[WG];
    const size_t lane = get_local_id(0);
    float sum = 0.0f, hit = 0.0f;
    for (size_t s = lane; s < S; s += WG) {
        sum += loss[loss_off + s * loss_ld];
        hit += (float)correct[correct_off + s * correct_ld];
    }
    part[lane] = sum, hits[lane] = hit;
    for (size_t step = WG / 2; step > 0; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < step) part[lane] += part[lane + step], hits[lane] += hits[lane + step];
    }
    if (lane == 0) {
        sums[sums_off] += part[0];
        sums[sums_off + sums_ld] += hits[0];
        if ((as_uint(part[0]) & 0x7f800000u) == 0x7f800000u) db[db_off] = NAN; /* by its bits: no compiler takes that away */
    }
}
