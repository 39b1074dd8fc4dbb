/* site_gradients.cl - what the low-rank terms of a layer get in the backward, in one pass over the tokens T0 ... T - 1:
 *   D = Y B                            Y [T,N], BT [R,N] = B^T; unless it is there
 *   C_B += (U^T Y) diag(g)   [R,N]     U [T,R] rows padded to whole groups of P_ROWS; only the rows and panels that sites names (product.cl)
 *   dg_n += sum_t Y_tn V_tn            V [T,.]: what the forward kept, of the panels that sites names
 *   C_A += D^T f(X)          [R,K]
 *   S = Y diag(g)            [T,N] where it is wanted; may be Y
 * A work item has `rows` tokens; it takes TOKENS at a time, so that each product finds in the cache what the one before it read, and asks for
 * the next operand early. It adds up a part of its own, a panel [padded R + 1][NR] after the other of N's and K's, the last row for dg; add_parts
 * adds the parts up.
 * Launch: global slices. Each has a token in the launch that is FIRST. */
#include "dot_rows.cl"
#define ONE __attribute__((reqd_work_group_size(1, 1, 1)))
#define P_ROWS 8
#define TOKENS 24 /* GRADIENT_TOKENS in panel.c */

#define GAIN 1  /* multiply column n by g[n] */
#define DG 2
#define FIRST 4 /* the parts start at 0 */
#define SCALE 8 /* S is wanted */
#define MADE 16 /* D is there */
#define HERE 32 /* S is Y: where g is 1 nothing is to be done */

#define ROUND(n, m) (((n) + (m) - 1) / (m) * (m))
#define LANES_AT(n, N) { (int)min((ulong)VW, (N) - (n)), (n) + VW < (N) ? (int)min((ulong)VW, (N) - (n) - VW) : 0 }

/* Loops over registers are written out: each step of a loop counts (strip.cl). */
#define TAKE(r) acc[r][0] = fresh ? (V)(0.0f) : LOAD(part + r * NR), acc[r][1] = fresh ? (V)(0.0f) : LOAD(part + r * NR + VW);
#define KEEP(r) STORE(acc[r][0], part + r * NR), STORE(acc[r][1], part + r * NR + VW);
#define ADD_ROW(r) { const V pv = p[t * p_ld + r]; acc[r][0] = fma(pv, x0, acc[r][0]), acc[r][1] = fma(pv, x1, acc[r][1]); }

/* A tile of a part: P_ROWS rows of one panel, += P^T f(Q) over tokens t0 ... t1 - 1. Values past the end of a row of Q are not read: lanes
 * tells how many of each vector are. */
static inline void add_tokens(int fresh, size_t t0, size_t t1, __global const float *p, ulong p_ld, __global const float *q, ulong q_ld, int f,
                              const int *lanes, __global const float *ahead, ulong ahead_ld, __global float *part)
{
    V acc[P_ROWS][2];
    ALL8(TAKE)
    if (lanes[1] == VW && f == F_IDENTITY) {
        for (size_t t = t0; t < t1; t++) {
            const V x0 = LOAD(q + t * q_ld), x1 = LOAD(q + t * q_ld + VW);
            PREFETCH(ahead + t * ahead_ld, 4 * NR);
            ALL8(ADD_ROW)
        }
    } else {
        for (size_t t = t0; t < t1; t++) {
            const V x0 = activate(f, load_some(q + t * q_ld, lanes[0])), x1 = activate(f, load_some(q + t * q_ld + VW, lanes[1]));
            ALL8(ADD_ROW)
        }
    }
    ALL8(KEEP)
}

/* The same for the row of dg; the next panel of what was kept is asked for. */
static inline void add_dg(int fresh, size_t t0, size_t t1, __global const float *y, ulong y_ld, __global const float *kept, ulong kept_ld,
                          const int *lanes, __global float *part)
{
    V sum0 = fresh ? (V)(0.0f) : LOAD(part), sum1 = fresh ? (V)(0.0f) : LOAD(part + VW);
    for (size_t t = t0; t < t1; t++) {
        __global const float *yt = y + t * y_ld, *kt = kept + t * kept_ld;
        const int whole = lanes[1] == VW;
        PREFETCH(kt + NR, 4 * NR);
        sum0 = fma(whole ? LOAD(yt) : load_some(yt, lanes[0]), LOAD(kt), sum0);
        sum1 = fma(whole ? LOAD(yt + VW) : load_some(yt + VW, lanes[1]), LOAD(kt + VW), sum1);
    }
    STORE(sum0, part), STORE(sum1, part + VW);
}

/* A panel of S; the next one is asked for. */
static inline void scale_tokens(size_t t0, size_t t1, __global const float *y, ulong y_ld, __global const float *g, const int *lanes,
                                __global float *out, ulong out_ld)
{
    if (lanes[1] == VW) {
        const V g0 = LOAD(g), g1 = LOAD(g + VW);
        for (size_t t = t0; t < t1; t++) {
            PREFETCH_TO_WRITE(out + t * out_ld + NR, 4 * NR);
            STORE(LOAD(y + t * y_ld) * g0, out + t * out_ld);
            STORE(LOAD(y + t * y_ld + VW) * g1, out + t * out_ld + VW);
        }
    } else {
        for (size_t t = t0; t < t1; t++)
            for (int n = 0; n < lanes[0] + lanes[1]; n++) out[t * out_ld + n] = y[t * y_ld + n] * g[n];
    }
}

/* Rows t0 ... t1 - 1 of D; groups tells which columns of Y each P_ROWS columns of D need. */
static inline void narrow_tokens(size_t t0, size_t t1, size_t last, size_t R, size_t depth, __global const int4 *groups,
                                 __global const float *y, ulong y_ld, __global const float *bt, ulong bt_ld, __global float *d, ulong d_ld)
{
    for (size_t n = 0; n < ROUND(R, P_ROWS); n += HALF) {
        const size_t row = min((ulong)n, (ulong)R - 1), from = groups[n / P_ROWS].s0, to = groups[n / P_ROWS].s1;
        for (size_t k = from; k < to; k += depth)
            for (size_t t = t0; t < t1; t += ROWS)
                dot_rows((int)min((ulong)ROWS, (ulong)(t1 - t)), min((ulong)depth, (ulong)(to - k)), y + t * y_ld + k, y_ld,
                         t + 2 * ROWS <= last ? ROWS * y_ld : 0, bt + row * bt_ld + k, bt_ld, (int)min((ulong)HALF, R - row) - 1,
                         d + t * d_ld + n, d_ld, k > from);
    }
}

__kernel ONE void site_gradients(ulong T0, ulong T, ulong rows, ulong N, ulong K, ulong R, ulong depth, int flags, int f,
                                 __global const float *restrict u, ulong u_off, ulong u_ld, __global const float *y, ulong y_off,
                                 ulong y_ld, __global const float *restrict bt, ulong bt_off, ulong bt_ld, __global float *d, ulong d_off,
                                 ulong d_ld, __global const float *restrict x, ulong x_off, ulong x_ld, __global const float *restrict kept,
                                 ulong kept_off, ulong kept_ld, __global const float *restrict g, ulong g_off, ulong g_ld,
                                 __global float *scaled, ulong scaled_off, ulong scaled_ld, __global const int4 *restrict sites,
                                 __global float *parts, ulong parts_off)
{
    const size_t first = T0 + get_global_id(0) * rows, last = min((ulong)(first + rows), T);
    const size_t NP = ROUND(N, NR), height = ROUND(R, P_ROWS) + 1;
    __global const int4 *groups = sites + NP / NR;
    __global float *part = parts + parts_off + get_global_id(0) * height * (NP + ROUND(K, NR));

    for (size_t t0 = first; t0 < last; t0 += TOKENS) {
        const size_t t1 = min((ulong)(t0 + TOKENS), (ulong)last), next = t1 < T ? TOKENS : 0;
        const int fresh = flags & FIRST && t0 == first;
        if (!(flags & MADE)) narrow_tokens(t0, t1, last, R, depth, groups, y + y_off, y_ld, bt + bt_off, bt_ld, d + d_off, d_ld);
        for (size_t n = 0; n < N; n += NR) {
            const int4 site = sites[n / NR];
            const int lanes[2] = LANES_AT(n, N);
            for (int i = site.s0 / P_ROWS * P_ROWS; i < site.s1; i += P_ROWS)
                add_tokens(fresh, t0, t1, u + u_off + i, u_ld, y + y_off + n, y_ld, F_IDENTITY, lanes, x + x_off + min((ulong)n, K - 1), x_ld,
                           part + n * height + i * NR);
            if (flags & DG && site.s2 >= 0)
                add_dg(fresh, t0, t1, y + y_off + n, y_ld, kept + kept_off + site.s2, kept_ld, lanes, part + n * height + (height - 1) * NR);
            if (flags & SCALE && !(flags & HERE && site.s2 < 0))
                scale_tokens(t0, t1, y + y_off + n, y_ld, g + g_off + n, lanes, scaled + scaled_off + n, scaled_ld);
        }
        for (size_t k = 0; k < K; k += NR) {
            const int lanes[2] = LANES_AT(k, K);
            for (int i = 0; i < (int)R; i += P_ROWS) { /* the next tokens' columns of Y are asked for, as far as X reaches */
                const int4 group = groups[i / P_ROWS];
                const int in_y = group.s0 + k < (ulong)group.s1;
                __global const float *ahead = in_y ? y + y_off + next * y_ld + group.s0 + k : x + x_off + min((ulong)k + NR, K - 1);
                add_tokens(fresh, t0, t1, d + d_off + i, d_ld, x + x_off + k, x_ld, f, lanes, ahead, in_y ? y_ld : x_ld,
                           part + (NP + k) * height + i * NR);
            }
        }
    }
}

/* out [rows,n...] += sum of the parts times gain, a panel of them. */
static inline void add_panel(size_t rows, ulong parts, __global const float *part, ulong size, const V *gain, const int *lanes,
                             __global float *out, ulong out_ld)
{
    for (size_t r = 0; r < rows; r++, part += NR, out += out_ld)
        for (int v = 0; v < 2 && lanes[v] > 0; v++) {
            V sum = LOAD(part + v * VW);
            for (size_t s = 1; s < parts; s++) sum += LOAD(part + s * size + v * VW);
            store_at(fma(sum, gain[v], load_at(out + v * VW, 0, lanes[v])), out + v * VW, 0, lanes[v]);
        }
}

/* Launch: global the panels of N and those of K */
__kernel ONE void add_parts(ulong parts, ulong N, ulong K, ulong R, int flags, __global const float *restrict part, ulong part_off,
                            __global const int4 *restrict sites, __global const float *restrict g, ulong g_off, ulong g_ld,
                            __global float *db, ulong db_off, ulong db_ld, __global float *dg, ulong dg_off, ulong dg_ld,
                            __global float *da, ulong da_off, ulong da_ld)
{
    const size_t NP = ROUND(N, NR), height = ROUND(R, P_ROWS) + 1, size = height * (NP + ROUND(K, NR)), at = get_global_id(0) * NR;
    __global const float *from = part + part_off + at * height;
    V gain[2] = { 1.0f, 1.0f };

    if (at < NP) {
        const int4 site = sites[at / NR];
        const int lanes[2] = LANES_AT(at, N);
        if (flags & DG && site.s2 >= 0) add_panel(1, parts, from + (height - 1) * NR, size, gain, lanes, dg + dg_off + at, 0);
        for (int v = 0; v < 2 && flags & GAIN; v++) gain[v] = load_some(g + g_off + at + v * VW, lanes[v]);
        add_panel(site.s1 - site.s0, parts, from + site.s0 * NR, size, gain, lanes, db + db_off + site.s0 * db_ld + at, db_ld);
    } else {
        const int lanes[2] = LANES_AT(at - NP, K);
        add_panel(R, parts, from, size, gain, lanes, da + da_off + at - NP, da_ld);
    }
}
