/* strip.cl - long loops in strips, a work item each: some drivers end all loops of a work item after 65,535 steps. */
#define STRIP 512 /* CLP_STRIP in panel.h */
#define STRIP_BEGIN(dim) (get_global_id(dim) * STRIP)
#define STRIP_END(dim, n) min((ulong)(STRIP_BEGIN(dim) + STRIP), (ulong)(n))
