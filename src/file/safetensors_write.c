/* safetensors_write.c - write a safetensors file by the reference's layout: metadata, larger types first, then by name. */
#include "file/atomic.h"
#include "file/names.h"
#include "file/safetensors.h"
#include "file/write.h"
#include "status.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const clp_writable *x = a, *y = b;
    const int order = (x->type->rank < y->type->rank) - (x->type->rank > y->type->rank);
    return order ? order : strcmp(x->tensor->name, y->tensor->name);
}

/* {"format":"pt", KEY:VALUE, ...} */
static clpeft_status make_metadata(json_t *header, const clpeft_write_meta *metas, size_t n)
{
    clpeft_status status = CLPEFT_OK;
    json_t *object = json_object();

    REQUIRE(json_object_set_new(object, "format", json_string("pt")) == 0, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const char *key = metas[i].key, *value = metas[i].value;
        REQUIRE(key && value, CLPEFT_INVALID_ARGUMENT, "metadata %zu: key or value is NULL", i);
        REQUIRE(!json_object_get(object, key), CLPEFT_INVALID_ARGUMENT, "metadata key \"%s\" is given twice",
                clp_quote(key, strlen(key)).text);
        REQUIRE(json_object_set_new(object, key, json_string(value)) == 0, CLPEFT_INVALID_ARGUMENT,
                "metadata \"%s\": key or value is not UTF-8", clp_quote(key, strlen(key)).text);
    }
    REQUIRE(json_object_set(header, "__metadata__", object) == 0, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
out:
    json_decref(object);
    return status;
}

/* {"dtype":"F32","shape":[4,384],"data_offsets":[BEGIN,END]} */
static clpeft_status make_entry(json_t *header, const clp_writable *w, uint64_t begin)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_write_tensor *t = w->tensor;
    json_t *shape = json_array(), *entry = NULL;

    for (size_t i = 0; i < t->n_dims; i++)
        REQUIRE(json_array_append_new(shape, json_integer((json_int_t)t->dims[i])) == 0, CLPEFT_OUT_OF_HOST_MEMORY,
                "out of memory");
    entry = json_pack("{s:s, s:O, s:[I,I]}", "dtype", w->type->name, "shape", shape, "data_offsets", (json_int_t)begin,
                      (json_int_t)(begin + w->bytes));
    REQUIRE(entry, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    REQUIRE(json_object_set(header, t->name, entry) == 0, CLPEFT_INVALID_ARGUMENT, "tensor \"%s\": name is not UTF-8",
            clp_quote(t->name, strlen(t->name)).text);
out:
    json_decref(entry);
    json_decref(shape);
    return status;
}

static clpeft_status make_header(char **text, const clpeft_write_meta *metas, size_t n_metas, clp_writable *list,
                                 size_t n)
{
    clpeft_status status = CLPEFT_OK;
    json_t *header = json_object();
    uint64_t at = 0;

    TRY(make_metadata(header, metas, n_metas));
    qsort(list, n, sizeof *list, compare);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(list[i].type->rank >= 0, CLPEFT_UNSUPPORTED, "tensor \"%s\": safetensors has no type %s",
                clp_quote(list[i].tensor->name, strlen(list[i].tensor->name)).text, list[i].type->name);
        REQUIRE(strcmp(list[i].tensor->name, "__metadata__") != 0, CLPEFT_INVALID_ARGUMENT,
                "\"__metadata__\" is no name for a tensor");
        REQUIRE(at + list[i].bytes <= INT64_MAX, CLPEFT_INVALID_SIZE, "the sizes of the tensors overflow");
        TRY(make_entry(header, &list[i], at));
        at += list[i].bytes;
    }
    *text = json_dumps(header, JSON_COMPACT);
    REQUIRE(*text, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
out:
    json_decref(header);
    return status;
}

clpeft_status clpeft_safetensors_write(const char *path, const clpeft_write_meta *metas, size_t n_metas,
                                       const clpeft_write_tensor *tensors, size_t n_tensors)
{
    clpeft_status status = CLPEFT_OK;
    clp_atomic file = CLP_ATOMIC_NONE;
    clp_writable *list = NULL;
    char *header = NULL;
    uint64_t length, padded;

    REQUIRE(path && (metas || n_metas == 0), CLPEFT_INVALID_ARGUMENT,
            "clpeft_safetensors_write: path or metas is NULL");
    TRY(clp_writable_create(&list, tensors, n_tensors));
    TRY(make_header(&header, metas, n_metas, list, n_tensors));
    length = strlen(header);
    padded = (length + 7) / 8 * 8;
    REQUIRE(padded <= CLP_SAFETENSORS_MAX_HEADER, CLPEFT_INVALID_SIZE, "a header of %llu bytes is above %d",
            (unsigned long long)padded, CLP_SAFETENSORS_MAX_HEADER);
    TRY(clp_atomic_begin(&file, path));
    TRY(clp_atomic_write(&file, &padded, sizeof padded));
    TRY(clp_atomic_write(&file, header, length));
    TRY(clp_atomic_write(&file, "        ", padded - length));
    for (size_t i = 0; i < n_tensors; i++) TRY(clp_atomic_write(&file, list[i].tensor->data, (size_t)list[i].bytes));
    TRY(clp_atomic_commit(&file));
out:
    clp_atomic_end(&file);
    free(header);
    free(list);
    return status;
}
