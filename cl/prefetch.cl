/* prefetch.cl - ask for the cache lines of `bytes` from p on, to read or to write them, where a kernel is compiled to machine code that has
 * a word for it: on CPUs OpenCL's prefetch() does nothing, and SPIR-V has no word. PREFETCHES: whether it has. */
#define PREFETCH(p, bytes)
#define PREFETCH_TO_WRITE(p, bytes)
#define PREFETCHES 0
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#undef PREFETCH_TO_WRITE
#undef PREFETCHES
#define PREFETCHES 1
#define EVERY_LINE(p, bytes, write) \
    for (int line = 0; line < (int)(bytes); line += 64) __builtin_prefetch((__global const char *)(p) + line, write)
#define PREFETCH(p, bytes) EVERY_LINE(p, bytes, 0)
#define PREFETCH_TO_WRITE(p, bytes) EVERY_LINE(p, bytes, 1)
#endif
#endif
