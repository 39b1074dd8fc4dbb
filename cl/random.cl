/* random.cl - counter-based random numbers. */
/* The upper half of a product of lanes; mul_hi of vectors is slower on CPUs. */
#if VW == 1
#define MUL_HIGH(v, m) mul_hi(v, m)
#else
#define MUL_HIGH(v, m) CAT(convert_uint, VW)(CAT(convert_ulong, VW)(v) * m >> 32)
#endif

/* Philox4x32-10 on lanes (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): counters c[0..3], keys k0, k1;
 * c becomes four random words per lane. */
static inline void philox(VU *c, uint k0, uint k1)
{
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const VU high0 = MUL_HIGH(c[0], 0xD2511F53u), low0 = c[0] * 0xD2511F53u;
        const VU high1 = MUL_HIGH(c[2], 0xCD9E8D57u), low1 = c[2] * 0xCD9E8D57u;
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
    }
}

/* The first word of counters n, n + 1, ... (one per lane) under key. */
static inline VU philox_word(ulong n, ulong key)
{
    VU c[4] = { (VU)((uint)n) + AS_VU(LANES), (VU)((uint)(n >> 32)), (VU)(0u), (VU)(0u) };
    c[1] += select((VU)(0u), (VU)(1u), c[0] < (VU)((uint)n)); /* carry */
    philox(c, (uint)key, (uint)(key >> 32));
    return c[0];
}
