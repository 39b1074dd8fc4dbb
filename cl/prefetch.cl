/* prefetch.cl - ask for the cache lines of `bytes` from p on, to read or to write them, where a kernel is compiled to machine code that has
 * a word for it: on CPUs OpenCL's prefetch() does nothing, and SPIR-V has no word. PREFETCHES: whether it has.
 * What is to be read comes into the second-level cache: the first is full of what is in use, and would lose that or the lines asked for.
 * PREFETCH_SOON: into the first, for a stream that is read within some tens of lines. */
#define PREFETCH(p, bytes)
#define PREFETCH_SOON(p, bytes)
#define PREFETCH_TO_WRITE(p, bytes)
#define PREFETCHES 0
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#undef PREFETCH_SOON
#undef PREFETCH_TO_WRITE
#undef PREFETCHES
#define PREFETCHES 1
#define EVERY_LINE(p, bytes, write, level) \
    for (int line = 0; line < (int)(bytes); line += 64) __builtin_prefetch((__global const char *)(p) + line, write, 4 - level)
#define PREFETCH(p, bytes) EVERY_LINE(p, bytes, 0, 2)
#define PREFETCH_SOON(p, bytes) EVERY_LINE(p, bytes, 0, 1)
#define PREFETCH_TO_WRITE(p, bytes) EVERY_LINE(p, bytes, 1, 1)
#endif
#endif
