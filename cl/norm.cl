/* norm.cl - c_n = ||W0_n + sum_r bt_rn at_.r||_2 for the rows of many sites in one launch; the sum is formed in registers.
 *   jobs   NORM_FIELDS ulongs each, see below
 *   at     [K,rank], bt [rank,rows]: the site's low-rank factors, s included
 *   -D PANELS=1   W0 as panels of W0^T (pack.cl): lanes are rows    0   plain rows: the work items of a group share a row
 *   -D WT=  0 f32, 1 f16, 2 bf16 */
enum { W_OFF, COLUMNS, ROW, ROWS, RANK, AT_OFF, AT_LD, BT_OFF, BT_LD, C_OFF, NORM_FIELDS };

#if WT == 0
#define W_TYPE float
#define WIDE(x) (x)
#else
#define W_TYPE ushort
static inline float WIDE(ushort x)
{
#if WT == 2
    return as_float((uint)x << 16);
#else
    return as_float(as_uint(as_float((uint)(x & 0x7fff) << 13) * 0x1p112f) | (uint)(x & 0x8000) << 16);
#endif
}
#endif

#if PANELS
#define STEPS 8
/* VW rows of W0 at step k of their panel. */
static inline V weights(__global const W_TYPE *w)
{
#if WT == 0
    return LOAD(w);
#else
    float wide[VW];
    for (int i = 0; i < VW; i++) wide[i] = WIDE(w[i]);
    return LOAD(wide);
#endif
}

/* Launch: global vectors of the largest site, jobs. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void row_norms(__global const ulong *jobs, ulong first, __global const W_TYPE *restrict w, __global const float *restrict at,
               __global const float *restrict bt, __global float *c)
{
    __global const ulong *job = jobs + first + get_global_id(1) * NORM_FIELDS;
    const size_t K = job[COLUMNS], row = job[ROW], end = row + job[ROWS], vector = row / VW + get_global_id(0), n = vector * VW;
    const int rank = (int)job[RANK];
    if (n >= end) return;
    w += job[W_OFF] + n / NR * K * NR + n % NR;
    at += job[AT_OFF];
    bt += job[BT_OFF] - row + n;
    V sum = 0.0f;
    for (size_t k0 = 0; k0 < K; k0 += 16 * STEPS) { /* partial sums keep the rounding error small */
        V part = 0.0f;
        const size_t k1 = min((ulong)(k0 + 16 * STEPS), K);
        size_t k = k0;
        for (; k + STEPS <= k1; k += STEPS) {
            V v[STEPS];
#pragma unroll
            for (int i = 0; i < STEPS; i++) v[i] = weights(w + (k + i) * NR);
            for (int r = 0; r < rank; r++) {
                const V b = LOAD(bt + r * job[BT_LD]);
#pragma unroll
                for (int i = 0; i < STEPS; i++) v[i] = fma(b, (V)(at[(k + i) * job[AT_LD] + r]), v[i]);
            }
#pragma unroll
            for (int i = 0; i < STEPS; i++) part = fma(v[i], v[i], part);
        }
        for (; k < k1; k++) {
            V v = weights(w + k * NR);
            for (int r = 0; r < rank; r++) v = fma(LOAD(bt + r * job[BT_LD]), (V)(at[k * job[AT_LD] + r]), v);
            part = fma(v, v, part);
        }
        sum += part;
    }
    float lanes[VW];
    STORE(sqrt(sum), lanes);
    for (int i = 0; i < VW; i++)
        if (n + i >= row && n + i < end) c[job[C_OFF] + n + i - row] = lanes[i];
}
#else
/* Launch: global WG x rows of the largest site, jobs; local WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void row_norms(__global const ulong *jobs, ulong first, __global const W_TYPE *restrict w, __global const float *restrict at,
               __global const float *restrict bt, __global float *c)
{
    __local float parts[WG];
    __global const ulong *job = jobs + first + get_global_id(1) * NORM_FIELDS;
    const size_t K = job[COLUMNS], i = get_group_id(0), lane = get_local_id(0);
    const int rank = (int)job[RANK], here = i < job[ROWS];
    float sum = 0.0f;
    w += job[W_OFF] + (job[ROW] + i) * K;
    at += job[AT_OFF];
    bt += job[BT_OFF] + i;
    for (size_t k = lane; here && k < K; k += WG) {
        float v = WIDE(w[k]);
        for (int r = 0; r < rank; r++) v = fma(bt[r * job[BT_LD]], at[k * job[AT_LD] + r], v);
        sum = fma(v, v, sum);
    }
    parts[lane] = sum;
    for (size_t step = WG / 2; step > 0; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < step) parts[lane] += parts[lane + step];
    }
    if (here && lane == 0) c[job[C_OFF] + i] = sqrt(parts[0]);
}
#endif
