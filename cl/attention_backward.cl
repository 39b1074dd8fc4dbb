/* attention_backward.cl - gradients of P = softmax(scale Q K^T), O = P V:  with D_t = dO_t . O_t,
 *     dV = P^T dO,  dS = P (dO V^T - D),  dQ = scale dS K,  dK = scale dS^T Q
 * P comes again from the scores and lse. Two kernels, so that each output has one writer: attention_dq has VW queries on its
 * lanes and walks over keys; attention_dkv has VW keys and walks over the queries of all heads that read them.
 * Launch: global (ceil(max_length / VW) to a multiple of WG, H or Hk, S), local (WG,1,1).
 * -D D= head size   -D CAUSAL= 1: keys up to the query   -D DK= DV= 1: attention_dkv stores dk, dv */
#include "lanes.cl"
#pragma OPENCL FP_CONTRACT OFF
#define KB 32 /* rows of a block */
#define GROUP __attribute__((reqd_work_group_size(WG, 1, 1)))
#define SEQUENCES ulong T, uint group, float scale, __global const int *restrict row_start, ulong row_start_off, ulong row_start_ld
#define IN(x) __global const float *restrict x, ulong x##_off, ulong x##_ld
#define OUT(x) __global float *restrict x, ulong x##_off, ulong x##_ld

__kernel GROUP void attention_dq(SEQUENCES, IN(q), IN(k), IN(v), IN(o), IN(lse), IN(d_o), OUT(dsum), OUT(dq))
{
    const ulong head = get_global_id(1), key_head = head / group, i0 = get_global_id(0) * VW;
    const ulong start = sequence_start(row_start + row_start_off, row_start_ld, get_global_id(2), T);
    const ulong end = sequence_start(row_start + row_start_off, row_start_ld, get_global_id(2) + 1, T);
    if (start + i0 >= end) return;
    const int mine = (int)min(end - start - i0, (ulong)VW), n_keys = CAUSAL ? (int)i0 + mine : (int)(end - start);
    const VI last = (int)i0 + LANES;

    V queries[D], gradient[D], out[D], s[KB], dp[KB];
    q += q_off + (start + i0) * q_ld + head * D;
    o += o_off + (start + i0) * o_ld + head * D;
    d_o += d_o_off + (start + i0) * d_o_ld + head * D;
    k += k_off + start * k_ld + key_head * D;
    v += v_off + start * v_ld + key_head * D;
    lse += lse_off + (start + i0) * lse_ld + head;
    dsum += dsum_off + (start + i0) * dsum_ld + head;
    load_columns(queries, o, o_ld, mine);
    load_columns(gradient, d_o, d_o_ld, mine);
    V total = 0.0f;
    for (int c = 0; c < D; c++) total = fma(queries[c], gradient[c], total);
    store_values(total, dsum, dsum_ld, mine);
    const V norm = load_values(lse, lse_ld, mine);
    load_columns(queries, q, q_ld, mine);
    for (int c = 0; c < D; c++) out[c] = 0.0f;
    for (int j0 = 0; j0 < n_keys; j0 += KB) {
        const int n = min(KB, n_keys - j0);
        dot_rows(s, queries, k + j0 * k_ld, k_ld, n);
        dot_rows(dp, gradient, v + j0 * v_ld, v_ld, n);
        for (int j = 0; j < n; j++) {
            const V x = scale * s[j], p = exp_lanes(x - norm);
            s[j] = (CAUSAL ? (last < j0 + j ? (V)(0.0f) : p) : p) * (dp[j] - total);
        }
        add_rows(out, s, k + j0 * k_ld, k_ld, n);
    }
    for (int c = 0; c < D; c++) out[c] *= scale;
    store_columns(out, dq + dq_off + (start + i0) * dq_ld + head * D, dq_ld, mine);
}

__kernel GROUP void attention_dkv(SEQUENCES, IN(q), IN(k), IN(v), IN(lse), IN(d_o), IN(dsum), OUT(dk), OUT(dv))
{
    const ulong key_head = get_global_id(1), j0 = get_global_id(0) * VW;
    const ulong start = sequence_start(row_start + row_start_off, row_start_ld, get_global_id(2), T);
    const ulong end = sequence_start(row_start + row_start_off, row_start_ld, get_global_id(2) + 1, T);
    if (start + j0 >= end) return;
    const int mine = (int)min(end - start - j0, (ulong)VW), n_queries = (int)(end - start);
    const VI lane = (int)j0 + LANES;

    V keys[D], values[D], out_k[D], out_v[D], s[KB], dp[KB];
    load_columns(keys, k + k_off + (start + j0) * k_ld + key_head * D, k_ld, mine);
    load_columns(values, v + v_off + (start + j0) * v_ld + key_head * D, v_ld, mine);
    for (int c = 0; c < D; c++) out_k[c] = out_v[c] = 0.0f;
    for (ulong head = key_head * group; head < (key_head + 1) * group; head++) {
        __global const float *q1 = q + q_off + start * q_ld + head * D, *g1 = d_o + d_o_off + start * d_o_ld + head * D;
        __global const float *lse1 = lse + lse_off + start * lse_ld + head, *dsum1 = dsum + dsum_off + start * dsum_ld + head;
        for (int i0 = CAUSAL ? (int)j0 : 0; i0 < n_queries; i0 += KB) {
            const int n = min(KB, n_queries - i0);
            dot_rows(s, keys, q1 + i0 * q_ld, q_ld, n);
            dot_rows(dp, values, g1 + i0 * d_o_ld, d_o_ld, n);
            for (int i = 0; i < n; i++) {
                const V x = scale * s[i], p = exp_lanes(x - lse1[(i0 + i) * lse_ld]);
                s[i] = CAUSAL ? (i0 + i < lane ? (V)(0.0f) : p) : p;
                dp[i] = s[i] * (dp[i] - dsum1[(i0 + i) * dsum_ld]);
            }
            add_rows(out_v, s, g1 + i0 * d_o_ld, d_o_ld, n);
            add_rows(out_k, dp, q1 + i0 * q_ld, q_ld, n);
        }
    }
    for (int c = 0; c < D; c++) out_k[c] *= scale;
#if DK
    store_columns(out_k, dk + dk_off + (start + j0) * dk_ld + key_head * D, dk_ld, mine);
#endif
#if DV
    store_columns(out_v, dv + dv_off + (start + j0) * dv_ld + key_head * D, dv_ld, mine);
#endif
}
