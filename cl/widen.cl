/* widen.cl - plain rows of W0 [N,K] in any type (block.cl) to f32 operands of the products.
 *   -D TARGET=  0 panels of W0^T [ceil(N/NR)][K][NR], 1 panels of W0 [ceil(K/NR)][N][NR], 2 plain rows */
#include "block.cl"
#include "strip.cl"
#define D 32 /* columns of a tile */
#include "lanes.cl"

/* NR rows and STRIP columns of a work item, 32 columns at a time.   Launch: global ceil(N/NR), ceil(K/STRIP). row_bytes: from one row to the next. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void widen(ulong N, ulong K, ulong row_bytes, __global const uchar *w, ulong w_off, __global float *out, ulong out_off)
{
    const size_t j = get_global_id(0);
    const int rows = (int)min((ulong)NR, N - j * NR);
    out += out_off;
    w += w_off + j * NR * row_bytes;
#if TARGET == 0
    float tile[NR * D];
    for (int i = rows * D; i < NR * D; i++) tile[i] = 0.0f;
#endif
    for (size_t k0 = STRIP_BEGIN(1); k0 < STRIP_END(1, K); k0 += D) {
        const int count = (int)min((ulong)D, K - k0);
#if TARGET == 0
        for (int r = 0; r < rows; r++) row_part(w + r * row_bytes, k0 / D, count, tile + r * D);
        for (int r = 0; r < NR; r += VW)
            for (int k = 0; k < count; k += VW) {
                V a[VW];
                for (int i = 0; i < VW; i++) a[i] = LOAD(tile + (r + i) * D + k);
                transpose(a);
                for (int i = 0; i < VW && k + i < count; i++) STORE(a[i], out + (j * K + k0 + k + i) * NR + r);
            }
#else
        for (int r = 0; r < rows; r++) {
            float row[D];
            row_part(w + r * row_bytes, k0 / D, count, row);
#if TARGET == 1 /* the last panel's columns past K are 0, as in the row */
            for (int k = 0; k < D; k += VW)
                if (k / NR * NR < count) STORE(*(const V_ALONG *)(row + k), out + ((k0 + k) / NR * N + j * NR + r) * NR + k % NR);
#else
            for (int k = 0; k < count; k += VW) store_at(LOAD(row + k), out + (j * NR + r) * K + k0, k, count);
#endif
        }
#endif
    }
}
