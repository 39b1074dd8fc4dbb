/* attention.cl - per sequence and head h:  P = softmax(scale Q K^T),  O = P V,  lse = log(sum_j exp(scale q . k_j))
 *   q, o [T,H D]  k, v [T,Hk D]  lse [T,H]   head h reads key head h Hk / H
 * A work item has VW consecutive queries of a head, one a lane: no sum crosses lanes. Scores live for KB keys at a time; the
 * maximum m, the denominator l and O so far follow from block to block (online softmax, arXiv 2205.14135).
 * Launch: global (ceil(max_length / VW) to a multiple of WG, H, S), local (WG,1,1).
 * -D D= head size   -D CAUSAL= 1: keys up to the query   -D CACHED= 1: one sequence, its first query is key number first */
#include "lanes.cl"
#pragma OPENCL FP_CONTRACT OFF
#define KB 64 /* keys of a block */

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void attention(ulong T, ulong first, uint group, float scale, __global const int *restrict row_start, ulong row_start_off,
               ulong row_start_ld, __global const float *restrict q, ulong q_off, ulong q_ld,
               __global const float *restrict k, ulong k_off, ulong k_ld, __global const float *restrict v, ulong v_off,
               ulong v_ld, __global float *restrict o, ulong o_off, ulong o_ld, __global float *restrict lse, ulong lse_off,
               ulong lse_ld)
{
    const ulong head = get_global_id(1), key_head = head / group;
#if CACHED
    const ulong start = 0, length = T;
#else
    const ulong start = sequence_start(row_start + row_start_off, row_start_ld, get_global_id(2), T);
    const ulong length = sequence_start(row_start + row_start_off, row_start_ld, get_global_id(2) + 1, T) - start;
#endif
    const ulong i0 = get_global_id(0) * VW;
    if (i0 >= length) return;
    const int mine = (int)min(length - i0, (ulong)VW);
    const int n_keys = CAUSAL ? (int)(first + i0) + mine : (int)(first + length);
    const VI last = (int)(first + i0) + LANES;

    V queries[D], out[D], s[KB], m = -FLT_MAX, l = 0.0f;
    load_columns(queries, q + q_off + (start + i0) * q_ld + head * D, q_ld, mine);
    k += k_off + start * k_ld + key_head * D;
    v += v_off + start * v_ld + key_head * D;
    for (int c = 0; c < D; c++) out[c] = 0.0f;
    for (int j0 = 0; j0 < n_keys; j0 += KB) {
        const int n = min(KB, n_keys - j0);
        dot_rows(s, queries, k + j0 * k_ld, k_ld, n);
        const V before = m;
        for (int j = 0; j < n; j++) {
            V x = scale * s[j];
            if (CAUSAL) x = last < j0 + j ? (V)(-INFINITY) : x;
            m = m < x ? x : m;
            s[j] = x;
        }
        const V fade = exp_lanes(before - m);
        l *= fade;
        for (int c = 0; c < D; c++) out[c] *= fade;
        for (int j = 0; j < n; j++) {
            s[j] = exp_lanes(s[j] - m);
            l += s[j];
        }
        add_rows(out, s, v + j0 * v_ld, v_ld, n);
    }
    const V r = 1.0f / l;
    for (int c = 0; c < D; c++) out[c] *= r;
    store_columns(out, o + o_off + (start + i0) * o_ld + head * D, o_ld, mine);
#if !CACHED
    float part[VW];
    STORE(m + log(l), part);
    for (int i = 0; i < mine; i++) lse[lse_off + (start + i0 + i) * lse_ld + head] = part[i];
#endif
}
