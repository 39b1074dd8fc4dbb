/* gram.cl - C += (P^T f(Q)) diag(g): products that sum over tokens, a few rows wide; and dg on the way.
 *   P [T,R] rows padded to a multiple of ROWS columns    Q [T,N]    C [R,N]
 *   dg_n += sum_t Q_tn Z_tn        for the panels that carry a site (sites, as in product.cl)
 * Q is read as it lies, P is broadcast. A work item has `block` panels of NR columns and `groups` groups of ROWS rows of C; it goes through
 * TOKENS of Q at a time, so that a group finds in the cache what the one before it read, and panel by panel, the next one asked for early.
 * Launch: global ceil(ceil(N/NR) / block), ceil(ceil(R/ROWS) / groups);   block groups <= TILES */
#include "prefetch.cl"
#define ONE __attribute__((reqd_work_group_size(1, 1, 1)))
#define ROWS 8
#define TOKENS 32
#define TILES 12 /* GRAM_TILES in panel.c */

#define GAIN 1  /* multiply column n by g[n] */
#define SITES 2 /* only the rows that sites[j] names */
#define DG 4

/* One token: its row of P times the values x0, x1 of its row of Q. */
#define STEP                                                                  \
    _Pragma("unroll") for (int r = 0; r < ROWS; r++) {                        \
        const V pv = p[t * p_ld + r];                                         \
        acc[r][0] = fma(pv, x0, acc[r][0]), acc[r][1] = fma(pv, x1, acc[r][1]); \
    }

/* acc += a tile's products with tokens t0 ... t1 - 1. Values past the end of a row of Q are not read: lanes tells how many of each vector are. */
static inline void add_tokens(V acc[ROWS + 1][2], size_t t0, size_t t1, __global const float *p, ulong p_ld, __global const float *q,
                              ulong q_ld, int f, int with_dg, __global const float *z, ulong z_ld, const int *lanes)
{
    const int whole = lanes[1] == VW;
    if (whole && f == F_IDENTITY && with_dg) {
        for (size_t t = t0; t < t1; t++) {
            const V x0 = LOAD(q + t * q_ld), x1 = LOAD(q + t * q_ld + VW);
            PREFETCH(q + t * q_ld + NR, 4 * NR);
            PREFETCH(z + t * z_ld + NR, 4 * NR);
            acc[ROWS][0] = fma(x0, LOAD(z + t * z_ld), acc[ROWS][0]);
            acc[ROWS][1] = fma(x1, LOAD(z + t * z_ld + VW), acc[ROWS][1]);
            STEP
        }
    } else if (whole && f == F_IDENTITY) {
        for (size_t t = t0; t < t1; t++) {
            const V x0 = LOAD(q + t * q_ld), x1 = LOAD(q + t * q_ld + VW);
            PREFETCH(q + t * q_ld + NR, 4 * NR);
            STEP
        }
    } else {
        for (size_t t = t0; t < t1; t++) {
            V x0 = load_some(q + t * q_ld, lanes[0]), x1 = load_some(q + t * q_ld + VW, lanes[1]);
            if (f != F_IDENTITY) x0 = activate(f, x0), x1 = activate(f, x1);
            if (with_dg) {
                acc[ROWS][0] = fma(x0, LOAD(z + t * z_ld), acc[ROWS][0]);
                acc[ROWS][1] = fma(x1, LOAD(z + t * z_ld + VW), acc[ROWS][1]);
            }
            STEP
        }
    }
}

__kernel ONE void gram(ulong T, ulong N, ulong R, ulong block, ulong groups, __global const float *restrict p, ulong p_off, ulong p_ld,
                       __global const float *restrict q, ulong q_off, ulong q_ld, int flags, int f,
                       __global const int4 *restrict sites, __global const float *g, ulong g_off, ulong g_ld,
                       __global const float *z, ulong z_off, ulong z_ld, __global float *dg, ulong dg_off, ulong dg_ld,
                       __global float *c, ulong c_off, ulong c_ld)
{
    const size_t first = get_global_id(0) * block, last = min((ulong)(first + block), (N + NR - 1) / NR);
    V part[TILES][ROWS + 1][2]; /* sums of the tiles between two slices of T; in the last row those of dg */

    for (size_t t0 = 0; t0 < T; t0 += TOKENS) {
        const size_t t1 = min((ulong)(t0 + TOKENS), T);
        for (size_t tile = 0; tile < (last - first) * groups; tile++) {
            const size_t j = first + tile / groups, group = get_global_id(1) * groups + tile % groups, n0 = j * NR;
            const int4 site = flags & SITES ? sites[j] : (int4)(0, (int)R, 0, 0);
            const int i0 = (site.s0 / ROWS + (int)group) * ROWS, with_dg = flags & DG && site.s2 >= 0 && group == 0;
            const int lanes[2] = { (int)min((ulong)VW, N - n0), n0 + VW < N ? (int)min((ulong)VW, N - n0 - VW) : 0 };
            V acc[ROWS + 1][2];
            if (i0 >= site.s1 && !with_dg) continue;
            for (int r = 0; r <= ROWS; r++)
                for (int v = 0; v < 2; v++) acc[r][v] = t0 ? part[tile][r][v] : (V)(0.0f);
            add_tokens(acc, t0, t1, p + p_off + i0, p_ld, q + q_off + n0, q_ld, f, with_dg, z + z_off + max(site.s2, 0), z_ld, lanes);
            if (t1 < T) {
                for (int r = 0; r <= ROWS; r++)
                    for (int v = 0; v < 2; v++) part[tile][r][v] = acc[r][v];
                continue;
            }
            for (int v = 0; v < 2; v++) {
                const size_t n = n0 + v * VW;
                if (lanes[v] == 0) break;
                const V gain = flags & GAIN ? load_some(g + g_off + n, lanes[v]) : (V)(1.0f);
                for (int r = 0; r < ROWS && i0 + r < site.s1; r++) {
                    __global float *out = c + c_off + (i0 + r) * c_ld + n;
                    store_some(fma(acc[r][v], gain, load_some(out, lanes[v])), out, lanes[v]);
                }
                if (with_dg) store_some(load_some(dg + dg_off + n, lanes[v]) + acc[ROWS][v], dg + dg_off + n, lanes[v]);
            }
        }
    }
}
