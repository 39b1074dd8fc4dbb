/* layer_norm.cl - layer norm and RMS norm of rows, backward under forward. Group t takes row t, its lanes columns: global T*WG,
 * local WG.   x, y, dy, dx [T,D];  gamma, beta [D], values _ld apart;  stat [T,2] or [T,1]. */
#define FOR_COLUMNS(d) for (ulong d = get_local_id(0) * VW; d < D; d += WG * VW)

/* y = (x - mean) rstd gamma + beta,  rstd = 1 / sqrt(var + eps);  stat = mean, rstd.  y may be x. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void layer_norm(ulong D, float eps, __global const float *x, ulong x_off, ulong x_ld,
                __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
                __global const float *restrict beta, ulong beta_off, ulong beta_ld,
                __global float *y, ulong y_off, ulong y_ld, __global float *restrict stat, ulong stat_off, ulong stat_ld)
{
    __local float part[WG];
    const ulong t = get_group_id(0);
    __global const float *in = x + x_off + t * x_ld;
    V sum = 0.0f, square = 0.0f;
    FOR_COLUMNS(d) sum += load_at(in, d, D);
    const float mean = sum_group(sum, part) / D;
    FOR_COLUMNS(d) {
        const V c = inside(load_at(in, d, D) - mean, d, D, 0.0f);
        square = fma(c, c, square);
    }
    const float rstd = 1.0f / sqrt(sum_group(square, part) / D + eps);
    FOR_COLUMNS(d) {
        const V h = (load_at(in, d, D) - mean) * rstd;
        const V g = load_step(gamma + gamma_off, gamma_ld, d, D), b = load_step(beta + beta_off, beta_ld, d, D);
        store_at(fma(h, g, b), y + y_off + t * y_ld, d, D);
    }
    if (get_local_id(0) == 0) {
        stat[stat_off + t * stat_ld] = mean;
        stat[stat_off + t * stat_ld + 1] = rstd;
    }
}

/* h = (x - mean) rstd, dh = dy gamma:  dx = accumulate dx + rstd (dh - mean(dh) - h mean(dh h)).  dx may be dy. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void layer_norm_backward(ulong D, __global const float *restrict x, ulong x_off, ulong x_ld,
                         __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
                         __global const float *restrict stat, ulong stat_off, ulong stat_ld,
                         __global const float *dy, ulong dy_off, ulong dy_ld, float accumulate,
                         __global float *dx, ulong dx_off, ulong dx_ld)
{
    __local float part[WG];
    const ulong t = get_group_id(0);
    const float mean = stat[stat_off + t * stat_ld], rstd = stat[stat_off + t * stat_ld + 1];
    __global const float *in = x + x_off + t * x_ld, *up = dy + dy_off + t * dy_ld;
    __global float *out = dx + dx_off + t * dx_ld;
    V sum = 0.0f, dot = 0.0f;
    FOR_COLUMNS(d) { /* past the end dh is 0 */
        const V dh = load_at(up, d, D) * load_step(gamma + gamma_off, gamma_ld, d, D);
        sum += dh;
        dot = fma(dh, (load_at(in, d, D) - mean) * rstd, dot);
    }
    const float mean_dh = sum_group(sum, part) / D, mean_dot = sum_group(dot, part) / D;
    FOR_COLUMNS(d) {
        const V dh = load_at(up, d, D) * load_step(gamma + gamma_off, gamma_ld, d, D);
        const V h = (load_at(in, d, D) - mean) * rstd;
        V r = rstd * (dh - mean_dh - h * mean_dot);
        if (accumulate != 0.0f) r = fma((V)(accumulate), load_at(out, d, D), r);
        store_at(r, out, d, D);
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
void rms_norm(ulong D, float eps, __global const float *x, ulong x_off, ulong x_ld,
              __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
              __global float *y, ulong y_off, ulong y_ld, __global float *restrict stat, ulong stat_off, ulong stat_ld)
{
    __local float part[WG];
    const ulong t = get_group_id(0);
    __global const float *in = x + x_off + t * x_ld;
    V square = 0.0f;
    FOR_COLUMNS(d) {
        const V v = load_at(in, d, D);
        square = fma(v, v, square);
    }
    const float rstd = 1.0f / sqrt(sum_group(square, part) / D + eps);
    FOR_COLUMNS(d)
        store_at(load_at(in, d, D) * rstd * load_step(gamma + gamma_off, gamma_ld, d, D), y + y_off + t * y_ld, d, D);
    if (get_local_id(0) == 0) stat[stat_off + t * stat_ld] = rstd;
}

/* h = x rstd, dh = dy gamma:  dx = accumulate dx + rstd (dh - h mean(dh h)).  dx may be dy. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void rms_norm_backward(ulong D, __global const float *restrict x, ulong x_off, ulong x_ld,
                       __global const float *restrict gamma, ulong gamma_off, ulong gamma_ld,
                       __global const float *restrict stat, ulong stat_off, ulong stat_ld,
                       __global const float *dy, ulong dy_off, ulong dy_ld, float accumulate,
                       __global float *dx, ulong dx_off, ulong dx_ld)
{
    __local float part[WG];
    const ulong t = get_group_id(0);
    const float rstd = stat[stat_off + t * stat_ld];
    __global const float *in = x + x_off + t * x_ld, *up = dy + dy_off + t * dy_ld;
    __global float *out = dx + dx_off + t * dx_ld;
    V dot = 0.0f;
    FOR_COLUMNS(d) {
        const V dh = load_at(up, d, D) * load_step(gamma + gamma_off, gamma_ld, d, D);
        dot = fma(dh, load_at(in, d, D) * rstd, dot);
    }
    const float mean_dot = sum_group(dot, part) / D;
    FOR_COLUMNS(d) {
        const V dh = load_at(up, d, D) * load_step(gamma + gamma_off, gamma_ld, d, D);
        V r = rstd * (dh - load_at(in, d, D) * rstd * mean_dot);
        if (accumulate != 0.0f) r = fma((V)(accumulate), load_at(out, d, D), r);
        store_at(r, out, d, D);
    }
}
