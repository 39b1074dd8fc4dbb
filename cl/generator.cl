/* generator.cl - the head-shared generator: A and B of all sites of all blocks, and the way back.
 *     Za = A0 W1A, Ha = act(Za), A^P = Ha W2A^P              [r,h], [r,K]
 *     Zb_j = W1B B0_j, Hb_j = act(Zb_j), B^P_j = W2B^P Hb_j  [h,r], [d,r]; head j of site P uses seed j H / H_P
 * Dimension 1 of a launch is the block or the site, dimension 0 the work within one, as many groups of WG as the
 * largest needs. */
#include "site.cl"

/* Z and act(Z). A work item makes VW values of a row.  Launch: r PIECES(h) + H h PIECES(r); blocks */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void generator_hidden(ulong r, ulong e, ulong h, int f, ulong plane, __global const block *restrict blocks,
                      __global const float *restrict theta, __global float *restrict hidden)
{
    const block t = blocks[get_global_id(1)];
    const ulong i = get_global_id(0), a_side = r * PIECES(h), j = (i - a_side) / PIECES(r);
    if (i < a_side) {
        const ulong k = i % PIECES(h) * VW;
        const V z = row_times(theta + t.a0 + i / PIECES(h) * e, 1, theta + t.w1a, h, e, k);
        __global float *row = hidden + t.za + i / PIECES(h) * h;
        store_at(z, row, k, h);
        store_at(activate(f, z), row + plane, k, h);
    } else if (j < t.H * h) {
        const ulong k = (i - a_side) % PIECES(r) * VW;
        const V z = row_times(theta + t.w1b + j % h * e, 1, theta + t.b0 + j / h * e * r, r, e, k);
        store_at(z, hidden + t.zb + j * r, k, r);
        store_at(activate(f, z), hidden + t.zb + j * r + plane, k, r);
    }
}

/* A, A^T, s B^T. A work item makes VW columns of A or a row of B.  Launch: PIECES(K) + N; sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void generator_expand(ulong h, ulong plane, __global const site *restrict sites, __global const block *restrict blocks,
                      __global const float *restrict theta, __global const float *restrict hidden, __global float *restrict forms)
{
    const site t = sites[get_global_id(1)];
    const block u = blocks[t.block];
    const ulong i = get_global_id(0), k = i * VW, n = i - PIECES(t.K);
    if (k < t.K) {
        for (ulong p = 0; p < t.r; p++) {
            const V v = row_times(hidden + plane + u.za + p * h, 1, theta + t.w_a, t.K, h, k);
            store_at(v, forms + t.a + p * t.a_ld, k, t.K);
            scatter(v, forms + t.at + p, t.at_ld, k, t.K, 0);
        }
    } else if (n < t.N) {
        const ulong head = n / t.d;
        __global const float *hb = hidden + plane + u.zb + head * u.H / t.H * h * t.r;
        for (ulong p = 0; p < t.r; p += VW) {
            const V v = t.s * row_times(theta + t.w_b + head * t.w_b_head + n % t.d * h, 1, hb, t.r, h, p);
            scatter(v, forms + t.bt + n, t.bt_ld, p, t.r, 0);
        }
    }
}

/* dW2A = Ha^T dA, dW2B = sum_j dB_j Hb_j^T. A work item makes VW columns of dW2A, or VW rows of a column of dW2B.
 * Launch: PIECES(K) + (heads of W2B) h PIECES(d); sites */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void generator_w2(ulong h, ulong plane, __global const site *restrict sites, __global const block *restrict blocks,
                  __global const float *restrict hidden, __global const float *restrict back, __global float *restrict grad)
{
    const site t = sites[get_global_id(1)];
    const block u = blocks[t.block];
    const ulong k = get_global_id(0) * VW, i = get_global_id(0) - PIECES(t.K);
    const ulong row = i % PIECES(t.d) * VW, q = i / PIECES(t.d) % h, own = i / PIECES(t.d) / h, heads = t.w_b_head ? 1 : t.H;
    if (k < t.K) {
        for (ulong p = 0; p < h; p++)
            add_at(row_times(hidden + plane + u.za + p, h, back + t.da, t.a_ld, t.r, k), grad + t.w_a + p * t.K, k, t.K);
    } else if (own < t.H / heads) {
        V sum = 0.0f;
        for (ulong j = own; j < own + heads; j++)
            sum += row_times(hidden + plane + u.zb + (j * u.H / t.H * h + q) * t.r, 1, back + t.dbt + j * t.d, t.bt_ld, t.r, row);
        scatter(t.s * sum, grad + t.w_b + own * t.w_b_head + q, h, row, t.d, 1);
    }
}

/* dZa = act'(Za) sum_P dA^P W2A^P^T. A group makes one value.  Launch: r h WG; blocks */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void generator_seed_a(ulong h, int f, ulong plane, __global const site *restrict sites, __global const block *restrict blocks,
                      __global const float *restrict theta, __global const float *restrict back, __global float *restrict hidden)
{
    __local float part[WG];
    const block u = blocks[get_group_id(1)];
    const ulong i = get_group_id(0);
    V sum = 0.0f;
    for (ulong p = u.first; p < u.first + u.count; p++) {
        const site t = sites[p];
        for (ulong k = get_local_id(0) * VW; k < t.K; k += WG * VW)
            sum = fma(LOAD(back + t.da + i / h * t.a_ld + k), load_at(theta + t.w_a + i % h * t.K, k, t.K), sum);
    }
    const V dz = sum_group(sum, part) * activate_slope(f, (V)(hidden[u.za + i]));
    if (get_local_id(0) == 0) store_some(dz, hidden + 2 * plane + u.za + i, 1);
}

/* dZb_j = act'(Zb_j) sum_P W2B^P^T dB^P_j. A work item makes VW rows of a column.  Launch: H r PIECES(h); blocks */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void generator_seed_b(ulong r, ulong h, int f, ulong plane, __global const site *restrict sites, __global const block *restrict blocks,
                      __global const float *restrict theta, __global const float *restrict back, __global float *restrict hidden)
{
    const block u = blocks[get_global_id(1)];
    const ulong i = get_global_id(0), q = i % PIECES(h) * VW, p = i / PIECES(h) % r, seed = i / PIECES(h) / r;
    if (seed >= u.H) return;
    V sum = 0.0f;
    for (ulong n = u.first; n < u.first + u.count; n++) {
        const site t = sites[n];
        for (ulong j = (seed * t.H + u.H - 1) / u.H; j < t.H && j * u.H / t.H == seed; j++)
            sum = fma((V)(t.s), row_times(back + t.dbt + p * t.bt_ld + j * t.d, 1, theta + t.w_b + j * t.w_b_head, h, t.d, q), sum);
    }
    const ulong at = u.zb + seed * h * r + p;
    scatter(sum * activate_slope(f, load_step(hidden + at, r, q, h)), hidden + 2 * plane + at, r, q, h, 0);
}

/* dA0 = dZa W1A^T, dB0_j = W1B^T dZb_j per block; dW1A = sum A0^T dZa, dW1B = sum_j dZb_j B0_j^T over the `share`
 * blocks that own them, for the first of these.  Launch: r e + H e PIECES(r) + e PIECES(h) + h e; blocks */
__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void generator_w1(ulong r, ulong e, ulong h, ulong plane, ulong share, __global const block *restrict blocks,
                  __global const float *restrict theta, __global const float *restrict hidden, __global float *restrict grad)
{
    const ulong n = get_global_id(1);
    const block u = blocks[n];
    __global const float *dz = hidden + 2 * plane;
    ulong i = get_global_id(0);
    if (i < r * e) {
        grad[u.a0 + i] += dot(dz + u.za + i / e * h, theta + u.w1a + i % e * h, h);
        return;
    }
    i -= r * e;
    if (i < u.H * e * PIECES(r)) {
        const ulong k = i % PIECES(r) * VW, x = i / PIECES(r);
        add_at(row_times(theta + u.w1b + x % e, e, dz + u.zb + x / e * h * r, r, h, k), grad + u.b0 + x * r, k, r);
        return;
    }
    i -= u.H * e * PIECES(r);
    if (n % share != 0) return;
    if (i < e * PIECES(h)) {
        const ulong k = i % PIECES(h) * VW, x = i / PIECES(h);
        V sum = 0.0f;
        for (ulong o = n; o < n + share; o++) sum += row_times(theta + blocks[o].a0 + x, e, dz + blocks[o].za, h, r, k);
        add_at(sum, grad + u.w1a + x * h, k, h);
        return;
    }
    i -= e * PIECES(h);
    if (i >= h * e) return;
    float sum = 0.0f;
    for (ulong o = n; o < n + share; o++)
        for (ulong j = 0; j < blocks[o].H; j++)
            sum += dot(dz + blocks[o].zb + (j * h + i / e) * r, theta + blocks[o].b0 + (j * e + i % e) * r, r);
    grad[u.w1b + i] += sum;
}
