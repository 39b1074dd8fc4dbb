/* common.cl - put before every kernel file.
 *   -D VW=  lanes of the vector type V (1, 4, 8 or 16)    -D MR=  rows of a register tile    -D WG=  work items of a group
 * A kernel that works on lanes serves CPUs (VW lanes of a vector, one work item a group) and GPUs (VW = 1, a lane is a work
 * item) from one text. */
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#if VW == 1
typedef float V;
typedef int VI;
#define LOAD(p) (*(p))
#define STORE(v, p) (*(p) = (v))
#define TO_VI(v) convert_int(v)
#define AS_VI(v) as_int(v)
#define AS_V(v) as_float(v)
#else
typedef CAT(float, VW) V;
typedef CAT(int, VW) VI;
#define LOAD(p) CAT(vload, VW)(0, p)
#define STORE(v, p) CAT(vstore, VW)(v, 0, p)
#define TO_VI(v) CAT(convert_int, VW)(v)
#define AS_VI(v) CAT(as_int, VW)(v)
#define AS_V(v) CAT(as_float, VW)(v)
#endif
#define NR (2 * VW) /* columns of a register tile */

/* Lanes 0, 1, 2, ... */
#if VW == 1
#define LANES 0
#elif VW == 4
#define LANES (VI)(0, 1, 2, 3)
#elif VW == 8
#define LANES (VI)(0, 1, 2, 3, 4, 5, 6, 7)
#else
#define LANES (VI)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif

/* The first n < VW lanes at p; the others 0. And the way back. */
static inline V load_some(__global const float *p, int n)
{
    float part[VW];
    for (int i = 0; i < VW; i++) part[i] = i < n ? p[i] : 0.0f;
    return LOAD(part);
}

static inline void store_some(V v, __global float *p, int n)
{
    float part[VW];
    STORE(v, part);
    for (int i = 0; i < n; i++) p[i] = part[i];
}

/* Sum of all lanes, pairwise. */
static inline float sum_lanes(V v)
{
#if VW == 1
    return v;
#elif VW == 4
    return (v.s0 + v.s2) + (v.s1 + v.s3);
#elif VW == 8
    const float4 a = v.lo + v.hi;
    return (a.s0 + a.s2) + (a.s1 + a.s3);
#else
    const float8 b = v.lo + v.hi;
    const float4 a = b.lo + b.hi;
    return (a.s0 + a.s2) + (a.s1 + a.s3);
#endif
}

/* Activations of clpeft_activation, value and derivative, on lanes. F_ numbers are the enumeration's. */
#define F_IDENTITY 0
#define F_GELU 1
#define F_GELU_TANH 2
#define F_SILU 3
#define F_RELU 4
#define F_TANH 5

/* Phi(x) = (1 + erf(x / sqrt 2)) / 2 on lanes: minimax polynomials of N. Juffa's erff (maximum error 1 ulp), both branches. */
static inline V erf_lanes(V a)
{
    const V t = fabs(a), s = a * a;
    V r = fma((V)(-1.72853470e-5f), t, (V)(3.83197126e-4f)), u = fma((V)(-3.88396438e-3f), t, (V)(2.42546219e-2f));
    r = fma(r, s, u);
    r = fma(r, t, (V)(-1.06777877e-1f));
    r = fma(r, t, (V)(-6.34846687e-1f));
    r = fma(r, t, (V)(-1.28717512e-1f));
    r = fma(r, t, -t);
    const V far = copysign((V)(1.0f) - exp(r), a);
    V n = (V)(-5.96761703e-4f);
    n = fma(n, s, (V)(4.99119423e-3f));
    n = fma(n, s, (V)(-2.67681349e-2f));
    n = fma(n, s, (V)(1.12819925e-1f));
    n = fma(n, s, (V)(-3.76125336e-1f));
    n = fma(n, s, (V)(1.28379166e-1f));
    n = fma(n, a, a);
    return select(n, far, t > (V)(0.927734375f));
}

static inline V sigmoid(V x)
{
    return 1.0f / (1.0f + exp(-x));
}

#define GELU_C 0.7978845608f /* sqrt(2 / pi) */

static inline V activate(int f, V x)
{
    if (f == F_GELU) return 0.5f * x * (1.0f + erf_lanes(x * 0.70710678118f));
    if (f == F_GELU_TANH) return 0.5f * x * (1.0f + tanh(GELU_C * (x + 0.044715f * x * x * x)));
    if (f == F_SILU) return x * sigmoid(x);
    if (f == F_RELU) return fmax(x, (V)(0.0f));
    if (f == F_TANH) return tanh(x);
    return x;
}

static inline V activate_slope(int f, V x)
{
    if (f == F_GELU) return 0.5f * (1.0f + erf_lanes(x * 0.70710678118f)) + x * 0.3989422804f * exp(-0.5f * x * x);
    if (f == F_GELU_TANH) {
        const V t = tanh(GELU_C * (x + 0.044715f * x * x * x));
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * GELU_C * (1.0f + 3.0f * 0.044715f * x * x);
    }
    if (f == F_SILU) {
        const V g = sigmoid(x);
        return g * (1.0f + x * (1.0f - g));
    }
    if (f == F_RELU) return select((V)(0.0f), (V)(1.0f), x > (V)(0.0f));
    if (f == F_TANH) {
        const V t = tanh(x);
        return 1.0f - t * t;
    }
    return (V)(1.0f);
}
