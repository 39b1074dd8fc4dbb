/* common.cl - put before every kernel file.
 *   -D VW=  lanes of the vector type V (1, 4, 8 or 16)    -D MR=  rows of a register tile    -D WG=  work items of a group
 * A kernel that works on lanes serves CPUs (VW lanes of a vector, one work item a group) and GPUs (VW = 1, a lane is a work
 * item) from one text. */
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#if VW == 1
typedef float V;
typedef int VI;
typedef uint VU;
#define LOAD(p) (*(p))
#define STORE(v, p) (*(p) = (v))
#define TO_V(v) convert_float(v)
#define TO_VI(v) convert_int(v)
#define AS_VI(v) as_int(v)
#define AS_VU(v) as_uint(v)
#define AS_V(v) as_float(v)
#else
typedef CAT(float, VW) V;
typedef CAT(int, VW) VI;
typedef CAT(uint, VW) VU;
#define LOAD(p) CAT(vload, VW)(0, p)
#define STORE(v, p) store_lanes(v, p)
#define TO_V(v) CAT(convert_float, VW)(v)
#define TO_VI(v) CAT(convert_int, VW)(v)
#define AS_VI(v) CAT(as_int, VW)(v)
#define AS_VU(v) CAT(as_uint, VW)(v)
#define AS_V(v) CAT(as_float, VW)(v)
#endif
#define NR (2 * VW) /* columns of a register tile */
#if defined(__F16C__) && __clang_major__ >= 14
#define NATIVE_HALVES /* the CPU has an instruction to widen them, and the compiler a type, _Float16 */
#endif

#if VW > 1 /* vstoreN, but one instruction where PoCL's vstore16 is four */
typedef V V_ALONG __attribute__((aligned(4)));
#define STORE_LANES(space) \
    static inline __attribute__((overloadable)) void store_lanes(V v, space float *p) { *(space V_ALONG *)p = v; }
STORE_LANES(__global)
STORE_LANES(__local)
STORE_LANES(__private)
#endif

/* X(0) X(1) ... X(n - 1): loops over registers are written out, which not all compilers do when told to. */
#define ALL1(X) X(0)
#define ALL2(X) ALL1(X) X(1)
#define ALL4(X) ALL2(X) X(2) X(3)
#define ALL6(X) ALL4(X) X(4) X(5)
#define ALL8(X) ALL6(X) X(6) X(7)
#define ALL10(X) ALL8(X) X(8) X(9)
#define ALL12(X) ALL10(X) X(10) X(11)
#define ALL14(X) ALL12(X) X(12) X(13)
#define ALL16(X) ALL14(X) X(14) X(15)

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

/* Lanes k, k + 1, ... of a row of K values: a whole vector, or the row's last values with 0 after them. And the way back. */
static inline V load_at(__global const float *p, ulong k, ulong K)
{
    return k + VW <= K ? LOAD(p + k) : load_some(p + k, (int)(K - k));
}

static inline void store_at(V v, __global float *p, ulong k, ulong K)
{
    if (k + VW <= K) STORE(v, p + k);
    else store_some(v, p + k, (int)(K - k));
}

/* load_at of a vector whose values are ld apart. */
static inline V load_step(__global const float *p, ulong ld, ulong k, ulong K)
{
    float part[VW];
    if (ld == 1) return load_at(p, k, K);
    for (int i = 0; i < VW; i++) part[i] = k + i < K ? p[(k + i) * ld] : 0.0f;
    return LOAD(part);
}

/* s = beta s + v in a vector whose values are ld apart; beta = 0 does not read s. */
static inline void add_step(V v, float beta, __global float *s, ulong ld, ulong k, ulong K)
{
    float part[VW];
    STORE(v, part);
    for (int i = 0; i < VW && k + i < K; i++) s[(k + i) * ld] = beta == 0.0f ? part[i] : fma(beta, s[(k + i) * ld], part[i]);
}

/* v in the lanes of a row of K values, other in those past its end. */
static inline V inside(V v, ulong k, ulong K, float other)
{
    return k + VW <= K ? v : select((V)other, v, LANES < (VI)(int)(K - k));
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

static inline float max_lanes(V v)
{
#if VW == 1
    return v;
#elif VW == 4
    return fmax(fmax(v.s0, v.s2), fmax(v.s1, v.s3));
#elif VW == 8
    const float4 a = fmax(v.lo, v.hi);
    return fmax(fmax(a.s0, a.s2), fmax(a.s1, a.s3));
#else
    const float8 b = fmax(v.lo, v.hi);
    const float4 a = fmax(b.lo, b.hi);
    return fmax(fmax(a.s0, a.s2), fmax(a.s1, a.s3));
#endif
}

#include "group.cl"
#include "random.cl"
#include "exp.cl"
#include "activation.cl"
