/* dropout.cl - y = x mask scale on [T,D];  element [t,d] survives when the first Philox word of counter (t0 + t) D + d under key
 * seed is at least limit = p 2^32, and scale = 1 / (1 - p).  y may be x.  Launch: clp_elements. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void dropout(ulong T, ulong D, ulong rows, ulong span, uint limit, float scale, ulong seed, ulong t0,
             __global const float *x, ulong x_off, ulong x_ld, __global float *y, ulong y_off, ulong y_ld)
{
    FOR_ELEMENTS(t, d) {
        const VU word = philox_word((t0 + t) * D + d, seed);
        const V factor = select((V)(0.0f), (V)(scale), word >= (VU)(limit));
        store_at(load_at(x + x_off + t * x_ld, d, D) * factor, y + y_off + t * y_ld, d, D);
    }
}
