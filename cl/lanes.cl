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
#if VW >= 8 /* two vectors of rows a tile, so that a value of the other matrix that is read serves twice; `vectors` of them are in use */
#define VECTORS 2
#else
#define VECTORS 1
#endif
#if VW == 8 /* rows and columns at once: their sums leave registers free, of 32 or of 16 where vectors are narrower */
#define ROWS 4
#else
#define ROWS 8
#endif
#define ALL_ROWS CAT(ALL, ROWS)
#if D % ROWS == 0
#define COLUMNS ROWS
#elif D % 4 == 0
#define COLUMNS 4
#else
#define COLUMNS 1
#endif
#define ALL_COLUMNS CAT(ALL, COLUMNS)
#define TILE V
#include "transpose.cl"

/* t[VECTORS c] lane i = x[i ld + c], c < D, i < n; lanes past the n-th repeat it. And the way back. */
static inline void load_columns(V *t, __global const float *x, ulong ld, int n)
{
#define TAKE(i) a[i] = WHOLE || c + VW <= D ? LOAD(x + min(i, n - 1) * ld + c) : load_some(x + min(i, n - 1) * ld + c, D - c);
#define AHEAD(i) PREFETCH(x + min(i, n - 1) * ld + c + D, 4 * VW); /* the next head's */
#define PUT(i) if (WHOLE || c + i < D) t[VECTORS * (c + i)] = a[i];
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
#define GET(i) a[i] = WHOLE || c + i < D ? t[VECTORS * (c + i)] : (V)(0.0f);
#define GIVE(i) if (i < n) { if (WHOLE || c + VW <= D) STORE(a[i], x + i * ld + c); else store_some(a[i], x + i * ld + c, D - c); }
#define AHEAD_TO_WRITE(i) PREFETCH_TO_WRITE(x + min(i, n - 1) * ld + c + D, 4 * VW);
    for (int c = 0; c < D; c += VW) {
        V a[VW];
        ALL_LANES(GET)
        transpose(a);
        ALL_LANES(GIVE)
        ALL_LANES(AHEAD_TO_WRITE)
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

/* For both vectors v: s[VECTORS j + v] = sum_c t[VECTORS c + v] x[j ld + c], j < n; up to the next multiple of ROWS copies of the last. */
static inline void dot_rows(V *s, const V *t, int vectors, __global const float *x, ulong ld, int n)
{
#define START(j) V s##j = 0.0f, r##j = 0.0f; __global const float *x##j = x + min(j0 + j, n - 1) * ld; PREFETCH(x##j + D, 4 * D);
#define ADD(j) s##j = fma((V)(x##j[c]), y, s##j);
#define ADD_BOTH(j) { const V a = x##j[c]; s##j = fma(a, y, s##j); r##j = fma(a, z, r##j); }
#define KEEP(j) s[VECTORS * (j0 + j)] = s##j; if (VECTORS == 2) s[VECTORS * (j0 + j) + VECTORS - 1] = r##j;
    for (int j0 = 0; j0 < n; j0 += ROWS) {
        ALL_ROWS(START)
        if (VECTORS == 2 && vectors == 2) {
            for (int c = 0; c < D; c++) {
                const V y = t[VECTORS * c], z = t[VECTORS * c + VECTORS - 1];
                ALL_ROWS(ADD_BOTH)
            }
        } else {
            for (int c = 0; c < D; c++) {
                const V y = t[VECTORS * c];
                ALL_ROWS(ADD)
            }
        }
        ALL_ROWS(KEEP)
    }
}

/* For both vectors v: t[VECTORS c + v] += sum_j p[VECTORS j + v] x[j ld + c], j < n */
static inline void add_rows(V *t, const V *p, int vectors, __global const float *x, ulong ld, int n)
{
#define OPEN(c) V t##c = t[VECTORS * (c0 + c)], u##c = vectors == 2 ? t[VECTORS * (c0 + c) + VECTORS - 1] : (V)(0.0f);
#define MORE(c) t##c = fma((V)(row[c]), y, t##c);
#define MORE_BOTH(c) { const V a = row[c]; t##c = fma(a, y, t##c); u##c = fma(a, z, u##c); }
#define SHUT(c) t[VECTORS * (c0 + c)] = t##c; if (vectors == 2) t[VECTORS * (c0 + c) + VECTORS - 1] = u##c;
    for (int c0 = 0; c0 < D; c0 += COLUMNS) {
        __global const float *row = x + c0;
        ALL_COLUMNS(OPEN)
        if (VECTORS == 2 && vectors == 2) {
            for (int j = 0; j < n; j++, row += ld) {
                const V y = p[VECTORS * j], z = p[VECTORS * j + VECTORS - 1];
                PREFETCH(row + D, 4); /* the next head's */
                ALL_COLUMNS(MORE_BOTH)
            }
        } else {
            for (int j = 0; j < n; j++, row += ld) {
                const V y = p[VECTORS * j];
                ALL_COLUMNS(MORE)
            }
        }
        ALL_COLUMNS(SHUT)
    }
}

/* Vectors of a tile that has `mine` rows, and rows of vector v. */
static inline int vectors_of(int mine)
{
    return VECTORS == 2 && mine > VW ? 2 : 1;
}

static inline int rows_of(int mine, int v)
{
    return min(VW, mine - v * VW);
}
