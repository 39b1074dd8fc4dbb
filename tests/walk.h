/* walk.h - parse bytes in memory and read all that is in them. */
#ifndef TEST_WALK_H
#define TEST_WALK_H

#include "hash.h"

#include "file/file.h"

/* Read everything that an open file hands out; abort where that does not hang together. Needs no running test. */
static inline uint64_t walk(const clpeft_file *file)
{
    uint64_t h = 0;
    for (size_t i = 0; i < clpeft_file_tensors(file); i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(file, i);
        if (clpeft_file_find(file, t->name) != t) abort();
        h = hash_bytes(t->dims, t->n_dims * sizeof *t->dims, h);
        h = hash_bytes(t->data, t->bytes, h);
        if (clpeft_dtype_block(t->dtype) == 0 || t->dtype == CLPEFT_I64 || t->dtype == CLPEFT_I32) continue;
        float *values = malloc(t->elements * 4 + 1);
        if (!values || clpeft_file_read_f32(t, 0, t->elements, values) != CLPEFT_OK) abort();
        h = hash_bytes(values, t->elements * 4, h);
        free(values);
    }
    for (size_t i = 0; i < clpeft_file_metas(file); i++) {
        const clpeft_meta *meta = clpeft_file_meta_at(file, i);
        clpeft_meta item;
        h = hash_bytes(meta->key, strlen(meta->key), h);
        h = hash_bytes(meta->string, meta->string_bytes, h);
        for (uint64_t k = 0; clpeft_file_meta_item(file, meta, k, &item); k++)
            h = hash_bytes(item.string, item.string_bytes, h);
    }
    return h;
}

#endif
