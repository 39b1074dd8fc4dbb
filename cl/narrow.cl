/* narrow.cl - U = X W for few columns: X [M,K] as it lies, rows of W [K,N] and U [M,N] padded to whole vectors with zeros.
 * A work item has `block` groups of ROWS rows. Where N fits into half a vector a vector holds two steps of K: its even lanes sum the even
 * steps, its odd lanes the odd ones.   -D PAIRS=1: N <= VW/2    -D PAIRS=0 */
#include "prefetch.cl"
#define ROWS 12
#define LINE 16 /* elements of a cache line */

#if VW == 16
#define TWICE(x) (V)(x, x, x, x, x, x, x, x)
#elif VW == 8
#define TWICE(x) (V)(x, x, x, x)
#else
#define TWICE(x) (V)(x, x)
#endif
#define ADD(r) acc[r] = fma((V)(xk[r * ld]), b, acc[r]);
#define ADD_TWO(r) acc[r] = fma(TWICE(vload2(0, xk + r * ld)), b, acc[r]);
#define ADD_LAST(r) acc[r] = fma(TWICE((float2)(xk[r * ld], 0.0f)), b, acc[r]);
#define ASK(r) PREFETCH(ahead + r * ld, 64);

/* Launch: global ceil(groups / block), groups = ceil(M/ROWS), or M where M < ROWS. The last group ends with the last row: those of its rows
 * that the group before it has are not stored. Of fewer than ROWS rows in all each is a group, ROWS times the same. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void narrow(ulong M, ulong N, ulong K, ulong block, __global const float *restrict x, ulong x_off, ulong x_ld,
            __global const float *restrict w, ulong w_off, ulong w_ld, __global float *restrict u, ulong u_off, ulong u_ld)
{
    const int few = M < ROWS;
    const size_t ld = few ? 0 : x_ld, groups = few ? M : (M + ROWS - 1) / ROWS;
    const size_t first = get_global_id(0) * block, last = min((ulong)(first + block), (ulong)groups);
    for (size_t i = first; i < last; i++) {
        const size_t row = few ? i : min((ulong)i * ROWS, M - ROWS);
        const int kept = few ? ROWS - 1 : (int)(i * ROWS - row);
        for (size_t n = 0; n < N; n += VW) {
            __global const float *xk = x + x_off + row * x_ld, *ahead = n == 0 && i + 1 < last ? xk + ROWS * ld : xk;
            __global const float *wk = w + w_off + n;
            V acc[ROWS];
            for (int r = 0; r < ROWS; r++) acc[r] = 0.0f;
            for (size_t k = 0; k < K; k += LINE, ahead += LINE) {
                int steps = (int)min((ulong)LINE, K - k);
                ALL12(ASK)
#if PAIRS
                V b;
                for (; steps >= 2; steps -= 2, xk += 2, wk += 2 * w_ld) {
                    b.even = LOAD(wk).lo, b.odd = LOAD(wk + w_ld).lo;
                    ALL12(ADD_TWO)
                }
                if (steps) {
                    b.even = LOAD(wk).lo, b.odd = 0.0f;
                    ALL12(ADD_LAST)
                }
#else
                for (; steps > 0; steps--, xk++, wk += w_ld) {
                    const V b = LOAD(wk);
                    ALL12(ADD)
                }
#endif
            }
            __global float *out = u + u_off + (few ? i : row) * u_ld + n;
            for (int r = kept; r < ROWS; r++) {
                V sum = acc[r];
#if PAIRS
                sum.lo = acc[r].even + acc[r].odd, sum.hi = 0.0f;
#endif
                STORE(sum, out + (few ? 0 : r) * u_ld);
            }
        }
    }
}
