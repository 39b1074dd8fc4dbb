/* linear.cl - what CLBlast's products leave to do in a layer with sites. */

/* y = g * z + bias + residual, [T,N]; flags: 1 g, 2 bias, 4 residual are there.   Launch: global ceil(N/VW), T. */
__kernel void finish(ulong N, int flags, __global const float *z, ulong z_off, ulong z_ld, __global const float *g, ulong g_off, ulong g_ld,
                     __global const float *bias, ulong bias_off, ulong bias_ld, __global const float *residual, ulong residual_off,
                     ulong residual_ld, __global float *y, ulong y_off, ulong y_ld)
{
    const size_t n0 = get_global_id(0) * VW, t = get_global_id(1), n1 = min((ulong)(n0 + VW), N);
    for (size_t n = n0; n < n1; n++) {
        float v = z[z_off + t * z_ld + n];
        if (flags & 1) v *= g[g_off + n];
        if (flags & 2) v += bias[bias_off + n];
        if (flags & 4) v += residual[residual_off + t * residual_ld + n];
        y[y_off + t * y_ld + n] = v;
    }
}

/* c_n += sum_t a_tn b_tn, [T,N].   Launch: global N. */
__kernel void column_dot(ulong T, ulong N, __global const float *a, ulong a_off, ulong a_ld, __global const float *b, ulong b_off,
                         ulong b_ld, __global float *c, ulong c_off, ulong c_ld)
{
    const size_t n = get_global_id(0);
    float sum = 0.0f;
    for (size_t t = 0; t < T; t++) sum = fma(a[a_off + t * a_ld + n], b[b_off + t * b_ld + n], sum);
    c[c_off + n * c_ld] += sum;
}
