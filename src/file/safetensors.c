/* safetensors.c - read the header of a safetensors file.
 *
 *     u64 N | N bytes of JSON | data section, to the end of the file
 *     {"__metadata__": {KEY: VALUE, ...}, NAME: {"dtype": "F32", "shape": [4,384], "data_offsets": [BEGIN,END]}, ...}
 *
 * Accepts what the reference does but: the header must start with '{', no key may stand twice in an object, an entry
 * must be an object, and a name must not hold a zero character. Source: the safetensors package, tensor.rs. */
#include "file/safetensors.h"

#include "file/dtype.h"
#include "file/json.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

/* The header's text, and the data section. */
typedef struct {
    const char *text;
    const unsigned char *data;
    uint64_t size;
} section;

static clpeft_status read_dtype(const json_t *entry, const clp_type **type)
{
    clpeft_status status = CLPEFT_OK;
    const json_t *value = json_object_get(entry, "dtype");

    REQUIRE(json_is_string(value), CLPEFT_INVALID_FILE, "dtype is %s", value ? "no string" : "missing");
    *type = clp_type_by_name(json_string_value(value), json_string_length(value));
    REQUIRE(*type && (*type)->rank >= 0, CLPEFT_INVALID_FILE, "unknown dtype \"%s\"",
            clp_quote(json_string_value(value), json_string_length(value)).text);
out:
    return status;
}

static clpeft_status read_shape(clpeft_file *file, const section *s, const json_t *entry, clpeft_file_tensor *t)
{
    clpeft_status status = CLPEFT_OK;
    const json_t *shape = json_object_get(entry, "shape");
    uint64_t *dims = NULL;

    REQUIRE(json_is_array(shape), CLPEFT_INVALID_FILE, "shape is %s", shape ? "no array" : "missing");
    t->n_dims = json_array_size(shape);
    dims = clp_file_alloc(file, t->n_dims, sizeof *dims);
    if (!dims) return CLPEFT_OUT_OF_HOST_MEMORY;
    t->dims = dims;
    t->elements = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        REQUIRE(clp_json_u64(json_array_get(shape, i), s->text, &dims[i]), CLPEFT_INVALID_FILE,
                "dimension %zu is no plain integer in 0 .. 2^64 - 1", i);
        REQUIRE(!clp_mul(t->elements, dims[i], &t->elements), CLPEFT_INVALID_FILE,
                "the number of elements overflows at dimension %zu", i);
    }
out:
    return status;
}

/* The reference computes sizes in bits, so it refuses 2^64 of them. */
static clpeft_status read_range(const section *s, const json_t *entry, const clp_type *type, clpeft_file_tensor *t)
{
    clpeft_status status = CLPEFT_OK;
    const json_t *range = json_object_get(entry, "data_offsets");
    uint64_t begin = 0, end = 0, bits = 0;

    REQUIRE(json_is_array(range), CLPEFT_INVALID_FILE, "data_offsets is %s", range ? "no array" : "missing");
    REQUIRE(json_array_size(range) == 2, CLPEFT_INVALID_FILE, "data_offsets has %zu numbers, not 2",
            json_array_size(range));
    REQUIRE(clp_json_u64(json_array_get(range, 0), s->text, &begin) &&
                clp_json_u64(json_array_get(range, 1), s->text, &end),
            CLPEFT_INVALID_FILE, "data_offsets are no plain integers in 0 .. 2^64 - 1");
    REQUIRE(begin <= end, CLPEFT_INVALID_FILE, "data_offsets end at %llu before they begin at %llu",
            (unsigned long long)end, (unsigned long long)begin);
    REQUIRE(end <= s->size, CLPEFT_INVALID_FILE, "data_offsets end at %llu, the data section at %llu",
            (unsigned long long)end, (unsigned long long)s->size);
    REQUIRE(!clp_mul(t->elements, (uint64_t)type->bits, &bits), CLPEFT_INVALID_FILE,
            "the size of %llu elements of %s overflows", (unsigned long long)t->elements, type->name);
    REQUIRE(bits % 8 == 0, CLPEFT_INVALID_FILE, "%llu elements of %s end inside a byte",
            (unsigned long long)t->elements, type->name);
    REQUIRE(bits / 8 == end - begin, CLPEFT_INVALID_FILE, "%llu elements of %s need %llu bytes, data_offsets give %llu",
            (unsigned long long)t->elements, type->name, (unsigned long long)(bits / 8),
            (unsigned long long)(end - begin));
    t->data = s->data + begin;
    t->bytes = end - begin;
out:
    return status;
}

static clpeft_status read_entry(clpeft_file *file, const section *s, const json_t *entry, clpeft_file_tensor *t)
{
    clpeft_status status = CLPEFT_OK;
    const clp_type *type = NULL;

    REQUIRE(json_is_object(entry), CLPEFT_INVALID_FILE, "the entry is no object");
    TRY(read_dtype(entry, &type));
    t->dtype = type->dtype;
    t->dtype_name = type->name;
    TRY(read_shape(file, s, entry, t));
    TRY(read_range(s, entry, type, t));
out:
    return status;
}

static clpeft_status read_metadata(clpeft_file *file, json_t *metadata)
{
    clpeft_status status = CLPEFT_OK;
    const char *key;
    json_t *value;

    REQUIRE(json_is_object(metadata), CLPEFT_INVALID_FILE, "__metadata__ is no object");
    file->metas = clp_file_alloc(file, json_object_size(metadata), sizeof *file->metas);
    file->meta_names = clp_file_alloc(file, json_object_size(metadata), sizeof *file->meta_names);
    if (!file->metas || !file->meta_names) return CLPEFT_OUT_OF_HOST_MEMORY;
    json_object_foreach(metadata, key, value)
    {
        const size_t i = file->n_metas++;
        clpeft_meta *meta = &file->metas[i];
        REQUIRE(json_is_string(value), CLPEFT_INVALID_FILE, "__metadata__: the value of \"%s\" is no string",
                clp_quote(key, strlen(key)).text);
        meta->type = meta->element = CLPEFT_META_STRING;
        meta->string_bytes = json_string_length(value);
        meta->key = clp_file_string(file, key, strlen(key));
        meta->string = clp_file_string(file, json_string_value(value), meta->string_bytes);
        if (!meta->key || !meta->string) return CLPEFT_OUT_OF_HOST_MEMORY;
        file->meta_names[i] = (clp_name){ meta->key, strlen(key), i };
    }
    clp_names_sort(file->meta_names, file->n_metas);
out:
    return status;
}

static clpeft_status read_entries(clpeft_file *file, const section *s, json_t *header)
{
    clpeft_status status = CLPEFT_OK;
    const char *name;
    json_t *value;

    file->tensors = clp_file_alloc(file, json_object_size(header), sizeof *file->tensors);
    file->tensor_names = clp_file_alloc(file, json_object_size(header), sizeof *file->tensor_names);
    if (!file->tensors || !file->tensor_names) return CLPEFT_OUT_OF_HOST_MEMORY;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            TRY(read_metadata(file, value));
            continue;
        }
        clpeft_file_tensor *t = &file->tensors[file->n_tensors++];
        t->name = clp_file_string(file, name, strlen(name));
        if (!t->name) return CLPEFT_OUT_OF_HOST_MEMORY;
        status = read_entry(file, s, value, t);
        if (status != CLPEFT_OK) {
            clp_fail_in("tensor \"%s\"", clp_quote(name, strlen(name)).text);
            return status;
        }
    }
out:
    return status;
}

static int compare_data(const void *a, const void *b)
{
    const clpeft_file_tensor *x = a, *y = b;
    const unsigned char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* In the order of their data the tensors cover the data section without a hole and without sharing a byte. */
static clpeft_status check_tiling(clpeft_file *file, const section *s)
{
    clpeft_status status = CLPEFT_OK;
    uint64_t end = 0;

    if (file->n_tensors > 1) qsort(file->tensors, file->n_tensors, sizeof *file->tensors, compare_data);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const clpeft_file_tensor *t = &file->tensors[i];
        const uint64_t begin = (uint64_t)((const unsigned char *)t->data - s->data);
        REQUIRE(begin == end, CLPEFT_INVALID_FILE, "tensor \"%s\": begins at %llu of the data section, %s %llu",
                clp_quote(t->name, strlen(t->name)).text, (unsigned long long)begin,
                begin < end ? "inside the one before, which ends at" : "after a hole from", (unsigned long long)end);
        end = begin + t->bytes;
        file->tensor_names[i] = (clp_name){ t->name, strlen(t->name), i };
    }
    REQUIRE(end == s->size, CLPEFT_INVALID_FILE, "the tensors end at %llu, the data section at %llu",
            (unsigned long long)end, (unsigned long long)s->size);
    clp_names_sort(file->tensor_names, file->n_tensors);
out:
    return status;
}

clpeft_status clp_safetensors_parse(clpeft_file *file)
{
    clpeft_status status = CLPEFT_OK;
    json_t *header = NULL;
    section s = { 0 };
    uint64_t length;

    REQUIRE(file->size >= 8, CLPEFT_INVALID_FILE, "%zu bytes, too short for safetensors' length field", file->size);
    length = clp_load_u64(file->bytes);
    REQUIRE(length <= CLP_SAFETENSORS_MAX_HEADER, CLPEFT_INVALID_FILE, "header length %llu is above %d",
            (unsigned long long)length, CLP_SAFETENSORS_MAX_HEADER);
    REQUIRE(length <= file->size - 8, CLPEFT_INVALID_FILE, "header length %llu goes past the end of the file",
            (unsigned long long)length);
    s.text = (const char *)file->bytes + 8;
    s.data = file->bytes + 8 + length;
    s.size = file->size - 8 - length;
    status = clp_json_parse(&header, s.text, (size_t)length);
    if (status != CLPEFT_OK) clp_fail_in("header");
    TRY(status);
    TRY(read_entries(file, &s, header));
    TRY(check_tiling(file, &s));
out:
    json_decref(header);
    return status;
}
