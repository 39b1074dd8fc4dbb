/* dtype.c - the element types of tensor files: the table, and widening to and narrowing from f32.
 *
 * Widened values equal those of the gguf Python package bit for bit, which takes the order of operations below and no
 * fused multiply-add (the build sets -ffp-contract=off).
 * Sources: ggml 0.25's types and block layouts; the safetensors package's Dtype. */
#include "file/dtype.h"

#include "status.h"

#include <math.h>

#define NO -1
static const clp_type types[] = {
    /* name, dtype, ggml, rank, block, bits */
    { "F32", CLPEFT_F32, 0, 17, 1, 32 },
    { "F16", CLPEFT_F16, 1, 13, 1, 16 },
    { "BF16", CLPEFT_BF16, 30, 14, 1, 16 },
    { "F64", CLPEFT_F64, 28, 19, 1, 64 },
    { "Q4_0", CLPEFT_Q4_0, 2, NO, 32, 18 * 8 },
    { "Q4_1", CLPEFT_Q4_1, 3, NO, 32, 20 * 8 },
    { "Q8_0", CLPEFT_Q8_0, 8, NO, 32, 34 * 8 },
    { "Q6_K", CLPEFT_Q6_K, 14, NO, 256, 210 * 8 },
    { "I64", CLPEFT_I64, 27, 20, 1, 64 },
    { "I32", CLPEFT_I32, 26, 15, 1, 32 },
    { "U64", CLPEFT_OTHER, NO, 21, 1, 64 },
    { "U32", CLPEFT_OTHER, NO, 16, 1, 32 },
    { "I16", CLPEFT_OTHER, 25, 11, 1, 16 },
    { "U16", CLPEFT_OTHER, NO, 12, 1, 16 },
    { "I8", CLPEFT_OTHER, 24, 5, 1, 8 },
    { "U8", CLPEFT_OTHER, NO, 4, 1, 8 },
    { "BOOL", CLPEFT_OTHER, NO, 0, 1, 8 },
    { "C64", CLPEFT_OTHER, NO, 18, 1, 64 },
    { "F8_E5M2", CLPEFT_OTHER, NO, 6, 1, 8 },
    { "F8_E4M3", CLPEFT_OTHER, NO, 7, 1, 8 },
    { "F8_E8M0", CLPEFT_OTHER, NO, 8, 1, 8 },
    { "F8_E4M3FNUZ", CLPEFT_OTHER, NO, 9, 1, 8 },
    { "F8_E5M2FNUZ", CLPEFT_OTHER, NO, 10, 1, 8 },
    { "F6_E2M3", CLPEFT_OTHER, NO, 2, 1, 6 },
    { "F6_E3M2", CLPEFT_OTHER, NO, 3, 1, 6 },
    { "F4", CLPEFT_OTHER, NO, 1, 1, 4 },
    { "Q5_0", CLPEFT_OTHER, 6, NO, 32, 22 * 8 },
    { "Q5_1", CLPEFT_OTHER, 7, NO, 32, 24 * 8 },
    { "Q8_1", CLPEFT_OTHER, 9, NO, 32, 36 * 8 },
    { "Q2_K", CLPEFT_OTHER, 10, NO, 256, 84 * 8 },
    { "Q3_K", CLPEFT_OTHER, 11, NO, 256, 110 * 8 },
    { "Q4_K", CLPEFT_OTHER, 12, NO, 256, 144 * 8 },
    { "Q5_K", CLPEFT_OTHER, 13, NO, 256, 176 * 8 },
    { "Q8_K", CLPEFT_OTHER, 15, NO, 256, 292 * 8 },
    { "IQ2_XXS", CLPEFT_OTHER, 16, NO, 256, 66 * 8 },
    { "IQ2_XS", CLPEFT_OTHER, 17, NO, 256, 74 * 8 },
    { "IQ3_XXS", CLPEFT_OTHER, 18, NO, 256, 98 * 8 },
    { "IQ1_S", CLPEFT_OTHER, 19, NO, 256, 50 * 8 },
    { "IQ4_NL", CLPEFT_OTHER, 20, NO, 32, 18 * 8 },
    { "IQ3_S", CLPEFT_OTHER, 21, NO, 256, 110 * 8 },
    { "IQ2_S", CLPEFT_OTHER, 22, NO, 256, 82 * 8 },
    { "IQ4_XS", CLPEFT_OTHER, 23, NO, 256, 136 * 8 },
    { "IQ1_M", CLPEFT_OTHER, 29, NO, 256, 56 * 8 },
    { "TQ1_0", CLPEFT_OTHER, 34, NO, 256, 54 * 8 },
    { "TQ2_0", CLPEFT_OTHER, 35, NO, 256, 66 * 8 },
    { "MXFP4", CLPEFT_OTHER, 39, NO, 32, 17 * 8 },
    { "NVFP4", CLPEFT_OTHER, 40, NO, 64, 36 * 8 },
    { "Q1_0", CLPEFT_OTHER, 41, NO, 128, 18 * 8 },
    { "Q2_0", CLPEFT_OTHER, 42, NO, 64, 18 * 8 },
};

const clp_type *clp_type_by_name(const char *name, size_t bytes)
{
    for (size_t i = 0; i < LENGTH(types); i++)
        if (strlen(types[i].name) == bytes && memcmp(types[i].name, name, bytes) == 0) return &types[i];
    return NULL;
}

const clp_type *clp_type_by_dtype(clpeft_dtype dtype)
{
    for (size_t i = 0; i < LENGTH(types); i++)
        if (types[i].dtype == dtype && dtype != CLPEFT_OTHER) return &types[i];
    return NULL;
}

const clp_type *clp_type_by_ggml(uint32_t number)
{
    for (size_t i = 0; i < LENGTH(types); i++)
        if (types[i].ggml != NO && (uint32_t)types[i].ggml == number) return &types[i];
    return NULL;
}

size_t clpeft_dtype_block(clpeft_dtype dtype)
{
    const clp_type *type = clp_type_by_dtype(dtype);
    return type ? type->block : 0;
}

size_t clpeft_dtype_bytes(clpeft_dtype dtype)
{
    const clp_type *type = clp_type_by_dtype(dtype);
    return type ? type->bits / 8 : 0;
}

const char *clpeft_dtype_name(clpeft_dtype dtype)
{
    const clp_type *type = clp_type_by_dtype(dtype);
    return type ? type->name : "other";
}

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. Subnormals are fraction * 2^-24. */
static float widen_half(const unsigned char *in)
{
    const uint32_t h = clp_load_u16(in), sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 0) return float_of_bits(sign | bits_of_float((float)fraction * 0x1p-24f));
    return float_of_bits(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

/* x / 2^shift, to nearest, ties to even; 0 < shift < 32. */
static uint32_t shift_even(uint32_t x, unsigned shift)
{
    return (x + (1u << (shift - 1)) - 1 + (x >> shift & 1)) >> shift;
}

static void store(uint32_t half, unsigned char *out)
{
    const uint16_t bits = (uint16_t)half;
    memcpy(out, &bits, sizeof bits);
}

static uint32_t narrow_half(float x)
{
    const uint32_t bits = bits_of_float(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    const unsigned exponent = size >> 23;
    uint32_t half;

    if (size > 0x7f800000) {
        half = 0x7c00 | (size >> 13 & 0x3ff); /* NaN with the upper bits of its payload */
        if (half == 0x7c00) half++;
    } else if (exponent > 142) {
        half = 0x7c00; /* 2^16 and above */
    } else if (exponent > 112) {
        half = shift_even(size - (112u << 23), 13); /* a carry may pass into the exponent, up to infinity */
    } else if (exponent > 101) {
        half = shift_even((size & 0x7fffff) | 0x800000, 126 - exponent); /* in units of 2^-24 */
    } else {
        half = 0; /* below 2^-25 */
    }
    return sign | half;
}

static uint32_t narrow_bfloat(float x)
{
    const uint32_t bits = bits_of_float(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40; /* a quiet NaN */
    return shift_even(bits, 16);
}

static void widen_f16(const unsigned char *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = widen_half(in + 2 * i);
}

static void widen_bf16(const unsigned char *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = float_of_bits((uint32_t)clp_load_u16(in + 2 * i) << 16);
}

static void widen_f64(const unsigned char *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, in + 8 * i, sizeof x);
        out[i] = (float)x;
    }
}

/* d, q[16]:  d * (q - 8), the low halves of the bytes first */
static void widen_q4_0(const unsigned char *in, size_t n, float *out)
{
    for (; n > 0; n--, in += 18, out += 32) {
        const float d = widen_half(in);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)((in[2 + i] & 15) - 8);
            out[i + 16] = d * (float)((in[2 + i] >> 4) - 8);
        }
    }
}

/* d, m, q[16]:  d * q + m */
static void widen_q4_1(const unsigned char *in, size_t n, float *out)
{
    for (; n > 0; n--, in += 20, out += 32) {
        const float d = widen_half(in), m = widen_half(in + 2);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)(in[4 + i] & 15) + m;
            out[i + 16] = d * (float)(in[4 + i] >> 4) + m;
        }
    }
}

/* d, q[32]:  d * q, q signed */
static void widen_q8_0(const unsigned char *in, size_t n, float *out)
{
    for (; n > 0; n--, in += 34, out += 32) {
        const float d = widen_half(in);
        for (int i = 0; i < 32; i++) out[i] = d * (float)(int8_t)in[2 + i];
    }
}

/* ql[128], qh[64], scale[16] signed, d:  (d * scale) * (q - 32), q of 4 low and 2 high bits, a scale for 16 elements.
 * Element 128 a + 32 k + l: low bits in ql[64 a + 32 (k & 1) + l], in its low half for k < 2; high bits in bits 2 k of
 * qh[32 a + l]. */
static void widen_q6_k(const unsigned char *in, size_t n, float *out)
{
    for (; n > 0; n--, in += 210, out += 256) {
        const unsigned char *ql = in, *qh = in + 128, *scale = in + 192;
        const float d = widen_half(in + 208);
        for (int i = 0; i < 256; i++) {
            const int a = i / 128, k = i / 32 % 4, l = i % 32;
            const int low = ql[64 * a + 32 * (k & 1) + l] >> (k < 2 ? 0 : 4) & 15;
            const int high = qh[32 * a + l] >> 2 * k & 3;
            out[i] = d * (float)(int8_t)scale[i / 16] * (float)((low | high << 4) - 32);
        }
    }
}

clpeft_status clpeft_dtype_to_f32(clpeft_dtype dtype, const void *in, size_t count, float *out)
{
    const size_t block = clpeft_dtype_block(dtype);
    clpeft_status status = CLPEFT_OK;

    REQUIRE(block > 0 && dtype != CLPEFT_I64 && dtype != CLPEFT_I32, CLPEFT_UNSUPPORTED,
            "type %s cannot be read as floats", clpeft_dtype_name(dtype));
    REQUIRE(count % block == 0, CLPEFT_INVALID_SIZE, "%zu elements of %s: not a multiple of its block of %zu", count,
            clpeft_dtype_name(dtype), block);
    if (count == 0) goto out;
    REQUIRE(in && out, CLPEFT_INVALID_ARGUMENT, "clpeft_dtype_to_f32: in or out is NULL");
    switch (dtype) {
    case CLPEFT_F32: memcpy(out, in, count * sizeof *out); break;
    case CLPEFT_F16: widen_f16(in, count, out); break;
    case CLPEFT_BF16: widen_bf16(in, count, out); break;
    case CLPEFT_F64: widen_f64(in, count, out); break;
    case CLPEFT_Q4_0: widen_q4_0(in, count / block, out); break;
    case CLPEFT_Q4_1: widen_q4_1(in, count / block, out); break;
    case CLPEFT_Q8_0: widen_q8_0(in, count / block, out); break;
    default: widen_q6_k(in, count / block, out); break;
    }
out:
    return status;
}

/* Where 1/d overflows, d is 0 in F16 and q does not matter. */
static clpeft_status narrow_q8_0(const float *in, size_t n, unsigned char *out)
{
    clpeft_status status = CLPEFT_OK;
    for (size_t b = 0; b < n; b++, in += 32, out += 34) {
        float largest = 0;
        for (int i = 0; i < 32; i++) {
            REQUIRE(isfinite(in[i]), CLPEFT_NOT_FINITE, "Q8_0: element %zu is not finite", 32 * b + (size_t)i);
            largest = fmaxf(largest, fabsf(in[i]));
        }
        const float d = largest / 127, inverse = d > 0 && isfinite(1 / d) ? 1 / d : 0;
        const uint32_t half = narrow_half(d);
        REQUIRE(half < 0x7c00, CLPEFT_NOT_FINITE, "Q8_0: element %g of block %zu is too large", (double)largest, b);
        store(half, out);
        for (int i = 0; i < 32; i++) out[2 + i] = (unsigned char)(int8_t)roundf(in[i] * inverse);
    }
out:
    return status;
}

clpeft_status clpeft_dtype_from_f32(clpeft_dtype dtype, const float *in, size_t count, void *out)
{
    const size_t block = clpeft_dtype_block(dtype);
    clpeft_status status = CLPEFT_OK;
    unsigned char *half = out;

    REQUIRE(dtype == CLPEFT_F32 || dtype == CLPEFT_F16 || dtype == CLPEFT_BF16 || dtype == CLPEFT_Q8_0,
            CLPEFT_UNSUPPORTED, "floats cannot be written as %s", clpeft_dtype_name(dtype));
    REQUIRE(count % block == 0, CLPEFT_INVALID_SIZE, "%zu elements of %s: not a multiple of its block of %zu", count,
            clpeft_dtype_name(dtype), block);
    if (count == 0) goto out;
    REQUIRE(in && out, CLPEFT_INVALID_ARGUMENT, "clpeft_dtype_from_f32: in or out is NULL");
    if (dtype == CLPEFT_F32) {
        memcpy(out, in, count * sizeof *in);
    } else if (dtype == CLPEFT_F16) {
        for (size_t i = 0; i < count; i++) store(narrow_half(in[i]), half + 2 * i);
    } else if (dtype == CLPEFT_BF16) {
        for (size_t i = 0; i < count; i++) store(narrow_bfloat(in[i]), half + 2 * i);
    } else {
        TRY(narrow_q8_0(in, count / block, out));
    }
out:
    return status;
}
