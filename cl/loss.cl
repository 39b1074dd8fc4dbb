/* loss.cl - cross entropy of rows:  loss_b = log(sum_c exp(x_bc)) - x_bl,  dx_bc = weight (exp(x_bc) / sum - [c = l])
 *   x        [B,C]  in
 *   labels   [B]    in    i32; a label outside 0..C-1: loss, correct and dx of the row are 0
 *   loss     [B]    out
 *   correct  [B]    out   i32, 1 where the first largest x_bc is x_bl   -D CORRECT
 *   dx       [B,C]  out   may be x                                      -D GRADIENT
 * Exponents are taken less the row's maximum; a NaN in a row makes its loss and gradient NaN, and correct 0.
 * Group b takes row b: global B*WG, local WG. */
#define FOR_COLUMNS(c) for (ulong c = get_local_id(0) * VW; c < C; c += WG * VW)

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void cross_entropy(ulong C, __global const float *x, ulong x_off, ulong x_ld,
                   __global const int *restrict labels, ulong labels_off, ulong labels_ld, float weight,
                   __global float *restrict loss, ulong loss_off, ulong loss_ld,
                   __global int *restrict correct, ulong correct_off, ulong correct_ld,
                   __global float *dx, ulong dx_off, ulong dx_ld)
{
    __local float part[WG];
    const ulong b = get_group_id(0);
    const long label = labels[labels_off + b * labels_ld];
    const int counts = (ulong)label < C;
    __global const float *in = x + x_off + b * x_ld;
    const float own = in[counts ? label : 0];
    V top = -INFINITY, before = -INFINITY, sum = 0.0f; /* before: the largest left of the label */

    FOR_COLUMNS(c) {
        const V v = inside(load_at(in, c, C), c, C, -INFINITY);
        top = fmax(top, v);
#ifdef CORRECT
        if ((long)c < label) before = fmax(before, inside(v, c, label, -INFINITY));
#endif
    }
    const float most = max_group(top, part);
    FOR_COLUMNS(c) {
        const V e = exp_lanes(inside(load_at(in, c, C), c, C, -INFINITY) - most);
        sum += e;
#ifdef GRADIENT
        store_at(e, dx + dx_off + b * dx_ld, c, C);
#endif
    }
    const float total = sum_group(sum, part);
#ifdef GRADIENT
    const float scale = weight / total;
    FOR_COLUMNS(c) {
        __global float *out = dx + dx_off + b * dx_ld;
        V r = scale * load_at(out, c, C);
        if ((long)c <= label && label < (long)(c + VW)) r -= select((V)(0.0f), (V)(weight), LANES == (VI)(int)(label - c));
        store_at(counts ? r : (V)(0.0f), out, c, C);
    }
#endif
#ifdef CORRECT
    const float left = max_group(before, part);
    if (get_local_id(0) == 0) correct[correct_off + b * correct_ld] = counts && own == most && left < own && !isnan(total);
#endif
    if (get_local_id(0) == 0) loss[loss_off + b * loss_ld] = counts ? log(total) - (own - most) : 0.0f;
}
