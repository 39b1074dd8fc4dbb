/* element.cl - sums and products of the elements of matrices [T,D]. Launch: clp_elements. */

/* y = alpha a + beta b;  y may be a or b */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void add(ulong T, ulong D, ulong rows, ulong span, float alpha, __global const float *a, ulong a_off, ulong a_ld,
         float beta, __global const float *b, ulong b_off, ulong b_ld, __global float *y, ulong y_off, ulong y_ld)
{
    FOR_ELEMENTS(t, d) {
        const V left = load_at(a + a_off + t * a_ld, d, D), right = load_at(b + b_off + t * b_ld, d, D);
        store_at(alpha * left + beta * right, y + y_off + t * y_ld, d, D);
    }
}

/* y_td = x_td g_d;  y may be x */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void scale_columns(ulong T, ulong D, ulong rows, ulong span, __global const float *x, ulong x_off, ulong x_ld,
                   __global const float *restrict g, ulong g_off, ulong g_ld, __global float *y, ulong y_off, ulong y_ld)
{
    FOR_ELEMENTS(t, d)
        store_at(load_at(x + x_off + t * x_ld, d, D) * load_step(g + g_off, g_ld, d, D), y + y_off + t * y_ld, d, D);
}

/* y = silu(gate) up */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void swiglu(ulong T, ulong D, ulong rows, ulong span, __global const float *gate, ulong gate_off, ulong gate_ld,
            __global const float *up, ulong up_off, ulong up_ld, __global float *y, ulong y_off, ulong y_ld)
{
    FOR_ELEMENTS(t, d) {
        const V s = activate(F_SILU, load_at(gate + gate_off + t * gate_ld, d, D));
        store_at(s * load_at(up + up_off + t * up_ld, d, D), y + y_off + t * y_ld, d, D);
    }
}

/* dgate = dy up silu'(gate), dup = dy silu(gate);  dgate may be gate, dup may be up */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void swiglu_backward(ulong T, ulong D, ulong rows, ulong span, __global const float *gate, ulong gate_off, ulong gate_ld,
                     __global const float *up, ulong up_off, ulong up_ld, __global const float *dy, ulong dy_off, ulong dy_ld,
                     __global float *dgate, ulong dgate_off, ulong dgate_ld, __global float *dup, ulong dup_off, ulong dup_ld)
{
    FOR_ELEMENTS(t, d) {
        const V g = load_at(gate + gate_off + t * gate_ld, d, D), u = load_at(up + up_off + t * up_ld, d, D);
        const V dv = load_at(dy + dy_off + t * dy_ld, d, D);
        store_at(dv * u * activate_slope(F_SILU, g), dgate + dgate_off + t * dgate_ld, d, D);
        store_at(dv * activate(F_SILU, g), dup + dup_off + t * dup_ld, d, D);
    }
}
