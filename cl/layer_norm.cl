/* layer_norm.cl - layer norm and RMS norm of rows, backward under forward. A group takes ROWS rows side by side, its lanes columns:
 * global ceil(T/ROWS)*WG, local WG.   x, y, dy, dx [T,D];  gamma, beta [D], values _ld apart;  stat [T,2] or [T,1]. */
#include "prefetch.cl"
#if WG == 1 /* as in row.c: a lone work item would wait for the sums of one row */
#define ROWS 4
#else
#define ROWS 1
#endif
/* Rows past the last one are the last one again; so a step reads all its rows before it writes one. The rows of the next group are asked for:
 * on CPUs the same thread is likely to take it. */
#define ROW(r) min((ulong)(get_group_id(0) * ROWS + r), T - 1)
#define FOR_ROWS(r) _Pragma("unroll") for (int r = 0; r < ROWS; r++)
#define FOR_COLUMNS(d) for (ulong d = get_local_id(0) * VW; d < D; d += WG * VW)
#define IN(x, r) load_at(x + x##_off + ROW(r) * x##_ld, d, D)
#define OUT(v, x, r) store_at(v, x + x##_off + ROW(r) * x##_ld, d, D)
#define AHEAD(x, r) (x + x##_off + (ROW(r) + ROWS) * x##_ld + d)
#define STAT(r) stat[stat_off + ROW(r) * stat_ld]

/* y = (x - mean) rstd gamma + beta,  rstd = 1 / sqrt(var + eps);  stat = mean, rstd.  y may be x. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void layer_norm(ulong T, ulong D, float eps, __global const float *x, ulong x_off, ulong x_ld,
                __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
                __global const float *restrict beta, ulong beta_off, ulong beta_ld,
                __global float *y, ulong y_off, ulong y_ld, __global float *restrict stat, ulong stat_off, ulong stat_ld)
{
    __local float part[WG];
    V sum[ROWS], square[ROWS], h[ROWS];
    float mean[ROWS], rstd[ROWS];
    FOR_ROWS(r) sum[r] = square[r] = 0.0f;
    FOR_COLUMNS(d) FOR_ROWS(r) {
        sum[r] += IN(x, r);
        PREFETCH_TO_WRITE(y + y_off + ROW(r) * y_ld + d, 4 * VW);
    }
    FOR_ROWS(r) mean[r] = sum_group(sum[r], part) / D;
    FOR_COLUMNS(d) FOR_ROWS(r) {
        const V c = inside(IN(x, r) - mean[r], d, D, 0.0f);
        square[r] = fma(c, c, square[r]);
        PREFETCH(AHEAD(x, r), 4 * VW);
    }
    FOR_ROWS(r) rstd[r] = 1.0f / sqrt(sum_group(square[r], part) / D + eps);
    FOR_COLUMNS(d) {
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D), b = load_step(beta + beta_off, beta_ld, d, D);
        FOR_ROWS(r) h[r] = (IN(x, r) - mean[r]) * rstd[r];
        FOR_ROWS(r) OUT(fma(h[r], g, b), y, r);
    }
    if (get_local_id(0) == 0) FOR_ROWS(r) (&STAT(r))[0] = mean[r], (&STAT(r))[1] = rstd[r];
}

/* h = (x - mean) rstd, dh = dy gamma:  dx = accumulate dx + rstd (dh - mean(dh) - h mean(dh h)).  dx may be dy. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void layer_norm_backward(ulong T, ulong D, __global const float *restrict x, ulong x_off, ulong x_ld,
                         __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
                         __global const float *restrict stat, ulong stat_off, ulong stat_ld,
                         __global const float *dy, ulong dy_off, ulong dy_ld, float accumulate,
                         __global float *dx, ulong dx_off, ulong dx_ld)
{
    __local float part[WG];
    V sum[ROWS], dot[ROWS], v[ROWS];
    float mean[ROWS], rstd[ROWS], mean_dh[ROWS], mean_dot[ROWS];
    FOR_ROWS(r) sum[r] = dot[r] = 0.0f, mean[r] = (&STAT(r))[0], rstd[r] = (&STAT(r))[1];
    FOR_COLUMNS(d) { /* past the end dh is 0 */
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D);
        FOR_ROWS(r) {
            const V dh = IN(dy, r) * g;
            sum[r] += dh;
            dot[r] = fma(dh, (IN(x, r) - mean[r]) * rstd[r], dot[r]);
        }
    }
    FOR_ROWS(r) mean_dh[r] = sum_group(sum[r], part) / D, mean_dot[r] = sum_group(dot[r], part) / D;
    FOR_COLUMNS(d) {
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D);
        FOR_ROWS(r) {
            const V h = (IN(x, r) - mean[r]) * rstd[r];
            v[r] = rstd[r] * (IN(dy, r) * g - mean_dh[r] - h * mean_dot[r]);
            if (accumulate != 0.0f) v[r] = fma((V)(accumulate), IN(dx, r), v[r]);
            PREFETCH(AHEAD(x, r), 4 * VW);
            PREFETCH(AHEAD(dy, r), 4 * VW);
            PREFETCH_TO_WRITE(AHEAD(dx, r), 4 * VW);
        }
        FOR_ROWS(r) OUT(v[r], dx, r);
    }
}

/* dgamma += sum_t dy h.  Launch: a group per COLS*VW columns. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void layer_norm_dgamma(ulong T, ulong D, __global const float *restrict x, ulong x_off, ulong x_ld,
                       __global const float *restrict stat, ulong stat_off, ulong stat_ld,
                       __global const float *restrict dy, ulong dy_off, ulong dy_ld,
                       __global float *restrict dgamma, ulong dgamma_off, ulong dgamma_ld)
{
    __local V part[WG];
    const ulong d = (get_group_id(0) * COLS + get_local_id(0) % COLS) * VW, slice = get_local_id(0) / COLS;
    V sum = 0.0f;
    if (d < D)
        for (ulong t = slice; t < T; t += SLICES) {
            const float mean = stat[stat_off + t * stat_ld], rstd = stat[stat_off + t * stat_ld + 1];
            const V h = (load_at(x + x_off + t * x_ld, d, D) - mean) * rstd;
            sum = fma(load_at(dy + dy_off + t * dy_ld, d, D), h, sum);
        }
    sum = sum_slices(sum, part);
    if (slice == 0) add_step(sum, 1.0f, dgamma + dgamma_off, dgamma_ld, d, D);
}

/* y = x rstd gamma,  rstd = 1 / sqrt(mean(x^2) + eps);  stat = rstd.  y may be x. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void rms_norm(ulong T, ulong D, float eps, __global const float *x, ulong x_off, ulong x_ld,
              __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
              __global float *y, ulong y_off, ulong y_ld, __global float *restrict stat, ulong stat_off, ulong stat_ld)
{
    __local float part[WG];
    V square[ROWS], v[ROWS];
    float rstd[ROWS];
    FOR_ROWS(r) square[r] = 0.0f;
    FOR_COLUMNS(d) FOR_ROWS(r) v[r] = IN(x, r), square[r] = fma(v[r], v[r], square[r]);
    FOR_ROWS(r) rstd[r] = 1.0f / sqrt(sum_group(square[r], part) / D + eps);
    FOR_COLUMNS(d) {
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D);
        FOR_ROWS(r) {
            v[r] = IN(x, r) * rstd[r] * g;
            PREFETCH(AHEAD(x, r), 4 * VW);
            PREFETCH_TO_WRITE(AHEAD(y, r), 4 * VW);
        }
        FOR_ROWS(r) OUT(v[r], y, r);
    }
    if (get_local_id(0) == 0) FOR_ROWS(r) STAT(r) = rstd[r];
}

/* h = x rstd, dh = dy gamma:  dx = accumulate dx + rstd (dh - h mean(dh h)).  dx may be dy. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void rms_norm_backward(ulong T, ulong D, __global const float *restrict x, ulong x_off, ulong x_ld,
                       __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
                       __global const float *restrict stat, ulong stat_off, ulong stat_ld,
                       __global const float *dy, ulong dy_off, ulong dy_ld, float accumulate,
                       __global float *dx, ulong dx_off, ulong dx_ld)
{
    __local float part[WG];
    V dot[ROWS], v[ROWS];
    float rstd[ROWS], mean_dot[ROWS];
    FOR_ROWS(r) dot[r] = 0.0f, rstd[r] = STAT(r);
    FOR_COLUMNS(d) {
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D);
        FOR_ROWS(r) dot[r] = fma(IN(dy, r) * g, IN(x, r) * rstd[r], dot[r]);
    }
    FOR_ROWS(r) mean_dot[r] = sum_group(dot[r], part) / D;
    FOR_COLUMNS(d) {
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D);
        FOR_ROWS(r) {
            v[r] = rstd[r] * (IN(dy, r) * g - IN(x, r) * rstd[r] * mean_dot[r]);
            if (accumulate != 0.0f) v[r] = fma((V)(accumulate), IN(dx, r), v[r]);
            PREFETCH(AHEAD(x, r), 4 * VW);
            PREFETCH(AHEAD(dy, r), 4 * VW);
            PREFETCH_TO_WRITE(AHEAD(dx, r), 4 * VW);
        }
        FOR_ROWS(r) OUT(v[r], dx, r);
    }
}
