/* transpose.cl - a square of VW x VW elements in private memory, turned over.   TILE: the type of VW elements */
#define ALL_LANES CAT(ALL, VW)
#if VW == 16
#define ALL_PAIRS ALL8
#elif VW == 8
#define ALL_PAIRS ALL4
#else
#define ALL_PAIRS ALL2
#endif

/* a[i] lane j changes place with a[j] lane i: log2(VW) times, the even and the odd lanes of all rows in turn are parted. */
static inline void transpose(TILE *a)
{
#if VW > 1
#define PART(i) b[i] = (TILE)(a[2 * i].even, a[2 * i + 1].even), b[i + VW / 2] = (TILE)(a[2 * i].odd, a[2 * i + 1].odd);
#define BACK(i) a[i] = b[i];
    TILE b[VW];
    for (int step = 1; step < VW; step *= 2) {
        ALL_PAIRS(PART)
        ALL_LANES(BACK)
    }
#endif
}
