/* gain.cl - g_i = m_i / (c_i + tau), 1 where c_i + tau is 0, and its gradients. Dimension 1 of a launch is the site. */
#include "site.cl"

#define TAU_NONE 0 /* of clpeft_tau */
#define TAU_FIXED 1
#define TAU_LEARNED 2
#define TAU_GAUSSIAN 3

/* |xi|, xi ~ N(0,1) of counter (site, step) under key seed, by Box-Muller. */
static inline float half_normal(ulong seed, ulong step, ulong site)
{
    VU c[4] = { (VU)((uint)site), (VU)(0u), (VU)((uint)step), (VU)((uint)(step >> 32)) };
    philox(c, (uint)seed, (uint)(seed >> 32));
    const uint *first = (const uint *)&c[0], *second = (const uint *)&c[1];
    return sqrt(-2.0f * log(((float)*first + 0.5f) * 0x1p-32f)) * fabs(cospi((float)*second * 0x1p-31f));
}

/* 1 / x, and 0 where x is 0: the gradients there are 0. */
static inline V inverse(V x)
{
    return select(1.0f / x, (V)(0.0f), x == (V)(0.0f));
}

/* g, g s B^T and tau. A work item makes VW gains.  Launch: PIECES(N); sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void gain(int mode, int training, ulong seed, ulong step, __global const site *restrict sites, __global const float *restrict theta,
          __global const float *restrict c, __global float *restrict tau, __global float *restrict forms)
{
    const size_t p = get_global_id(1);
    const site t = sites[p];
    const ulong i = get_global_id(0) * VW;
    if (i >= t.N) return;
    float first = mode == TAU_NONE || (mode == TAU_GAUSSIAN && !training) ? 0.0f : exp(theta[t.rho]);
    if (mode == TAU_GAUSSIAN && training) first *= half_normal(seed, step, p);
    const V x = load_at(c + t.c, i, t.N) + first;
    const V g = select(load_at(theta + t.m, i, t.N) / x, (V)(1.0f), x == (V)(0.0f));
    store_at(g, forms + t.g, i, t.N);
    for (ulong r = 0; r < t.r; r++) store_at(g * load_at(forms + t.bt + r * t.bt_ld, i, t.N), forms + t.gbt + r * t.bt_ld, i, t.N);
    if (i == 0) tau[p] = first;
}

/* dm_i += dg_i / (c_i + tau),  drho += tau dtau,  dtau = - sum_i dg_i m_i / (c_i + tau)^2; and for the norm's gradient
 * q_i = - dg_i m_i / ((c_i + tau)^2 c_i), q B^T s in d (laid out as dB^T).  A group does a site.  Launch: WG; sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void gain_backward(int mode, int norm_gradient, __global const site *restrict sites, __global const float *restrict theta,
                   __global const float *restrict c, __global const float *restrict tau, __global const float *restrict forms,
                   __global const float *restrict back, __global float *restrict grad, __global float *restrict q,
                   __global float *restrict d)
{
    __local float part[WG];
    const site t = sites[get_group_id(1)];
    const float offset = tau[get_group_id(1)];
    V dtau = 0.0f;
    for (ulong i = get_local_id(0) * VW; i < t.N; i += WG * VW) {
        const V norm = load_at(c + t.c, i, t.N), x = inverse(norm + offset);
        const V dm = load_at(back + t.dg, i, t.N) * x, dc = -dm * (load_at(theta + t.m, i, t.N) * x);
        add_at(dm, grad + t.m, i, t.N);
        dtau += dc;
        if (!norm_gradient) continue;
        const V scale = dc * inverse(norm);
        store_at(scale, q + t.c, i, t.N);
        for (ulong p = 0; p < t.r; p++)
            store_at(scale * load_at(forms + t.bt + p * t.bt_ld, i, t.N), d + t.dbt + p * t.bt_ld, i, t.N);
    }
    const float sum = sum_group(dtau, part);
    if (mode == TAU_LEARNED && get_local_id(0) == 0) grad[t.rho] += offset * sum;
}
