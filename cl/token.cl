/* token.cl - packed tokens: embedding, pooling, rotary positions. Sequence q has rows row_start[q] to row_start[q+1] of T, its
 * table's values are row_start_ld apart. */

/* The sequence of row t: the last q < S with row_start[q] <= t. */
static inline ulong sequence_of(ulong t, ulong S, __global const int *row_start, ulong row_start_ld)
{
    ulong low = 0, high = S;
    while (high - low > 1) {
        const ulong middle = (low + high) / 2;
        if (row_start[middle * row_start_ld] <= (long)t) low = middle;
        else high = middle;
    }
    return low;
}

/* y_t = word[id_t] + position[t - start + first] + type[0], ids and positions clamped into the tables.
 * Group t takes row t: global T*WG.   -D POSITION, -D TYPE: with these tables */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void embedding(ulong D, ulong tokens, ulong positions, ulong S, __global const int *restrict ids, ulong ids_off, ulong ids_ld,
               __global const int *restrict row_start, ulong row_start_off, ulong row_start_ld,
               __global const float *restrict word, ulong word_off, ulong word_ld,
               __global const float *restrict position, ulong position_off, ulong position_ld, ulong first,
               __global const float *restrict type, ulong type_off, ulong type_ld,
               __global float *restrict y, ulong y_off, ulong y_ld)
{
    const ulong t = get_group_id(0);
    const long id = clamp((long)ids[ids_off + t * ids_ld], 0L, (long)tokens - 1);
#ifdef POSITION
    const ulong q = sequence_of(t, S, row_start + row_start_off, row_start_ld);
    const long at = clamp((long)(t - row_start[row_start_off + q * row_start_ld] + first), 0L, (long)positions - 1);
#endif
    for (ulong d = get_local_id(0) * VW; d < D; d += WG * VW) {
        V v = load_at(word + word_off + id * word_ld, d, D);
#ifdef POSITION
        v += load_at(position + position_off + at * position_ld, d, D);
#endif
#ifdef TYPE
        v += load_at(type + type_off, d, D);
#endif
        store_at(v, y + y_off + t * y_ld, d, D);
    }
}

/* dtable[id_t] += dy_t, t = 0, 1, ...  A work item takes VW columns: global D/VW rounded up to WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void embedding_backward(ulong T, ulong D, ulong tokens, __global const int *restrict ids, ulong ids_off, ulong ids_ld,
                        __global const float *restrict dy, ulong dy_off, ulong dy_ld,
                        __global float *restrict dtable, ulong dtable_off, ulong dtable_ld)
{
    const ulong d = get_global_id(0) * VW;
    if (d < D)
        for (ulong t = 0; t < T; t++) {
            const long id = clamp((long)ids[ids_off + t * ids_ld], 0L, (long)tokens - 1);
            __global float *row = dtable + dtable_off + id * dtable_ld;
            store_at(load_at(row, d, D) + load_at(dy + dy_off + t * dy_ld, d, D), row, d, D);
        }
}

/* Which rows of a sequence are pooled. BOTH: FIRST into columns [0,D), REST into [D,2D). */
#define ALL 0
#define FIRST 1
#define REST 2
#define BOTH 3

/* From the first pooled row of sequence q to its last. Clamped into T. */
static inline ulong2 pooled(ulong q, ulong T, int part, __global const int *row_start, ulong row_start_ld)
{
    const long start = clamp((long)row_start[q * row_start_ld], 0L, (long)T);
    const long end = clamp((long)row_start[(q + 1) * row_start_ld], start, (long)T);
    return (ulong2)(part == REST ? min(end, start + 1) : start, part == FIRST ? min(end, start + 1) : end);
}

/* y_q = mean of the pooled rows, 0 when there are none.  Group (q, second, piece) takes WG*VW columns: global
 * S*halves*pieces*WG, halves 2 with BOTH, else 1. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void pool(ulong T, ulong D, int part, __global const int *restrict row_start, ulong row_start_off, ulong row_start_ld,
          __global const float *restrict x, ulong x_off, ulong x_ld, __global float *restrict y, ulong y_off, ulong y_ld)
{
    const ulong pieces = (D + WG * VW - 1) / (WG * VW), halves = part == BOTH ? 2 : 1;
    const ulong q = get_group_id(0) / (halves * pieces), second = get_group_id(0) / pieces % halves;
    const ulong d = (get_group_id(0) % pieces * WG + get_local_id(0)) * VW;
    const ulong2 r = pooled(q, T, part == BOTH ? FIRST + (int)second : part, row_start + row_start_off, row_start_ld);
    V sum = 0.0f;
    if (d < D) {
        for (ulong t = r.x; t < r.y; t++) sum += load_at(x + x_off + t * x_ld, d, D);
        store_at(r.x < r.y ? sum / (float)(r.y - r.x) : sum, y + y_off + q * y_ld + second * D, d, D);
    }
}

/* dx_t = dy_q / (number of pooled rows) in pooled rows of sequence q, else 0.  Group t takes row t: global T*WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void pool_backward(ulong T, ulong D, ulong S, int part,
                   __global const int *restrict row_start, ulong row_start_off, ulong row_start_ld,
                   __global const float *restrict dy, ulong dy_off, ulong dy_ld, __global float *restrict dx, ulong dx_off, ulong dx_ld)
{
    const ulong t = get_group_id(0), q = sequence_of(t, S, row_start + row_start_off, row_start_ld);
    const ulong second = part == BOTH && (long)t != row_start[row_start_off + q * row_start_ld];
    const ulong2 r = pooled(q, T, part == BOTH ? FIRST + (int)second : part, row_start + row_start_off, row_start_ld);
    const float rows = r.x <= t && t < r.y ? (float)(r.y - r.x) : 0.0f;
    dy += dy_off + q * dy_ld + second * D;
    for (ulong d = get_local_id(0) * VW; d < D; d += WG * VW)
        store_at(rows > 0.0f ? load_at(dy, d, D) / rows : (V)(0.0f), dx + dx_off + t * dx_ld, d, D);
}

/* Rotate the pairs (x_j, x_{j + pairs}), pairs = d / 2, of every head by angle = position * base^(-j / pairs), in place;
 * sign -1 rotates back.  step = log2(base) / pairs.  Group t takes row t: global T*WG. */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void rope(ulong H, ulong pairs, float step, float sign, ulong S, __global const int *restrict row_start, ulong row_start_off,
          ulong row_start_ld, ulong first, __global float *restrict x, ulong x_off, ulong x_ld)
{
    const ulong t = get_group_id(0), q = sequence_of(t, S, row_start + row_start_off, row_start_ld);
    const float position = (float)(long)(t - row_start[row_start_off + q * row_start_ld] + first);
    for (ulong j = get_local_id(0) * VW; j < pairs; j += WG * VW) {
        const V angle = position * exp2(-step * ((float)j + TO_V(LANES))), c = cos(angle), s = sign * sin(angle);
        for (ulong h = 0; h < H; h++) {
            __global float *head = x + x_off + t * x_ld + 2 * h * pairs;
            const V a = load_at(head, j, pairs), b = load_at(head + pairs, j, pairs);
            store_at(a * c - b * s, head, j, pairs);
            store_at(b * c + a * s, head + pairs, j, pairs);
        }
    }
}
