/* pretrained.h - the pretrained tensors of a model's folder: found by name, checked against a shape, and hashed on the way. */
#ifndef CLP_PRETRAINED_H
#define CLP_PRETRAINED_H

#include "clpeft/file.h"
#include "config.h"
#include "launch.h"

typedef struct {
    clpeft_file *file;
    json_t *config;     /* config.json; NULL for a GGUF file */
    const char *type;   /* model_type of the config, or general.architecture */
    const char *prefix; /* before the name of every tensor: "", "bert.", ... */
    uint64_t hash;      /* of what was found so far: names without prefix, shapes, a sample of the bytes */
} clp_pretrained;

/* Open a Hugging Face folder (config.json, model.safetensors) or a GGUF file. */
clpeft_status clp_pretrained_open(clp_pretrained *w, const char *path);
void clp_pretrained_close(clp_pretrained *w);

/* Set the prefix to the first of n with which a tensor `name` is there. Returns 0 if there is none. */
int clp_pretrained_prefix(clp_pretrained *w, const char *const *prefixes, size_t n, const char *name);

/* Add numbers of the configuration to the hash. */
void clp_pretrained_hash(clp_pretrained *w, const void *bytes, size_t n);

int clp_pretrained_has(const clp_pretrained *w, const char *name);

/* How linear layers are kept: as wanted (F32, F16 or BF16), but not wider than the file's matrices all are. */
clpeft_dtype clp_pretrained_dtype(const clp_pretrained *w, clpeft_dtype wanted);

/* A float tensor [rows,cols], or with cols 0 [rows]. Errors:  CLPEFT_INVALID_FILE  missing, or of another shape (the message
 * names it); CLPEFT_UNSUPPORTED  not of a float type. */
clpeft_status clp_pretrained_find(clp_pretrained *w, const char *name, size_t rows, size_t cols,
                                  const clpeft_file_tensor **tensor);
/* The same of n_dims dimensions, 4 at most. */
clpeft_status clp_pretrained_shape(clp_pretrained *w, const char *name, size_t n_dims, const size_t *dims,
                                   const clpeft_file_tensor **tensor);
/* A vector, as f32 in host memory. */
clpeft_status clp_pretrained_vector(clp_pretrained *w, const char *name, size_t n, float *out);
/* The same, as f32 in a new buffer. */
clpeft_status clp_pretrained_table(clp_pretrained *w, clpeft_context *ctx, const char *name, size_t rows, size_t cols,
                                   clpeft_view *table);

#endif
