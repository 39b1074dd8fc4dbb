/* file.h - tensor files: safetensors and GGUF, read through one interface, written atomically.
 *
 * A file is mapped, not copied, and hostile until checked: open refuses every file that breaks its format, with the rule
 * that it breaks, and afterwards no accessor can read out of bounds. */
#ifndef CLPEFT_FILE_H
#define CLPEFT_FILE_H

#include "clpeft/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clpeft_file clpeft_file;

typedef enum { CLPEFT_SAFETENSORS, CLPEFT_GGUF } clpeft_format;

/* A tensor of an open file. dims as in row-major shapes, slowest first: a GGUF matrix of ne = [in, out] has dims
 * {out, in}. n_dims 0 is one element. data is not aligned to its type: copy, do not cast. */
typedef struct {
    const char *name; /* zero-terminated, and without a zero byte inside */
    clpeft_dtype dtype;
    const char *dtype_name; /* as the file spells it: "BF16", "Q4_1", "F8_E4M3" */
    size_t n_dims;
    const uint64_t *dims;
    uint64_t elements, bytes;
    const void *data;
} clpeft_file_tensor;

/* A metadata value. safetensors has strings only. */
typedef enum {
    CLPEFT_META_STRING,
    CLPEFT_META_BOOL,  /* integer is 0 or 1 */
    CLPEFT_META_INT,   /* any integer type, as i64 (a u64 above 2^63 - 1 is kept as its bits) */
    CLPEFT_META_FLOAT, /* f32 or f64, as f64 */
    CLPEFT_META_ARRAY  /* of element type `element`; read by clpeft_file_meta_item */
} clpeft_meta_type;
typedef struct {
    const char *key; /* zero-terminated; a GGUF key that holds a zero byte appears cut and is found by index only */
    clpeft_meta_type type, element;
    const char *string; /* zero-terminated; string_bytes without that zero (zero bytes inside count) */
    size_t string_bytes;
    int64_t integer;
    double number;
    uint64_t count; /* of an array */
} clpeft_meta;

/* Open and check a file. The format is told by the first bytes (GGUF's magic, or the brace of a safetensors header);
 * where they leave it open, by the end of the name, .safetensors or .gguf. *file is set on success only. Everything
 * handed out is borrowed and valid until clpeft_file_close. The file must not be changed meanwhile: where another
 * process cuts it short, reading the lost part ends this process (SIGBUS). Replacing it by rename is safe.
 * Errors:  CLPEFT_FILE_ERROR          the operating system's reason, or not a regular file
 *          CLPEFT_INVALID_FILE        the rule that is broken, and where: a name or a byte position
 *          CLPEFT_OUT_OF_HOST_MEMORY */
CLPEFT_API clpeft_status clpeft_file_open(clpeft_file **file, const char *path);
CLPEFT_API void clpeft_file_close(clpeft_file *file);
CLPEFT_API clpeft_format clpeft_file_format(const clpeft_file *file);

/* Tensors by index, in the order of their data (NULL past the end), and by name in O(log n) (NULL: none). */
CLPEFT_API size_t clpeft_file_tensors(const clpeft_file *file);
CLPEFT_API const clpeft_file_tensor *clpeft_file_tensor_at(const clpeft_file *file, size_t index);
CLPEFT_API const clpeft_file_tensor *clpeft_file_find(const clpeft_file *file, const char *name);

/* Metadata in file order, in the same two ways. */
CLPEFT_API size_t clpeft_file_metas(const clpeft_file *file);
CLPEFT_API const clpeft_meta *clpeft_file_meta_at(const clpeft_file *file, size_t index);
CLPEFT_API const clpeft_meta *clpeft_file_meta_find(const clpeft_file *file, const char *key);
/* Item index of an array value of this file; item->key is NULL. Random access costs O(1). Returns 1, or 0 when past the
 * end or no array of this file (item is untouched then). Strings of an item are not zero-terminated: use string_bytes. */
CLPEFT_API int clpeft_file_meta_item(const clpeft_file *file, const clpeft_meta *array, uint64_t index,
                                     clpeft_meta *item);

/* Widen elements [first, first + count) of a float or block tensor to f32, bit for bit as the gguf package does. A block
 * tensor needs first and count at block boundaries.
 * Errors:  CLPEFT_UNSUPPORTED   an integer type, or CLPEFT_OTHER
 *          CLPEFT_INVALID_SIZE  past the end, or inside a block */
CLPEFT_API clpeft_status clpeft_file_read_f32(const clpeft_file_tensor *tensor, uint64_t first, uint64_t count,
                                              float *out);

/* Elements and bytes of a block: 1 and 4 for F32, 32 and 18 for Q4_0, ...; 0 and 0 for CLPEFT_OTHER. */
CLPEFT_API size_t clpeft_dtype_block(clpeft_dtype dtype);
CLPEFT_API size_t clpeft_dtype_bytes(clpeft_dtype dtype);
CLPEFT_API const char *clpeft_dtype_name(clpeft_dtype dtype);

/* Narrow count values to F16 or BF16 (round to nearest even; a NaN stays a NaN, too large becomes infinite), to Q8_0 (per
 * 32 values d = max|x| / 127, q = x / d rounded, halves away from zero; as the reference), or copy F32.
 * Errors:  CLPEFT_INVALID_SIZE  count is no multiple of the block
 *          CLPEFT_NOT_FINITE    Q8_0: a value is not finite, or d is too large for F16; earlier blocks are written
 *          CLPEFT_UNSUPPORTED   another type */
CLPEFT_API clpeft_status clpeft_dtype_from_f32(clpeft_dtype dtype, const float *in, size_t count, void *out);
/* Widen count values, a multiple of the block. in need not be aligned. Errors as clpeft_file_read_f32. */
CLPEFT_API clpeft_status clpeft_dtype_to_f32(clpeft_dtype dtype, const void *in, size_t count, float *out);

/* A tensor to write: data in its dtype, row-major, borrowed until the call returns. */
typedef struct {
    const char *name;
    clpeft_dtype dtype; /* safetensors: F32, F16, BF16, F64, I64, I32; GGUF: these and the block types */
    const char
        *dtype_name;  /* for CLPEFT_OTHER, to carry a tensor over: the type as the file spells it; else not read */
    size_t n_dims;    /* at most 4 */
    uint64_t dims[4]; /* slowest first */
    const void *data;
} clpeft_write_tensor;
typedef struct {
    const char *key, *value;
} clpeft_write_meta;

/* Write a safetensors file by the reference's layout: the metadata {"format":"pt"} and the pairs given, then the tensors,
 * larger types first, then by name. Atomic: a temporary file of mode 0600 beside it, fsync, rename, fsync of the folder;
 * on failure the old file is untouched and nothing is left (but when only the last step fails, the new file is in place).
 * Errors:  CLPEFT_FILE_ERROR        the operating system's reason
 *          CLPEFT_INVALID_ARGUMENT  a name or key that is NULL, not UTF-8 or given twice; data NULL
 *          CLPEFT_INVALID_SIZE      more than 4 dimensions, sizes that overflow, or no whole number of blocks
 *          CLPEFT_UNSUPPORTED       a type that the format lacks
 *          CLPEFT_OUT_OF_HOST_MEMORY */
CLPEFT_API clpeft_status clpeft_safetensors_write(const char *path, const clpeft_write_meta *metas, size_t n_metas,
                                                  const clpeft_write_tensor *tensors, size_t n_tensors);

/* Values of a GGUF's metadata to write. CLPEFT_GGUF_COPY takes key and value over from an open GGUF file as they are. */
typedef struct {
    const char *key;
    enum { CLPEFT_GGUF_STRING, CLPEFT_GGUF_F32, CLPEFT_GGUF_U32, CLPEFT_GGUF_BOOL, CLPEFT_GGUF_COPY } type;
    const char *string;
    float f32;
    uint32_t u32; /* also the bool */
    const clpeft_file *copy;
} clpeft_gguf_meta;
/* Write a GGUF file (version 3) with tensors in the order given, every one padded to the alignment: 32, or the value of
 * general.alignment where it is among the metas. Atomically, with errors as above; also CLPEFT_INVALID_ARGUMENT for a
 * key to copy that its file lacks, a bad alignment, an empty key, and a tensor name longer than 63 bytes. */
CLPEFT_API clpeft_status clpeft_gguf_write(const char *path, const clpeft_gguf_meta *metas, size_t n_metas,
                                           const clpeft_write_tensor *tensors, size_t n_tensors);

/* Replace path by size bytes, atomically as above. */
CLPEFT_API clpeft_status clpeft_file_replace(const char *path, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
