/* group.cl - what the work items of a group do together. */
/* Sum, or else the largest, of one value per work item of a group, the same in each of them. A tree: the order is fixed.
 * Also a fence: what a work item read from global memory before, others may overwrite after. */
static inline float over_group(float value, int sum, __local float *part)
{
#if WG > 1
    const size_t lane = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); /* part is free */
    part[lane] = value;
    for (size_t step = WG / 2; step > 0; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < step) part[lane] = sum ? part[lane] + part[lane + step] : fmax(part[lane], part[lane + step]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    value = part[0];
#endif
    return value;
}

static inline float sum_group(V v, __local float *part)
{
    return over_group(sum_lanes(v), 1, part);
}

static inline float max_group(V v, __local float *part) /* NaN only if all are */
{
    return over_group(max_lanes(v), 0, part);
}

/* Sums over rows: a group takes COLS vectors of columns, and its work items with the same column SLICES interleaved sets of
 * rows. The sum of the slices' partial sums is for slice 0. */
#define COLS (WG < 16 ? WG : 16)
#define SLICES (WG / COLS)
static inline V sum_slices(V v, __local V *part)
{
#if WG > 16
    const size_t lane = get_local_id(0);
    part[lane] = v;
    for (size_t step = WG / 2; step >= COLS; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < step) part[lane] += part[lane + step];
    }
    v = part[lane];
#endif
    return v;
}

/* Element kernels: a group takes `rows` rows and `span` columns of [T,D] (kernel arguments of these names). */
#define FOR_ELEMENTS(t, d)                                                                                              \
    const ulong pieces_ = (D + span - 1) / span, piece_ = get_group_id(0) % pieces_, t_ = get_group_id(0) / pieces_ * rows; \
    for (ulong t = t_; t < min(t_ + rows, T); t++)                                                                      \
        for (ulong d = piece_ * span + get_local_id(0) * VW; d < min(piece_ * span + span, D); d += WG * VW)
