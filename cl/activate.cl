/* activate.cl - y = f(x) and its backward dx = f'(x) dy on [T,D].   -D F=  one of F_GELU, ...
 * Launch: clp_elements.  y may be x, and dx may be dy. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void activation(ulong T, ulong D, ulong rows, ulong span, __global const float *x, ulong x_off, ulong x_ld,
                __global float *y, ulong y_off, ulong y_ld)
{
    FOR_ELEMENTS(t, d) store_at(activate(F, load_at(x + x_off + t * x_ld, d, D)), y + y_off + t * y_ld, d, D);
}

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void activation_backward(ulong T, ulong D, ulong rows, ulong span, __global const float *x, ulong x_off, ulong x_ld,
                         __global const float *dy, ulong dy_off, ulong dy_ld, __global float *dx, ulong dx_off, ulong dx_ld)
{
    FOR_ELEMENTS(t, d) {
        const V slope = activate_slope(F, load_at(x + x_off + t * x_ld, d, D));
        store_at(slope * load_at(dy + dy_off + t * dy_ld, d, D), dx + dx_off + t * dx_ld, d, D);
    }
}
