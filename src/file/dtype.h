/* dtype.h - the element types of tensor files: names, numbers and block sizes. */
#ifndef CLP_FILE_DTYPE_H
#define CLP_FILE_DTYPE_H

#include "clpeft/file.h"

#include <string.h>

/* Files are little endian and are read by copying bytes into numbers. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "clpeft needs a little-endian host"
#endif

/* A type as a file names it. A block of `block` elements takes `bits` bits. */
typedef struct {
    const char *name;
    clpeft_dtype dtype; /* CLPEFT_OTHER: carried, not read */
    int ggml;           /* number in GGUF, or -1 */
    int rank;           /* place in the order of safetensors' dtypes, smallest type first, or -1 */
    unsigned block, bits;
} clp_type;

/* NULL: there is no such type. A name need not be zero-terminated. */
const clp_type *clp_type_by_name(const char *name, size_t bytes);
const clp_type *clp_type_by_dtype(clpeft_dtype dtype);
const clp_type *clp_type_by_ggml(uint32_t number);

static inline uint16_t clp_load_u16(const void *p)
{
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t clp_load_u32(const void *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t clp_load_u64(const void *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

#endif
