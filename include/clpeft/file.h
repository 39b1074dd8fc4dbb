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
 * {out, in}. data is not aligned to its type. */
typedef struct {
    const char *name;
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
    CLPEFT_META_BOOL,
    CLPEFT_META_INT,   /* any integer type, as i64 (a u64 above 2^63 - 1 is kept as its bits) */
    CLPEFT_META_FLOAT, /* f32 or f64, as f64 */
    CLPEFT_META_ARRAY  /* of element type `element`; read by clpeft_file_meta_item */
} clpeft_meta_type;
typedef struct {
    const char *key;
    clpeft_meta_type type, element;
    const char *string; /* zero-terminated; string_bytes without the zero (it may hold zero bytes in GGUF) */
    size_t string_bytes;
    int64_t integer;
    double number;
    uint64_t count; /* of an array */
} clpeft_meta;

/* Open and check a file; its format is told by its first bytes and, where they leave it open, by the end of its name.
 * Everything handed out is borrowed and valid until clpeft_file_close. The file must not be changed meanwhile.
 * Errors:  CLPEFT_FILE_ERROR (the system's reason), CLPEFT_INVALID_FILE (rule and place), CLPEFT_OUT_OF_HOST_MEMORY */
CLPEFT_API clpeft_status clpeft_file_open(clpeft_file **file, const char *path);
CLPEFT_API void clpeft_file_close(clpeft_file *file);
CLPEFT_API clpeft_format clpeft_file_format(const clpeft_file *file);

CLPEFT_API size_t clpeft_file_tensors(const clpeft_file *file);
CLPEFT_API const clpeft_file_tensor *clpeft_file_tensor_at(const clpeft_file *file, size_t index); /* file order; NULL past the end */
CLPEFT_API const clpeft_file_tensor *clpeft_file_find(const clpeft_file *file, const char *name);  /* NULL: none */

CLPEFT_API size_t clpeft_file_metas(const clpeft_file *file);
CLPEFT_API const clpeft_meta *clpeft_file_meta_at(const clpeft_file *file, size_t index);
CLPEFT_API const clpeft_meta *clpeft_file_meta_find(const clpeft_file *file, const char *key);
/* Item index of an array value; item->key is NULL. Random access costs O(1). 0 when past the end or no array.
 * Strings of an item are not zero-terminated: use string_bytes. */
CLPEFT_API int clpeft_file_meta_item(const clpeft_file *file, const clpeft_meta *array, uint64_t index, clpeft_meta *item);

/* Widen elements [first, first + count) of a float or block tensor to f32, bit for bit as the gguf package does. A block
 * tensor needs first and count at block boundaries. i64 and i32 tensors are refused. CLPEFT_UNSUPPORTED for others. */
CLPEFT_API clpeft_status clpeft_file_read_f32(const clpeft_file_tensor *tensor, uint64_t first, uint64_t count, float *out);

/* Elements and bytes of a block: 1 and 4 for F32, 32 and 18 for Q4_0, ... */
CLPEFT_API size_t clpeft_dtype_block(clpeft_dtype dtype);
CLPEFT_API size_t clpeft_dtype_bytes(clpeft_dtype dtype);
CLPEFT_API const char *clpeft_dtype_name(clpeft_dtype dtype);
/* Narrow f32 to F16 or BF16 (round to nearest even) or widen back; count elements. Also Q8_0 (the reference's rounding), count a
 * multiple of 32. CLPEFT_UNSUPPORTED for other pairs. */
CLPEFT_API clpeft_status clpeft_dtype_from_f32(clpeft_dtype dtype, const float *in, size_t count, void *out);
CLPEFT_API clpeft_status clpeft_dtype_to_f32(clpeft_dtype dtype, const void *in, size_t count, float *out);

/* A tensor to write: data in its dtype, row-major, borrowed until the call returns. */
typedef struct {
    const char *name;
    clpeft_dtype dtype; /* F32, F16, BF16, F64, I64, I32; in GGUF also Q8_0 and the other block types */
    size_t n_dims;
    uint64_t dims[4];
    const void *data;
} clpeft_write_tensor;
typedef struct {
    const char *key, *value;
} clpeft_write_meta;

/* Write a safetensors file by the reference's layout: metadata {"format":"pt"} and the pairs given. Atomic: a temporary
 * file of mode 0600 beside it, fsync, rename, fsync of the folder; on failure the old file is untouched and nothing is left. */
CLPEFT_API clpeft_status clpeft_safetensors_write(const char *path, const clpeft_write_meta *metas, size_t n_metas,
                                                  const clpeft_write_tensor *tensors, size_t n_tensors);

/* Values of a GGUF's metadata to write. copy != NULL takes key and value over from an open GGUF file as they are. */
typedef struct {
    const char *key;
    enum { CLPEFT_GGUF_STRING, CLPEFT_GGUF_F32, CLPEFT_GGUF_U32, CLPEFT_GGUF_BOOL, CLPEFT_GGUF_COPY } type;
    const char *string;
    float f32;
    uint32_t u32; /* also the bool */
    const clpeft_file *copy;
} clpeft_gguf_meta;
/* Write a GGUF file (v3, alignment 32, every tensor padded), atomically as above. */
CLPEFT_API clpeft_status clpeft_gguf_write(const char *path, const clpeft_gguf_meta *metas, size_t n_metas,
                                           const clpeft_write_tensor *tensors, size_t n_tensors);

/* Replace path by size bytes, atomically as above. */
CLPEFT_API clpeft_status clpeft_file_replace(const char *path, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
