/* norm_gradient.cl - the gradient through the row norm:
 *     dB += s diag(q) (W0 A^T + s B A A^T)      dA += s B^T diag(q) W0 + s^2 B^T diag(q) B A
 * The products with W0 are made by the linear layer, into rest: rows of A W0^T where dB^T lies in back, rows of
 * (s B^T diag(q)) W0 where dA lies.  Dimension 1 of a launch is the site. */
#include "site.cl"

/* gram = A A^T [r,r], and after it s B^T diag(q) s B [r,r]. A group makes one value of each.  Launch: r r WG; sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void norm_gram(__global const site *restrict sites, __global const float *restrict forms, __global const float *restrict q,
               __global float *restrict gram)
{
    __local float part[WG];
    const site t = sites[get_group_id(1)];
    const ulong pair = get_group_id(0), i = pair / t.r, j = pair % t.r;
    V a = 0.0f, b = 0.0f;
    if (i >= t.r) return; /* the whole group */
    for (ulong k = get_local_id(0) * VW; k < t.K; k += WG * VW)
        a = fma(load_at(forms + t.a + i * t.a_ld, k, t.K), load_at(forms + t.a + j * t.a_ld, k, t.K), a);
    for (ulong n = get_local_id(0) * VW; n < t.N; n += WG * VW)
        b = fma(load_at(q + t.c, n, t.N) * load_at(forms + t.bt + i * t.bt_ld, n, t.N),
                load_at(forms + t.bt + j * t.bt_ld, n, t.N), b);
    const float aa = sum_group(a, part), bb = sum_group(b, part);
    if (get_local_id(0) == 0) {
        gram[t.gram + pair] = aa;
        gram[t.gram + t.r * t.r + pair] = bb;
    }
}

/* A work item adds VW columns of dA or of dB^T (which lacks s).  Launch: PIECES(K) + PIECES(N); sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void norm_collect(__global const site *restrict sites, __global const float *restrict forms, __global const float *restrict q,
                  __global const float *restrict gram, __global const float *restrict rest, __global float *restrict back)
{
    const site t = sites[get_global_id(1)];
    const ulong k = get_global_id(0) * VW, n = (get_global_id(0) - PIECES(t.K)) * VW;
    __global const float *aa = gram + t.gram, *bb = aa + t.r * t.r;
    if (k < t.K) {
        for (ulong p = 0; p < t.r; p++) {
            const ulong at = t.da + p * t.a_ld;
            add_at(load_at(rest + at, k, t.K) + row_times(bb + p * t.r, 1, forms + t.a, t.a_ld, t.r, k), back + at, k, t.K);
        }
    } else if (n < t.N) {
        const V scale = load_at(q + t.c, n, t.N);
        for (ulong p = 0; p < t.r; p++) {
            const ulong at = t.dbt + p * t.bt_ld;
            add_at(scale * (load_at(rest + at, n, t.N) + row_times(aa + p * t.r, 1, forms + t.bt, t.bt_ld, t.r, n)), back + at, n, t.N);
        }
    }
}
