/* store.c - what an open file holds, and the accessors that hand it out. */
#include "file/store.h"

#include "file/dtype.h"
#include "handle.h"

#include <stdlib.h>
#include <string.h>

typedef struct clp_piece {
    struct clp_piece *next;
    max_align_t bytes[];
} piece;

void *clp_file_alloc(clpeft_file *file, size_t count, size_t size)
{
    size_t bytes;
    piece *p = NULL;
    if (!clp_mul(count, size, &bytes) && !clp_sum(bytes, sizeof *p, &bytes)) p = calloc(1, bytes);
    if (!p) {
        clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "out of memory: %zu x %zu bytes", count, size);
        return NULL;
    }
    p->next = file->pieces;
    file->pieces = p;
    return p->bytes;
}

char *clp_file_string(clpeft_file *file, const char *text, size_t bytes)
{
    char *copy = clp_file_alloc(file, bytes + 1, 1);
    if (copy && bytes) memcpy(copy, text, bytes);
    return copy;
}

void clp_file_free(clpeft_file *file)
{
    if (!clp_handle_end(file, CLP_HANDLE_FILE)) return;
    for (piece *p = file->pieces, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(file);
}

clpeft_format clpeft_file_format(const clpeft_file *file)
{
    return clp_is_live(file, CLP_HANDLE_FILE) ? file->format : CLPEFT_SAFETENSORS;
}

size_t clpeft_file_tensors(const clpeft_file *file)
{
    return clp_is_live(file, CLP_HANDLE_FILE) ? file->n_tensors : 0;
}

const clpeft_file_tensor *clpeft_file_tensor_at(const clpeft_file *file, size_t index)
{
    return clp_is_live(file, CLP_HANDLE_FILE) && index < file->n_tensors ? &file->tensors[index] : NULL;
}

const clpeft_file_tensor *clpeft_file_find(const clpeft_file *file, const char *name)
{
    const clp_name *found = name && clp_is_live(file, CLP_HANDLE_FILE)
                                ? clp_names_find(file->tensor_names, file->n_tensors, name, strlen(name))
                                : NULL;
    return found ? &file->tensors[found->at] : NULL;
}

size_t clpeft_file_metas(const clpeft_file *file)
{
    return clp_is_live(file, CLP_HANDLE_FILE) ? file->n_metas : 0;
}

const clpeft_meta *clpeft_file_meta_at(const clpeft_file *file, size_t index)
{
    return clp_is_live(file, CLP_HANDLE_FILE) && index < file->n_metas ? &file->metas[index] : NULL;
}

const clpeft_meta *clpeft_file_meta_find(const clpeft_file *file, const char *key)
{
    const clp_name *found = key && clp_is_live(file, CLP_HANDLE_FILE)
                                ? clp_names_find(file->meta_names, file->n_metas, key, strlen(key))
                                : NULL;
    return found ? &file->metas[found->at] : NULL;
}

clpeft_status clpeft_file_read_f32(const clpeft_file_tensor *tensor, uint64_t first, uint64_t count, float *out)
{
    clpeft_status status = CLPEFT_OK;
    size_t block;

    REQUIRE(tensor, CLPEFT_INVALID_ARGUMENT, "clpeft_file_read_f32: tensor is NULL");
    block = clpeft_dtype_block(tensor->dtype);
    REQUIRE(block > 0, CLPEFT_UNSUPPORTED, "tensor \"%s\": type %s cannot be read as floats",
            clp_quote(tensor->name, strlen(tensor->name)).text, tensor->dtype_name);
    REQUIRE(first <= tensor->elements && count <= tensor->elements - first && first % block == 0 && count <= SIZE_MAX,
            CLPEFT_INVALID_SIZE, "tensor \"%s\": elements from %llu, %llu of them: has %llu in blocks of %zu",
            clp_quote(tensor->name, strlen(tensor->name)).text, (unsigned long long)first, (unsigned long long)count,
            (unsigned long long)tensor->elements, block);
    if (count == 0) goto out;
    status = clpeft_dtype_to_f32(
        tensor->dtype, (const unsigned char *)tensor->data + first / block * clpeft_dtype_bytes(tensor->dtype),
        (size_t)count, out);
    if (status != CLPEFT_OK) clp_fail_in("tensor \"%s\"", clp_quote(tensor->name, strlen(tensor->name)).text);
out:
    return status;
}
