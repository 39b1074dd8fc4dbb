/* turn.cl - panels of W0^T [ceil(N/NR)][K][NR] to panels of W0 [ceil(K/NR)][N][NR], or to plain rows [rows,K]; the type is kept.
 *   -D E=uint or ushort */
#include "strip.cl"

/* Launch: global ceil(K/NR), ceil(N/STRIP). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void turn(ulong N, ulong K, __global const E *w, ulong w_off, __global E *out, ulong out_off)
{
    const size_t j = get_global_id(0), columns = min((ulong)NR, K - j * NR);
    w += w_off;
    out += out_off + j * N * NR;
    for (size_t n = STRIP_BEGIN(1); n < STRIP_END(1, N); n++)
        for (size_t c = 0; c < NR; c++) out[n * NR + c] = c < columns ? w[(n / NR * K + j * NR + c) * NR + n % NR] : (E)0;
}

/* Row first + i of the panels to row i of out.   Launch: global rows, ceil(K/STRIP). */
__kernel void unpack(ulong first, ulong K, __global const E *w, ulong w_off, __global E *out, ulong out_off)
{
    const size_t i = get_global_id(0), n = first + i;
    w += w_off + n / NR * K * NR + n % NR;
    out += out_off + i * K;
    for (size_t k = STRIP_BEGIN(1); k < STRIP_END(1, K); k++) out[k] = w[k * NR];
}
