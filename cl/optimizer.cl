/* optimizer.cl - clipping and AdamW over the arena; the formulas are those of clpeft_adamw_step.
 * A group works on SPAN elements. size is a multiple of 16, and kind has a byte per 16 elements.  -D SPAN= */
typedef struct {
    ulong applied, skipped;
    float norm;
    int finite;
    float scale, correction1, correction2, unused;
} adamw_state;

/* partial_i = sum of squares of the gradient's span i.  Launch: global spans * WG, local WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void gradient_square(ulong size, __global const float *restrict grad, __global float *restrict partial)
{
    __local float part[WG];
    const size_t span = get_group_id(0), lane = get_local_id(0), end = min((ulong)(span + 1) * SPAN, size);
    V sum = 0.0f;
    for (size_t i = span * SPAN + lane * VW; i < end; i += WG * VW) {
        const V g = LOAD(grad + i);
        sum = fma(g, g, sum);
    }
    const float total = sum_group(sum, part);
    if (lane == 0) partial[span] = total;
}

/* norm = sqrt(sum_i partial_i), and what the update needs of it: is it finite, the clipping scale, the bias
 * corrections of this step, 1 - beta^t = -expm1(t log beta). state has two records: that after the last step, 1 - at, and that
 * of this one, at, which holds once the host has enqueued the update too.  Launch: one group. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void adamw_begin(ulong spans, __global const float *restrict partial, float max_norm, float log_beta1, float log_beta2,
                 __global adamw_state *restrict state, uint at)
{
    __global const adamw_state *last = state + 1 - at;
    __global adamw_state *now = state + at;
    __local float part[WG];
    const size_t lane = get_local_id(0);
    V sum = 0.0f;
    for (size_t i = lane * VW; i < spans; i += WG * VW)
        sum += load_at(partial, i, spans);
    const float square = sum_group(sum, part);
    if (lane == 0) {
        const int finite = isfinite(square);
        const ulong t = last->applied + 1;
        now->norm = sqrt(square);
        now->finite = finite;
        now->applied = last->applied + (finite ? 1 : 0);
        now->skipped = last->skipped + (finite ? 0 : 1);
        now->scale = max_norm > 0.0f ? fmin(1.0f, max_norm / (sqrt(square) + 1e-6f)) : 1.0f;
        now->correction1 = -1.0f / expm1((float)t * log_beta1);
        now->correction2 = -1.0f / expm1((float)t * log_beta2);
    }
}

/* Launch: global spans * WG, local WG. rate and decay per kind: the learning rate and its product with the weight
 * decay. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void adamw_update(ulong size, float8 rate, float8 decay, float beta1, float rest1, float beta2, float rest2, float eps,
                  __global const adamw_state *restrict states, uint at, __global const uchar *restrict kind,
                  __global const float *restrict grad, __global float *restrict theta, __global float *restrict moment1,
                  __global float *restrict moment2)
{
    const size_t span = get_group_id(0), lane = get_local_id(0), end = min((ulong)(span + 1) * SPAN, size);
    __global const adamw_state *state = states + at;
    const float scale = state->scale, correction1 = state->correction1, correction2 = state->correction2;
    float rates[8], decays[8];
    vstore8(rate, 0, rates);
    vstore8(decay, 0, decays);
    if (!state->finite) return;
    for (size_t i = span * SPAN + lane * VW; i < end; i += WG * VW) {
        const int k = kind[i / 16] & 7;
        const V g = scale * LOAD(grad + i), old = LOAD(theta + i);
        const V m1 = beta1 * LOAD(moment1 + i) + rest1 * g, m2 = beta2 * LOAD(moment2 + i) + rest2 * g * g;
        STORE(m1, moment1 + i);
        STORE(m2, moment2 + i);
        const V next = old - rates[k] * (m1 * correction1 / (sqrt(m2 * correction2) + eps)) - decays[k] * old;
        STORE(fmax(fmin(next, FLT_MAX), -FLT_MAX), theta + i); /* a step past the range of f32 ends at its ends */
    }
}
