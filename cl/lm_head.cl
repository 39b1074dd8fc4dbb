/* lm_head.cl - cross entropy over a vocabulary in slices of n columns, without ever holding all logits of a token:
 *
 *     loss_c = m + log l - x_label    l = sum_v exp(x_v - m)    dh_c = weight (sum_v exp(x_v - m) W_v / l - W_label)
 *
 * m, the largest logit so far, l and the sum in dh follow from slice to slice, as in online softmax (arXiv 2205.14135).
 *   state [C,4]   m, l, x_label, unused   labels i32 [C], each below the vocabulary
 * Group c takes token c: global C*WG, local WG. */
#define FOR_COLUMNS(v, n) for (ulong v = get_local_id(0) * VW; v < n; v += WG * VW)

/* Logits x [C,n] of columns first, first + 1, ... become exp(x - m), and dh [C,D] is scaled to the new m. begin: the first slice.
 * -D GRADIENT: x and dh are written; otherwise only the state is. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void lm_slice(ulong n, ulong D, ulong first, int begin, __global float *restrict x, ulong x_off, ulong x_ld,
              __global const int *restrict labels, ulong labels_off, ulong labels_ld, __global float *restrict state,
              ulong state_off, ulong state_ld, __global float *restrict dh, ulong dh_off, ulong dh_ld)
{
    __local float part[WG];
    const ulong c = get_group_id(0);
    __global float *row = x + x_off + c * x_ld, *kept = state + state_off + c * state_ld;
    const long label = labels[labels_off + c * labels_ld] - (long)first;
    const float own = label >= 0 && label < (long)n ? row[label] : begin ? 0.0f : kept[2];
    const float before = begin ? -FLT_MAX : kept[0], total = begin ? 0.0f : kept[1];
    V top = before, sum = 0.0f;

    FOR_COLUMNS(v, n) top = fmax(top, inside(load_at(row, v, n), v, n, -FLT_MAX));
    const float m = max_group(top, part);
    FOR_COLUMNS(v, n) {
        const V e = inside(exp_lanes(load_at(row, v, n) - m), v, n, 0.0f);
        sum += e;
#ifdef GRADIENT
        store_at(e, row, v, n);
#endif
    }
    const float fade = exp(before - m), l = fma(total, fade, sum_group(sum, part));
#ifdef GRADIENT
    if (!begin && fade != 1.0f) {
        __global float *out = dh + dh_off + c * dh_ld;
        FOR_COLUMNS(d, D) store_at(fade * load_at(out, d, D), out, d, D);
    }
#endif
    if (get_local_id(0) == 0) kept[0] = m, kept[1] = l, kept[2] = own;
}

/* loss [C]; correct i32 [C], whether no logit is larger than the label's; with GRADIENT dh [C,D] = weight (dh / l - w), w [C,D]: W_label. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void lm_finish(ulong D, float weight, __global const float *restrict state, ulong state_off, ulong state_ld,
               __global const float *restrict w, ulong w_off, ulong w_ld, __global float *restrict dh, ulong dh_off, ulong dh_ld,
               __global float *restrict loss, ulong loss_off, ulong loss_ld, __global int *restrict correct, ulong correct_off,
               ulong correct_ld)
{
    const ulong c = get_group_id(0);
    __global const float *kept = state + state_off + c * state_ld;
    const float m = kept[0], l = kept[1], own = kept[2];
#ifdef GRADIENT
    __global float *out = dh + dh_off + c * dh_ld;
    FOR_COLUMNS(d, D) store_at(weight * (load_at(out, d, D) / l - load_at(w + w_off + c * w_ld, d, D)), out, d, D);
#endif
    if (get_local_id(0) == 0) {
        loss[loss_off + c * loss_ld] = log(l) + (m - own);
        correct[correct_off + c * correct_ld] = own >= m;
    }
}
