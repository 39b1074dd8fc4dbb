/* prefetch.cl - ask for the cache lines of `bytes` from p on, where a kernel is compiled to machine code that has a word for it: on CPUs
 * OpenCL's prefetch() does nothing, and SPIR-V has no word. */
#define PREFETCH(p, bytes)
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__has_builtin)
#if __has_builtin(__builtin_prefetch)
#undef PREFETCH
#define PREFETCH(p, bytes) for (int line = 0; line < (int)(bytes); line += 64) __builtin_prefetch((__global const char *)(p) + line)
#endif
#endif
