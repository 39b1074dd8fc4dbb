/* lanes.cl - pieces of matrices in private memory, a row or a column a lane; D columns. What has to be in registers gets a
 * name of its own: loops over it are written out by ALL8(X). */
#pragma OPENCL FP_CONTRACT OFF
#include "prefetch.cl"

#define IN(x) __global const float *restrict x, ulong x##_off, ulong x##_ld
#define OUT(x) __global float *restrict x, ulong x##_off, ulong x##_ld
#define AT(x, row, column) (x + x##_off + (row) * x##_ld + (column))

/* Packed tokens: sequence i has rows row_start[i] to row_start[i+1]; a value outside of 0..T does not lead out of a matrix. */
#define SEQUENCES ulong T, __global const int *restrict row_start, ulong row_start_off, ulong row_start_ld
#define SEQUENCE_START(i) (ulong)clamp((long)row_start[row_start_off + (i) * row_start_ld], 0l, (long)T)

#define WHOLE (D % VW == 0) /* rows are whole vectors */
#define ROWS 8              /* rows at once: their sums leave registers free, of 32 or of 16 where vectors are narrower */
#define ALL_ROWS ALL8
#if D % 16 == 0 && VW == 16 /* columns at once, a divisor of D */
#define COLUMNS 16
#elif D % 8 == 0
#define COLUMNS 8
#elif D % 4 == 0
#define COLUMNS 4
#else
#define COLUMNS 1
#endif
#define ALL_COLUMNS CAT(ALL, COLUMNS)
#define TILE V
#include "transpose.cl"

/* t[c] lane i = x[i ld + c], c < D, i < n; lanes past the n-th repeat it. And the way back. */
static inline void load_columns(V *t, __global const float *x, ulong ld, int n)
{
#define TAKE(i) a[i] = WHOLE || c + VW <= D ? LOAD(x + min(i, n - 1) * ld + c) : load_some(x + min(i, n - 1) * ld + c, D - c);
#define AHEAD(i) PREFETCH(x + min(i, n - 1) * ld + c + D, 4 * VW);
#define PUT(i) if (WHOLE || c + i < D) t[c + i] = a[i];
    for (int c = 0; c < D; c += VW) {
        V a[VW];
        ALL_LANES(TAKE)
        ALL_LANES(AHEAD)
        transpose(a);
        ALL_LANES(PUT)
    }
}

static inline void store_columns(const V *t, __global float *x, ulong ld, int n)
{
#define GET(i) a[i] = WHOLE || c + i < D ? t[c + i] : (V)(0.0f);
#define AHEAD_W(i) PREFETCH_TO_WRITE(x + min(i, n - 1) * ld + c + D, 4 * VW);
#define GIVE(i) if (i < n) { if (WHOLE || c + VW <= D) STORE(a[i], x + i * ld + c); else store_some(a[i], x + i * ld + c, D - c); }
    for (int c = 0; c < D; c += VW) {
        V a[VW];
        ALL_LANES(GET)
        transpose(a);
        ALL_LANES(GIVE)
        ALL_LANES(AHEAD_W)
    }
}

/* Lane i is x[i ld], i < n; lanes past the n-th repeat it. And the way back. */
static inline V load_values(__global const float *x, ulong ld, int n)
{
    float part[VW];
    for (int i = 0; i < VW; i++) part[i] = x[min(i, n - 1) * ld];
    return LOAD(part);
}

static inline void store_values(V v, __global float *x, ulong ld, int n)
{
    float part[VW];
    STORE(v, part);
    for (int i = 0; i < n; i++) x[i * ld] = part[i];
}

/* s[j] = sum_c t[c] x[j ld + c], j < n; up to the next multiple of ROWS copies of the last. */
static inline void dot_rows(V *s, const V *t, __global const float *x, ulong ld, int n)
{
#define START(j) V s##j = 0.0f; __global const float *x##j = x + min(j0 + j, n - 1) * ld; PREFETCH(x##j + D, 4 * D);
#define ADD(j) s##j = fma((V)(x##j[c]), y, s##j);
#define KEEP(j) s[j0 + j] = s##j;
    for (int j0 = 0; j0 < n; j0 += ROWS) {
        ALL_ROWS(START)
        for (int c = 0; c < D; c++) {
            const V y = t[c];
            ALL_ROWS(ADD)
        }
        ALL_ROWS(KEEP)
    }
}

/* t[c] += sum_j p[j] x[j ld + c], j < n */
static inline void add_rows(V *t, const V *p, __global const float *x, ulong ld, int n)
{
#define OPEN(c) V t##c = t[c0 + c];
#define MORE(c) t##c = fma((V)(row[c]), y, t##c);
#define SHUT(c) t[c0 + c] = t##c;
    for (int c0 = 0; c0 < D; c0 += COLUMNS) {
        ALL_COLUMNS(OPEN)
        for (int j = 0; j < n; j++) {
            __global const float *row = x + j * ld + c0;
            const V y = p[j];
            ALL_COLUMNS(MORE)
        }
        ALL_COLUMNS(SHUT)
    }
}
