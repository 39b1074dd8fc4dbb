/* gguf.c - read the header of a GGUF file, version 2 or 3.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 values | VALUE ... | INFO ... | pad to ALIGN | data section
 *     STRING  u64 length, bytes
 *     VALUE   STRING key, u32 type, value;   an array: u32 element type, u64 count, elements
 *     INFO    STRING name, u32 dims, u64 ne[dims], u32 type, u64 offset into the data section
 *
 * ne counts from the fastest dimension. ALIGN is the value of general.alignment, or 32.
 * Refuses what llama.cpp does, and a zero byte in a tensor name. Source: ggml's gguf.cpp. */
#include "file/gguf.h"

#include "file/dtype.h"
#include "handle.h"

#include <string.h>

#define LEAST_VALUE 14 /* bytes of the smallest VALUE, a key of one byte and a u8 */
#define LEAST_INFO  24 /* bytes of the smallest INFO, no name and no dimension */

static const struct {
    clpeft_meta_type type;
    size_t bytes; /* 0: not of a fixed size */
} value_types[] = {
    { CLPEFT_META_INT, 1 },    { CLPEFT_META_INT, 1 },   { CLPEFT_META_INT, 2 },   { CLPEFT_META_INT, 2 },
    { CLPEFT_META_INT, 4 },    { CLPEFT_META_INT, 4 },   { CLPEFT_META_FLOAT, 4 }, { CLPEFT_META_BOOL, 1 },
    { CLPEFT_META_STRING, 0 }, { CLPEFT_META_ARRAY, 0 }, { CLPEFT_META_INT, 8 },   { CLPEFT_META_INT, 8 },
    { CLPEFT_META_FLOAT, 8 },
};

/* What is not read yet. */
typedef struct {
    const clpeft_file *file;
    size_t at;
} cursor;

static size_t left(const cursor *c)
{
    return c->file->size - c->at;
}

static clpeft_status take(cursor *c, uint64_t bytes, const char *what, const unsigned char **start)
{
    if (bytes > left(c))
        return clp_fail(CLPEFT_INVALID_FILE, "%s needs %llu bytes at byte %zu, the file ends at %zu", what,
                        (unsigned long long)bytes, c->at, c->file->size);
    *start = c->file->bytes + c->at;
    c->at += (size_t)bytes;
    return CLPEFT_OK;
}

static clpeft_status take_u32(cursor *c, const char *what, uint32_t *value)
{
    const unsigned char *start = NULL;
    const clpeft_status status = take(c, sizeof *value, what, &start);
    if (status == CLPEFT_OK) *value = clp_load_u32(start);
    return status;
}

static clpeft_status take_u64(cursor *c, const char *what, uint64_t *value)
{
    const unsigned char *start = NULL;
    const clpeft_status status = take(c, sizeof *value, what, &start);
    if (status == CLPEFT_OK) *value = clp_load_u64(start);
    return status;
}

static clpeft_status take_string(cursor *c, const char *what, const char **text, size_t *bytes)
{
    clpeft_status status = CLPEFT_OK;
    const unsigned char *start = NULL;
    uint64_t length = 0;

    TRY(take_u64(c, what, &length));
    REQUIRE(length <= CLP_GGUF_MAX_LENGTH, CLPEFT_INVALID_FILE, "%s of %llu bytes at byte %zu: above 2^30", what,
            (unsigned long long)length, c->at);
    TRY(take(c, length, what, &start));
    *text = (const char *)start;
    *bytes = (size_t)length;
out:
    return status;
}

/* A value of fixed size, whose bytes are in the file. */
static void load_scalar(uint32_t type, const unsigned char *p, clpeft_meta *meta)
{
    float f;
    meta->type = meta->element = value_types[type].type;
    switch (type) {
    case 0: meta->integer = p[0]; break;
    case 1: meta->integer = (int8_t)p[0]; break;
    case 2: meta->integer = clp_load_u16(p); break;
    case 3: meta->integer = (int16_t)clp_load_u16(p); break;
    case 4: meta->integer = clp_load_u32(p); break;
    case 5: meta->integer = (int32_t)clp_load_u32(p); break;
    case 6: memcpy(&f, p, sizeof f), meta->number = f; break;
    case 7: meta->integer = p[0] != 0; break;
    case 12: memcpy(&meta->number, p, sizeof meta->number); break;
    default: meta->integer = (int64_t)clp_load_u64(p); break;
    }
}

/* Strings of an array: where each one starts, so that any of them is found at once. A string takes 8 bytes or more, so
 * the list is no larger than the file. */
static clpeft_status read_strings(clpeft_file *file, cursor *c, uint64_t count, clp_gguf_value *value)
{
    clpeft_status status = CLPEFT_OK;
    const size_t first = c->at;
    uint64_t *starts = NULL;
    const char *text;
    size_t bytes;

    REQUIRE(count <= left(c) / 8, CLPEFT_INVALID_FILE, "an array of %llu strings at byte %zu, the file ends at %zu",
            (unsigned long long)count, c->at, file->size);
    starts = clp_file_alloc(file, (size_t)count, sizeof *starts);
    if (!starts) return CLPEFT_OUT_OF_HOST_MEMORY;
    value->items = file->bytes + first;
    value->strings = starts;
    for (size_t i = 0; i < count; i++) {
        starts[i] = c->at - first;
        TRY(take_string(c, "a string of the array", &text, &bytes));
    }
out:
    return status;
}

static clpeft_status read_array(clpeft_file *file, cursor *c, clp_gguf_value *value, clpeft_meta *meta)
{
    clpeft_status status = CLPEFT_OK;
    uint64_t count = 0;

    TRY(take_u32(c, "the element type", &value->type));
    REQUIRE(value->type < LENGTH(value_types), CLPEFT_INVALID_FILE, "unknown element type %u", value->type);
    REQUIRE(value->type != CLP_GGUF_ARRAY, CLPEFT_INVALID_FILE, "an array of arrays");
    TRY(take_u64(c, "the number of elements", &count));
    REQUIRE(count <= CLP_GGUF_MAX_LENGTH, CLPEFT_INVALID_FILE, "%llu elements: above 2^30", (unsigned long long)count);
    meta->type = CLPEFT_META_ARRAY;
    meta->element = value_types[value->type].type;
    meta->count = count;
    if (value->type == CLP_GGUF_STRING) {
        TRY(read_strings(file, c, count, value));
    } else {
        TRY(take(c, count * value_types[value->type].bytes, "the array", &value->items));
    }
out:
    return status;
}

static clpeft_status read_value(clpeft_file *file, cursor *c, clp_gguf_value *value, clpeft_meta *meta)
{
    clpeft_status status = CLPEFT_OK;
    const unsigned char *start = NULL;
    const char *text = NULL;

    TRY(take_u32(c, "the type", &value->type));
    REQUIRE(value->type < LENGTH(value_types), CLPEFT_INVALID_FILE, "unknown type %u", value->type);
    if (value->type == CLP_GGUF_ARRAY) {
        TRY(read_array(file, c, value, meta));
    } else if (value->type == CLP_GGUF_STRING) {
        meta->type = meta->element = CLPEFT_META_STRING;
        TRY(take_string(c, "the string", &text, &meta->string_bytes));
        meta->string = clp_file_string(file, text, meta->string_bytes);
        if (!meta->string) return CLPEFT_OUT_OF_HOST_MEMORY;
    } else {
        TRY(take(c, value_types[value->type].bytes, "the value", &start));
        load_scalar(value->type, start, meta);
    }
out:
    return status;
}

static clpeft_status read_values(clpeft_file *file, cursor *c, size_t n)
{
    clpeft_status status = CLPEFT_OK;
    const clp_name *twice;

    file->metas = clp_file_alloc(file, n, sizeof *file->metas);
    file->values = clp_file_alloc(file, n, sizeof *file->values);
    file->meta_names = clp_file_alloc(file, n, sizeof *file->meta_names);
    if (!file->metas || !file->values || !file->meta_names) return CLPEFT_OUT_OF_HOST_MEMORY;
    for (size_t i = 0; i < n; i++) {
        clp_name *name = &file->meta_names[i];
        const size_t start = c->at;
        status = take_string(c, "the key", &name->text, &name->bytes);
        if (status != CLPEFT_OK) clp_fail_in("value %zu of %zu", i, n);
        TRY(status);
        REQUIRE(name->bytes > 0, CLPEFT_INVALID_FILE, "value %zu of %zu at byte %zu: empty key", i, n, start);
        name->at = i;
        file->metas[i].key = clp_file_string(file, name->text, name->bytes);
        if (!file->metas[i].key) return CLPEFT_OUT_OF_HOST_MEMORY;
        status = read_value(file, c, &file->values[i], &file->metas[i]);
        if (status != CLPEFT_OK) clp_fail_in("key \"%s\" at byte %zu", clp_quote(name->text, name->bytes).text, start);
        TRY(status);
        file->values[i].start = file->bytes + start;
        file->values[i].bytes = c->at - start;
    }
    file->n_metas = n;
    twice = clp_names_sort(file->meta_names, n);
    REQUIRE(!twice, CLPEFT_INVALID_FILE, "key \"%s\" stands twice", clp_quote(twice->text, twice->bytes).text);
out:
    return status;
}

static clpeft_status find_alignment(const clpeft_file *file, uint64_t *align)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_meta *meta = clpeft_file_meta_find(file, "general.alignment");

    *align = CLP_GGUF_ALIGNMENT;
    if (!meta) goto out;
    REQUIRE(meta->type == CLPEFT_META_INT && file->values[meta - file->metas].type == CLP_GGUF_U32, CLPEFT_INVALID_FILE,
            "general.alignment is no u32");
    *align = (uint64_t)meta->integer;
    REQUIRE(*align > 0 && (*align & (*align - 1)) == 0, CLPEFT_INVALID_FILE,
            "general.alignment is %llu, no power of two", (unsigned long long)*align);
out:
    return status;
}

static clpeft_status read_dims(clpeft_file *file, cursor *c, clpeft_file_tensor *t)
{
    clpeft_status status = CLPEFT_OK;
    uint32_t n = 0;
    uint64_t *dims = NULL;

    TRY(take_u32(c, "the number of dimensions", &n));
    REQUIRE(n <= CLP_GGUF_MAX_DIMS, CLPEFT_INVALID_FILE, "%u dimensions, at most %d", n, CLP_GGUF_MAX_DIMS);
    dims = clp_file_alloc(file, n, sizeof *dims);
    if (!dims) return CLPEFT_OUT_OF_HOST_MEMORY;
    t->n_dims = n;
    t->dims = dims;
    t->elements = 1;
    for (size_t i = n; i-- > 0;) {
        TRY(take_u64(c, "a dimension", &dims[i]));
        REQUIRE(dims[i] <= INT64_MAX, CLPEFT_INVALID_FILE, "dimension %zu is negative", n - 1 - i);
        REQUIRE(!clp_mul(t->elements, dims[i], &t->elements) && t->elements <= INT64_MAX, CLPEFT_INVALID_FILE,
                "the number of elements overflows at dimension %zu", n - 1 - i);
    }
out:
    return status;
}

/* One INFO after its name. *offset is where the data of the tensor must start, and moves to where those of the next must. */
static clpeft_status read_info(clpeft_file *file, cursor *c, uint64_t align, clpeft_file_tensor *t, uint64_t *offset)
{
    clpeft_status status = CLPEFT_OK;
    const clp_type *type;
    uint32_t number = 0;
    uint64_t given = 0, padded;

    TRY(read_dims(file, c, t));
    TRY(take_u32(c, "the type", &number));
    type = clp_type_by_ggml(number);
    REQUIRE(type, CLPEFT_INVALID_FILE, "unknown or removed type %u", number);
    t->dtype = type->dtype;
    t->dtype_name = type->name;
    REQUIRE((t->n_dims > 0 ? t->dims[t->n_dims - 1] : 1) % type->block == 0, CLPEFT_INVALID_FILE,
            "rows are no whole blocks of %u, the block of %s", type->block, type->name);
    REQUIRE(!clp_mul(t->elements / type->block, (uint64_t)type->bits / 8, &t->bytes), CLPEFT_INVALID_FILE,
            "the size of %llu elements of %s overflows", (unsigned long long)t->elements, type->name);
    TRY(take_u64(c, "the offset", &given));
    REQUIRE(given == *offset, CLPEFT_INVALID_FILE, "offset %llu, but the tensors before it end at %llu",
            (unsigned long long)given, (unsigned long long)*offset);
    REQUIRE(!clp_sum(t->bytes, align - 1, &padded) && !clp_sum(*offset, padded & ~(align - 1), offset),
            CLPEFT_INVALID_FILE, "the sum of the sizes overflows");
out:
    return status;
}

static clpeft_status read_infos(clpeft_file *file, cursor *c, size_t n, uint64_t align)
{
    clpeft_status status = CLPEFT_OK;
    uint64_t offset = 0;
    const clp_name *twice;

    file->tensors = clp_file_alloc(file, n, sizeof *file->tensors);
    file->tensor_names = clp_file_alloc(file, n, sizeof *file->tensor_names);
    if (!file->tensors || !file->tensor_names) return CLPEFT_OUT_OF_HOST_MEMORY;
    for (size_t i = 0; i < n; i++) {
        clp_name *name = &file->tensor_names[i];
        const size_t start = c->at;
        status = take_string(c, "the name", &name->text, &name->bytes);
        if (status != CLPEFT_OK) clp_fail_in("tensor %zu of %zu", i, n);
        TRY(status);
        name->at = i;
        REQUIRE(name->bytes <= CLP_GGUF_MAX_NAME, CLPEFT_INVALID_FILE,
                "tensor %zu of %zu at byte %zu: a name of %zu bytes, at most %d", i, n, start, name->bytes,
                CLP_GGUF_MAX_NAME);
        REQUIRE(!memchr(name->text, 0, name->bytes), CLPEFT_INVALID_FILE,
                "tensor %zu of %zu at byte %zu: a zero byte in its name", i, n, start);
        file->tensors[i].name = clp_file_string(file, name->text, name->bytes);
        if (!file->tensors[i].name) return CLPEFT_OUT_OF_HOST_MEMORY;
        status = read_info(file, c, align, &file->tensors[i], &offset);
        if (status != CLPEFT_OK)
            clp_fail_in("tensor \"%s\" at byte %zu", clp_quote(name->text, name->bytes).text, start);
        TRY(status);
    }
    file->n_tensors = n;
    twice = clp_names_sort(file->tensor_names, n);
    REQUIRE(!twice, CLPEFT_INVALID_FILE, "tensor \"%s\" stands twice", clp_quote(twice->text, twice->bytes).text);
out:
    return status;
}

/* Point the tensors to their data, which starts at the next multiple of align after the infos. */
static clpeft_status place_data(clpeft_file *file, uint64_t infos_end, uint64_t align)
{
    clpeft_status status = CLPEFT_OK;
    uint64_t at = (infos_end + align - 1) & ~(align - 1);

    for (size_t i = 0; i < file->n_tensors; i++) {
        clpeft_file_tensor *t = &file->tensors[i];
        REQUIRE(at <= file->size && t->bytes <= file->size - at, CLPEFT_INVALID_FILE,
                "tensor \"%s\": %llu bytes from byte %llu, the file ends at %zu",
                clp_quote(t->name, strlen(t->name)).text, (unsigned long long)t->bytes, (unsigned long long)at,
                file->size);
        t->data = file->bytes + at;
        at += (t->bytes + align - 1) & ~(align - 1);
    }
out:
    return status;
}

clpeft_status clp_gguf_parse(clpeft_file *file)
{
    clpeft_status status = CLPEFT_OK;
    cursor c = { file, 0 };
    const unsigned char *magic = NULL;
    uint32_t version = 0;
    uint64_t n_tensors = 0, n_values = 0, align;

    TRY(take(&c, 4, "the magic", &magic));
    REQUIRE(memcmp(magic, "GGUF", 4) == 0, CLPEFT_INVALID_FILE, "the first bytes are not \"GGUF\"");
    TRY(take_u32(&c, "the version", &version));
    REQUIRE(version == 0 || (version & 0xffff) != 0, CLPEFT_INVALID_FILE, "a big-endian file");
    REQUIRE(version == 2 || version == 3, CLPEFT_INVALID_FILE, "version %u, not 2 or 3", version);
    TRY(take_u64(&c, "the number of tensors", &n_tensors));
    TRY(take_u64(&c, "the number of values", &n_values));
    REQUIRE(n_values <= left(&c) / LEAST_VALUE, CLPEFT_INVALID_FILE, "%llu values are more than the file can hold",
            (unsigned long long)n_values);
    REQUIRE(n_tensors <= left(&c) / LEAST_INFO, CLPEFT_INVALID_FILE, "%llu tensors are more than the file can hold",
            (unsigned long long)n_tensors);
    TRY(read_values(file, &c, (size_t)n_values));
    TRY(find_alignment(file, &align));
    REQUIRE(n_tensors <= left(&c) / LEAST_INFO, CLPEFT_INVALID_FILE, "%llu tensors are more than the file can hold",
            (unsigned long long)n_tensors);
    TRY(read_infos(file, &c, (size_t)n_tensors, align));
    TRY(place_data(file, c.at, align));
out:
    return status;
}

int clpeft_file_meta_item(const clpeft_file *file, const clpeft_meta *array, uint64_t index, clpeft_meta *item)
{
    const int live = clp_is_live(file, CLP_HANDLE_FILE);
    const size_t bytes = live ? file->n_metas * sizeof *file->metas : 0;
    const uintptr_t distance = live ? (uintptr_t)array - (uintptr_t)file->metas : 0;
    const clp_gguf_value *value;

    if (!live || !array || !item || distance >= bytes || array->type != CLPEFT_META_ARRAY || index >= array->count)
        return 0;
    value = &file->values[distance / sizeof *array];
    *item = (clpeft_meta){ 0 };
    if (value->type == CLP_GGUF_STRING) {
        const unsigned char *start = value->items + value->strings[index];
        item->type = item->element = CLPEFT_META_STRING;
        item->string = (const char *)start + 8;
        item->string_bytes = (size_t)clp_load_u64(start);
    } else {
        load_scalar(value->type, value->items + index * value_types[value->type].bytes, item);
    }
    return 1;
}
