/* store.h - what an open file holds. Everything in it lives until clpeft_file_close. */
#ifndef CLP_FILE_STORE_H
#define CLP_FILE_STORE_H

#include "clpeft/file.h"
#include "file/names.h"

/* Where a GGUF value lies in the file. */
typedef struct {
    const unsigned char *start; /* of the key, for a copy as it is */
    size_t bytes;               /* of key and value */
    uint32_t type;              /* GGUF's number; of an array, that of its elements */
    const unsigned char *items; /* of an array */
    const uint64_t *strings;    /* of an array of strings: where each one's length starts, counted from items */
} clp_gguf_value;

struct clpeft_file {
    clpeft_format format;
    const unsigned char *bytes;
    size_t size;
    int mapped;
    clpeft_file_tensor *tensors;
    clp_name *tensor_names;
    size_t n_tensors;
    clpeft_meta *metas;
    clp_gguf_value *values; /* one per meta; NULL for safetensors */
    clp_name *meta_names;
    size_t n_metas;
    struct clp_piece *pieces; /* the memory behind all of these */
};

/* count * size zeroed bytes that live as long as the file. NULL: out of memory, and recorded as the failure. */
void *clp_file_alloc(clpeft_file *file, size_t count, size_t size);

/* A zero-terminated copy. NULL as above. */
char *clp_file_string(clpeft_file *file, const char *text, size_t bytes);

void clp_file_free(clpeft_file *file);

#endif
