/* dot_rows.cl - a tile of products of rows with rows: ROWS rows of X times HALF rows of W, each sum in the lanes of a vector until the rows
 * end. Each row of X is read once from front to back, as memory likes it best. */
#include "prefetch.cl"
#define ROWS 3 /* NARROW_ROWS in panel.c */
#if VW == 16
#define HALF 8
#define EACH(X) ALL8(X)
#elif VW == 8
#define HALF 4
#define EACH(X) ALL4(X)
#else
#define HALF 2
#define EACH(X) ALL2(X)
#endif
typedef CAT(float, HALF) H;

/* Lane l: x[l] + x[l ^ d], x is p where bit d of l is 0, q where it is 1. */
#define FOLD(p, q, d) (select(p, q, (LANES & d) != 0) + SWAP##d(select(q, p, (LANES & d) != 0)))
#if VW == 16
#define SWAP1(v) v.s1032547698badcfe
#define SWAP2(v) v.s23016745ab89efcd
#define SWAP4(v) v.s45670123cdef89ab
#elif VW == 8
#define SWAP1(v) v.s10325476
#define SWAP2(v) v.s23016745
#else
#define SWAP1(v) v.s1032
#endif

/* Lane c: the sum of all lanes of s[c]. */
static inline H fold_all(const V s[HALF])
{
#if VW == 16
    const V low = FOLD(FOLD(s[0], s[1], 1), FOLD(s[2], s[3], 1), 2), high = FOLD(FOLD(s[4], s[5], 1), FOLD(s[6], s[7], 1), 2);
    const V all = FOLD(low, high, 4);
#elif VW == 8
    const V all = FOLD(FOLD(s[0], s[1], 1), FOLD(s[2], s[3], 1), 2);
#else
    const V all = FOLD(s[0], s[1], 1);
#endif
    return all.lo + all.hi;
}

#define ROW_OF_W(c) __global const float *w##c = w + min(c, last) * w_ld;
#define ZERO(c) acc[0][c] = acc[1][c] = acc[2][c] = 0.0f;
#define ADD(c)                                                                                              \
    {                                                                                                       \
        const V a = LOAD(w##c + k);                                                                         \
        acc[0][c] = fma(v0, a, acc[0][c]), acc[1][c] = fma(v1, a, acc[1][c]), acc[2][c] = fma(v2, a, acc[2][c]); \
    }

/* out [rows,HALF] = X W^T, or += with more: X [rows,K], rows 1 to ROWS; of W, padded with zeros to whole vectors, row `last` is the last that
 * there is. The rows of X `ahead` of these are asked for early. */
static inline void dot_rows(int rows, ulong K, __global const float *x, ulong x_ld, ulong ahead, __global const float *w, ulong w_ld,
                            int last, __global float *out, ulong out_ld, int more)
{
    __global const float *x1 = rows > 1 ? x + x_ld : x, *x2 = rows > 2 ? x + 2 * x_ld : x;
    V acc[ROWS][HALF];
    ulong k = 0;
    EACH(ROW_OF_W)

    EACH(ZERO)
    for (; k + VW <= K; k += VW) {
        const V v0 = LOAD(x + k), v1 = LOAD(x1 + k), v2 = LOAD(x2 + k);
        PREFETCH(x + ahead + k, 4 * VW);
        PREFETCH(x1 + ahead + k, 4 * VW);
        PREFETCH(x2 + ahead + k, 4 * VW);
        EACH(ADD)
    }
    if (k < K) {
        const int n = (int)(K - k);
        const V v0 = load_some(x + k, n), v1 = load_some(x1 + k, n), v2 = load_some(x2 + k, n);
        EACH(ADD)
    }
    for (int r = 0; r < rows; r++, out += out_ld) { /* a loop: written out, this takes the registers of the loop above */
        const H sum = fold_all(acc[r]);
        CAT(vstore, HALF)(more ? CAT(vload, HALF)(0, out) + sum : sum, 0, out);
    }
}
