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
#if VW == 16
#define STEPS 8 /* two vectors each stay in registers */
#else
#define STEPS 4
#endif
#define AHEAD 4096 /* elements of W0: asked for so early that they are there when their turn comes */
#include "prefetch.cl"

/* VW rows of W0 at one step of their panel. */
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

/* Sum of v^2 over `count` steps from w and at on, added to s0 and s1: the two vectors of a panel; count is STEPS or 1. The steps are written
 * out: each step of a loop counts (strip.cl). W0 is asked for a little in each turn: more at once has to wait for places to arrive in. */
#define ASK(i) PREFETCH_SOON(at + (i + STEPS) * at_ld, 64);
#define OPEN(i) V v##i = weights(w + i * NR), u##i = weights(w + i * NR + VW);
#define ADD(i) { const V a = at[i * at_ld + r]; v##i = fma(b0, a, v##i), u##i = fma(b1, a, u##i); }
#define SQUARE(i) s0 = fma(v##i, v##i, s0), s1 = fma(u##i, u##i, s1);
#define SQUARES(ALL, count)                                                                     \
    {                                                                                           \
        ALL(ASK) ALL(OPEN)                                                                      \
        for (int r = 0; r < rank; r++) {                                                        \
            const V b0 = LOAD(bt + r * bt_ld), b1 = LOAD(bt + r * bt_ld + VW);                  \
            PREFETCH_SOON(w + AHEAD + min(r, count - 1) * NR, NR * sizeof(W_TYPE));             \
            ALL(ADD)                                                                            \
        }                                                                                       \
        for (int i = rank; i < count; i++) PREFETCH_SOON(w + AHEAD + i * NR, NR * sizeof(W_TYPE));\
        ALL(SQUARE)                                                                             \
        w += count * NR, at += count * at_ld;                                                   \
    }

/* The steps from ... to - 1 of K: c holds the sum of squares until the last ones.   Launch: global panels of the largest site, jobs. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void row_norms(__global const ulong *jobs, ulong first, ulong from, ulong to, __global const W_TYPE *restrict w,
               __global const float *restrict at, __global const float *restrict bt, __global float *c)
{
    __global const ulong *job = jobs + first + get_global_id(1) * NORM_FIELDS;
    const size_t K = job[COLUMNS], row = job[ROW], end = row + job[ROWS], panel = row / NR + get_global_id(0), n = panel * NR;
    const size_t at_ld = job[AT_LD], bt_ld = job[BT_LD], stop = min(to, (ulong)K);
    const int rank = (int)job[RANK];
    V sum0 = 0.0f, sum1 = 0.0f;
    float lanes[NR];
    if (n >= end || from >= K) return;
    w += job[W_OFF] + (panel * K + from) * NR;
    at += job[AT_OFF] + from * at_ld;
    bt += job[BT_OFF] - row + n;
    c += job[C_OFF] + n - row;
    for (size_t k0 = from; k0 < stop; k0 += 32 * STEPS) { /* partial sums keep the rounding error small */
        const size_t count = min((ulong)(32 * STEPS), (ulong)(stop - k0));
        V s0 = 0.0f, s1 = 0.0f;
        size_t k = 0;
        for (; k + STEPS <= count; k += STEPS) SQUARES(CAT(ALL, STEPS), STEPS)
        for (; k < count; k++) SQUARES(ALL1, 1)
        sum0 += s0, sum1 += s1;
    }
    for (int i = 0; i < NR; i++) lanes[i] = from > 0 && n + i >= row && n + i < end ? c[i] : 0.0f;
    sum0 += LOAD(lanes), sum1 += LOAD(lanes + VW);
    STORE(stop == K ? sqrt(sum0) : sum0, lanes);
    STORE(stop == K ? sqrt(sum1) : sum1, lanes + VW);
    for (int i = 0; i < NR; i++)
        if (n + i >= row && n + i < end) c[i] = lanes[i];
}
#else
/* All steps of K, whatever from and to are.   Launch: global WG x rows of the largest site, jobs; local WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void row_norms(__global const ulong *jobs, ulong first, ulong from, ulong to, __global const W_TYPE *restrict w,
               __global const float *restrict at, __global const float *restrict bt, __global float *c)
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
