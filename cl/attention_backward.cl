/* attention_backward.cl - gradients of P = softmax(scale Q K^T), O = P V:  with D_t = dO_t . O_t,
 *     dV = P^T dO,  dS = P (dO V^T - D),  dQ = scale dS K,  dK = scale dS^T Q
 * P comes again from the scores and lse, KB rows at a time. Every output has one writer:
 *   attention_dq   VECTORS VW queries on the lanes, over all keys.  FUSED=1: all queries of a sequence that read one key head, one
 *                  after another, and dK and dV grow with each; needs D % VW = 0 and enough sequences and key heads.
 *   attention_dkv  VECTORS VW keys on the lanes, over all queries of all heads that read them; after attention_dq with FUSED=0.
 * Launch: global (ceil(max_length / (VECTORS VW)) to a multiple of WG, or 1 if fused; H, or Hk if fused or dkv; S), local (WG,1,1).
 * -D D= head size   -D CAUSAL= 1: keys up to the query   -D DK= DV= 1: dk, dv are wanted */
#include "lanes.cl"
#define KB 32

/* x[j ld + c] += sum_i p[VECTORS j]_i y[i y_ld + c], j < n, i < m; two vectors of some rows at a time. Rows from `fresh` on, a multiple of AT_ONCE,
 * have no value yet: x = ... */
#if VW == 16
#define AT_ONCE 8
#define ALL_AT_ONCE ALL8
#else
#define AT_ONCE 4
#define ALL_AT_ONCE ALL4
#endif
static inline void add_products(__global float *x, ulong ld, int fresh, const V *p, int n, __global const float *y, ulong y_ld, int m)
{
#define TWO (D % (2 * VW) == 0)
#define FIRST(j)                                                                                                       \
    __global float *x##j = x + min(j0 + j, n - 1) * ld + c;                                                            \
    const float *p##j = (const float *)(p + VECTORS * min(j0 + j, n - 1));                                             \
    V s##j = j0 < fresh ? LOAD(x##j) : (V)(0.0f), t##j = TWO && j0 < fresh ? LOAD(x##j + VW) : (V)(0.0f);
#define NEXT(j) s##j = fma((V)(p##j[i]), y0, s##j); if (TWO) t##j = fma((V)(p##j[i]), y1, t##j);
#define LAST(j) PREFETCH_TO_WRITE(x##j + D, 8 * VW); STORE(s##j, x##j); if (TWO) STORE(t##j, x##j + VW);
    for (int j0 = 0; j0 < n; j0 += AT_ONCE)
        for (int c = 0; c < D; c += TWO ? 2 * VW : VW) {
            ALL_AT_ONCE(FIRST)
            for (int i = 0; i < m; i++) {
                const V y0 = LOAD(y + i * y_ld + c), y1 = TWO ? LOAD(y + i * y_ld + c + VW) : (V)(0.0f);
                ALL_AT_ONCE(NEXT)
            }
            ALL_AT_ONCE(LAST)
        }
}

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void attention_dq(SEQUENCES, uint group, float scale, IN(q), IN(k), IN(v), IN(o), IN(lse), IN(d_o), OUT(dsum), OUT(dq), OUT(dk), OUT(dv))
{
    const ulong start = SEQUENCE_START(get_global_id(2));
    const int length = (int)(SEQUENCE_START(get_global_id(2) + 1) - start);
#if FUSED
    const ulong head0 = get_global_id(1) * group, heads = group;
    const int first = 0, last = length;
#else
    const ulong head0 = get_global_id(1), heads = 1;
    const int first = (int)get_global_id(0) * VECTORS * VW, last = min(first + VECTORS * VW, length);
#endif
    for (ulong head = head0; head < head0 + heads; head++) {
        const ulong column = head * D, key_column = head / group * D;
        for (int i0 = first; i0 < last; i0 += VECTORS * VW) {
            const int mine = min(VECTORS * VW, length - i0), vectors = vectors_of(mine), n_keys = CAUSAL ? i0 + mine : length;
            V queries[VECTORS * D], gradient[VECTORS * D], out[VECTORS * D], p[VECTORS * KB], ds[VECTORS * KB], sum[VECTORS], norm[VECTORS];
            for (int vec = 0; vec < vectors; vec++) {
                const ulong row = start + i0 + vec * VW;
                const int rows = rows_of(mine, vec);
                V dot = 0.0f;
                load_columns(queries + vec, AT(o, row, column), o_ld, rows);
                load_columns(gradient + vec, AT(d_o, row, column), d_o_ld, rows);
                for (int c = 0; c < D; c++) dot = fma(queries[VECTORS * c + vec], gradient[VECTORS * c + vec], dot);
                if (!FUSED) store_values(dot, AT(dsum, row, head), dsum_ld, rows);
                sum[vec] = dot;
                norm[vec] = load_values(AT(lse, row, head), lse_ld, rows);
                load_columns(queries + vec, AT(q, row, column), q_ld, rows);
            }
            for (int c = 0; c < VECTORS * D; c++) out[c] = 0.0f;
            for (int j0 = 0; j0 < n_keys; j0 += KB) {
                const int n = min(KB, n_keys - j0);
                dot_rows(p, queries, vectors, AT(k, start + j0, key_column), k_ld, n);
                dot_rows(ds, gradient, vectors, AT(v, start + j0, key_column), v_ld, n);
                for (int j = 0; j < n; j++)
                    for (int vec = 0; vec < vectors; vec++) {
                        const V x = scale * p[VECTORS * j + vec], y = exp_lanes(x - norm[vec]);
                        const V e = CAUSAL ? (i0 + vec * VW + LANES < j0 + j ? (V)(0.0f) : y) : y;
                        p[VECTORS * j + vec] = e;
                        ds[VECTORS * j + vec] = scale * e * (ds[VECTORS * j + vec] - sum[vec]);
                    }
                add_rows(out, ds, vectors, AT(k, start + j0, key_column), k_ld, n);
                const int fresh = head > head0 ? n : CAUSAL ? i0 - j0 : i0 > 0 ? n : 0; /* the first head and the first queries that see them */
                if (FUSED && DK) add_products(AT(dk, start + j0, key_column), dk_ld, fresh, ds, n, AT(q, start + i0, column), q_ld, mine);
                if (FUSED && DV) add_products(AT(dv, start + j0, key_column), dv_ld, fresh, p, n, AT(d_o, start + i0, column), d_o_ld, mine);
            }
            for (int vec = 0; vec < vectors; vec++)
                store_columns(out + vec, AT(dq, start + i0 + vec * VW, column), dq_ld, rows_of(mine, vec));
        }
    }
}

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void attention_dkv(SEQUENCES, uint group, float scale, IN(q), IN(k), IN(v), IN(lse), IN(d_o), IN(dsum), OUT(dk), OUT(dv))
{
    const ulong start = SEQUENCE_START(get_global_id(2)), key_head = get_global_id(1), column = key_head * D;
    const int length = (int)(SEQUENCE_START(get_global_id(2) + 1) - start), j0 = (int)get_global_id(0) * VECTORS * VW;
    const int mine = min(VECTORS * VW, length - j0), vectors = vectors_of(mine);
    if (mine <= 0) return;

    V keys[VECTORS * D], values[VECTORS * D], out_k[VECTORS * D], out_v[VECTORS * D], p[VECTORS * KB], ds[VECTORS * KB];
    for (int vec = 0; vec < vectors; vec++) {
        load_columns(keys + vec, AT(k, start + j0 + vec * VW, column), k_ld, rows_of(mine, vec));
        load_columns(values + vec, AT(v, start + j0 + vec * VW, column), v_ld, rows_of(mine, vec));
    }
    for (int c = 0; c < VECTORS * D; c++) out_k[c] = out_v[c] = 0.0f;
    for (ulong head = key_head * group; head < (key_head + 1) * group; head++)
        for (int i0 = CAUSAL ? j0 : 0; i0 < length; i0 += KB) {
            const int n = min(KB, length - i0);
            dot_rows(p, keys, vectors, AT(q, start + i0, head * D), q_ld, n);
            dot_rows(ds, values, vectors, AT(d_o, start + i0, head * D), d_o_ld, n);
            for (int i = 0; i < n; i++) {
                const float norm = *AT(lse, start + i0 + i, head), sum = *AT(dsum, start + i0 + i, head);
                for (int vec = 0; vec < vectors; vec++) {
                    const V x = scale * p[VECTORS * i + vec], y = exp_lanes(x - norm);
                    const V e = CAUSAL ? (i0 + i < j0 + vec * VW + LANES ? (V)(0.0f) : y) : y;
                    p[VECTORS * i + vec] = e;
                    ds[VECTORS * i + vec] = scale * e * (ds[VECTORS * i + vec] - sum);
                }
            }
            add_rows(out_v, p, vectors, AT(d_o, start + i0, head * D), d_o_ld, n);
            add_rows(out_k, ds, vectors, AT(q, start + i0, head * D), q_ld, n);
        }
    for (int vec = 0; vec < vectors; vec++) {
        if (DK) store_columns(out_k + vec, AT(dk, start + j0 + vec * VW, column), dk_ld, rows_of(mine, vec));
        if (DV) store_columns(out_v + vec, AT(dv, start + j0 + vec * VW, column), dv_ld, rows_of(mine, vec));
    }
}
