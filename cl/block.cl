/* block.cl - 32 elements of a row of any type, as f32.   -D SOURCE=  type of the row, by the numbers of clpeft_dtype:
 *   0 f32, 1 f16, 2 bf16, 4 Q4_0, 5 Q4_1, 6 Q8_0, 7 Q6_K
 * Formulas of the blocks, in this order of operations and with a rounding after each: the GGUF specification and gguf-py. */
#pragma OPENCL FP_CONTRACT OFF

#if SOURCE == 0
#define BYTES 4
#elif SOURCE == 1 || SOURCE == 2
#define BYTES 2
#elif SOURCE == 4
#define BYTES 18
#elif SOURCE == 5
#define BYTES 20
#elif SOURCE == 6
#define BYTES 34
#else
#define BYTES 210
#endif

/* A half's fraction and exponent moved into place, the exponent by 112 more; a denormal half is 2^-14 (1 + fraction) - 2^-14, so that no
 * denormal float comes up, which counts as 0 (program.c). All exponent bits set: infinity or NaN. */
static inline float16 halves(uint16 h)
{
    const uint16 rest = (h & 0x7fff) << 13, denormal = as_uint16(as_float16(rest + 0x38800000) - 0x1p-14f);
    const uint16 bits = rest < 0x800000 ? denormal : rest < 0x0f800000 ? rest + 0x38000000 : rest + 0x70000000;
    return as_float16(bits | (h & 0x8000) << 16);
}

static inline float half_at(__global const uchar *p)
{
#ifdef NATIVE_HALVES
    typedef _Float16 half_along __attribute__((aligned(1)));
    return *(__global const half_along *)p;
#else
    return halves((uint16)(p[0] | (uint)p[1] << 8)).s0;
#endif
}

#if SOURCE < 3
/* 16 elements from p on, of which the first `count` are there; the others are 0. */
static inline float16 sixteen(__global const uchar *p, int count)
{
#if SOURCE == 0
    uint bits[16];
    __global const uint *from = (__global const uint *)p;
#else
    ushort bits[16];
    __global const ushort *from = (__global const ushort *)p;
#endif
    for (int i = 0; i < 16; i++) bits[i] = i < count ? from[i] : 0;
    const uint16 v = convert_uint16(vload16(0, bits));
    return SOURCE == 0 ? as_float16(v) : SOURCE == 1 ? halves(v) : as_float16(v << 16);
}
#endif

/* 16 unsigned bytes from p on. */
static inline int16 bytes(__global const uchar *p)
{
    return convert_int16(vload16(0, p));
}

typedef float16 along16 __attribute__((aligned(4))); /* one store where PoCL's vstore16 is four */

/* Elements [32 part, 32 part + count) of a row, and 0 up to 32, to out. Block types have whole parts only. */
static inline void row_part(__global const uchar *row, size_t part, int count, float *out)
{
    float16 low, high;
#if SOURCE < 3
    low = sixteen(row + part * 32 * BYTES, count);
    high = sixteen(row + (part * 32 + 16) * BYTES, count - 16);
#elif SOURCE == 7
    __global const uchar *b = row + part / 8 * BYTES;
    const int a = (int)(part % 8) / 4, k = (int)(part % 4), shift = k < 2 ? 0 : 4;
    __global const uchar *q = b + 64 * a + 32 * (k & 1), *top = b + 128 + 32 * a;
    __global const char *scale = (__global const char *)b + 192 + 8 * a + 2 * k;
    const float d = half_at(b + 208);
    low = (d * (float)scale[0]) * convert_float16((bytes(q) >> shift & 15 | (bytes(top) >> 2 * k & 3) << 4) - 32);
    high = (d * (float)scale[1]) * convert_float16((bytes(q + 16) >> shift & 15 | (bytes(top + 16) >> 2 * k & 3) << 4) - 32);
#else
    __global const uchar *b = row + part * BYTES;
    const float d = half_at(b);
#if SOURCE == 6
    low = d * convert_float16(as_char16(vload16(0, b + 2)));
    high = d * convert_float16(as_char16(vload16(0, b + 18)));
#elif SOURCE == 4
    const int16 q = bytes(b + 2);
    low = d * convert_float16((q & 15) - 8);
    high = d * convert_float16((q >> 4) - 8);
#else
    const int16 q = bytes(b + 4);
    const float m = half_at(b + 2);
    low = d * convert_float16(q & 15);
    high = d * convert_float16(q >> 4);
    low += m;
    high += m;
#endif
#endif
    *(along16 *)out = low;
    *(along16 *)(out + 16) = high;
}
