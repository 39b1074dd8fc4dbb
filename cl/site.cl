/* site.cl - what an adapter's kernels know of a site and of a block: rows of two tables on the device. src/adapter.h
 * has the same structs. Offsets count elements: in theta and grad (the arena), forms (A, B, g) or back (dA, dB, dg). */
typedef struct {
    ulong block, r, K, N, H, d;        /* N = H d */
    ulong w_a, w_b, w_b_head;          /* arena: W2A and W2B, or A and B; from one head's W2B to the next, 0: shared */
    ulong m, rho;                      /* arena */
    ulong a, a_ld, at, at_ld;          /* forms: A [r,K], A^T [K,r] */
    ulong bt, bt_ld, gbt, g;           /* forms: s B^T and g s B^T [r,N], g [N] */
    ulong da, dbt, dg;                 /* back: [r,K] ld a_ld, [r,N] ld bt_ld without s, [N] */
    ulong c, gram;                     /* c [N] in its own buffer; two [r,r] of the norm's gradient */
    float s, unused;
} site;

typedef struct {
    ulong first, count;                /* its sites */
    ulong H;                           /* seeds: the largest number of heads of its sites */
    ulong a0, b0, w1a, w1b;            /* arena: [r,e], [H,e,r], [e,h], [h,e] */
    ulong za, zb;                      /* hidden: Za [r,h], Zb [H,h,r]; act(Z) and dZ lie one and two planes further */
} block;

#define PIECES(n) (((n) + VW - 1) / VW) /* vectors of a row of n values */

/* VW values of a row of a product:  sum_x left_x right_x,k..  with left's values `step` and right's rows ld apart.
 * Lanes past the end of a row hold whatever follows it; the buffers end with VW elements to spare. */
static inline V row_times(__global const float *left, ulong step, __global const float *right, ulong ld, ulong n, ulong k)
{
    V sum = 0.0f;
    for (ulong x = 0; x < n; x++) sum = fma((V)(left[x * step]), LOAD(right + x * ld + k), sum);
    return sum;
}

static inline float dot(__global const float *left, __global const float *right, ulong n)
{
    V sum = 0.0f;
    for (ulong x = 0; x < n; x += VW)
        sum = fma(inside(LOAD(left + x), x, n, 0.0f), inside(LOAD(right + x), x, n, 0.0f), sum);
    return sum_lanes(sum);
}

/* p_0, p_ld, ... (n of them, from k) = the lanes of v; or += */
static inline void scatter(V v, __global float *p, ulong ld, ulong k, ulong n, int add)
{
    float part[VW];
    STORE(v, part);
    for (ulong l = 0; l < min((ulong)VW, n - k); l++) p[(k + l) * ld] = add ? p[(k + l) * ld] + part[l] : part[l];
}

static inline void add_at(V v, __global float *p, ulong k, ulong n)
{
    store_at(load_at(p, k, n) + v, p, k, n);
}
