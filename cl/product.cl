/* product.cl - C = epilogue(A W + U E), for devices whose work item is a thread of a CPU.
 *   A [M,K] as it lies: rows a_row apart, steps of K a_step apart (so a transpose serves too)
 *   W panels [ceil(N/NR)][K][NR] (pack.cl), or rows of a plain matrix padded to whole vectors (w_row, w_panel)
 *   U [M,R] rows up to a multiple of MR, E [R,N]: the low-rank term as R further steps of K.     C [M,N]
 * A work item multiplies `block` groups of MR rows with one column panel, DEPTH steps at a time; the tile of MR x 2 vectors
 * stays in registers.   -D WT= 0 f32, 1 f16, 2 bf16   -D DEPTH=   -D BLOCK=  most groups of rows
 * Launch: global panels of a group, blocks of rows, groups of panels (panel.c) */
#include "prefetch.cl"
#define ONE __attribute__((reqd_work_group_size(1, 1, 1)))
#define WRITTEN_OUT (VW > 4 || PREFETCHES) /* what can be left out is, for llvmpipe, which takes minutes to compile the rest */

#if WT == 0
#define W_TYPE float
#define LOAD_W(p) LOAD(p)
#elif WT == 1 && defined(NATIVE_HALVES)
#define W_TYPE ushort
typedef _Float16 HALVES __attribute__((ext_vector_type(VW), aligned(2)));
#define LOAD_W(p) __builtin_convertvector(*(__global const HALVES *)(p), V)
#else
#define W_TYPE ushort
#define TO_UINT(v) CAT(convert_uint, VW)(v)
#define AS_FLOAT(v) CAT(as_float, VW)(v)
static inline V LOAD_W(__global const ushort *p)
{
    const CAT(uint, VW) bits = TO_UINT(LOAD(p));
#if WT == 2
    return AS_FLOAT(bits << 16);
#else /* finite halves, exactly, as in block.cl */
    const CAT(uint, VW) rest = (bits & 0x7fff) << 13;
    const V normal = AS_FLOAT(rest + 0x38000000), denormal = AS_FLOAT(rest + 0x38800000) - 0x1p-14f;
    return AS_FLOAT(CAT(as_uint, VW)(rest < 0x800000 ? denormal : normal) | (bits & 0x8000) << 16);
#endif
}
#endif

/* Epilogue of a tile's value v, in this order; bits of `flags`. */
#define KEEP 1     /* z = v, in the panels that carry a site */
#define GAIN 2     /* v *= g[n] */
#define BIAS 4     /* v += bias[n] */
#define SLOPE 8    /* v *= f'(x[m,n]) */
#define RESIDUAL 16 /* v += residual[m,n] */
#define BETA 32    /* v += beta C[m,n] */
#define BEFORE 128 /* before[m,n] = v, or f'(v) with SLOPES */
#define ACTIVATE 256 /* v = f(v); C = v */
#define SLOPES 512   /* x and before hold f'(...) itself */
#define SITES 64   /* `sites` tells which of the R columns a panel needs; otherwise all */

/* Every row of registers is written out. A row has a pointer of its own, those past the last one that of the last: one moving pointer for all
 * would have each row's load wait for an addition. An epilogue that computes an activation, or of the last panel where it is not whole, is a
 * loop over a copy of the tile in memory, or compilers are busy for long: the order of its steps is FINISH's.
 * tile += column x of A times a row of vectors; x names row r's value. */
#define ROW(x, r) { const V xv = x; acc[r][0] = fma(xv, b0, acc[r][0]), acc[r][1] = fma(xv, b1, acc[r][1]); }
#define ALL_ROWS CAT(ALL, MR)
#define START(r) __global const float *a##r = a_rows + min(r, rows - 1) * a_row;
#define TAKE_BACK(r) acc[r][0] = k0 ? LOAD(kept + r * NR) : (V)(0.0f), acc[r][1] = k0 ? LOAD(kept + r * NR + VW) : (V)(0.0f);
#define NEXT(r) ROW(a##r[at], r)
#define STEP(of_a, of_w) { const V b0 = LOAD_W(b), b1 = LOAD_W(b + VW); ALL_ROWS(NEXT) at += of_a, b += of_w; }
#define SAVE(r) STORE(acc[r][0], kept + r * NR), STORE(acc[r][1], kept + r * NR + VW);
#define LOW(r) ROW(uu[r * u_ld + l], r)

/* The end of most products, without a copy: a row of a whole panel. */
#define FINISH(r)                                                                                          \
    if (r < rows) {                                                                                        \
        V v0 = alpha * acc[r][0], v1 = alpha * acc[r][1];                                                  \
        if (keeps) STORE(v0, z_row), STORE(v1, z_row + VW), z_row += z_ld;                                 \
        v0 = fma(v0, gain0, shift0), v1 = fma(v1, gain1, shift1);                                          \
        if (flags & SLOPE) v0 *= LOAD(x_row), v1 *= LOAD(x_row + VW), x_row += x_ld;                       \
        if (flags & RESIDUAL) v0 += LOAD(more), v1 += LOAD(more + VW), more += residual_ld;                \
        if (flags & BETA) v0 = fma((V)(beta), LOAD(c_row), v0), v1 = fma((V)(beta), LOAD(c_row + VW), v1); \
        STORE(v0, c_row), STORE(v1, c_row + VW), c_row += c_ld;                                            \
    }

#define AT(x) (x + x##_off + (m0 + r) * x##_ld + n)
#define TAKE(p) (whole ? LOAD(p) : load_some(p, lanes))
#define PUT(v, p) { if (whole) STORE(v, p); else store_some(v, p, lanes); }

/* sites[j]: first and last + 1 of the R columns for column panel j, its first column in z or -1, unused. */
__kernel ONE void product(ulong M, ulong N, ulong K, ulong R, ulong block, __global const float *restrict a, ulong a_off, ulong a_row,
                          ulong a_step, __global const W_TYPE *restrict w, ulong w_off, ulong w_panel, ulong w_row,
                          __global const float *restrict u, ulong u_off, ulong u_ld, __global const float *restrict e, ulong e_off,
                          ulong e_ld, __global const int4 *restrict sites, float alpha, float beta, int flags, int f,
                          __global float *z, ulong z_off, ulong z_ld, __global const float *g, ulong g_off, ulong g_ld,
                          __global const float *bias, ulong bias_off, __global const float *x, ulong x_off, ulong x_ld,
                          __global const float *residual, ulong residual_off, ulong residual_ld, __global float *before,
                          ulong before_off, ulong before_ld, __global float *c, ulong c_off, ulong c_ld)
{
    const size_t j = get_global_id(2) * get_global_size(0) + get_global_id(0), n0 = j * NR;
    if (n0 >= N) return;
    const size_t first = get_global_id(1) * block, last = min((ulong)(first + block), (M + MR - 1) / MR);
    const int4 site = flags & SITES ? sites[j] : (int4)(0, (int)R, 0, 0);
    float part[BLOCK * MR * NR]; /* tiles between two slices of K, and before the epilogue */

    for (size_t k0 = 0; k0 < K; k0 += DEPTH) {
        const int depth = (int)min((ulong)DEPTH, K - k0);
        for (size_t i = first; i < last; i++) {
            const int rows = (int)min((ulong)MR, M - i * MR);
            __global const float *a_rows = a + a_off + i * MR * a_row + k0 * a_step;
            __global const W_TYPE *b = w + w_off + j * w_panel + k0 * w_row;
            __global const W_TYPE *ahead = b + w_panel + (i - first) * (depth / 4) * w_row; /* a quarter of the next panel's slice */
            float *kept = part + (K > DEPTH ? i - first : 0) * MR * NR;
            V acc[MR][2];
            ALL_ROWS(START)
            ALL_ROWS(TAKE_BACK)
            size_t at = 0;
            int l = 0;
#if WRITTEN_OUT
            /* Packed: four steps at a time, which differ by constants. */
            if (a_step == 1 && w_row == NR)
                for (; l + 4 <= depth; l += 4, ahead += NR) {
                    const size_t m0 = i * MR, n = n0, r = l / 16;
                    PREFETCH(ahead, NR * sizeof(W_TYPE));
                    if (l % 16 == 0 && r < (size_t)rows) { /* for the epilogue: a line or two of each row, which a CPU does not guess */
                        PREFETCH_TO_WRITE(AT(c), 4 * NR);
                        if (flags & KEEP && site.s2 >= 0) PREFETCH_TO_WRITE(z + z_off + (m0 + r) * z_ld + site.s2, 4 * NR);
                        if (flags & BEFORE) PREFETCH_TO_WRITE(AT(before), 4 * NR);
                        if (flags & SLOPE) PREFETCH(AT(x), 4 * NR);
                        if (flags & RESIDUAL) PREFETCH(AT(residual), 4 * NR);
                    }
                    STEP(1, NR) STEP(1, NR) STEP(1, NR) STEP(1, NR)
                }
#endif
            for (; l < depth; l++) STEP(a_step, w_row)
            if (k0 + DEPTH >= K) {
                __global const float *uu = u + u_off + i * MR * u_ld, *ee = e + e_off + n0;
                for (l = site.s0; l < site.s1; l++) {
                    const V b0 = LOAD(ee + l * e_ld), b1 = LOAD(ee + l * e_ld + VW);
                    ALL_ROWS(LOW)
                }
            }
            const int keeps = flags & KEEP && site.s2 >= 0;
#if WRITTEN_OUT
            if (k0 + DEPTH >= K && n0 + NR <= N && !(flags & (BEFORE | ACTIVATE)) && (flags & SLOPES || !(flags & SLOPE))) {
                __global const float *gain = g + g_off + n0, *shift = bias + bias_off + n0;
                const V gain0 = flags & GAIN ? LOAD(gain) : (V)(1.0f), gain1 = flags & GAIN ? LOAD(gain + VW) : (V)(1.0f);
                const V shift0 = flags & BIAS ? LOAD(shift) : (V)(0.0f), shift1 = flags & BIAS ? LOAD(shift + VW) : (V)(0.0f);
                __global const float *x_row = x + x_off + i * MR * x_ld + n0;
                __global const float *more = residual + residual_off + i * MR * residual_ld + n0;
                __global float *c_row = c + c_off + i * MR * c_ld + n0, *z_row = z + z_off + i * MR * z_ld + (keeps ? site.s2 : 0);
                ALL_ROWS(FINISH)
                continue;
            }
#endif
            ALL_ROWS(SAVE)
            if (k0 + DEPTH < K) continue;
            for (int v = 0; v < 2 && n0 + v * VW < N; v++) {
                const size_t n = n0 + v * VW, m0 = i * MR;
                const int lanes = (int)min((ulong)VW, N - n), whole = lanes == VW;
                const V gain = flags & GAIN ? TAKE(g + g_off + n) : (V)(1.0f);
                const V shift = flags & BIAS ? TAKE(bias + bias_off + n) : (V)(0.0f);
                for (int r = 0; r < rows; r++) {
                    V t = alpha * LOAD(kept + r * NR + v * VW);
                    if (keeps) STORE(t, z + z_off + (m0 + r) * z_ld + site.s2 + v * VW);
                    if (flags & (GAIN | BIAS)) t = fma(t, gain, shift);
                    if (flags & SLOPE) t *= flags & SLOPES ? TAKE(AT(x)) : activate_slope(f, TAKE(AT(x)));
                    if (flags & RESIDUAL) t += TAKE(AT(residual));
                    if (flags & BETA) t = fma((V)(beta), TAKE(AT(c)), t);
                    if (flags & (BEFORE | ACTIVATE)) {
                        V slope;
                        const V value = activate_both(f, t, &slope);
                        if (flags & BEFORE) PUT(flags & SLOPES ? slope : t, AT(before))
                        t = value;
                    }
                    PUT(t, AT(c))
                }
            }
        }
    }
}
