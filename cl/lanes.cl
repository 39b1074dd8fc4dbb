/* lanes.cl - pieces of matrices in private memory, a row or column a lane; D columns. */
#include "exp.cl"

#define JB 8 /* rows at once: their sums are in registers */
/* Columns at once; a divisor of D. */
#if D % 16 == 0
#define CB 16
#elif D % 8 == 0
#define CB 8
#elif D % 4 == 0
#define CB 4
#else
#define CB 1
#endif

/* The first row of sequence i; a row_start outside of 0..T does not lead outside of the matrices. */
static inline ulong sequence_start(__global const int *row_start, ulong ld, ulong i, ulong T)
{
    return (ulong)clamp((long)row_start[i * ld], 0l, (long)T);
}

#if VW == 1
static inline void transpose(V *a) {}
#else
/* a[i] lane j changes place with a[j] lane i: log2(VW) times, a pair of half-apart rows is interleaved. */
static inline void transpose(V *a)
{
    V b[VW], e;
    #pragma unroll
    for (int step = 1; step < VW; step *= 2) {
        #pragma unroll
        for (int i = 0; i < VW / 2; i++) {
            e.even = a[i].lo, e.odd = a[i + VW / 2].lo, b[2 * i] = e;
            e.even = a[i].hi, e.odd = a[i + VW / 2].hi, b[2 * i + 1] = e;
        }
        #pragma unroll
        for (int i = 0; i < VW; i++) a[i] = b[i];
    }
}
#endif

#define WHOLE (D % VW == 0)

/* t[c] lane i = x[i ld + c], c < D; lanes past the n-th repeat it. And the way back. */
static inline void load_columns(V *t, __global const float *x, ulong ld, int n)
{
    for (int c = 0; c < D; c += VW) {
        V a[VW];
        #pragma unroll
        for (int i = 0; i < VW; i++) {
            __global const float *p = x + min(i, n - 1) * ld + c;
            a[i] = WHOLE || c + VW <= D ? LOAD(p) : load_some(p, D - c);
        }
        transpose(a);
        #pragma unroll
        for (int i = 0; i < VW; i++)
            if (WHOLE || c + i < D) t[c + i] = a[i];
    }
}

static inline void store_columns(const V *t, __global float *x, ulong ld, int n)
{
    for (int c = 0; c < D; c += VW) {
        V a[VW];
        #pragma unroll
        for (int i = 0; i < VW; i++) a[i] = WHOLE || c + i < D ? t[c + i] : (V)(0.0f);
        transpose(a);
        #pragma unroll
        for (int i = 0; i < VW; i++) {
            if (i < n) {
                if (WHOLE || c + VW <= D) STORE(a[i], x + i * ld + c);
                else store_some(a[i], x + i * ld + c, D - c);
            }
        }
    }
}

/* s[j] = sum_c t[c] x[j ld + c], j < n; up to the next multiple of JB copies of the last. */
static inline void dot_rows(V *s, const V *t, __global const float *x, ulong ld, int n)
{
    for (int j0 = 0; j0 < n; j0 += JB) {
        __global const float *row[JB];
        V sum[JB];
        #pragma unroll
        for (int j = 0; j < JB; j++) row[j] = x + min(j0 + j, n - 1) * ld, sum[j] = 0.0f;
        for (int c = 0; c < D; c++) {
            const V y = t[c];
            #pragma unroll
            for (int j = 0; j < JB; j++) sum[j] = fma((V)(row[j][c]), y, sum[j]);
        }
        #pragma unroll
        for (int j = 0; j < JB; j++) s[j0 + j] = sum[j];
    }
}

/* t[c] += sum_j p[j] x[j ld + c], j < n */
static inline void add_rows(V *t, const V *p, __global const float *x, ulong ld, int n)
{
    for (int c0 = 0; c0 < D; c0 += CB) {
        V sum[CB];
        #pragma unroll
        for (int c = 0; c < CB; c++) sum[c] = t[c0 + c];
        for (int j = 0; j < n; j++) {
            __global const float *row = x + j * ld + c0;
            const V w = p[j];
            #pragma unroll
            for (int c = 0; c < CB; c++) sum[c] = fma((V)(row[c]), w, sum[c]);
        }
        #pragma unroll
        for (int c = 0; c < CB; c++) t[c0 + c] = sum[c];
    }
}

/* Lane i holds x[i ld], lanes past the n-th repeat it; and the way back. */
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
