/* direct.cl - A and B that are parameters themselves (LoRA, DoRA): to the forms that a linear layer takes, and the
 * way back. Dimension 1 of a launch is the site, dimension 0 the work within one. */
#include "site.cl"

/* A, A^T, s B^T. A work item copies VW columns of A or a row of B.  Launch: PIECES(K) + N; sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void direct_expand(__global const site *restrict sites, __global const float *restrict theta, __global float *restrict forms)
{
    const site t = sites[get_global_id(1)];
    const ulong i = get_global_id(0), k = i * VW, n = i - PIECES(t.K);
    if (k < t.K) {
        for (ulong p = 0; p < t.r; p++) {
            const V v = load_at(theta + t.w_a + p * t.K, k, t.K);
            store_at(v, forms + t.a + p * t.a_ld, k, t.K);
            scatter(v, forms + t.at + p, t.at_ld, k, t.K, 0);
        }
    } else if (n < t.N) {
        for (ulong p = 0; p < t.r; p += VW) scatter(t.s * load_at(theta + t.w_b + n * t.r, p, t.r), forms + t.bt + n, t.bt_ld, p, t.r, 0);
    }
}

/* Into the gradient: dA, and dB = s (dB^T / s)^T. A work item adds VW columns of dA or VW rows of dB.
 * Launch: PIECES(K) + PIECES(N); sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void direct_collect(__global const site *restrict sites, __global const float *restrict back, __global float *restrict grad)
{
    const site t = sites[get_global_id(1)];
    const ulong k = get_global_id(0) * VW, n = (get_global_id(0) - PIECES(t.K)) * VW;
    if (k < t.K) {
        for (ulong p = 0; p < t.r; p++) add_at(LOAD(back + t.da + p * t.a_ld + k), grad + t.w_a + p * t.K, k, t.K);
    } else if (n < t.N) {
        for (ulong p = 0; p < t.r; p++) scatter(t.s * LOAD(back + t.dbt + p * t.bt_ld + n), grad + t.w_b + p, t.r, n, t.N, 1);
    }
}
