/* attention.cl - per sequence and head h:  P = softmax(scale Q K^T),  O = P V,  lse_i = log(sum_j exp(scale q_i . k_j))
 *   q, o [T,H D]  k, v [T,Hk D]  lse [T,H]   head h reads key head h / group, group = H / Hk
 * A work item has VECTORS VW consecutive queries of a head on its lanes: no sum crosses lanes. It has the scores of KB keys at a time;
 * largest, the denominator sum and O follow from block to block (online softmax, arXiv 2205.14135).
 * Launch: global (ceil(max_length / (VECTORS VW)) to a multiple of WG, H, S), local (WG,1,1).
 * -D D= head size   -D CAUSAL= 1: keys up to the query   -D CACHED= 1: one sequence, its first query is at position `first`,
 * k and v have first + T rows, no lse */
#include "lanes.cl"
#define KB 64

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void attention(SEQUENCES, ulong first, uint group, float scale, IN(q), IN(k), IN(v), OUT(o), OUT(lse))
{
#if CACHED
    const ulong start = 0;
    const int length = (int)T;
#else
    const ulong start = SEQUENCE_START(get_global_id(2));
    const int length = (int)(SEQUENCE_START(get_global_id(2) + 1) - start);
#endif
    const ulong column = get_global_id(1) * D, key_column = get_global_id(1) / group * D;
    const int i0 = (int)get_global_id(0) * VECTORS * VW, mine = min(VECTORS * VW, length - i0), vectors = vectors_of(mine);
    const int n_keys = (int)first + (CAUSAL ? i0 + mine : length);
    if (mine <= 0) return;

    V queries[VECTORS * D], out[VECTORS * D], p[VECTORS * KB], largest[VECTORS], sum[VECTORS];
    for (int vec = 0; vec < vectors; vec++) {
        load_columns(queries + vec, AT(q, start + i0 + vec * VW, column), q_ld, rows_of(mine, vec));
        largest[vec] = -FLT_MAX, sum[vec] = 0.0f;
    }
    for (int c = 0; c < VECTORS * D; c++) out[c] = 0.0f;
    for (int j0 = 0; j0 < n_keys; j0 += KB) {
        const int n = min(KB, n_keys - j0);
        dot_rows(p, queries, vectors, AT(k, start + j0, key_column), k_ld, n);
        for (int vec = 0; vec < vectors; vec++) {
            V *pv = p + vec, top = largest[vec], other = top, total = sum[vec];
            for (int j = 0; j < n; j += 2) { /* two chains of comparisons; after the last key there is a copy of it */
                V x = scale * pv[VECTORS * j], y = scale * pv[VECTORS * (j + 1)];
                if (CAUSAL) {
                    x = (int)first + i0 + vec * VW + LANES < j0 + j ? (V)(-INFINITY) : x;
                    y = (int)first + i0 + vec * VW + LANES < j0 + j + 1 ? (V)(-INFINITY) : y;
                }
                top = top < x ? x : top, other = other < y ? y : other;
                pv[VECTORS * j] = x, pv[VECTORS * (j + 1)] = y;
            }
            top = top < other ? other : top;
            const V fade = exp_lanes(largest[vec] - top);
            total *= fade;
            for (int c = 0; c < D; c++) out[VECTORS * c + vec] *= fade;
            for (int j = 0; j < n; j++) {
                const V e = exp_lanes(pv[VECTORS * j] - top);
                pv[VECTORS * j] = e;
                total += e;
            }
            largest[vec] = top, sum[vec] = total;
        }
        add_rows(out, p, vectors, AT(v, start + j0, key_column), v_ld, n);
    }
    for (int vec = 0; vec < vectors; vec++) {
        const V factor = 1.0f / sum[vec];
        for (int c = 0; c < D; c++) out[VECTORS * c + vec] *= factor;
        store_columns(out + vec, AT(o, start + i0 + vec * VW, column), o_ld, rows_of(mine, vec));
        if (!CACHED) store_values(largest[vec] + log(sum[vec]), AT(lse, start + i0 + vec * VW, get_global_id(1)), lse_ld, rows_of(mine, vec));
    }
}
