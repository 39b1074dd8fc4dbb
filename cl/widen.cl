/* widen.cl - plain rows of W0 [N,K] in any type, or panels, to f32 operands.
 *   -D SOURCE=  type of the rows: 0 f32, 1 f16, 2 bf16, 4 Q4_0, 5 Q4_1, 6 Q8_0, 7 Q6_K (clpeft_dtype)
 *   -D TARGET=  0 panels of W0^T [ceil(N/NR)][K][NR], 1 panels of W0 [ceil(K/NR)][N][NR], 2 plain rows
 * Formulas of the blocks, in this order of operations: the GGUF specification and gguf-py. */

static inline float half_at(__global const uchar *p)
{
    const uint h = p[0] | (uint)p[1] << 8, rest = h & 0x7fff, sign = (h & 0x8000) << 16;
    /* All exponent bits set: infinity or NaN. Else moved into place and rescaled: exact for denormal halves too. */
    const uint wide = rest >= 0x7c00 ? 0x7f800000 | (rest & 0x3ff) << 13 : as_uint(as_float(rest << 13) * 0x1p112f);
    return as_float(wide | sign);
}

#if SOURCE == 0
#define BLOCK 1
#define BYTES 4
#elif SOURCE == 1 || SOURCE == 2
#define BLOCK 1
#define BYTES 2
#elif SOURCE == 4
#define BLOCK 32
#define BYTES 18
#elif SOURCE == 5
#define BLOCK 32
#define BYTES 20
#elif SOURCE == 6
#define BLOCK 32
#define BYTES 34
#else
#define BLOCK 256
#define BYTES 210
#endif

/* Elements [32 part, 32 part + count) of a row, count at most 32, into out. */
static inline void row_part(__global const uchar *row, size_t part, int count, float *out)
{
#if BLOCK == 1
    for (int i = 0; i < count; i++) {
        __global const uchar *p = row + (part * 32 + i) * BYTES;
#if SOURCE == 0
        out[i] = as_float(p[0] | (uint)p[1] << 8 | (uint)p[2] << 16 | (uint)p[3] << 24);
#elif SOURCE == 1
        out[i] = half_at(p);
#else
        out[i] = as_float((uint)p[0] << 16 | (uint)p[1] << 24);
#endif
    }
#elif SOURCE == 7
    __global const uchar *b = row + part / 8 * BYTES;
    const int a = (int)(part % 8) / 4, k = (int)(part % 4);
    const float d = half_at(b + 208);
    for (int l = 0; l < 32; l++) {
        const int low = b[64 * a + 32 * (k & 1) + l] >> (k < 2 ? 0 : 4) & 15, high = b[128 + 32 * a + l] >> 2 * k & 3;
        out[l] = (d * (float)as_char(b[192 + 8 * a + 2 * k + l / 16])) * (float)((low | high << 4) - 32);
    }
#else
    __global const uchar *b = row + part * BYTES;
    const float d = half_at(b);
    for (int i = 0; i < 16; i++) {
#if SOURCE == 4
        out[i] = d * (float)((b[2 + i] & 15) - 8);
        out[16 + i] = d * (float)((b[2 + i] >> 4) - 8);
#elif SOURCE == 5
        const float low = d * (float)(b[4 + i] & 15), high = d * (float)(b[4 + i] >> 4), m = half_at(b + 2);
        out[i] = low + m;
        out[16 + i] = high + m;
#else
        out[i] = d * (float)as_char(b[2 + i]);
        out[16 + i] = d * (float)as_char(b[18 + i]);
#endif
    }
#endif
}

/* NR rows of one work item: 32 columns at a time.   Launch: global ceil(N/NR). row_bytes: from one row to the next. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void widen(ulong N, ulong K, ulong row_bytes, __global const uchar *w, ulong w_off, __global float *out, ulong out_off)
{
    const size_t j = get_global_id(0);
    const int rows = (int)min((ulong)NR, N - j * NR);
    float tile[NR][32];
    out += out_off;
    w += w_off + j * NR * row_bytes;
    for (size_t k0 = 0; k0 < K; k0 += 32) {
        const int count = (int)min((ulong)32, K - k0);
        for (int r = 0; r < NR; r++) {
            if (r < rows) row_part(w + r * row_bytes, k0 / 32, count, tile[r]);
            else
                for (int k = 0; k < 32; k++) tile[r][k] = 0.0f;
        }
#if TARGET == 0
        for (int k = 0; k < count; k++)
            for (int r = 0; r < NR; r++) out[(j * K + k0 + k) * NR + r] = tile[r][k];
#elif TARGET == 1
        const int padded = k0 + 32 >= K ? (int)((K + NR - 1) / NR * NR - k0) : 32; /* the last panel's columns past K are 0 */
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < padded; k++)
                out[((k0 + k) / NR * N + j * NR + r) * NR + (k0 + k) % NR] = k < count ? tile[r][k] : 0.0f;
#else
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < count; k++) out[(j * NR + r) * K + k0 + k] = tile[r][k];
#endif
    }
}
