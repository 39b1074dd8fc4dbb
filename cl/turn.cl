/* turn.cl - panels of W0^T [ceil(N/NR)][K][NR] to panels of W0 [ceil(K/NR)][N][NR], or to plain rows [rows,K]; the type is kept.
 *   -D E=uint or ushort */
#include "strip.cl"

#if VW == 1
typedef E TILE;
#else
typedef CAT(E, VW) TILE;
#endif
#include "transpose.cl"
typedef TILE ALONG __attribute__((aligned(sizeof(E)))); /* anywhere in a row */

/* Squares of VW x VW elements in turn.   Launch: global ceil(K/NR), ceil(N/STRIP). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void turn(ulong N, ulong K, __global const E *w, ulong w_off, __global E *out, ulong out_off)
{
    const size_t j = get_global_id(0), columns = min((ulong)NR, K - j * NR), end = STRIP_END(1, N);
    w += w_off;
    out += out_off + j * N * NR;
#define TAKE(i) a[i] = columns == NR || c + i < columns ? LOAD(from + (c + i) * NR) : (TILE)(0);
#define GIVE(i) if (n + VW <= end || n + i < end) *(__global ALONG *)(out + (n + i) * NR + c) = a[i];
    for (size_t n = STRIP_BEGIN(1); n < end; n += VW) {
        __global const E *from = w + (n / NR * K + j * NR) * NR + n % NR;
        for (size_t c = 0; c < NR; c += VW) {
            TILE a[VW];
            ALL_LANES(TAKE)
            transpose(a);
            ALL_LANES(GIVE)
        }
    }
}

/* Row first + i of the panels to row i of out.   Launch: global rows, ceil(K/STRIP). */
__kernel void unpack(ulong first, ulong K, __global const E *w, ulong w_off, __global E *out, ulong out_off)
{
    const size_t i = get_global_id(0), n = first + i;
    w += w_off + n / NR * K * NR + n % NR;
    out += out_off + i * K;
    for (size_t k = STRIP_BEGIN(1); k < STRIP_END(1, K); k++) out[k] = w[k * NR];
}
