/* gram.cl - C += (P^T f(Q)) diag(g): products that sum over tokens, a few rows wide; and dg on the way.
 *   P [T,R] rows padded to a multiple of ROWS columns    Q [T,N]    C [R,N]
 *   dg_n += sum_t Q_tn Z_tn        for the panels that carry a site (sites, as in product.cl)
 * A work item computes ROWS x NR of C: Q is read as it lies, P is broadcast.   Launch: global ceil(N/NR), ceil(R/ROWS). */
#define ONE __attribute__((reqd_work_group_size(1, 1, 1)))
#define ROWS 8

#define GAIN 1  /* multiply column n by g[n] */
#define SITES 2 /* only the rows that sites[j] names */
#define DG 4

/* One token: its row of P times the values x0, x1 of its row of Q. */
#define STEP                                                                  \
    _Pragma("unroll") for (int r = 0; r < ROWS; r++) {                        \
        const V pv = p[t * p_ld + r];                                         \
        acc[r][0] = fma(pv, x0, acc[r][0]), acc[r][1] = fma(pv, x1, acc[r][1]); \
    }

__kernel ONE void gram(ulong T, ulong N, ulong R, __global const float *restrict p, ulong p_off, ulong p_ld,
                       __global const float *restrict q, ulong q_off, ulong q_ld, int flags, int f,
                       __global const int4 *restrict sites, __global const float *g, ulong g_off, ulong g_ld,
                       __global const float *z, ulong z_off, ulong z_ld, __global float *dg, ulong dg_off, ulong dg_ld,
                       __global float *c, ulong c_off, ulong c_ld)
{
    const size_t j = get_global_id(0), n0 = j * NR;
    const int4 site = flags & SITES ? sites[j] : (int4)(0, (int)R, 0, 0);
    const int i0 = site.s0 / ROWS * ROWS + (int)get_global_id(1) * ROWS;
    const int lanes[2] = { (int)min((ulong)VW, N - n0), n0 + VW < N ? (int)min((ulong)VW, N - n0 - VW) : 0 };
    const int whole = lanes[1] == VW, with_dg = flags & DG && site.s2 >= 0 && get_global_id(1) == 0;
    V acc[ROWS][2], slope0 = 0.0f, slope1 = 0.0f;

    if (i0 >= site.s1 && !with_dg) return;
    for (int r = 0; r < ROWS; r++) acc[r][0] = acc[r][1] = 0.0f;
    p += p_off + i0;
    q += q_off + n0;
    z += z_off + max(site.s2, 0);
    if (whole && f == F_IDENTITY && with_dg) {
        for (size_t t = 0; t < T; t++) {
            const V x0 = LOAD(q + t * q_ld), x1 = LOAD(q + t * q_ld + VW);
            slope0 = fma(x0, LOAD(z + t * z_ld), slope0);
            slope1 = fma(x1, LOAD(z + t * z_ld + VW), slope1);
            STEP
        }
    } else if (whole && f == F_IDENTITY) {
        for (size_t t = 0; t < T; t++) {
            const V x0 = LOAD(q + t * q_ld), x1 = LOAD(q + t * q_ld + VW);
            STEP
        }
    } else {
        for (size_t t = 0; t < T; t++) {
            V x0 = load_some(q + t * q_ld, lanes[0]), x1 = load_some(q + t * q_ld + VW, lanes[1]);
            if (f != F_IDENTITY) x0 = activate(f, x0), x1 = activate(f, x1);
            if (with_dg) {
                slope0 = fma(x0, LOAD(z + t * z_ld), slope0);
                slope1 = fma(x1, LOAD(z + t * z_ld + VW), slope1);
            }
            STEP
        }
    }
    for (int v = 0; v < 2; v++) {
        const size_t n = n0 + v * VW;
        if (lanes[v] == 0) break;
        const V gain = flags & GAIN ? load_some(g + g_off + n, lanes[v]) : (V)(1.0f);
        for (int r = 0; r < ROWS && i0 + r < site.s1; r++) {
            __global float *out = c + c_off + (i0 + r) * c_ld + n;
            store_some(fma(acc[r][v], gain, load_some(out, lanes[v])), out, lanes[v]);
        }
        if (with_dg) store_some(load_some(dg + dg_off + n, lanes[v]) + (v ? slope1 : slope0), dg + dg_off + n, lanes[v]);
    }
}
