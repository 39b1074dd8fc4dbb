/* table.cl - rows of a matrix in any type (block.cl), looked up:  y_i = table[id_i], 0 for an id below 0; ids past the
 * end are clamped.   ids i32 [n]   y [n,D]   row_bytes: from one row of the table to the next.
 * Group i makes row i: global n*WG, local WG. */
#include "block.cl"

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void look_up(ulong D, ulong rows, __global const uchar *restrict table, ulong table_off, ulong row_bytes,
             __global const int *restrict ids, ulong ids_off, ulong ids_ld, __global float *restrict y, ulong y_off, ulong y_ld)
{
    const ulong i = get_group_id(0);
    const long id = min((long)ids[ids_off + i * ids_ld], (long)rows - 1);
    __global const uchar *row = table + table_off + max(id, 0L) * row_bytes;
    __global float *out = y + y_off + i * y_ld;
    for (ulong d = get_local_id(0) * 32; d < D; d += WG * 32) {
        const int count = (int)min((ulong)32, D - d);
        float part[32];
        if (id >= 0) row_part(row, d / 32, count, part);
        for (int k = 0; k < count; k += VW) store_at(id >= 0 ? LOAD(part + k) : (V)(0.0f), out + d, k, count);
    }
}
